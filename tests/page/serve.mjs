// Serves the status page with invented data, so that it can be seen and tested without a swarm:
//
//   node tests/page/serve.mjs --services 1200 --scene trouble --port 8080 --step 400
//
// scene: well, rollout, trouble, paused, hostile or unknown. step: milliseconds between two steps of a rollout, 0 for a still picture.
// token, steer: tokens for reading and steering; without them everything is open.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { dirname, join } from 'node:path';

const PAGE = join(dirname(fileURLToPath(import.meta.url)), '../../src/daemon/http/page');
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
const STATES = { u: 'up_to_date', p: 'updating', w: 'waiting', h: 'held', q: 'quarantined', l: 'left_alone', a: 'needs_attention', f: 'rollback_failed', e: 'error' };
export const HOSTILE = '<img src=x onerror="document.documentElement.dataset.hit=1">';

function random(seed) {
  return () => {
    seed = seed + 0x6d2b79f5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
}
const hex = text => {
  const next = random([...text].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0) | 0, 7));
  return 'sha256:' + Array.from({ length: 64 }, () => Math.floor(next() * 16).toString(16)).join('');
};
const ago = minutes => new Date(Date.now() - minutes * 60e3).toISOString().replace(/\.\d+/, '');
const FRUIT = ['quince', 'medlar', 'sorbet', 'pomelo', 'damson', 'tayberry', 'kumquat', 'loquat', 'salak', 'feijoa', 'bilberry', 'cherimoya', 'jujube', 'rowan', 'sloe', 'mulberry', 'tamarillo', 'yuzu', 'acerola', 'cupuacu'];
const PART = ['web', 'api', 'worker', 'cron', 'mail', 'search', 'store', 'proxy', 'queue', 'report'];

