// The status page of Gantry. Foreign text (names, causes, last words) reaches the page only as text nodes.
'use strict';
const $ = id => document.getElementById(id);
const STATES = { u: 'up_to_date', p: 'updating', w: 'waiting', h: 'held', q: 'quarantined', l: 'left_alone', a: 'needs_attention', f: 'rollback_failed', e: 'error' };
const LETTER = Object.fromEntries(Object.entries(STATES).map(([letter, state]) => [state, letter]));
const ORDER = [...'feaqpwhlu']; // What needs a person comes first.
const FEW = 60; // Up to this many services there is one table; above it, a table for each image.
const ROWS = 50; // Rows of one image before a button shows more.
const EMPTY = { look: {}, verdict: {}, guard: {}, counts: {}, runs: [], rollouts: [], attention: [], images: [], quarantine: [], history: [] };

let world; // The last state, with all changes since.
let services = new Map(); // By name: {name, image, letter, why, since, digest, newest, tasks}.
let images = new Map(); // By image: {image, list}.
let ahead = 0; // The server's clock minus this browser's.
let version, token = '', asked = new URLSearchParams(location.search).get('explain');

// h('td.soft', {title: 'x'}, kid, 'text')
function h(spec, ...kids) {
	const [tag, ...names] = spec.split('.'), el = document.createElement(tag);
	if (names.length) el.className = names.join(' ');
	const props = kids[0]?.constructor === Object ? kids.shift() : {};
	for (const [key, value] of Object.entries(props)) {
		if (key === 'click') el.addEventListener(key, value);
		else if (value != null && value !== false) el.setAttribute(key, value === true ? '' : value);
	}
	el.append(...kids.flat(9).filter(kid => kid));
	return el;
}
const one = (el, selector) => el.querySelector(selector);
const button = (spec, text, props) => h('button' + spec, props, text);
const link = name => button('.link', name, { 'data-service': name });
const log = (lines, label) => lines?.length ? h('pre', { tabindex: 0, 'aria-label': label }, lines.join('\n')) : null;
const table = (caption, heads, rows) => h('table', h('caption.unseen', caption),
	h('thead', h('tr', heads.map(head => h('th' + (head[1] || ''), { scope: 'col' }, head[0])))), h('tbody', rows));

// Sets a text only where it changed, so that a selection inside it survives.
function put(el, text) {
	text = String(text ?? '');
	if (el.put !== text) {
		el.put = text;
		if (el.childNodes.length === 1 && el.firstChild.nodeType === 3) el.firstChild.data = text;
		else el.textContent = text;
	}
}
function show(el, on) {
	el.hidden = !on;
	return on;
}
function fill(el, text) {
	if (show(el, text)) put(el, text);
}
function set(el, name, value) {
	if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value);
}

// Makes the children of `parent` those of `items`, by key. The focus stays; where its node leaves, it goes to the
// section's title.
function keyed(parent, items, keyOf, make, update) {
	const focus = document.activeElement, had = parent.contains(focus);
	const old = parent.keyed || new Map(), now = new Map();
	for (const item of items) {
		const key = keyOf(item);
		if (!now.has(key)) now.set(key, { item, node: old.get(key)?.node || make(item) });
	}
	for (const [key, { node }] of old) if (!now.has(key)) node.remove();
	let at = parent.firstChild;
	for (const { node, item } of now.values()) {
		if (node === at) at = at.nextSibling;
		else parent.insertBefore(node, at);
		update?.(node, item);
	}
	parent.keyed = now;
	if (had && document.activeElement !== focus) {
		(focus.isConnected ? focus : parent.closest('section')?.querySelector('h2'))?.focus({ preventScroll: true });
	}
}

const num = n => (n || 0).toLocaleString('en');
const many = (n, word) => `${num(n)} ${word}${n === 1 ? '' : 's'}`;
const words = state => String(state ?? '').replaceAll('_', ' ');
const short = digest => String(digest ?? '').replace(/^sha256:/, '').slice(0, 12);
const arrow = (from, to) => [short(from), short(to)].filter(Boolean).join(' → ');
const capital = text => String(text ?? '').replace(/^./, first => first.toUpperCase());
const letterOf = state => LETTER[state] || 'e';
const beganBy = run => run.by ? `${run.by} (${words(run.trigger)})` : words(run.trigger);
const serverNow = () => Date.now() + ahead;

const two = n => String(Math.floor(n) % 60).padStart(2, '0');
function clock(iso, seconds) {
	const at = new Date(iso), day = at.toDateString(), text = at.toTimeString();
	if (day !== new Date(serverNow()).toDateString()) return `${at.getDate()} ${day.slice(4, 7)}, ${text.slice(0, 5)}`;
	return text.slice(0, seconds ? 8 : 5);
}
function time(el, iso, seconds) {
	put(el, iso ? clock(iso, seconds) : '');
	set(el, 'datetime', iso ?? '');
}
function when(iso, seconds) {
	const el = h('time');
	time(el, iso, seconds);
	return el;
}
function left(ms) {
	const s = Math.ceil(ms / 1000), hours = Math.floor(s / 3600);
	return `${hours ? hours + ':' : ''}${two(s / 60)}:${two(s)}`;
}

// A state is a word, a shape and a colour.
const mark = (letter, text = words(STATES[letter])) => h('span.s.' + letter, h('i.' + letter), h('span', text));
function remark(el, letter, text = words(STATES[letter])) {
	set(el, 'class', 's ' + letter);
	set(el.firstChild, 'class', letter);
	put(el.lastChild, text);
}

class Refused extends Error {}

