// The status page of Gantry. Foreign text (names, causes, last words) reaches the page only as text nodes.
'use strict';
const $ = id => document.getElementById(id);
const STATES = {
  u: 'up_to_date', p: 'updating', w: 'waiting', h: 'held', q: 'quarantined',
  l: 'left_alone', a: 'needs_attention', f: 'rollback_failed', e: 'error',
};
const LETTER = Object.fromEntries(Object.entries(STATES).map(([letter, state]) => [state, letter]));
const FILTER_ORDER = 'feaqpwhlu'; // What needs a person comes first.
const FEW = 60; // Up to this many services the page shows one table; above it, services are grouped by image.
const ROWS = 50; // Rows of one image before a button shows more.
const PAINT_MS = 250;
const SILENCE_MS = 40e3;

let world = null; // The last state, kept up to date by the changes.
let services = new Map(); // By name: {name, image, letter, why, since, digest, newest, tasks}.
let images = new Map(); // By image: {image, newest, list}.
let shape = 0; // Counts how often services appeared, left or changed their image.
let ahead = 0; // The server's clock minus this browser's.
let token = '';

// Elements -----------------------------------------------------------------------------------------------------------

function h(tag, props, ...kids) {
  const el = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (value == null || value === false) continue;
    if (key.startsWith('on')) el.addEventListener(key.slice(2), value);
    else if (key === 'class') el.className = value;
    else el.setAttribute(key, value === true ? '' : value);
  }
  el.append(...kids.filter(kid => kid != null && kid !== ''));
  return el;
}

// Sets a text only where it changed, so that a selection inside it survives.
function put(el, text) {
  text = text == null ? '' : String(text);
  if (el.put !== text) {
    el.put = text;
    if (el.childNodes.length === 1 && el.firstChild.nodeType === 3) el.firstChild.data = text;
    else el.textContent = text;
  }
  return el;
}

function show(el, on) {
  if (el.hidden === !!on) el.hidden = !on;
  return on;
}

function classes(el, names) {
  if (el.className !== names) el.className = names;
}

// Makes the children of `parent` those of `items`, by key. A node that stays keeps its focus; where the focused node
// leaves, the focus goes to the title of its section.
function keyed(parent, items, keyOf, make, update) {
  const focus = document.activeElement;
  const had = focus && parent.contains(focus);
  const old = parent.keyed || new Map(), now = new Map();
  for (const item of items) {
    let key = keyOf(item), node = old.get(key);
    while (now.has(key)) node = old.get(key += '\n');
    if (!node) { node = make(item); node.fresh = true; }
    now.set(key, node);
  }
  for (const [key, node] of old) if (!now.has(key)) node.remove();
  let at = parent.firstChild, i = 0;
  for (const node of now.values()) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
    update(node, items[i++]);
    node.fresh = false;
  }
  parent.keyed = now;
  if (had && document.activeElement !== focus) {
    if (focus.isConnected) focus.focus({ preventScroll: true });
    else parent.closest('section')?.querySelector('h2')?.focus({ preventScroll: true });
  }
}

// Words --------------------------------------------------------------------------------------------------------------

const num = n => Number(n || 0).toLocaleString('en');
const many = (n, one, more = one + 's') => `${num(n)} ${n === 1 ? one : more}`;
const words = state => String(state || '').replaceAll('_', ' ');
const short = digest => digest ? String(digest).replace(/^sha256:/, '').slice(0, 12) : '';
const capital = text => { text = String(text || ''); return text.charAt(0).toUpperCase() + text.slice(1); };
const letterOf = state => LETTER[state] || 'e';
const serverNow = () => Date.now() + ahead;