/** An invented swarm that steps through a rollout. */
export function swarm({ services = 20, scene = 'rollout' } = {}) {
  const big = services > 60, rows = new Map(), next = random(42);
  const add = (service, image, state = 'u', why = 'runs the newest image') => rows.set(service, {
    service, image, state: STATES[state], why, since: ago(60 * 24 * (1 + next() * 20)), digest: hex(image + 'new'), newest: hex(image + 'new'),
    tasks: { running: 1 + rows.size % 3, desired: 1 + rows.size % 3 },
  });
  const rolling = big ? 380 : 8;
  for (let i = 0; i < rolling; i++) add(big ? `tenant-${String(i + 1).padStart(3, '0')}-web` : `shop-${PART[i]}`, 'registry.example/shop:live');
  const kinds = big ? 199 : 9;
  for (let i = 0; rows.size < services; i++) {
    const kind = big ? Math.floor(Math.pow(next(), 1.3) * kinds) : i % kinds;
    const image = `registry.example/${FRUIT[kind % 20]}${kind >= 20 ? '-' + PART[Math.floor(kind / 20) % 10] : ''}:${1 + kind % 4}`;
    add(`${FRUIT[kind % 20]}-${PART[i % 10]}${big ? '-' + (1 + Math.floor(i / 10)) : ''}`, image);
  }
  const list = [...rows.values()], others = list.slice(rolling);
  const set = (row, letter, why, minutes) => Object.assign(row, { state: STATES[letter], why, since: ago(minutes) });
  set(others.at(-1), 'l', 'its image is pinned by digest without a tag', 60 * 24 * 9);
  if (big) others.slice(-12, -1).forEach(row => set(row, 'l', 'a job: an update would run it (gantry.update.jobs=true allows that)', 60 * 24 * 3));

  const world = {
    version: '0.1.0', node: 'node1', steer: true, look: { began: ago(2), seconds: big ? 1.3 : .4, next: ago(-3) },
    guard: { paused: [], by_hand: null }, runs: [], rollouts: [], attention: [], attention_omitted: 0, quarantine: [],
    history: [
      [416, 'interval', null, 95, false, `${services} services: 1 updated, ${services - 1} up to date`], [412, 'webhook', 'harbor', 190, false, 'registry.example/rowan:2: 2 updated'],
      [398, 'api', 'ci', 60 * 26, true, 'registry.example/yuzu:2: 1 rolled back: a task failed on node3 (exit code 3)'], [371, 'api', 'anna', 60 * 50, false, 'nothing to do'],
    ].map(([id, trigger, by, minutes, failed, summary]) => ({ id, trigger, by, began: ago(minutes + 1), ended: ago(minutes), failed, summary })),
  };
  const trouble = scene === 'trouble' || scene === 'hostile';
  const bad = scene === 'hostile' ? HOSTILE : '';
  if (scene === 'rollout' || scene === 'trouble') {
    const shop = list.slice(0, rolling), from = hex('shop-old'), to = hex('registry.example/shop:livenew');
    shop.forEach(row => { row.digest = from; set(row, 'w', 'its turn comes when a service before it has ended', 8); });
    const width = big ? 32 : 2;
    world.rollouts.push({ image: shop[0].image, from, to, canary: [shop[0].service], width, under_way: 0, touched: 0, succeeded: 0, failed: 0, waiting: rolling, total: rolling,
      state: 'running', superseded_by: null, held_for: null, since: ago(8) });
    world.runs.push({ id: 418, trigger: 'interval', by: null, began: ago(8), state: 'under_way' });
  }
  if (trouble) {
    const broken = others.filter(row => row.image === others[0].image), digest = hex('broken'), cause = `rolled back: a task failed on node3 (exit code 3)${bad}`;
    broken.forEach((row, i) => { row.newest = digest; set(row, i < 1 ? 'a' : 'q', i < 1 ? cause : 'this digest is in quarantine for all services of the image', 14); });
    world.attention.push({ service: broken[0].service, image: broken[0].image, state: 'needs_attention', why: cause, since: ago(14),
      log: ['reading /etc/quince/settings.toml' + bad, 'error: cannot find my configuration', 'exit 3'], health: null });
    world.quarantine.push({ service: null, image: broken[0].image, digest, cause, since: ago(14), until: null, touched: 2 });
    world.rollouts.push({ image: broken[0].image, from: broken[0].digest, to: digest, canary: [broken[0].service], width: 2, under_way: 0, touched: Math.min(2, broken.length), succeeded: 0,
      failed: Math.min(2, broken.length), waiting: Math.max(0, broken.length - 2), total: broken.length, state: 'stopped', superseded_by: null, held_for: null, since: ago(15) });
    const store = others.find(row => row.image !== broken[0].image);
    set(store, 'f', `rollback failed: a task failed on node17 (exit code 1)${bad}`, 21);
    store.tasks = { running: 0, desired: 1 };
    world.attention.unshift({ service: store.service, image: store.image, state: 'rollback_failed', why: store.why, since: ago(21),
      log: ['FATAL: could not open file "data/node.map": Permission denied', 'LOG: the store is shut down' + bad], health: 'exit code 1: connection refused' + bad });
    world.quarantine.push({ service: store.service, image: store.image, digest: hex(store.image + 'new'), cause: store.why, since: ago(21), until: ago(-60 * 23), touched: 1 });
    const held = others.filter(row => row.image === others[big ? 40 : 3].image);
    held.forEach(row => { row.newest = hex('held'); set(row, 'h', 'a user or another program rolled back another service of this image', 130); });
    world.rollouts.push({ image: held[0].image, from: held[0].digest, to: hex('held'), canary: [], width: 1, under_way: 0, touched: 0, succeeded: 0, failed: 0, waiting: held.length, total: held.length,
      state: 'held', superseded_by: null, held_for: 'a user or another program rolled back a service of this image', since: ago(130) });
    if (big) {
      for (let i = 0; i < 70; i++) {
        const row = others[200 + i * 5];
        if (!row || row.state !== 'up_to_date') continue;
        set(row, 'e', `the registry refused the login (account deploy)`, 30);
        if (world.attention.length < 60) world.attention.push({ service: row.service, image: row.image, state: 'error', why: row.why, since: row.since, log: [], health: null });
        else world.attention_omitted++;
      }
    } else set(others[4], 'e', `the registry refused the login (account deploy)${bad}`, 30);
  }
  if (scene === 'hostile') {
    const row = { ...others[0], service: 'web' + HOSTILE, image: 'registry.example/' + HOSTILE, why: HOSTILE };
    rows.set(row.service, row);
    world.guard.paused.push({ why: HOSTILE, since: ago(3) });
    world.history.unshift({ id: 420, trigger: 'api', by: HOSTILE, began: ago(1), ended: ago(0), failed: true, summary: HOSTILE });
    world.rollouts.push({ ...world.rollouts[0], image: HOSTILE, canary: [HOSTILE], held_for: HOSTILE, state: 'held' });
  }
  if (scene === 'paused') {
    world.guard.paused.push({ why: 'node3 is down', since: ago(4) });
    world.guard.by_hand = { why: 'freeze for the summer sale', by: 'anna', since: ago(50), until: ago(-190) };
  }
  if (scene === 'unknown') world.look = { began: null, seconds: null, next: ago(-.2) };

  const counts = () => {
    const sum = Object.fromEntries(Object.values(STATES).map(state => [state, 0]));
    for (const row of rows.values()) sum[row.state]++;
    return sum;
  };
  const verdict = () => {
    const sum = counts(), people = sum.needs_attention + sum.rollback_failed + sum.error, busy = sum.updating + sum.waiting;
    if (scene === 'unknown') return { level: 'unknown', words: 'no look yet' };
    if (people) return { level: 'attention', words: `${people} ${people === 1 ? 'service needs' : 'services need'} attention, 1 rollout was stopped` + bad };
    if (world.guard.by_hand || world.guard.paused.length) return { level: 'paused', words: 'updates are paused; all services run' };
    if (busy) return { level: 'busy', words: `${sum.updating} updates are under way, ${sum.waiting} services wait` };
    return { level: 'ok', words: sum.left_alone ? `${sum.up_to_date} of ${rows.size} services are on the newest image; ${sum.left_alone} left alone` : `all ${rows.size} services are on the newest image` };
  };
  const groups = () => {
    const all = new Map(), letter = Object.fromEntries(Object.entries(STATES).map(([key, word]) => [word, key]));
    for (const row of rows.values()) {
      if (!all.has(row.image)) all.set(row.image, { image: row.image, services: [], states: '' });
      all.get(row.image).services.push(row.service);
      all.get(row.image).states += letter[row.state];
    }
    return [...all.values()];
  };
  let count = 0;
  const id = () => `1764388800-${count}`;
  const state = () => ({ id: id(), now: ago(0), ...world, verdict: verdict(), counts: counts(), images: groups() });

  /** One step of the rollout: some end, others begin. Returns the change, or null where nothing is under way. */
  function step(most = Infinity) {
    const rollout = world.rollouts.find(item => item.state === 'running');
    if (!rollout) return null;
    const mine = [...rows.values()].filter(row => row.image === rollout.image), touched = [];
    const running = mine.filter(row => row.state === 'updating');
    for (const row of running.slice(0, Math.max(1, Math.ceil(running.length / 3)))) {
      const fails = scene === 'trouble' && big && next() < .012;
      if (fails) set(row, 'q', 'rolled back: the health check failed on node41', 0);
      else { set(row, 'u', 'runs the newest image', 0); row.digest = row.newest; }
      rollout[fails ? 'failed' : 'succeeded']++;
      touched.push(row);
    }
    const free = (rollout.succeeded ? rollout.width : 1) - mine.filter(row => row.state === 'updating').length;
    for (const row of mine.filter(row => row.state === 'waiting').slice(0, Math.min(free, most))) {
      set(row, 'p', 'new task starting on node' + (1 + Math.floor(next() * 50)) + ', health check not passed yet', 0);
      touched.push(row);
    }
    rollout.under_way = mine.filter(row => row.state === 'updating').length;
    rollout.waiting = mine.filter(row => row.state === 'waiting').length;
    rollout.touched = rollout.total - rollout.waiting;
    const news = {};
    if (!rollout.under_way && !rollout.waiting) {
      rollout.state = 'done';
      const run = world.runs.shift();
      world.look = { began: ago(0), seconds: .4, next: ago(-5) };
      world.history.unshift({ id: run.id, trigger: run.trigger, by: run.by, began: run.began, ended: ago(0), failed: false, summary: `${rollout.image}: ${rollout.succeeded} updated` });
      Object.assign(news, { runs: world.runs, history: world.history, look: world.look });
    }
    count++;
    return { id: id(), verdict: verdict(), counts: counts(), rollouts: world.rollouts, ...news, services: touched.map(({ service, image, state, why, since }) => ({ service, image, state, why, since })) };
  }
  const news = (...keys) => { count++; const all = state(); return Object.fromEntries(['id', 'verdict', ...keys].map(key => [key, all[key]])); };
  return { world, rows, state, step, news, id };
}