async function call(path, { stream, ...options } = {}) {
	const headers = { ...options.headers };
	if (token) headers.Authorization = 'Bearer ' + token;
	if (options.body) headers['Content-Type'] = 'application/json';
	const answer = await fetch('api/v1/' + path, { cache: 'no-store', ...options, headers }).catch(() => { throw new Error('Gantry does not answer.'); });
	if (stream && answer.ok) return answer;
	const body = await answer.json().catch(() => null);
	const problem = body?.error && [body.error, body.remedy].filter(Boolean).map(capital).join('. ');
	if (answer.status === 401) throw new Refused(problem || 'Gantry needs a token.');
	if (!body || !(answer.ok || body.services)) throw new Error(problem || `Status ${answer.status} without JSON. Is another server at this address?`);
	return body;
}
const post = (path, body) => call(path, { method: 'POST', body: JSON.stringify(body) });

let wire = 'new'; // The connection: new, live, again (the first try after a break), stale, gate
let heard = 0, tried = 0, trouble = '', retryAt = 0, brokeAt = 0, wakeUp = null, abort = null, listener = 0;

async function listen() {
	const mine = ++listener;
	abort?.abort();
	for (let pause = 1, blind = true; mine === listener; pause = Math.min(15, pause * 2)) {
		const control = abort = new AbortController(), { signal } = control;
		let bytes = 0;
		tried = Date.now();
		try {
			if (blind || !world) {
				const state = await call('state', { signal });
				if (mine !== listener) return;
				setWorld(state);
				alive();
			}
			const answer = await call('events', { stream: true, signal, headers: { 'Last-Event-ID': world.id } });
			const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(), parse = parser();
			for (;;) {
				const { value, done } = await reader.read();
				if (done || mine !== listener) break;
				bytes += value.length;
				pause = 1;
				alive();
				parse(value);
			}
		} catch (error) {
			if (mine !== listener) return;
			if (error instanceof Refused) return gate(error.message);
			trouble = signal.aborted ? '' : error.message;
		}
		if (mine !== listener) return;
		control.abort();
		blind = !bytes; // A proxy that holds the stream back: ask for the whole state instead.
		if (wire === 'live') brokeAt = Date.now();
		wire = wire === 'live' ? 'again' : 'stale';
		retryAt = Date.now() + pause * 1000;
		schedule();
		await new Promise(done => { wakeUp = done; setTimeout(done, pause * 1000); });
		retryAt = 0;
		tick();
	}
}

function alive() {
	heard = Date.now();
	trouble = '';
	if (wire !== 'live') { wire = 'live'; schedule(); }
}

// Server-sent events.
function parser() {
	let rest = '', type = '', data = '';
	return text => {
		const lines = (rest + text).split('\n');
		rest = lines.pop();
		for (const line of lines.map(line => line.replace(/\r$/, ''))) {
			if (line.startsWith('event:')) type = line.slice(6).trim();
			else if (line.startsWith('data:')) data += line.slice(5);
			else if (line === '') {
				if (data) (type === 'state' ? setWorld : change)(JSON.parse(data));
				type = data = '';
			}
		}
	};
}

// The model.

const dirty = new Set(), dirtyImages = new Set();

function setWorld(state) {
	if (version && version !== state.version) location.reload(); // A newer Gantry brings a newer page.
	version = state.version;
	world = { ...EMPTY };
	const before = services;
	services = new Map();
	images = new Map();
	merge(state);
	for (const { image, services: names, states } of world.images) {
		names.forEach((name, i) => {
			const letter = STATES[states[i]] ? states[i] : 'e', known = before.get(name);
			place({ ...(known?.letter === letter ? known : {}), name, image, letter });
		});
	}
	for (const { service, why, since } of world.attention) if (services.has(service)) Object.assign(services.get(service), { why, since });
	dirty.add('all');
	needRows(0);
	schedule();
	if (asked) explain(asked);
	asked = '';
}
function merge(news) {
	for (const [key, value] of Object.entries(news)) {
		if (key === 'services') continue;
		world[key] = value ?? EMPTY[key];
		dirty.add(key);
	}
	if (news.now) ahead = new Date(news.now) - Date.now();
}
function place(service) {
	const { name, image } = service;
	if (!images.has(image)) images.set(image, { image, list: [] });
	services.set(name, service);
	images.get(image).list.push(service);
}

function change(news) {
	if (!world) return;
	merge(news);
	for (const { service: name, image, state, why, since } of news.services || []) {
		let service = services.get(name);
		if (service && (service.image !== image || !state)) {
			const { list } = images.get(service.image);
			list.splice(list.indexOf(service), 1);
			dirtyImages.add(service.image);
			services.delete(name);
		}
		if (!state) continue;
		if (!services.has(name)) place(service = { name, image });
		Object.assign(service, { letter: letterOf(state), why, since });
		dirtyImages.add(image);
		dirty.add('services');
	}
	const total = Object.values(world.counts).reduce((sum, n) => sum + n, 0);
	if (news.services || total !== services.size) needRows(2000);
	schedule();
}

// Asks for digests, tasks and causes after news, at most every 30 s.
let rowsAt = 0, rowsTimer = 0;
function needRows(delay) {
	rowsTimer ||= setTimeout(async () => {
		rowsTimer = 0;
		if (document.hidden) return;
		rowsAt = Date.now();
		try {
			const rows = (await call('services')).services;
			let same = rows.length === services.size;
			for (const { service: name, state, why, since, digest, newest, tasks } of rows) {
				const service = services.get(name);
				if (!service) { same = false; continue; }
				Object.assign(service, { digest, newest, tasks }, letterOf(state) === service.letter && { why, since });
				dirtyImages.add(service.image);
			}
			dirty.add('services');
			if (same) schedule();
			else setWorld(await call('state'));
		} catch { /* The stream tells of a lost connection. */ }
	}, Math.max(delay, rowsAt + 30e3 - Date.now()));
}

// Painting: at most every 250 ms.