const format = options => new Intl.DateTimeFormat('en-GB', options);
const CLOCK = format({ hour: '2-digit', minute: '2-digit' });
const SECONDS = format({ hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DAY = format({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
const FULL = format({ dateStyle: 'full', timeStyle: 'long' });

function clock(iso, seconds) {
  const date = new Date(iso);
  if (isNaN(date)) return String(iso || '');
  if (date.toDateString() !== new Date(serverNow()).toDateString()) return DAY.format(date);
  return (seconds ? SECONDS : CLOCK).format(date);
}

function time(el, iso, seconds) {
  put(el, iso ? clock(iso, seconds) : '');
  if (el.iso !== iso) {
    el.iso = iso;
    const date = new Date(iso);
    el.setAttribute('datetime', iso || '');
    el.title = iso && !isNaN(date) ? FULL.format(date) : '';
  }
  return el;
}
const when = (iso, seconds) => time(h('time'), iso, seconds);

function left(ms) {
  const s = Math.max(0, Math.ceil(ms / 1000)), two = n => String(n).padStart(2, '0');
  if (s < 3600) return `${Math.floor(s / 60)}:${two(s % 60)}`;
  return `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

// A state is a word, a shape and a colour.
function mark(letter) {
  const el = h('span', {}, h('i', { 'aria-hidden': 'true' }), h('span'));
  return remark(el, letter);
}
function remark(el, letter) {
  if (el.letter !== letter) {
    el.letter = letter;
    el.className = 's ' + letter;
    el.firstChild.className = letter;
    put(el.lastChild, words(STATES[letter]));
  }
  return el;
}
const explainButton = name => h('button', { type: 'button', class: 'link', 'data-service': name }, name);

// Talking to the server ----------------------------------------------------------------------------------------------

class Refused extends Error {}

async function call(path, options = {}) {
  const headers = { Accept: 'application/json', ...options.headers };
  if (token) headers.Authorization = 'Bearer ' + token;
  if (options.body) headers['Content-Type'] = 'application/json';
  const answer = await fetch(path, { cache: 'no-store', ...options, headers }).catch(error => {
    if (options.signal?.aborted) throw error;
    throw new Error('Gantry does not answer.');
  });
  if (options.stream && answer.ok) return answer;
  const body = await answer.json().catch(() => null);
  if (answer.status === 401) throw new Refused(problem(body) || 'Gantry needs a token.');
  if (!body || !(answer.ok || answer.status === 409 && body.services)) {
    throw new Error(problem(body) || `Gantry answered ${answer.status} without JSON. Is another server at this address?`);
  }
  return options.whole ? { status: answer.status, body } : body;
}
const problem = body => body?.error ? [capital(body.error), body.remedy && capital(body.remedy)].filter(Boolean).join(': ') : '';
const post = (path, body, whole) => call('api/v1/' + path, { method: 'POST', body: JSON.stringify(body), whole });

let connection = 'new'; // new, live, again (a first try after a break), stale, gate
let heard = 0; // When the server was last heard.
let trouble = '';
let retryAt = 0, wakeUp = null, abort = null, running = 0;

function listen() {
  const mine = ++running;
  abort?.abort();
  wakeUp?.();
  forever(mine);
}

async function forever(mine) {
  let pause = 1, blind = true;
  while (mine === running) {
    const control = abort = new AbortController();
    let bytes = 0;
    try {
      if (blind || !world) {
        const state = await call('api/v1/state', { signal: control.signal });
        if (mine !== running) return;
        setWorld(state);
        alive();
      }
      const answer = await call('api/v1/events', {
        stream: true, signal: control.signal,
        headers: { Accept: 'text/event-stream', 'Last-Event-ID': world.id },
      });
      heard = Date.now();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(), parse = parser();
      for (;;) {
        const { value, done } = await reader.read();
        if (done || mine !== running) break;
        bytes += value.length;
        pause = 1;
        alive();
        parse(value);
      }
      trouble = '';
    } catch (error) {
      if (mine !== running) return;
      if (error instanceof Refused) return gate(error.message);
      trouble = control.signal.aborted ? '' : error.message;
    }
    if (mine !== running) return;
    control.abort();
    blind = !bytes;
    connection = connection === 'live' ? 'again' : connection === 'new' && !trouble ? 'new' : 'stale';
    retryAt = Date.now() + pause * 1000;
    schedule();
    await new Promise(done => { wakeUp = done; setTimeout(done, pause * 1000); });
    pause = Math.min(15, pause * 2);
    retryAt = 0;
    if (connection === 'again') setTimeout(() => {
      if (connection === 'again' && mine === running) { connection = 'stale'; schedule(); }
    }, 3000);
    tick();
  }
}

function alive() {
  heard = Date.now();
  trouble = '';
  if (connection !== 'live') { connection = 'live'; schedule(); }
}

function parser() {
  let rest = '', type = '', data = [];
  return text => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === '') {
        if (data.length) {
          const body = JSON.parse(data.join('\n'));
          if (type === 'state') setWorld(body);
          else if (type === 'change') change(body);
        }
        type = ''; data = [];
      } else if (line.startsWith('event:')) type = line.slice(6).trim();
      else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
    }
  };
}

// The model ----------------------------------------------------------------------------------------------------------

const DIRTY = new Set();
const dirtyImages = new Set();

function setWorld(state) {
  world = state;
  if (state.now) ahead = new Date(state.now) - Date.now();
  const before = services;
  services = new Map();
  images = new Map();
  for (const { image, newest, services: names, states } of state.images || []) {
    const group = { image, newest, list: [] };
    images.set(image, group);
    names.forEach((name, i) => {
      const letter = STATES[states[i]] ? states[i] : 'e', known = before.get(name);
      const same = known && known.image === image && known.letter === letter;
      const service = { why: '', since: null, digest: null, tasks: null, ...(same ? known : {}), name, image, letter, newest };
      services.set(name, service);
      group.list.push(service);
    });
  }
  for (const entry of state.attention || []) {
    const service = services.get(entry.service);
    if (service && !service.why) Object.assign(service, { why: entry.why, since: entry.since });
  }
  shape++;
  DIRTY.add('all');
  needRows(0);
  schedule();
}

function change(news) {
  if (!world) return;
  for (const [key, value] of Object.entries(news)) {
    if (key === 'services') continue;
    world[key] = value;
    DIRTY.add(key);
  }
  if (news.now) ahead = new Date(news.now) - Date.now();
  for (const row of news.services || []) {
    let service = services.get(row.service);
    if (service && (row.image !== service.image || !row.state)) {
      const group = images.get(service.image);
      group.list.splice(group.list.indexOf(service), 1);
      dirtyImages.add(service.image);
      if (!group.list.length) images.delete(service.image);
      services.delete(row.service);
      service = null;
      shape++;
    }
    if (!row.state) continue;
    if (!service) {
      if (!images.has(row.image)) images.set(row.image, { image: row.image, newest: null, list: [] });
      service = { name: row.service, image: row.image, digest: null, tasks: null, newest: images.get(row.image).newest };
      services.set(row.service, service);
      images.get(row.image).list.push(service);
      shape++;
    }
    service.letter = letterOf(row.state);
    service.why = row.why;
    service.since = row.since;
    dirtyImages.add(row.image);
  }
  if (news.services) { DIRTY.add('services'); needRows(2000); }
  schedule();
}

// Digests, tasks and causes of all services: asked for after news, at most every 30 s.
let rowsAt = 0, rowsTimer = 0;
function needRows(delay) {
  if (rowsTimer) return;
  rowsTimer = setTimeout(async () => {
    rowsTimer = 0;
    if (document.hidden) { rowsAt = 0; return; }
    rowsAt = Date.now();
    try {
      const all = (await call('api/v1/services')).services;
      let gone = all.length !== services.size;
      for (const row of all) {
        const service = services.get(row.service);
        if (!service) { gone = true; continue; }
        service.digest = row.digest;
        service.newest = row.newest;
        service.tasks = row.tasks;
        if (letterOf(row.state) === service.letter) { service.why = row.why; service.since = row.since; }
        dirtyImages.add(service.image);
      }
      DIRTY.add('services');
      if (gone) setWorld(await call('api/v1/state'));
      else schedule();
    } catch { /* The stream tells of a lost connection; rows without digests are no error. */ }
  }, Math.max(delay, rowsAt ? rowsAt + 30e3 - Date.now() : 0));
}

// Painting: at most every 250 ms -------------------------------------------------------------------------------------

let paintTimer = 0, painted = 0;
function schedule() {
  if (!paintTimer) paintTimer = setTimeout(paint, Math.max(0, painted + PAINT_MS - performance.now()));
}

function paint() {
  paintTimer = 0;
  painted = performance.now();
  tick();
  if (!show($('world'), world && connection !== 'gate')) return;
  const all = DIRTY.delete('all'), dirty = key => all || DIRTY.has(key);
  paintVerdict();
  paintGuard();
  if (dirty('attention') || dirty('attention_omitted') || dirty('quarantine')) paintAttention();
  if (dirty('rollouts') || dirty('services') || dirty('quarantine')) paintRollouts();
  if (dirty('counts') || dirty('services') || dirty('filter')) paintServices(all || DIRTY.has('filter'));
  if (dirty('quarantine')) paintQuarantine();
  if (dirty('history')) paintHistory();
  if (dirty('services')) refreshDrawer();
  DIRTY.clear();
  dirtyImages.clear();
}

const ICONS = {
  ok: ['1b7a43', 'M7 12.5l3.5 3.5 6.5-8'], busy: ['2360c4', 'M12 18V6m-5 5 5-5 5 5'], paused: ['955800', 'M9 7v10m6-10v10'],
  attention: ['bf2626', 'M12 6v7m0 4v.5'], unknown: ['566070', 'M7 12h10'], stale: ['955800', 'M12 6v6l4 3'],
};
const SIGNS = { ok: '✓', busy: '↑', paused: '‖', attention: '▲', unknown: '?', stale: 'Stale:' };

function paintVerdict() {
  const level = ICONS[world.verdict.level] ? world.verdict.level : 'unknown', stale = connection === 'stale';
  const said = capital(world.verdict.words);
  const text = stale ? `Stale since ${clock(heard + ahead)}. Then: ${said}` : said;
  put($('verdict-words'), text);
  classes($('verdict'), level);
  $('verdict-icon').setAttribute('href', '#i-' + level);
  document.body.classList.toggle('stale', stale);
  const total = services.size, { began, seconds, next } = world.look || {};
  const more = $('verdict-more');
  if (!more.parts) {
    more.parts = [h('span'), h('time'), h('span'), h('time')];
    more.append(...more.parts);
  }
  const [counts, last, then, following] = more.parts;
  put(counts, `${num(world.counts.up_to_date)} of ${num(total)} up to date · ${began ? 'last look ' : 'no look yet'}`);
  time(last, began, true);
  put(then, (seconds == null ? '' : `, ${seconds < 10 ? Number(seconds).toFixed(1) : Math.round(seconds)} s`) + (next ? ' · next look ' : ''));
  time(following, next);
  put($('where'), [world.node, many(total, 'service')].filter(Boolean).join(' · '));
  put($('version'), 'Gantry ' + world.version);
  const key = stale ? 'stale' : level, count = (world.attention || []).length + (world.attention_omitted || 0);
  const title = `${SIGNS[key]}${key === 'attention' && count ? ' ' + count : ''} Gantry`;
  if (document.title !== title) document.title = title;
  const [colour, path] = ICONS[key];
  const icon = `data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="%23${colour}"/><path d="${path}" fill="none" stroke="%23fff" stroke-width="3"/></svg>`;
  if ($('icon').getAttribute('href') !== icon) $('icon').setAttribute('href', icon);
  speak(text);
}

// The one status region: verdict changes only, at most every 10 s; the first verdict is the page's heading anyway.
let spoken = null, spokenAt = 0, toSpeak = null;
function speak(text) {
  if (text != null) toSpeak = text;
  if (spoken == null) spoken = toSpeak;
  if (toSpeak === spoken || Date.now() - spokenAt < 10e3) return;
  spoken = toSpeak;
  spokenAt = Date.now();
  put($('spoken'), spoken);
}

function paintGuard() {
  const guard = world.guard || {}, items = [];
  if (guard.by_hand) items.push({ key: 'hand', hand: guard.by_hand });
  (guard.paused || []).forEach((pause, i) => items.push({ key: 'pause' + i, pause }));
  if (!items.length) items.push({ key: 'free' });
  for (const run of world.runs || []) items.push({ key: 'run' + run.id, run });
  keyed($('guard'), items, item => item.key, item => {
    if (item.hand) return h('div', { class: 'stop' }, h('span', { class: 'bars', 'aria-hidden': 'true' }), h('b'), h('span', {}, 'until ', h('time')));
    if (item.pause) return h('div', { class: 'stop' }, h('span', { class: 'bars', 'aria-hidden': 'true' }), h('b'), h('span', {}, 'since ', h('time')));
    if (item.run) return h('span', {}, h('b'), h('span'), h('time'));
    return h('span', {}, 'Guard ', h('b', {}, 'no pause, updates may begin'));
  }, (el, { hand, pause, run }) => {
    if (hand) {
      put(el.children[1], `Paused by ${hand.by || 'hand'}: ${hand.why}`);
      time(el.querySelector('time'), hand.until);
    } else if (pause) {
      put(el.children[1], `Paused: ${pause.why}`);
      time(el.querySelector('time'), pause.since);
    } else if (run) {
      put(el.children[0], `Run ${run.id}`);
      put(el.children[1], ` under way, begun by ${beganBy(run)} at `);
      time(el.children[2], run.began, true);
    }
  });
  const steer = world.steer;
  show($('run'), steer);
  show($('pause'), steer && !guard.by_hand);
  show($('resume'), steer && guard.by_hand);
}
const beganBy = run => run.by ? `${run.by} (${words(run.trigger)})` : words(run.trigger);

// Attention: one card for each image and cause.
let attentionShown = 10;
function paintAttention() {
  const groups = new Map();
  for (const entry of world.attention || []) {
    const key = JSON.stringify([entry.image, entry.state, entry.why]);
    if (!groups.has(key)) groups.set(key, { key, ...entry, entries: [] });
    groups.get(key).entries.push(entry);
  }
  const all = [...groups.values()], section = $('attention');
  if (!show(section, all.length)) return keyed(section.querySelector('.list'), [], null, null, null);
  keyed(section.querySelector('.list'), all.slice(0, attentionShown), group => group.key, group => {
    const el = h('article', { class: 'card att' },
      h('div', { class: 'row' }, h('h3', { class: 'names row' }), mark(letterOf(group.state)), h('span', { class: 'soft' }, h('span'), ' since ', h('time')),
        h('span', { class: 'sp' })),
      h('p', { class: 'why' }), h('p', { class: 'soft health' }), h('details', {}, h('summary', {}, 'Last words'), h('pre')));
    el.querySelector('details').open = all.length <= 3;
    return el;
  }, (el, group) => {
    const names = el.querySelector('.names'), some = group.entries.slice(0, 8), rest = group.entries.length - some.length;
    keyed(names, rest ? [...some, { rest }] : some, entry => entry.rest ? '\0' : entry.service,
      entry => entry.rest ? h('span', { class: 'soft' }) : explainButton(entry.service),
      (item, entry) => { if (entry.rest) put(item, `and ${num(entry.rest)} more`); });
    const soft = el.querySelector('.row>.soft');
    put(soft.firstChild, group.image);
    time(soft.lastChild, group.since);
    put(el.querySelector('.why'), capital(group.why));
    const health = group.entries.find(entry => entry.health)?.health, log = group.entries.find(entry => entry.log?.length)?.log;
    if (show(el.querySelector('.health'), health)) put(el.querySelector('.health'), 'Health check: ' + health);
    if (show(el.querySelector('details'), log)) put(el.querySelector('pre'), log.join('\n'));
    releaseButtons(el.querySelector('.sp'), quarantined(group.image, group.entries.map(entry => entry.service)));
  });
  const hidden = all.length - attentionShown, button = section.querySelector('.more');
  if (show(button, hidden > 0)) put(button, `Show ${num(hidden)} more`);
  const omitted = section.querySelector('.omitted');
  if (show(omitted, world.attention_omitted)) put(omitted, `${many(world.attention_omitted, 'more service')} not listed here. Filter the services by state below.`);
}

const entryKey = entry => JSON.stringify([entry.service, entry.image, entry.digest]);
const quarantined = (image, names) => (world.quarantine || []).filter(entry =>
  entry.service ? names.includes(entry.service) : entry.image === image).slice(0, 3);
function releaseButtons(parent, entries) {
  keyed(parent, world.steer ? entries : [], entryKey,
    entry => h('button', { type: 'button', class: 'warnish', 'data-release': entryKey(entry) }, `Release ${short(entry.digest)}…`), () => {});
}

// Rollouts -----------------------------------------------------------------------------------------------------------

const ROLLOUTS = ['stopped', 'running', 'held', 'superseded', 'done'];
const CELL_ORDER = Object.fromEntries([...'ufeaqpwhl'].map((letter, i) => [letter, i]));
let rolloutsShown = 12;

function rolloutWords(r) {
  switch (r.state) {
    case 'running':
      if (!r.succeeded && !r.failed && r.touched <= Math.max(1, r.canary?.length || 0)) return 'trying the canary';
      return `widening, ${num(r.width)} at a time`;
    case 'stopped': return `stopped after ${num(r.touched)} of ${num(r.total)}`;
    case 'held': return 'held';
    case 'superseded': return 'overtaken by a newer image';
    default: return words(r.state);
  }
}

function paintRollouts() {
  const all = [...world.rollouts || []].sort((a, b) => ROLLOUTS.indexOf(a.state) - ROLLOUTS.indexOf(b.state));
  const section = $('rollouts');
  show(section, all.length);
  keyed(section.querySelector('.list'), all.slice(0, rolloutsShown), r => JSON.stringify([r.image, r.to]), () => {
    const part = (...kids) => h('span', {}, h('span', { class: 's' }, h('i', { 'aria-hidden': 'true' }), h('b')), ...kids);
    return h('article', { class: 'card roll' },
      h('div', { class: 'row' }, h('h3', { class: 'name' }), h('span', { class: 'tag' }), h('span', { class: 'soft sp' }, h('span', {}, 'since ', h('time')))),
      h('div', { class: 'soft mono' }),
      h('div', { class: 'bar', role: 'img' }, h('b'), h('b'), h('b')),
      h('div', { class: 'legend' }, part(h('span')), part(h('span')), part(h('span')), part(h('span')), h('span', { class: 'canary' })),
      h('p', { class: 'why' }), h('div', { class: 'cells', role: 'img', hidden: true }), h('div', { class: 'row end', hidden: true }));
  }, (el, r) => {
    const [head, digests, bar, legend, why, cells, end] = el.children, state = ROLLOUTS.includes(r.state) ? r.state : 'held';
    classes(el, `card roll ${state}${r.total > 200 && state !== 'done' ? ' big' : ''}`);
    put(head.children[0], r.image);
    classes(head.children[1], 'tag ' + state);
    put(head.children[1], rolloutWords(r));
    time(head.querySelector('time'), r.since);
    put(digests, [short(r.from) || 'unknown', short(r.to) || 'unknown'].join(' → '));
    digests.title = `${r.from || 'unknown'} → ${r.to || 'unknown'}`;
    const parts = [[r.succeeded, 'updated', 'u'], [r.failed, 'failed', 'f'], [r.under_way, 'under way', 'p'],
      [r.waiting, state === 'stopped' ? 'kept from it' : 'waiting', 'w']];
    parts.forEach(([count, word, letter], i) => {
      const item = legend.children[i];
      item.className = count ? '' : 'zero';
      classes(item.firstChild.firstChild, letter === 'u' && state !== 'done' ? 'good u' : letter);
      classes(item.firstChild, 's ' + (count ? letter : ''));
      put(item.firstChild.lastChild, num(count));
      put(item.lastChild, ' ' + word);
      if (i < 3) {
        bar.children[i].hidden = !count;
        bar.children[i].style.setProperty('--w', (r.total ? 100 * count / r.total : 0) + '%');
      }
    });
    bar.setAttribute('aria-label', `${many(r.total, 'service')}: ` + parts.filter(p => p[0]).map(p => `${num(p[0])} ${p[1]}`).join(', '));
    const canary = r.canary || [];
    keyed(legend.lastChild, canary.length ? [{ text: canary.length > 1 ? 'canaries ' : 'canary ' }, ...canary.slice(0, 3).map(name => ({ name })),
      { text: canary.length > 3 ? `and ${canary.length - 3} more` : '' }] : [],
    item => item.name ?? '\0' + item.text, item => item.name ? h('span', {}, explainButton(item.name), ' ') : h('span'), (node, item) => { if (!item.name) put(node, item.text); });
    const reason = state === 'held' ? capital(r.held_for) : r.superseded_by ? `The tag moved to ${short(r.superseded_by)}.` : '';
    if (show(why, reason)) put(why, reason);
    const group = images.get(r.image), fits = group && group.list.length >= 12 && state !== 'done' && state !== 'superseded';
    if (show(cells, fits)) {
      const list = group.list.slice().sort((a, b) => CELL_ORDER[a.letter] - CELL_ORDER[b.letter]);
      paintCells(cells, list, service => service.letter === 'u' ? 'good' : service.letter);
      cells.setAttribute('aria-label', many(list.length, 'cell') + ', one for each service of the image');
    }
    const entries = state === 'stopped' ? (world.quarantine || []).filter(entry => entry.image === r.image && entry.digest === r.to).slice(0, 3) : [];
    if (show(end, entries.length && world.steer)) releaseButtons(end, entries);
    else releaseButtons(end, []);
  });
  const hidden = all.length - rolloutsShown, button = section.querySelector('.more');
  if (show(button, hidden > 0)) put(button, `Show ${many(hidden, 'more rollout')}`);
}

// One cell for each service; only cells whose class changed are touched.
function paintCells(el, list, classOf) {
  el.list = list;
  while (el.childNodes.length > list.length) el.lastChild.remove();
  while (el.childNodes.length < list.length) el.append(document.createElement('i'));
  let cell = el.firstChild;
  for (const service of list) {
    const name = classOf(service);
    if (cell.name !== name) { cell.name = name; cell.className = name; }
    cell = cell.nextSibling;
  }
}
function cellAt(event) {
  const cells = event.target.parentNode;
  if (event.target.tagName !== 'I' || !cells.list) return null;
  return cells.list[Array.prototype.indexOf.call(cells.childNodes, event.target)];
}

// Services -----------------------------------------------------------------------------------------------------------

let filter = { states: null, query: '' }; // states: null (the default), 'all', 'not', or a set of letters.
const opened = new Map(); // Groups that a person opened or closed.
const rowsShown = new Map();

function readUrl() {
  const query = new URLSearchParams(location.search), state = query.get('state');
  const letters = (state || '').split(',').map(word => LETTER[word]).filter(Boolean);
  filter = {
    states: state === 'all' ? 'all' : state === 'not_up_to_date' ? 'not' : letters.length ? new Set(letters) : null,
    query: query.get('q') || '',
  };
  $('search').value = filter.query;
}
function writeUrl() {
  const url = new URL(location.href), { states, query } = filter;
  const word = states === 'not' ? 'not_up_to_date' : states === 'all' ? 'all' : states ? [...states].map(letter => STATES[letter]).join(',') : '';
  const set = (key, value) => value ? url.searchParams.set(key, value) : url.searchParams.delete(key);
  set('state', word);
  set('q', query);
  set('explain', $('drawer').open && drawn.service);
  url.hash = '';
  history.replaceState(null, '', url.href.replace(/%2C/g, ',').replace(/#$/, ''));
}
function setFilter(news) {
  Object.assign(filter, news);
  rowsShown.clear();
  opened.clear();
  writeUrl();
  DIRTY.add('filter');
  schedule();
}

function paintServices(everything) {
  const total = services.size, flat = total <= FEW, counts = world.counts || {};
  const states = filter.states ?? (flat ? 'all' : 'not'), query = filter.query.trim().toLowerCase();
  const shown = letter => states === 'all' || (states === 'not' ? letter !== 'u' : states.has(letter));
  const hit = service => shown(service.letter) && (!query || service.name.toLowerCase().includes(query) || service.image.toLowerCase().includes(query));

  const buttons = [{ key: 'all', word: 'all', count: total }, { key: 'not', word: 'not up to date', count: total - (counts.up_to_date || 0) },
    ...[...FILTER_ORDER].map(letter => ({ key: letter, word: words(STATES[letter]), count: counts[STATES[letter]] || 0, letter }))];
  keyed($('filters'), buttons, b => b.key, b => h('button', { type: 'button', 'data-filter': b.key },
    b.letter && h('i', { class: b.letter, 'aria-hidden': 'true' }), h('span', {}, b.word), h('b')), (el, b) => {
    put(el.lastChild, num(b.count));
    el.classList.toggle('zero', !b.count);
    const pressed = String(b.letter ? states instanceof Set && states.has(b.letter) : states === b.key);
    if (el.getAttribute('aria-pressed') !== pressed) el.setAttribute('aria-pressed', pressed);
  });

  const narrowed = query || states !== 'all';
  if (show($('map'), total > FEW)) {
    let last = null;
    const list = [];
    for (const group of images.values()) for (const service of group.list) list.push(service);
    const cells = $('map').firstElementChild;
    paintCells(cells, list, service => {
      const first = service.image !== last;
      last = service.image;
      return service.letter + (first ? ' g' : '') + (query && !hit(service) ? ' dim' : '');
    });
    cells.setAttribute('aria-label', many(total, 'cell') + ', one for each service; the list below says the same in words');
    put($('map-words'), `One cell for each service, set apart by image. Click a cell to see why its service is (not) updated.`);
  }

  let groups;
  if (flat) {
    const list = [];
    for (const group of images.values()) for (const service of group.list) if (hit(service)) list.push(service);
    groups = list.length ? [{ key: '', image: '', list, all: list, open: true }] : [];
  } else {
    groups = [];
    for (const group of images.values()) {
      const list = narrowed ? group.list.filter(hit) : group.list;
      if (!list.length) continue;
      const open = opened.get(group.image) ?? (!!narrowed || list.some(service => service.letter !== 'u'));
      groups.push({ key: group.image, image: group.image, list, all: group.list, open });
    }
  }
  classes($('groups'), flat ? 'flat' : 'grouped');
  keyed($('groups'), groups, group => 'g' + group.key, () => h('section', { class: 'grp' }), (el, group) => {
    const fits = el.group && el.group.open === group.open && el.group.list.length === group.list.length;
    el.group = group;
    if (everything || !fits || flat || dirtyImages.has(group.image)) waitingGroups.add(el);
  });
  for (const el of waitingGroups) if (!el.isConnected) waitingGroups.delete(el);
  buildGroups();

  const none = $('none');
  if (show(none, !groups.length)) {
    if (!none.firstChild) none.append(h('span'), ' ', h('button', { type: 'button', 'data-filter': 'all' }, 'Show all services'));
    put(none.firstChild, !total ? 'Gantry watches no service yet.'
      : query ? `No service or image here has “${filter.query.trim()}” in its name.`
      : states === 'not' ? `All ${num(total)} services are on the newest image.` : 'No service is in this state.');
    show(none.lastChild, total);
  }
}

// Builds tables for some milliseconds at a time, so that no frame is late.
const waitingGroups = new Set();
let building = 0;
function buildGroups() {
  if (building) return;
  const until = performance.now() + 7;
  for (const el of waitingGroups) {
    waitingGroups.delete(el);
    if (el.isConnected) paintGroup(el, el.group);
    if (performance.now() > until) break;
  }
  if (waitingGroups.size) building = setTimeout(() => { building = 0; buildGroups(); }, 12);
}

function paintGroup(el, group) {
  if (!el.firstChild) {
    const id = 'g' + ++groupIds;
    el.append(h('h3', {}, h('button', { type: 'button', class: 'link', 'data-group': group.key, 'aria-controls': id }, group.image || 'All'), h('span', { class: 'soft' }), h('span', { class: 'row' })),
      h('div', { id }));
  }
  const [head, body] = el.children, { list, all, open } = group;
  head.firstChild.setAttribute('aria-expanded', open);
  put(head.children[1], many(all.length, 'service'));
  const count = {};
  for (const service of all) count[service.letter] = (count[service.letter] || 0) + 1;
  keyed(head.children[2], [...FILTER_ORDER].filter(letter => count[letter]), letter => letter,
    letter => h('span', { class: 's ' + letter }, h('i', { class: letter, 'aria-hidden': 'true' }), h('span')),
    (node, letter) => put(node.lastChild, `${num(count[letter])} ${words(STATES[letter])}`));
  if (!show(body, open)) return;
  if (!body.firstChild) {
    const th = (name, text) => h('th', { scope: 'col', class: name }, text);
    body.append(h('table', {}, h('caption', { class: 'unseen' }, group.image ? 'Services of ' + group.image : 'Services'),
      h('thead', {}, h('tr', {}, th('c-name', 'Service'), th('c-img', 'Image'), th('', 'State and cause'), th('c-dig', 'Digest'), th('c-task', 'Tasks'))),
      h('tbody')), h('button', { type: 'button', class: 'more', 'data-more': group.key, hidden: true }));
  }
  const limit = rowsShown.get(group.key) || (group.key ? ROWS : Infinity);
  let rows = list;
  if (list.length > limit) {
    rows = list.slice().sort((a, b) => (a.letter === 'u') - (b.letter === 'u')).slice(0, limit);
  }
  keyed(body.firstChild.tBodies[0], rows, service => service.name, makeRow, paintRow);
  if (show(body.lastChild, list.length > limit)) put(body.lastChild, `Show ${num(Math.min(200, list.length - limit))} more of ${num(list.length)}`);
  if (!el.sized) { el.sized = true; el.style.setProperty('contain-intrinsic-size', `auto ${46 + rows.length * 38}px`); }
}
let groupIds = 0;

function makeRow(service) {
  return h('tr', {}, h('th', { scope: 'row', class: 'c-name' }, explainButton(service.name)), h('td', { class: 'c-img soft' }),
    h('td', {}, h('div', { class: 'sw' }, mark(service.letter), h('div', { class: 'why' }, h('span'), h('span', { class: 'soft' }, ' since ', h('time'))))),
    h('td', { class: 'c-dig mono soft' }), h('td', { class: 'c-task' }));
}
function paintRow(row, service) {
  const { letter, why, since, digest, newest, tasks, image } = service;
  const is = [letter, why, since, digest, newest, tasks?.running, tasks?.desired, image].join('\n');
  if (row.is === is) return;
  row.is = is;
  const [, img, state, dig, task] = row.children, sw = state.firstChild;
  put(img, image);
  remark(sw.firstChild, letter);
  put(sw.lastChild.firstChild, why);
  if (show(sw.lastChild.lastChild, since && letter !== 'u')) time(sw.lastChild.lastChild.lastChild, since);
  put(dig, digest && newest && digest !== newest ? `${short(digest)} → ${short(newest)}` : short(digest));
  if (dig.digest !== digest) { dig.digest = digest; dig.title = digest || ''; }
  put(task, tasks ? `${tasks.running}/${tasks.desired}` : '');
  classes(task, 'c-task' + (tasks && tasks.running < tasks.desired ? ' few' : ''));
}

// Quarantine and history ---------------------------------------------------------------------------------------------

function paintQuarantine() {
  const section = $('quarantine'), list = world.quarantine || [];
  show(section, list.length);
  keyed(section.querySelector('tbody'), list, entryKey, entry => h('tr', {},
    h('th', { scope: 'row' }, entry.service ? explainButton(entry.service) : h('span'), h('div', { class: 'soft' }, h('span'), ' ', h('code', { title: entry.digest }, short(entry.digest)))),
    h('td', { class: 'why' }), h('td', { class: 'wide' }, h('time')), h('td', { class: 'wide' }), h('td', { class: 'act' })), (row, entry) => {
    const [name, cause, since, until, act] = row.children;
    if (!entry.service) put(name.firstChild, 'All services');
    put(name.lastChild.firstChild, entry.image);
    put(cause, capital(entry.cause) + (entry.touched > 1 ? ` (${num(entry.touched)} services got it)` : ''));
    time(since.firstChild, entry.since);
    if (entry.until) {
      if (until.firstChild?.tagName !== 'TIME') until.replaceChildren(h('time'));
      time(until.firstChild, entry.until);
    } else put(until, 'when the tag moves');
    keyed(act, world.steer ? [entry] : [], entryKey, item => h('button', { type: 'button', class: 'warnish', 'data-release': entryKey(item),
      'aria-label': `Release ${short(item.digest)} for ${item.service || 'all services of ' + item.image}` }, 'Release…'), () => {});
  });
}

let olderRuns = null;
function paintHistory() {
  const known = new Map();
  for (const run of [...world.history || [], ...olderRuns || []]) if (!known.has(run.id)) known.set(run.id, run);
  const list = [...known.values()];
  show($('history'), list.length);
  show($('older'), !olderRuns && list.length >= 20);
  keyed($('history').querySelector('tbody'), list, run => run.id, run => h('tr', {},
    h('td', {}, h('button', { type: 'button', class: 'link', 'data-run': run.id, 'aria-label': `Report of run ${run.id}` }, String(run.id))),
    h('td', { class: 'soft' }, h('time')), h('td', { class: 'wide soft' }), h('td', { class: 'why' }, h('span', { class: 's f' }, h('i', { class: 'f', 'aria-hidden': 'true' }), 'failed'), ' ', h('span'))), (row, run) => {
    time(row.children[1].firstChild, run.ended || run.began);
    put(row.children[2], beganBy(run));
    show(row.children[3].firstChild, run.failed);
    put(row.children[3].lastChild, run.summary);
  });
}

// The drawer: one service explained, or one run's report -------------------------------------------------------------

const drawn = { service: null, run: null, is: '' };

function openDrawer(title) {
  put($('drawer-title'), title);
  if (!$('drawer').open) $('drawer').showModal();
  $('drawer').scrollTop = 0;
  $('drawer-title').focus();
  writeUrl();
}
function fact(list, name, ...kids) {
  if (kids.some(kid => kid != null && kid !== '')) list.append(h('dt', {}, name), h('dd', {}, ...kids));
}
function digestWithCopy(digest) {
  const copy = navigator.clipboard && h('button', { type: 'button', 'aria-label': 'Copy digest ' + short(digest), onclick: async event => {
    const button = event.currentTarget;
    await navigator.clipboard.writeText(digest).then(() => put(button, 'Copied'), () => put(button, 'Not copied'));
  } }, 'Copy');
  return [h('code', {}, digest), copy];
}

async function explain(name) {
  Object.assign(drawn, { service: name, run: null });
  $('drawer-body').replaceChildren(h('p', { class: 'soft' }, 'Asking Gantry…'));
  openDrawer(name);
  await drawService();
}

const sign = service => service ? [service.letter, service.why, service.since, service.digest].join('\n') : '';
let drawerTimer = 0;
function refreshDrawer() {
  if (!$('drawer').open || !drawn.service || drawerTimer || sign(services.get(drawn.service)) === drawn.is) return;
  drawerTimer = setTimeout(() => { drawerTimer = 0; if ($('drawer').open && drawn.service) drawService(); }, 1500);
}

async function drawService() {
  const name = drawn.service, body = $('drawer-body');
  drawn.is = sign(services.get(name));
  let s;
  try {
    s = await call('api/v1/services/' + encodeURIComponent(name));
  } catch (error) {
    if (drawn.service === name) body.replaceChildren(h('p', { class: 'error' }, error.message));
    return;
  }
  if (drawn.service !== name) return;
  const letter = letterOf(s.state), list = h('dl');
  fact(list, 'Image', s.image);
  fact(list, 'Runs', ...(s.digest ? digestWithCopy(s.digest) : ['unknown digest']));
  if (s.newest) fact(list, 'Newest', ...(s.newest === s.digest ? ['the same digest'] : digestWithCopy(s.newest)));
  if (s.tasks) fact(list, 'Tasks', `${s.tasks.running} of ${s.tasks.desired} running`);
  fact(list, 'Account', s.account || 'none: Gantry asks the registry without a login');
  const next = s.next && !isNaN(new Date(s.next)) && /^\d{4}-/.test(s.next) ? when(s.next, true) : s.next;
  fact(list, 'Next', next || (world?.look?.next && when(world.look.next, true)));
  const policy = Object.entries(s.policy || {});
  const entry = (world?.attention || []).find(item => item.service === name);
  const steer = world?.steer && h('div', { class: 'row' },
    h('button', { type: 'button', class: 'main', onclick: () => { $('drawer').close(); runNow({ services: [name] }, name); } }, 'Update now'),
    ...quarantined(s.image, [name]).map(item => h('button', { type: 'button', class: 'warnish', 'data-release': entryKey(item) }, `Release ${short(item.digest)}…`)));
  const had = body.contains(document.activeElement);
  body.replaceChildren(...[h('div', { class: 'row' }, mark(letter), s.since && h('span', { class: 'soft' }, 'since ', when(s.since))),
    s.why && h('p', { class: 'why' }, capital(s.why)), list, steer,
    entry?.health && h('p', { class: 'soft' }, 'Health check: ' + entry.health),
    entry?.log?.length && h('pre', { 'aria-label': 'Last words', tabindex: '0' }, entry.log.join('\n')),
    policy.length ? h('table', {}, h('caption', { class: 'unseen' }, 'Settings in effect'),
      h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Setting in effect'), h('th', { scope: 'col' }, 'Value'))),
      h('tbody', {}, ...policy.map(([key, value]) => h('tr', {}, h('th', { scope: 'row' }, key), h('td', {}, String(value)))))) : null].filter(Boolean));
  if (had) $('drawer-title').focus();
}

async function report(id) {
  Object.assign(drawn, { service: null, run: id });
  const body = $('drawer-body');
  body.replaceChildren(h('p', { class: 'soft' }, 'Asking Gantry…'));
  openDrawer('Run ' + id);
  try {
    const run = await call('api/v1/runs/' + encodeURIComponent(id));
    if (drawn.run !== id) return;
    const list = h('dl');
    fact(list, 'Result', run.failed ? h('span', { class: 's f' }, h('i', { class: 'f', 'aria-hidden': 'true' }), 'failed') : run.state === 'under_way' ? 'under way' : 'nothing failed');
    fact(list, 'Summary', run.summary);
    fact(list, 'Begun', when(run.began, true), ' by ' + beganBy(run));
    if (run.ended) fact(list, 'Ended', when(run.ended, true));
    const rows = [...run.services || []].sort((a, b) => !!b.cause - !!a.cause), most = 200;
    body.replaceChildren(...[list,
      run.errors?.length && h('pre', { 'aria-label': 'Errors', tabindex: '0' }, run.errors.join('\n')),
      rows.length && h('table', {}, h('caption', { class: 'unseen' }, 'Services of run ' + id),
        h('thead', {}, h('tr', {}, ...['Service', 'Outcome', 'Time'].map(text => h('th', { scope: 'col' }, text)))),
        h('tbody', {}, ...rows.slice(0, most).map(row => h('tr', {}, h('td', {}, row.service, h('div', { class: 'soft mono' }, [short(row.from), short(row.to)].filter(Boolean).join(' → '))),
          h('td', {}, words(row.outcome), row.cause && h('div', { class: 'why' }, row.cause), row.health && h('div', { class: 'soft' }, 'Health check: ' + row.health), row.log?.length && h('pre', { tabindex: '0' }, row.log.join('\n'))),
          h('td', { class: 'soft' }, row.seconds == null ? '' : Math.round(row.seconds) + ' s'))))),
      rows.length > most && h('p', { class: 'soft' }, `and ${num(rows.length - most)} more`)].filter(Boolean));
  } catch (error) {
    if (drawn.run === id) body.replaceChildren(h('p', { class: 'error' }, error.message));
  }
}

// Steering -----------------------------------------------------------------------------------------------------------

// Says what came of a click. The line can change until its result is known.
function say(text, kind = '') {
  const words = h('span'), line = h('div', {}, words, h('button', { type: 'button', 'aria-label': 'Close this message', onclick: () => line.remove() }, '×'));
  const set = (text, kind = '') => {
    put(words, text);
    line.className = kind;
    if (!line.isConnected) $('said').append(line);
    clearTimeout(line.timer);
    if (kind === 'ok') line.timer = setTimeout(() => line.remove(), 60e3);
  };
  set(text, kind);
  while ($('said').children.length > 3) $('said').firstChild.remove();
  return set;
}

async function runNow(what, name) {
  const button = $('run');
  if (button.getAttribute('aria-disabled')) return;
  const set = say(name ? `Gantry looks for a newer image of ${name}…` : 'Gantry looks for newer images…');
  button.setAttribute('aria-disabled', 'true');
  try {
    let { status, body } = await post('run', { ...what, wait: 55 }, true);
    button.removeAttribute('aria-disabled');
    if (status === 202) set(`Run ${body.id} is under way${body.summary ? ': ' + body.summary : ''}. This line tells when it ends.`);
    for (let missed = 0; status === 202 && body.state !== 'done' && missed < 20;) {
      await new Promise(done => setTimeout(done, 3000));
      const id = body.id;
      await call('api/v1/runs/' + encodeURIComponent(id)).then(news => { body = news; missed = 0; }, () => { missed++; });
    }
    const summary = body.summary ? ': ' + body.summary : '.', errors = body.errors?.length;
    const nothing = !errors && (body.services || []).every(row => /^(up.?to.?date|unchanged)$/i.test(row.outcome));
    if (body.state === 'under_way') set(`Run ${body.id} is still under way, but Gantry does not tell its result.`, 'bad');
    else if (body.failed) set(`Run ${body.id} failed${summary}${errors ? ' ' + body.errors[0] : ''}`, 'bad');
    else if (nothing) set(name ? `${name} is already up to date.` : `Already up to date. Run ${body.id}${summary}`, 'ok');
    else set(`Run ${body.id} is over${summary}`, 'ok');
  } catch (error) {
    set('No run: ' + error.message, 'bad');
  }
  button.removeAttribute('aria-disabled');
}

function ask({ title, body, ok, danger, act }) {
  put($('ask-title'), title);
  $('ask-body').replaceChildren(...body);
  put($('ask-ok'), ok);
  $('ask-ok').className = danger ? 'danger' : 'main';
  put($('ask-error'), '');
  $('ask-form').act = act;
  $('ask').showModal();
}

$('ask-form').addEventListener('submit', async event => {
  event.preventDefault();
  const button = $('ask-ok');
  if (button.disabled) return;
  put($('ask-error'), '');
  button.disabled = true;
  try {
    const text = await event.target.act();
    $('ask').close();
    say(text, 'ok');
  } catch (error) {
    put($('ask-error'), error.message);
  }
  button.disabled = false;
});
$('ask-cancel').addEventListener('click', () => $('ask').close());

function askRelease(key) {
  const entry = (world.quarantine || []).find(item => entryKey(item) === key);
  if (!entry) return say('This digest is not in quarantine any more.');
  const whose = entry.service || `all services of ${entry.image}`;
  ask({
    title: `Release ${short(entry.digest)}?`, ok: `Release ${short(entry.digest)}`, danger: true,
    body: [h('p', {}, `Gantry will update ${whose} to this digest again:`), h('p', {}, h('code', {}, `${entry.image}@${entry.digest}`)),
      h('p', { class: 'soft' }, `It is in quarantine since ${clock(entry.since)}. Cause: ${entry.cause}`)],
    async act() {
      if (!(world.quarantine || []).some(item => entryKey(item) === key)) throw new Error('This digest is not in quarantine any more. Nothing was released.');
      const body = await post('release', entry.service ? { service: entry.service } : { image: entry.image });
      return body.words ? capital(body.words) : body.released?.length ? `Released ${short(entry.digest)} for ${whose}.` : 'Nothing was released.';
    },
  });
}

function askPause() {
  const why = h('input', { id: 'why', required: true, maxlength: 200, autocomplete: 'off' }), until = h('p', { class: 'soft' });
  const end = h('select', { id: 'for' }, ...[['30m', '30 minutes', .5], ['1h', '1 hour', 1], ['2h', '2 hours', 2], ['4h', '4 hours', 4], ['8h', '8 hours', 8], ['24h', '1 day', 24], ['72h', '3 days', 72], ['168h', '7 days', 168]]
    .map(([value, text, hours]) => h('option', { value, 'data-hours': hours, selected: value === '2h' }, text)));
  const ends = () => clock(serverNow() + end.selectedOptions[0].dataset.hours * 36e5);
  const tell = () => put(until, `The pause ends by itself: ${ends()}.`);
  end.addEventListener('change', tell);
  tell();
  ask({
    title: 'Pause all updates', ok: 'Pause',
    body: [h('p', { class: 'soft' }, 'No update begins during the pause. Gantry watches what is under way to its end.'),
      h('div', { class: 'field' }, h('label', { for: 'why' }, 'Reason'), why), h('div', { class: 'field' }, h('label', { for: 'for' }, 'How long'), end), until],
    async act() {
      if (!why.value.trim()) throw new Error('Give a reason, so that others know why no update begins.');
      const till = ends();
      const body = await post('pause', { why: why.value.trim(), for: end.value });
      return body.words ? capital(body.words) : `Updates are paused until ${till}.`;
    },
  });
}

async function resume() {
  const set = say('Asking Gantry to resume…');
  try {
    const body = await post('resume', {});
    set(body.words ? capital(body.words) : 'Updates may begin again.', 'ok');
  } catch (error) {
    set('Still paused: ' + error.message, 'bad');
  }
}

// The token ----------------------------------------------------------------------------------------------------------

function gate(text) {
  connection = 'gate';
  put($('gate-words'), text);
  show($('gate'), true);
  show($('gate-cancel'), false);
  schedule();
  $('token').focus();
}
$('gate-form').addEventListener('submit', event => {
  event.preventDefault();
  token = $('token').value.trim();
  $('token').value = '';
  try { sessionStorage.setItem('gantry-token', token); } catch { /* The token then lasts until the page is loaded again. */ }
  show($('gate'), false);
  connection = 'new';
  world = null;
  listen();
  schedule();
});
$('gate-cancel').addEventListener('click', () => show($('gate'), false));
$('other').addEventListener('click', () => {
  put($('gate-words'), 'A token that may steer shows the buttons to run, pause and release.');
  show($('gate'), true);
  show($('gate-cancel'), true);
  $('token').focus();
});

// Clicks, clock, start -----------------------------------------------------------------------------------------------

document.addEventListener('click', event => {
  const service = cellAt(event);
  if (service) return explain(service.name);
  const button = event.target.closest('button');
  if (!button) return;
  const data = button.dataset;
  if (data.service != null) explain(data.service);
  else if (data.run) report(data.run);
  else if (data.release) askRelease(data.release);
  else if (data.filter) {
    const key = data.filter;
    if (key === 'all' || key === 'not') {
      const none = button.parentNode.id === 'none';
      setFilter({ states: key, query: none ? '' : filter.query });
      if (none) { $('search').value = ''; $('services-title').focus(); }
    } else {
      const states = new Set(filter.states instanceof Set ? filter.states : []);
      if (!states.delete(key)) states.add(key);
      setFilter({ states: states.size ? states : null });
    }
  } else if (data.group != null) {
    opened.set(data.group, button.getAttribute('aria-expanded') !== 'true');
    DIRTY.add('services');
    schedule();
  } else if (data.more != null) {
    rowsShown.set(data.more, (rowsShown.get(data.more) || ROWS) + 200);
    dirtyImages.add(data.more);
    DIRTY.add('services');
    schedule();
  }
});
document.addEventListener('mouseover', event => {
  const service = cellAt(event);
  if (service) event.target.title = `${service.name} (${service.image}): ${words(STATES[service.letter])}`;
});
$('run').addEventListener('click', () => runNow({}));
$('pause').addEventListener('click', askPause);
$('resume').addEventListener('click', resume);
$('retry').addEventListener('click', () => wakeUp?.());
$('attention').querySelector('.more').addEventListener('click', () => { attentionShown += 50; DIRTY.add('attention'); schedule(); });
$('rollouts').querySelector('.more').addEventListener('click', () => { rolloutsShown += 100; DIRTY.add('rollouts'); schedule(); });
$('older').addEventListener('click', async () => {
  try {
    olderRuns = (await call('api/v1/runs')).runs;
    DIRTY.add('history');
    schedule();
  } catch (error) {
    say('No older runs: ' + error.message, 'bad');
  }
});
let searchTimer = 0;
$('search').addEventListener('input', () => {
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => setFilter({ query: $('search').value }), 120);
});
$('drawer').addEventListener('close', () => { drawn.service = drawn.run = null; writeUrl(); });
$('drawer').addEventListener('click', event => { if (event.target === $('drawer')) $('drawer').close(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) { tick(); if (world) needRows(0); wakeUp?.(); } });
addEventListener('online', () => wakeUp?.());
addEventListener('popstate', () => { readUrl(); DIRTY.add('filter'); schedule(); });

// Every second: the clock, and whether the server is still heard.
function tick() {
  if (connection === 'live' && Date.now() - heard > SILENCE_MS) { connection = 'again'; abort?.abort(); }
  const live = $('live');
  show(live, true);
  classes(live, connection === 'live' ? '' : connection === 'stale' ? 'stale' : 'wait');
  show($('retry'), connection === 'stale' && retryAt);
  const next = world?.look?.next && new Date(world.look.next) - serverNow();
  let text;
  if (connection === 'live') {
    text = 'live' + (world.runs?.length ? ' · looking now' : next == null || world.look.next == null ? '' : next > 0 ? ` · next look in ${left(next)}` : ' · a look is due');
  } else if (connection === 'gate') text = 'no data without a token';
  else if (connection === 'stale') {
    const again = retryAt ? `trying again in ${Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))} s` : 'trying again';
    text = (world ? `stale since ${clock(heard + ahead)}, ${again}` : `no connection, ${again}`) + (trouble ? `. ${trouble}` : '');
  } else text = connection === 'again' ? 'connecting again…' : 'connecting…';
  put($('live-words'), text);
  if (world) speak();
}
setInterval(tick, 1000);

{
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  try {
    if (given) sessionStorage.setItem('gantry-token', given);
    token = given || sessionStorage.getItem('gantry-token') || '';
  } catch { token = given || ''; }
  if (given) history.replaceState(null, '', location.pathname + location.search);
  readUrl();
  listen();
  tick();
  const name = new URLSearchParams(location.search).get('explain');
  if (name) explain(name);
}