const explain = row => ({ ...row, account: row.state === 'error' ? 'deploy' : null, next: null, gates: [{ gate: 'selection', verdict: 'pass', why: 'GANTRY_SERVICES_FILTERS selects it, and nothing excludes it' }, { gate: 'outcome', verdict: 'hold', why: row.why }],
  policy: { lookup: 'registry', insecure: false, auth_config: null, timeout_seconds: 300, order: 'auto', jobs: false, canary: true, rollback_on_failure: true } });

const underWay = run => ({ ...run, state: 'under_way', failed: false, ended: null, summary: '', services: [] });

/** Starts the server; returns its address, the swarm, and a way to close it or to cut all streams. */
export async function start({ port = 0, step = 0, token = '', steer = '', silent = false, delay = 300, later = 0, ...what } = {}) {
  const it = swarm(what), streams = new Set(), past = [];
  let down = false;
  const send = change => {
    if (!change) return;
    past.push(change);
    if (past.length > 256) past.shift();
    for (const stream of streams) stream.write(`id: ${change.id}\nevent: change\ndata: ${JSON.stringify(change)}\n\n`);
  };
  const timers = [setInterval(() => { if (!silent) for (const stream of streams) stream.write(':\n\n'); }, 15e3)];
  if (step) timers.push(setInterval(() => send(it.step()), step));

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, 'http://page.invalid'), path = url.pathname.slice(1), asked = request.headers.authorization;
    const json = (status, body) => { response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' }); response.end(JSON.stringify(body)); };
    if (down) return request.socket.destroy();
    if (['', 'page.css', 'page.js'].includes(path)) {
      let text = await readFile(join(PAGE, path || 'index.html'), 'utf8');
      if (!path) text = text.replace('<!--STATE-->', plain(it));
      response.writeHead(200, { 'Content-Type': { '': 'text/html', 'page.css': 'text/css', 'page.js': 'text/javascript' }[path] + '; charset=utf-8', 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff' });
      return response.end(text);
    }
    const steers = !steer || asked === 'Bearer ' + steer;
    if ((token || steer) && asked !== 'Bearer ' + token && asked !== 'Bearer ' + steer) {
      return json(401, { error: asked ? 'this token is not known' : 'no token was sent', remedy: 'give the token of GANTRY_HTTP_READ_TOKEN or GANTRY_HTTP_STEER_TOKEN' });
    }
    it.world.steer = steers;
    let body = '';
    for await (const chunk of request) body += chunk;
    const wanted = body ? JSON.parse(body) : {};
    const [, , kind, name] = path.split('/').map(decodeURIComponent);
    if (request.method === 'POST') {
      if (!steers) return json(404, { error: 'no such route', remedy: 'a steering token is needed' });
      await new Promise(done => setTimeout(done, delay));
      if (kind === 'pause') {
        if (!wanted.why) return json(400, { error: 'a pause needs a reason', remedy: 'send "why"' });
        it.world.guard.by_hand = { why: wanted.why, by: 'you', since: ago(0), until: ago(-60 * parseFloat(wanted.for) * (wanted.for.includes('day') ? 24 : 1)) };
        send(it.news('guard'));
        return json(200, { paused: it.world.guard.by_hand });
      }
      if (kind === 'resume') { it.world.guard.by_hand = null; send(it.news('guard')); return json(200, {}); }
      if (kind === 'release') {
        const gone = it.world.quarantine.filter(entry => wanted.all || (wanted.service ? entry.service === wanted.service : entry.image === wanted.image));
        if (!gone.length) return json(404, { error: 'nothing in quarantine matches', remedy: 'see GET api/v1/quarantine' });
        it.world.quarantine = it.world.quarantine.filter(entry => !gone.includes(entry));
        send(it.news('quarantine'));
        return json(200, { released: gone.map(entry => entry.digest), words: `${gone.length} released; Gantry tries again at the next look` });
      }
      if (kind === 'approve') {
        const row = it.rows.get(wanted.service);
        if (row?.offers !== wanted.digest) return json(409, { error: 'the digest does not wait', remedy: 'gantry approve IMAGE lists what waits' });
        it.approved = wanted;
        return json(201, { approved: { ...wanted, image: row.image, by: 'you' }, newer: hex('newer') });
      }
      const rows = [...it.rows.values()].filter(row => !wanted.services?.length || wanted.services.includes(row.service));
      const failed = rows.some(row => row.state === 'error');
      if (later) setTimeout(() => { later = 0; }, later);
      it.run = { id: 421, state: 'done', failed, trigger: 'api', by: 'you', began: ago(0), ended: ago(0), summary: failed ? `${rows.length} services: 1 error` : `${rows.length} services: ${rows.length} up to date`,
        services: rows.map(row => ({ service: row.service, image: row.image, from: null, to: null, outcome: row.state === 'error' ? 'error' : 'up to date', cause: null, log: [], health: null, seconds: 0 })), errors: failed ? ['the registry refused the login'] : [] };
      return later ? json(202, underWay(it.run)) : json(failed ? 409 : 200, it.run);
    }
    if (kind === 'state') return json(200, it.state());
    if (kind === 'services') {
      if (!name) return json(200, { services: [...it.rows.values()] });
      return it.rows.has(name) ? json(200, explain(it.rows.get(name))) : json(404, { error: `no service is named ${name}`, remedy: 'see GET api/v1/services' });
    }
    if (kind === 'runs') {
      if (!name) return json(200, { runs: it.world.history });
      if (name === '421' && it.run) return json(200, later ? underWay(it.run) : it.run);
      const run = it.world.history.find(item => String(item.id) === name);
      if (!run) return json(404, { error: 'no such run', remedy: 'see GET api/v1/runs' });
      return json(200, { ...run, state: 'done', errors: [], services: [...it.rows.values()].slice(0, 6).map((row, i) => ({ service: row.service, image: row.image, from: hex('a'), to: row.newest, outcome: run.failed && !i ? 'rolled_back' : 'updated',
        cause: run.failed && !i ? 'a task failed on node3 (exit code 3)' : null, log: run.failed && !i ? ['cannot find my configuration'] : [], health: null, seconds: 12 + i })) });
    }
    if (kind === 'events') {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      const last = request.headers['last-event-id'], at = past.findIndex(change => change.id === last);
      if (last === it.id()) response.write(':\n\n');
      else if (at >= 0) for (const change of past.slice(at + 1)) response.write(`event: change\ndata: ${JSON.stringify(change)}\n\n`);
      else response.write(`event: state\ndata: ${JSON.stringify(it.state())}\n\n`);
      streams.add(response);
      return response.on('close', () => streams.delete(response));
    }
    json(404, { error: 'no such route', remedy: 'see api/v1/openapi.json' });
  });
  await new Promise(done => server.listen(port, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`, it, send,
    cut() { for (const stream of streams) stream.destroy(); },
    setDown(is) { down = is; if (is) this.cut(); },
    close() { timers.forEach(clearInterval); server.closeAllConnections(); server.close(); },
  };
}

// What the real server puts in place of the marker, for people without JavaScript.
function plain(it) {
  const text = value => String(value ?? '').replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);
  const { verdict, attention } = it.state();
  return `<h1>${text(verdict.words)}</h1><p>As of ${text(ago(0))}</p>`
    + (attention.length ? `<h2>Needs attention</h2>${attention.map(entry => `<h3>${text(entry.service)}: ${text(entry.state.replaceAll('_', ' '))}</h3><p>${text(entry.why)}</p><pre>${text(entry.log.join('\n'))}</pre>`).join('')}` : '')
    + `<table><caption>Services</caption><thead><tr><th scope="col">Service</th><th scope="col">Image</th><th scope="col">State</th><th scope="col">Why</th></tr></thead><tbody>${[...it.rows.values()].map(row =>
      `<tr><th scope="row">${text(row.service)}</th><td>${text(row.image)}</td><td>${text(row.state.replaceAll('_', ' '))}</td><td>${text(row.why)}</td></tr>`).join('')}</tbody></table>`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const given = {};
  for (let i = 2; i < process.argv.length; i += 2) given[process.argv[i].replace(/^--/, '')] = /^\d+$/.test(process.argv[i + 1]) ? Number(process.argv[i + 1]) : process.argv[i + 1];
  const { url } = await start({ port: 8080, step: 800, ...given });
  console.log(url);
}