let paintTimer = 0, painted = 0;
function schedule() {
	paintTimer ||= setTimeout(paint, Math.max(0, painted + 250 - performance.now()));
}

const PAINTERS = [
	[paintAttention, 'attention', 'quarantine'], [paintRollouts, 'rollouts', 'services', 'quarantine'], [paintFilters, 'counts', 'services', 'filter'],
	[paintGroups, 'services', 'filter'], [paintMap, 'services'], [paintQuarantine, 'quarantine'], [paintHistory, 'history'], [refreshDrawer, 'services'],
];
const jobs = new Set(); // What is still to paint: some milliseconds of it in each frame.
let working = 0;

function paint() {
	paintTimer = 0;
	painted = performance.now();
	tick();
	if (!show($('world'), world && wire !== 'gate')) return;
	paintVerdict();
	paintGuard();
	for (const [job, ...keys] of PAINTERS) if (dirty.has('all') || keys.some(key => dirty.has(key))) jobs.add(job);
	if (dirty.has('all') || dirty.has('filter')) rebuild = true;
	dirty.clear();
	work();
}
function work() {
	if (working) return;
	const until = performance.now() + 4;
	for (const job of [...jobs]) {
		jobs.delete(job);
		if (world) job();
		if (performance.now() > until) break;
	}
	if (jobs.size) working = requestAnimationFrame(() => setTimeout(() => { working = 0; work(); }));
}

// The sign in the title, the colour of the icon, its drawing.
const LEVELS = {
	ok: ['✓', '1b7a43', 'M7.5 12.5l3 3 6-7'], busy: ['↑', '2360c4', 'M12 17V7m-4 4 4-4 4 4'], paused: ['‖', '955800', 'M9.5 8v8m5-8v8'],
	attention: ['▲', 'bf2626', 'M12 9v6m0 3v.5'], unknown: ['?', '566070', 'M9 9.5a3 3 0 1 1 4.3 2.7c-1 .5-1.3 1-1.3 2m0 2.8v.5'], stale: ['Stale:', '955800', 'M12 6v6l4 3'],
};

function paintVerdict() {
	const stale = wire === 'stale', level = stale ? 'stale' : LEVELS[world.verdict.level] ? world.verdict.level : 'unknown';
	const [sign, colour, path] = LEVELS[level], said = capital(world.verdict.words);
	const text = stale ? `Stale since ${clock(heard + ahead)}. Before that: ${said}` : said;
	put($('verdict-words'), text);
	set($('verdict'), 'class', 'card ' + level);
	set($('drawing'), 'd', (level === 'attention' ? 'M12 2.5 22.5 21h-21z' : 'M2 12a10 10 0 1 1 20 0a10 10 0 1 1-20 0') + path);
	document.body.classList.toggle('stale', stale);
	const { began, seconds, next } = world.look, [counts, last, then, following] = $('verdict-more').children;
	put(counts, `${num(world.counts.up_to_date)} of ${num(services.size)} up to date · ${began ? 'last look ' : 'no look yet'}`);
	time(last, began, true);
	put(then, (seconds == null ? '' : `, ${seconds < 10 ? Number(seconds).toFixed(1) : Math.round(seconds)} s`) + (next ? ' · next look ' : ''));
	time(following, next);
	put($('where'), [world.node, many(services.size, 'service')].filter(Boolean).join(' · '));
	put($('version'), 'Gantry ' + world.version);
	const count = level === 'attention' && world.attention.length + (world.attention_omitted || 0);
	document.title = `${sign} ${count ? count + ' ' : ''}Gantry`;
	set($('icon'), 'href', `data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="%23${colour}"/><path d="${path}" fill="none" stroke="%23fff" stroke-width="3"/></svg>`);
	speak(text);
}

// The status region tells verdict changes only, at most every 10 s.
let spoken, spokenAt = 0, toSpeak;
function speak(text) {
	toSpeak = text ?? toSpeak;
	spoken ??= toSpeak;
	if (toSpeak === spoken || Date.now() - spokenAt < 10e3) return;
	spoken = toSpeak;
	spokenAt = Date.now();
	put($('spoken'), spoken);
}

function paintGuard() {
	const hand = world.guard.by_hand, paused = world.guard.paused || [];
	const items = [...hand ? [{ key: 'hand', stop: `Paused by ${hand.by || 'hand'}: ${hand.why}`, word: 'until', at: hand.until }] : [],
		...paused.map(({ why, since }, i) => ({ key: i, stop: 'Paused: ' + why, word: 'since', at: since })),
		...hand || paused.length ? [] : [{ key: 'free', text: 'No pause:', word: 'updates may begin' }],
		...world.runs.map(run => ({ key: 'run' + run.id, text: `Run ${run.id}`, word: `under way, begun by ${beganBy(run)} at`, at: run.began }))];
	keyed($('guard'), items, item => item.key, item => h(item.stop ? 'div.stop' : 'div', item.stop && h('i.h'), h('b'), ' ', h('span'), ' ', h('time')), (el, item) => {
		put(one(el, 'b'), item.stop || item.text);
		put(one(el, 'span'), item.word);
		time(one(el, 'time'), item.at);
	});
	show($('run'), world.steer);
	show($('pause'), world.steer && hand === null);
	show($('resume'), world.steer && hand);
}

// One card for each cause; last words keep images apart.
const shown = { attention: 10, rollouts: 12 }; // How many cards of a section show.
function paintAttention() {
	const groups = new Map(), section = $('attention');
	for (const entry of world.attention) {
		const { state, why, image, log, health } = entry, key = JSON.stringify([state, why, (log?.length || health) && image]);
		if (!groups.has(key)) groups.set(key, { key, ...entry, entries: [] });
		groups.get(key).entries.push(entry);
	}
	const all = [...groups.values()];
	show(section, all.length);
	keyed(one(section, '.list'), all.slice(0, shown.attention), group => group.key, group => h('article.card.att',
		h('div.row', h('h3.row'), mark(letterOf(group.state)), h('span.soft.of', h('span'), ' since ', h('time')), h('span.sp')),
		h('p.why', capital(group.why)), h('p.soft.health'), h('details', { open: all.length <= 3 }, h('summary', 'Last words'), h('pre', { tabindex: 0 }))), (el, group) => {
		const { entries } = group, names = entries.map(entry => entry.service), some = names.slice(0, 8), soft = one(el, '.of');
		keyed(one(el, 'h3'), [...some, ...names.length > 8 ? [''] : []], name => name, name => name ? link(name) : h('span.soft'),
			(node, name) => name || put(node, `and ${num(names.length - 8)} more`));
		const kinds = new Set(entries.map(entry => entry.image)).size;
		put(soft.firstChild, kinds > 1 ? many(kinds, 'image') : group.image);
		time(soft.lastChild, group.since);
		const health = entries.find(entry => entry.health)?.health, lines = entries.find(entry => entry.log?.length)?.log;
		fill(one(el, '.health'), health && 'Health check: ' + health);
		show(one(el, 'details'), lines);
		put(one(el, 'pre'), lines?.join('\n'));
		releases(one(el, '.sp'), quarantined(group.image, names));
	});
	more(section, all.length);
	const omitted = world.attention_omitted;
	fill(one(section, '.omitted'), omitted && `${many(omitted, 'more service')} not listed here. Filter the services below by state.`);
}
function more(section, count) {
	const hidden = count - shown[section.id];
	fill(one(section, '.more'), hidden > 0 && `Show ${num(hidden)} more`);
}

const entryKey = entry => JSON.stringify([entry.service, entry.image, entry.digest]);
const quarantined = (image, names) => world.quarantine.filter(entry => entry.service ? names.includes(entry.service) : entry.image === image).slice(0, 3);
const releaseButton = entry => button('.risky', `Release ${short(entry.digest)}…`, { 'data-release': entryKey(entry) });
const releases = (el, entries) => keyed(el, world.steer ? entries : [], entryKey, releaseButton);

const ROLLOUTS = ['stopped', 'running', 'held', 'postponed', 'superseded', 'done'];

function rolloutWords(r) {
	if (r.state === 'stopped') return `stopped after ${num(r.touched)} of ${num(r.total)}`;
	if (r.state === 'superseded') return 'overtaken by a newer image';
	if (r.state !== 'running') return words(r.state);
	return r.succeeded || r.failed || r.touched > Math.max(1, r.canary?.length || 0) ? `widening, ${num(r.width)} at a time` : 'trying the canary';
}

function paintRollouts() {
	const all = [...world.rollouts].sort((a, b) => ROLLOUTS.indexOf(a.state) - ROLLOUTS.indexOf(b.state)), section = $('rollouts');
	show(section, all.length);
	keyed(one(section, '.list'), all.slice(0, shown.rollouts), r => r.image + '\n' + r.to, ({ image, from, to, since, canary: c = [] }) => h('article',
		h('div.row', h('h3', image), h('span')), h('div.row.soft', h('span.mono', { title: `${from || 'unknown'} → ${to || 'unknown'}` }, arrow(from, to)), h('span.sp', h('span', 'since ', when(since)))),
		h('div.bar', { role: 'img' }, h('b'), h('b'), h('b')),
		h('div.legend', [0, 1, 2, 3].map(() => h('span', h('i'), h('b'), h('span'))), c.length && h('span', 'canary', c.slice(0, 3).map(link), c.length > 3 && `and ${c.length - 3} more`)),
		h('p.why'), h('div.cells', { role: 'img' }), h('div.row.end')), (el, r) => {
		const [head, , bar, legend, why, cells, end] = el.children, state = ROLLOUTS.includes(r.state) ? r.state : 'held', ended = state === 'done' || state === 'superseded';
		set(el, 'class', `card roll ${state}${r.total > 200 && !ended ? ' big' : ''}`);
		set(head.lastChild, 'class', 'tag ' + state);
		put(head.lastChild, rolloutWords(r));
		const parts = [[r.succeeded, 'updated', 'u'], [r.failed, 'failed', 'f'], [r.under_way, 'under way', 'p'], [r.waiting, state === 'stopped' ? 'kept from it' : 'waiting', 'w']];
		parts.forEach(([count, word, shape], i) => {
			const [icon, number, text] = legend.children[i].children;
			legend.children[i].className = count ? '' : 'zero';
			icon.className = shape;
			put(number, num(count));
			put(text, word);
			if (i > 2) return;
			show(bar.children[i], count);
			bar.children[i].style.setProperty('--w', (r.total ? 100 * count / r.total : 0) + '%');
		});
		set(bar, 'aria-label', `${many(r.total, 'service')}: ` + parts.filter(part => part[0]).map(part => `${num(part[0])} ${part[1]}`).join(', '));
		fill(why, state === 'held' ? capital(r.held_for) : r.superseded_by && `The tag moved to ${short(r.superseded_by)}.`);
		const list = images.get(r.image)?.list || [];
		if (show(cells, list.length >= 12 && !ended)) {
			const shapes = 'ufeaqpwhl';
			paintCells(paintRollouts, cells, [...list].sort((a, b) => shapes.indexOf(a.letter) - shapes.indexOf(b.letter)), service => service.letter);
		}
		releases(end, state === 'stopped' ? world.quarantine.filter(entry => entry.image === r.image && entry.digest === r.to).slice(0, 3) : []);
		show(end, end.firstChild);
	});
	more(section, all.length);
}

function paintCells(job, el, list, classOf) {
	el.list = list;
	set(el, 'aria-label', many(list.length, 'service') + ', which the list of services has in words');
	while (el.childNodes.length > list.length) el.lastChild.remove();
	for (let most = 400; most-- && el.childNodes.length < list.length;) el.append(h('i'));
	let cell = el.firstChild;
	for (const service of list) {
		const name = classOf(service);
		if (!cell) return jobs.add(job);
		if (cell.name !== name) cell.className = cell.name = name;
		cell = cell.nextSibling;
	}
}
function cellAt({ target }) {
	const { list, childNodes } = target.parentNode || {};
	return list && target.tagName === 'I' && list[[].indexOf.call(childNodes, target)];
}

// Services.

let filter = { states: null, query: '' }; // states: null (the default), 'all', 'not_up_to_date', or a set of letters.
const opened = new Map(), rowsShown = new Map();

function readUrl() {
	const query = new URLSearchParams(location.search), state = query.get('state') || '';
	const letters = state.split(',').map(word => LETTER[word]).filter(Boolean);
	filter = { states: state === 'all' || state === 'not_up_to_date' ? state : letters.length ? new Set(letters) : null, query: query.get('q') || '' };
	$('search').value = filter.query;
}
function writeUrl() {
	const url = new URL(location.href), { states, query } = filter;
	const values = { state: states?.has ? [...states].map(letter => STATES[letter]).join() : states, q: query, explain: $('drawer').open && drawn.service };
	for (const [key, value] of Object.entries(values)) value ? url.searchParams.set(key, value) : url.searchParams.delete(key);
	history.replaceState(null, '', url.href.replace(/%2C/g, ','));
}
function setFilter(news) {
	Object.assign(filter, news);
	rowsShown.clear();
	opened.clear();
	writeUrl();
	repaint('filter');
}
function repaint(key) {
	dirty.add(key);
	schedule();
}

function meaning() {
	const flat = services.size <= FEW, states = filter.states ?? (flat ? 'all' : 'not_up_to_date'), query = filter.query.trim().toLowerCase();
	const hit = ({ letter, name, image }) => (states === 'all' || (states.has ? states.has(letter) : letter !== 'u')) && (!query || (name + '\n' + image).toLowerCase().includes(query));
	return { flat, states, query, hit, all: [...images.values()].flatMap(image => image.list) };
}

function paintFilters() {
	const { states } = meaning(), { counts } = world, total = services.size;
	keyed($('filters'), ['all', 'not_up_to_date', ...ORDER], key => key, key => button('', [STATES[key] && h('i.' + key), h('span', words(STATES[key] || key)), h('b')], { 'data-filter': key }), (el, key) => {
		const count = key === 'all' ? total : STATES[key] ? counts[STATES[key]] : total - (counts.up_to_date || 0);
		put(el.lastChild, num(count));
		set(el, 'class', count ? '' : 'zero');
		set(el, 'aria-pressed', states.has ? states.has(key) : states === key);
	});
}

function paintMap() {
	const { flat, all } = meaning();
	let last;
	if (show($('map'), !flat)) paintCells(paintMap, one($('map'), '.cells'), all, service => {
		const name = service.letter + (service.image === last ? '' : ' g');
		last = service.image;
		return name;
	});
}

let rebuild = false;
function paintGroups() {
	const { flat, states, query, hit, all } = meaning(), narrowed = query || states !== 'all';
	let groups = [{ key: '', all, list: flat ? all.filter(hit) : [], open: true }];
	if (!flat) groups = [...images.values()].map(({ image: key, list }) => {
		const hits = narrowed ? list.filter(hit) : list;
		return { key, all: list, list: hits, open: opened.get(key) ?? (narrowed || hits.some(service => service.letter !== 'u')) };
	});
	groups = groups.filter(group => group.list.length);
	set($('groups'), 'class', flat ? 'flat' : 'grouped');
	keyed($('groups'), groups, group => group.key, () => h('div.grp'), (el, group) => {
		const same = el.group && el.group.open === group.open && el.group.list.length === group.list.length;
		el.group = group;
		if (rebuild || !same || flat || dirtyImages.has(group.key)) unbuilt.add(el);
	});
	rebuild = false;
	dirtyImages.clear();
	if (unbuilt.size) jobs.add(buildGroups);
	if (show($('none'), !groups.length)) {
		put($('none').firstChild, !all.length ? 'Gantry watches no service yet.' : query ? `No service or image shown here has “${filter.query.trim()}” in its name.`
			: states.has ? 'No service is in this state.' : `All ${num(all.length)} services are on the newest image.`);
		show($('show-all'), all.length);
	}
}

const unbuilt = new Set();
let groupIds = 0;
function buildGroups() {
	const until = performance.now() + 4;
	let rows = 40;
	for (const el of unbuilt) {
		unbuilt.delete(el);
		if (el.isConnected) rows -= paintGroup(el, el.group) || 1;
		if (unbuilt.size && (rows < 0 || performance.now() > until)) return jobs.add(buildGroups);
	}
}

function paintGroup(el, { key, all, list, open }) {
	if (!el.firstChild) {
		const id = 'g' + ++groupIds;
		el.append(h('h3', button('.link', key || 'All', { 'data-group': key, 'aria-controls': id }), h('span.soft'), h('span.row')), h('div', { id }));
	}
	const [head, body] = el.children, count = {};
	set(head.firstChild, 'aria-expanded', !!open);
	put(head.children[1], many(all.length, 'service'));
	for (const { letter } of all) count[letter] = (count[letter] || 0) + 1;
	keyed(head.children[2], ORDER.filter(letter => count[letter]), letter => letter, letter => mark(letter),
		(node, letter) => remark(node, letter, `${num(count[letter])} ${words(STATES[letter])}`));
	if (!show(body, open)) return;
	if (!body.firstChild) {
		body.append(table(key ? 'Services of ' + key : 'Services', [['Service', '.c-name'], ['Image', '.c-img'], ['State and cause'], ['Digest', '.c-dig'], ['Tasks', '.c-task']]),
			button('.more', '', { 'data-more': key }));
	}
	const limit = rowsShown.get(key) || (key ? ROWS : FEW);
	const rows = (list.length > limit ? [...list].sort((a, b) => (a.letter === 'u') - (b.letter === 'u')) : list).slice(0, Math.min(limit, one(body, 'tbody').childNodes.length + 40));
	if (rows.length < Math.min(limit, list.length)) unbuilt.add(el);
	keyed(one(body, 'tbody'), rows, service => service.name, ({ name, letter }) => h('tr', h('th.c-name', { scope: 'row' }, link(name)), h('td.c-img.soft'),
		h('td', h('div.sw', mark(letter), h('div.why', h('span'), ' ', h('span.soft', 'since ', h('time'))))), h('td.c-dig.mono.soft'), h('td.c-task')), paintRow);
	fill(body.lastChild, list.length > limit && `Show ${num(Math.min(200, list.length - limit))} more of ${num(list.length)}`);
	if (!el.sized) el.style.setProperty('contain-intrinsic-block-size', `auto ${el.sized = 46 + rows.length * 38}px`);
	return rows.length;
}
function paintRow(row, { letter, why, since, digest, newest, tasks, image }) {
	const is = [letter, why, since, digest, newest, tasks?.running, tasks?.desired, image].join('\n');
	if (row.is === is) return;
	row.is = is;
	const [, img, state, dig, task] = row.children, [sign, cause] = state.firstChild.children;
	put(img, image);
	remark(sign, letter);
	set(cause, 'class', letter === 'u' ? 'why soft quiet' : 'why');
	put(cause.firstChild, why);
	show(cause.lastChild, since && letter !== 'u');
	time(cause.lastChild.lastChild, since);
	put(dig, digest === newest ? short(digest) : arrow(digest, newest));
	set(dig, 'title', digest ?? '');
	put(task, tasks ? `${tasks.running}/${tasks.desired}` : '');
	set(task, 'class', 'c-task' + (tasks && tasks.running < tasks.desired ? ' few' : ''));
}

// Quarantine and history.

one($('quarantine'), '.card').append(table('Digests that Gantry does not try again', [['Digest'], ['Cause'], ['Since', '.wide'], ['Ends', '.wide'], ['Release', '.act']]));
one($('history'), '.card').append(table('Runs with news, the newest first', [['Run'], ['Ended'], ['Began by', '.wide'], ['Result']]));

function paintQuarantine() {
	show($('quarantine'), world.quarantine.length);
	keyed(one($('quarantine'), 'tbody'), world.quarantine, entry => JSON.stringify([entry, world.steer]), entry => h('tr',
		h('th', { scope: 'row' }, entry.service ? link(entry.service) : 'All services', h('div.soft', entry.image, ' ', h('code', { title: entry.digest }, short(entry.digest)))),
		h('td.why', capital(entry.cause) + (entry.touched > 1 ? ` (${num(entry.touched)} services got it)` : '')), h('td.wide', when(entry.since)), h('td.wide', entry.until ? when(entry.until) : 'when the tag moves'),
		h('td.act', world.steer && button('.risky', 'Release…', { 'data-release': entryKey(entry), 'aria-label': `Release… ${short(entry.digest)} for ${entry.service || entry.image}` }))));
}

let olderRuns = [];
function paintHistory() {
	const list = [...world.history, ...olderRuns];
	show($('history'), list.length);
	show($('older'), !olderRuns.length && list.length >= 20);
	keyed(one($('history'), 'tbody'), list, run => run.id, run => h('tr', h('td', button('.link', String(run.id), { 'data-run': run.id, 'aria-label': `Report of run ${run.id}` })),
		h('td.soft', when(run.ended)), h('td.wide.soft', beganBy(run)), h('td.why', run.failed && mark('f', 'failed'), ' ', run.summary)));
}

// The drawer.

const drawn = {};

async function draw(kind, name, title, fill) {
	Object.assign(drawn, { service: null, run: null, [kind]: name });
	put($('drawer-title'), title);
	const body = $('drawer-body'), old = drawn.title === title && $('drawer').open;
	drawn.title = title;
	if (!old) {
		body.replaceChildren(h('p.soft', 'Asking Gantry…'));
		if (!$('drawer').open) $('drawer').showModal();
		$('drawer-title').focus();
		writeUrl();
	}
	const parts = await call(`${kind}s/${encodeURIComponent(name)}`).then(fill, error => [h('p.error', error.message)]);
	if (drawn[kind] !== name) return;
	const had = body.contains(document.activeElement);
	body.replaceChildren(h('div', parts));
	if (had) $('drawer-title').focus();
}
const row = (name, value) => h('tr', h('th', { scope: 'row' }, words(name)), h('td', value));
const facts = list => h('dl', list.map(([name, ...value]) => value[0] && [h('dt', name), h('dd', ...value)]));

const signOf = name => { const s = services.get(name); return s && [s.letter, s.why, s.since, s.digest].join('\n'); };
function explain(name) {
	drawn.sign = signOf(name);
	return draw('service', name, name, s => {
		const entry = world?.attention.find(item => item.service === name), next = s.next || world?.look.next;
		return [h('div.row', mark(letterOf(s.state)), s.since && h('span.soft', 'since ', when(s.since))), s.why && h('p.why', capital(s.why)),
			facts([['Image', s.image], ['Runs', s.digest ? h('code', s.digest) : 'unknown digest'], ['Newest', s.newest && (s.newest === s.digest ? 'the same digest' : h('code', s.newest))],
				['Tasks', s.tasks && `${s.tasks.running} of ${s.tasks.desired} running`], ['Account', s.account || 'none'], ['Held until', s.until && when(s.until, true)], ['Next', next && when(next, true)]]),
			world?.steer && h('div.row', button('.main', 'Update now', { click() { $('drawer').close(); runNow({ services: [name] }, name); } }), quarantined(s.image, [name]).map(releaseButton),
				s.offers && button('.risky', `Approve ${short(s.offers)}…`, { click() { askApprove(s); } })),
			entry?.health && h('p.soft', 'Health check: ' + entry.health), log(entry?.log, 'Last words'),
			s.gates && table('Rules', [['Rule'], ['Says']], s.gates.map(({ gate, verdict, why }) => row(gate, verdict + ': ' + why))),
			s.policy && table('Settings', [['Setting'], ['Value']], Object.entries(s.policy).map(([key, value]) => row(key, String(value))))];
	});
}
let drawerTimer = 0;
function refreshDrawer() {
	const name = drawn.service;
	if (name && $('drawer').open && signOf(name) !== drawn.sign) drawerTimer ||= setTimeout(() => { drawerTimer = 0; if (drawn.service) explain(drawn.service); }, 1500);
}

const report = id => draw('run', id, 'Run ' + id, run => {
	const rows = [...run.services || []].sort((a, b) => !!b.cause - !!a.cause);
	return [facts([['Result', run.failed ? mark('f', 'failed') : run.state === 'under_way' ? 'under way' : 'nothing failed'], ['Summary', run.summary],
		['Begun', when(run.began, true), ' by ' + beganBy(run)], ['Ended', run.ended && when(run.ended, true)]]), log(run.errors, 'Errors'),
	rows.length && table('Services of run ' + id, [['Service'], ['Outcome'], ['Time']], rows.slice(0, 200).map(row => h('tr', h('td', row.service, h('div.soft.mono', arrow(row.from, row.to))),
		h('td', words(row.outcome), row.cause && h('div.why', row.cause), row.health && h('div.soft', 'Health check: ' + row.health), log(row.log, 'Last words')),
		h('td.soft', row.seconds == null ? '' : Math.round(row.seconds) + ' s')))),
	rows.length > 200 && h('p.soft', `and ${num(rows.length - 200)} more`)];
});

// Steering.

function say(first, firstKind) {
	const text = h('span'), line = h('div', text, button('', '×', { 'aria-label': 'Close this message', click: () => line.remove() }));
	let timer;
	const tell = (words, kind = '') => {
		put(text, words);
		set(line, 'class', kind);
		if (!line.isConnected) $('said').append(line);
		clearTimeout(timer);
		if (kind === 'ok') timer = setTimeout(() => line.remove(), 60e3);
	};
	tell(first, firstKind);
	if ($('said').children.length > 3) $('said').firstChild.remove();
	return tell;
}

async function runNow(what, name) {
	if ($('run').ariaDisabled === 'true') return say('The run that you began is still under way.');
	const tell = say(name ? `Gantry looks for a newer image of ${name}…` : 'Gantry looks for newer images…');
	$('run').ariaDisabled = true;
	try {
		let run = await post('run', { ...what, wait: 55 });
		$('run').ariaDisabled = false;
		const { id } = run;
		if (run.state !== 'done') tell(`Run ${id} is under way. This line tells when it ends.`);
		for (let missed = 0; run.state !== 'done';) {
			await new Promise(done => setTimeout(done, 3000));
			await call('runs/' + id).then(news => { run = news; missed = 0; }, error => { if (++missed > 20) throw error; });
		}
		const { failed, summary, errors = [] } = run;
		tell([`Run ${id} ${failed ? 'failed' : 'is over'}`, summary, errors[0]].filter(Boolean).join(': '), failed ? 'bad' : 'ok');
	} catch (error) {
		tell('No result of the run: ' + error.message, 'bad');
	}
	$('run').ariaDisabled = false;
}

let act;
function ask(title, ok, kind, body, then) {
	put($('ask-title'), title);
	$('ask-body').replaceChildren(...body);
	put($('ask-ok'), ok);
	set($('ask-ok'), 'class', kind);
	put($('ask-error'), '');
	act = then;
	$('ask').showModal();
}
$('ask-form').addEventListener('submit', async event => {
	event.preventDefault();
	put($('ask-error'), '');
	$('ask-ok').disabled = true;
	try {
		const text = await act();
		$('ask').close();
		say(text, 'ok');
	} catch (error) {
		put($('ask-error'), error.message);
	}
	$('ask-ok').disabled = false;
});

function askRelease(key) {
	const gone = 'This digest is not in quarantine any more. Nothing was released.';
	const find = () => world.quarantine.find(entry => entryKey(entry) === key), entry = find();
	if (!entry) return say(gone);
	const { service, image, digest } = entry, whose = service || `all services of ${image}`, name = `Release ${short(digest)}`;
	ask(name + '?', name, 'danger', [h('p', `Gantry will update ${whose} to this digest again:`), h('p', h('code', `${image}@${digest}`)),
		h('p.soft', `In quarantine since ${clock(entry.since)}. Cause: ${entry.cause}`)], async () => {
		if (!find()) throw new Error(gone);
		return capital((await post('release', service ? { service } : { image })).words);
	});
}

// The digest is the one that the drawer shows, whatever the tag stands at by now.
function askApprove({ service, offers_image: image, offers: digest }) {
	const name = `Approve ${short(digest)}`, why = h('input', { id: 'why', maxlength: 160 });
	ask(name + '?', name, 'main', [h('p', `Gantry will update ${service} to this digest, and to no other:`), h('p', h('code', `${image}@${digest}`)),
		h('label', { for: 'why' }, 'Reason'), why], async () => {
		const { newer } = await post('approve', { service, digest, why: why.value });
		return `${short(digest)} is approved for ${service}.` + (newer ? ` The tag has moved on to ${short(newer)}, which needs an approval of its own.` : '');
	});
}

function askPause() {
	const why = h('input', { id: 'why', required: true, maxlength: 200 });
	const lasts = h('select', { id: 'for' }, ['2 hours', '1 hour', '4 hours', '8 hours', '1 day', '3 days', '7 days'].map(text => h('option', text)));
	ask('Pause all updates', 'Pause', 'main', [h('p.soft', 'No update begins during the pause, which ends by itself. Gantry watches what is under way to its end.'),
		h('label', { for: 'why' }, 'Reason'), why, h('label', { for: 'for' }, 'How long'), lasts], async () => {
		if (!why.value.trim()) throw new Error('Give a reason, so that others know why no update begins.');
		const { paused } = await post('pause', { why: why.value, for: lasts.value });
		return `Updates are paused until ${clock(paused.until)}.`;
	});
}

async function resume() {
	const tell = say('Asking Gantry to resume…');
	await post('resume', {}).then(() => tell('Updates may begin again.', 'ok'), error => tell('Still paused: ' + error.message, 'bad'));
}

function gate(text, optional) {
	put($('gate-words'), text);
	show($('gate'), true);
	show($('gate-cancel'), optional);
	if (!optional) {
		wire = 'gate';
		$('drawer').close();
		$('ask').close();
	}
	schedule();
	$('token').focus();
}
$('gate-form').addEventListener('submit', event => {
	event.preventDefault();
	token = $('token').value.trim();
	$('token').value = '';
	try { sessionStorage.setItem('gantry-token', token); } catch { /* The token then lasts until the page loads again. */ }
	show($('gate'), false);
	wire = 'new';
	world = null;
	listen();
	schedule();
});

document.addEventListener('click', event => {
	const service = cellAt(event), el = event.target.closest('button');
	if (service) return explain(service.name);
	if (!el) return;
	const { service: name, run, release, filter: key, group, more: lengthen } = el.dataset;
	if (name != null) explain(name);
	else if (run) report(run);
	else if (release) askRelease(release);
	else if (STATES[key]) {
		const states = new Set(filter.states?.has ? filter.states : []);
		if (!states.delete(key)) states.add(key);
		setFilter({ states: states.size ? states : null });
	} else if (key) setFilter({ states: key });
	else if (group != null) {
		opened.set(group, el.getAttribute('aria-expanded') !== 'true');
		repaint('services');
	} else if (lengthen != null) {
		rowsShown.set(lengthen, (rowsShown.get(lengthen) || ROWS) + 200);
		dirtyImages.add(lengthen);
		repaint('services');
	}
});
document.addEventListener('mouseover', event => {
	const service = cellAt(event);
	if (event.target.dateTime) event.target.title = new Date(event.target.dateTime).toString();
	if (service) event.target.title = `${service.name} (${service.image}): ${words(STATES[service.letter])}`;
});
let searchTimer = 0;
for (const [el, then] of [
	[$('run'), () => runNow({})], [$('pause'), askPause], [$('resume'), resume], [$('retry'), () => wakeUp?.()], [$('ask-cancel'), () => $('ask').close()],
	[$('gate-cancel'), () => show($('gate'), false)], [$('other'), () => gate('A token that may steer shows the buttons for it.', true)],
	[$('show-all'), () => { $('search').value = ''; setFilter({ states: 'all', query: '' }); $('services-title').focus(); }],
	...Object.keys(shown).map(id => [one($(id), '.more'), () => { shown[id] += 100; repaint(id); }]),
	[$('older'), () => call('runs').then(({ runs }) => { olderRuns = runs; repaint('history'); }, error => say('No older runs: ' + error.message, 'bad'))],
	[$('drawer'), event => { if (event.target === $('drawer')) $('drawer').close(); }],
]) el.addEventListener('click', then);
$('search').addEventListener('input', () => {
	clearTimeout(searchTimer);
	searchTimer = setTimeout(() => setFilter({ query: $('search').value }), 120);
});
$('drawer').addEventListener('close', () => { drawn.service = drawn.run = null; writeUrl(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) { tick(); if (world) needRows(0); wakeUp?.(); } });

// Every second: the clock, and whether the server is still heard.
function tick() {
	const now = Date.now();
	const silent = now - Math.max(heard, tried) > 40e3;
	if (silent) abort?.abort();
	if (wire === 'live' && silent || wire === 'again' && now - brokeAt > 4e3) { wire = 'stale'; schedule(); }
	set($('live'), 'class', wire === 'live' || wire === 'stale' ? wire : 'wait');
	show($('retry'), wire === 'stale' && retryAt);
	const next = world?.look.next && new Date(world.look.next) - serverNow();
	const again = 'trying again' + (retryAt ? ` in ${Math.max(0, Math.ceil((retryAt - now) / 1000))} s` : '');
	put($('live-words'), {
		live: 'live' + (world?.runs.length ? ' · looking now' : !next ? '' : next > 0 ? ` · next look in ${left(next)}` : ' · a look is due'),
		gate: 'no data without a token', new: 'connecting…', again: 'connecting again…',
		stale: (world ? `stale since ${clock(heard + ahead)}, ` : 'no connection, ') + again + (trouble ? `. ${trouble}` : ''),
	}[wire]);
	if (world) speak();
}
setInterval(tick, 1000);

const given = new URLSearchParams(location.hash.slice(1)).get('token');
try {
	if (given) sessionStorage.setItem('gantry-token', given);
	token = sessionStorage.getItem('gantry-token') || '';
} catch { token = given || ''; }
if (given) history.replaceState(null, '', location.pathname + location.search);
readUrl();
show($('live'), true);
listen();
tick();
