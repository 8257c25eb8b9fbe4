// Checks the status page in a real browser: script errors, hostile text, focus, filters, tokens, lost connections,
// late frames, and axe-core's rules in both colour schemes.
//
// Start it in a folder where `npm install playwright-core axe-core` was run:  node PATH/tests/page/check.mjs [NAME]
// CHROMIUM names the browser (default /usr/bin/chromium).
import { createRequire } from 'node:module';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import assert from 'node:assert/strict';
import { HOSTILE, start } from './serve.mjs';

const require = createRequire(join(process.cwd(), 'x.js'));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const only = process.argv[2] || '';
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const wait = ms => new Promise(done => setTimeout(done, ms));
let failed = 0;

/** One check: a page of its own on a server of its own; any script error fails it, but for those of the network. */
async function check(name, { query = '', width = 1280, height = 900, scheme = 'light', bypass = false, ...what }, then) {
  if (!name.includes(only)) return;
  const server = await start(what), errors = [];
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, bypassCSP: bypass });
  const page = await context.newPage();
  page.on('pageerror', error => errors.push(error.stack));
  page.on('console', message => { if (message.type() === 'error' && !/net::ERR|40[149]/.test(message.text())) errors.push(message.text()); });
  try {
    await page.goto(server.url + query);
    await page.waitForTimeout(700);
    const note = await then(page, server);
    assert.deepEqual(errors, []);
    console.log(`ok    ${name}${note ? ': ' + note : ''}`);
  } catch (error) {
    failed++;
    console.log(`FAILS ${name}: ${error.stack}\n${errors.join('\n')}`);
  }
  await context.close();
  server.close();
}

await (async () => {
  const folder = join(dirname(fileURLToPath(import.meta.url)), '../../src/daemon/http/page');
  const size = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
  if (size > 60000) failed++;
  console.log(`${size > 60000 ? 'FAILS' : 'ok   '} size: ${size} bytes of 60000`);
})();

const rules = async (page, what) => {
  await page.addStyleTag({ content: '* { content-visibility: visible !important }' }); // axe would measure what the browser has not laid out.
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  assert.deepEqual(found.violations.map(v => `${what} ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + ' ' + (n.any[0]?.message || '')).join(' | ')}`), []);
  return found.passes.length;
};
for (const scheme of ['light', 'dark']) for (const [scene, services, width] of [['well', 20, 1280], ['trouble', 20, 1280], ['trouble', 20, 320], ['paused', 20, 1280], ['trouble', 1200, 1600], ['rollout', 1200, 1280]]) {
  await check(`axe ${scene} ${services} ${width} ${scheme}`, { scene, services, width, scheme, bypass: true }, async (page, { it, send }) => {
    for (let i = 0; i < 5; i++) send(it.step());
    await wait(600);
    const passes = await rules(page, 'page');
    await page.locator('[data-service]').first().click();
    await wait(400);
    await rules(page, 'drawer');
    await page.keyboard.press('Escape');
    await page.locator('[data-run]').first().click();
    await wait(400);
    await rules(page, 'report');
    await page.keyboard.press('Escape');
    if (scene !== 'paused') { await page.click('#pause'); await rules(page, 'pause'); }
    return `${passes} rules pass`;
  });
}
await check('axe gate', { token: 'a'.repeat(20), bypass: true }, async page => `${await rules(page, 'gate')} rules pass`);
for (const scheme of ['light', 'dark']) await check(`axe stale ${scheme}`, { scene: 'trouble', scheme, bypass: true }, async (page, server) => {
  server.setDown(true);
  await wait(4500);
  return `${await rules(page, 'stale')} rules pass`;
});

await check('hostile text stays text', { scene: 'hostile' }, async page => {
  await page.locator(`#groups [data-service="${HOSTILE.replaceAll('"', '\\"').replace(/^/, 'web')}"]`).click();
  await wait(400);
  await page.keyboard.press('Escape');
  await page.locator('#groups [data-service]').first().hover();
  assert.equal(await page.evaluate(() => document.documentElement.dataset.hit), undefined);
  assert.equal(await page.locator('img').count(), 0);
  const seen = (await page.locator('main').innerText()).split(HOSTILE).length - 1;
  assert.ok(seen >= 12, `only ${seen} times`);
  return `seen ${seen} times as text`;
});

await check('a changed row keeps focus and selection', { scene: 'rollout' }, async (page, { it, send }) => {
  const name = 'shop-proxy', link = page.locator(`#groups [data-service="${name}"]`);
  await link.focus();
  await page.evaluate(() => { window.kept = document.activeElement; const range = document.createRange(); range.selectNodeContents(document.querySelector('#groups tbody tr td')); getSelection().addRange(range); });
  for (let i = 0; i < 12; i++) { send(it.step()); await wait(60); }
  await wait(500);
  assert.ok(await page.evaluate(() => document.activeElement === window.kept && String(getSelection()).length > 5));
});

await check('a focused row that leaves gives its focus to the title', { scene: 'rollout', query: '?state=waiting' }, async (page, { it, send }) => {
  await page.locator('#groups [data-service="shop-web"]').focus();
  send(it.step());
  await wait(500);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'services-title');
});

await check('filters and search are in the address', { scene: 'trouble' }, async page => {
  await page.click('[data-filter=e]');
  await page.click('[data-filter=f]');
  await page.fill('#search', 'dam');
  await wait(600);
  assert.equal(new URL(page.url()).search, '?state=error,rollback_failed&q=dam');
  assert.deepEqual(await page.locator('#groups tbody [data-service]').allInnerTexts(), ['damson-mail']);
  await page.reload();
  await wait(700);
  assert.deepEqual(await page.locator('#groups tbody [data-service]').allInnerTexts(), ['damson-mail']);
  await page.fill('#search', 'nothing like it');
  await wait(600);
  assert.match(await page.locator('#none').innerText(), /No service or image/);
  await page.click('#show-all');
  await wait(400);
  assert.equal(await page.locator('#groups tbody tr').count(), 20);
});

await check('the drawer opens by keyboard and gives the focus back', { scene: 'trouble' }, async page => {
  await page.locator('#groups [data-service="quince-web"]').focus();
  await page.keyboard.press('Enter');
  await wait(400);
  assert.equal(new URL(page.url()).search, '?explain=quince-web');
  assert.match(await page.locator('#drawer').innerText(), /rollback on failure/);
  await page.keyboard.press('Escape');
  await wait(200);
  assert.equal(await page.evaluate(() => document.activeElement.dataset.service), 'quince-web');
  assert.equal(new URL(page.url()).search, '');
});

await check('a token is asked for, kept in the tab, and may be wrong', { token: 'a'.repeat(20), steer: 'b'.repeat(20) }, async page => {
  assert.ok(await page.locator('#gate').isVisible());
  assert.ok(!await page.locator('#world').isVisible());
  await page.fill('#token', 'wrong');
  await page.keyboard.press('Enter');
  await wait(500);
  assert.match(await page.locator('#gate-words').innerText(), /not known/);
  await page.fill('#token', 'a'.repeat(20));
  await page.keyboard.press('Enter');
  await wait(700);
  assert.ok(await page.locator('#verdict').isVisible());
  assert.ok(!await page.locator('#run').isVisible());
  await page.goto(page.url() + '?state=all#token=' + 'b'.repeat(20));
  await page.reload();
  await wait(700);
  assert.equal(new URL(page.url()).hash, '');
  assert.ok(await page.locator('#run').isVisible());
});

await check('what came of a click is said', { scene: 'well' }, async page => {
  await page.click('#run');
  await wait(900);
  assert.match(await page.locator('#said').innerText(), /Run \d+ is over: /);
  await page.click('#pause');
  await page.click('#ask-ok');
  assert.ok(await page.locator('#ask').isVisible(), 'a reason is required');
  await page.fill('#why', 'tests');
  await page.click('#ask-ok');
  await wait(900);
  assert.match(await page.locator('#said').innerText(), /Updates are paused until/);
  assert.match(await page.locator('#guard').innerText(), /Paused by you: tests/);
  await page.click('#resume');
  await wait(900);
  assert.match(await page.locator('#said').innerText(), /Updates may begin again/);
  assert.ok(await page.locator('#pause').isVisible());
});

await check('a run that lasts is followed to its end', { scene: 'well', later: 2000 }, async page => {
  await page.click('#run');
  await wait(900);
  assert.match(await page.locator('#said').innerText(), /Run 421 is under way/);
  await wait(3500);
  assert.match(await page.locator('#said').innerText(), /Run \d+ is over: /);
});

await check('a failed run and a lost one are said', { scene: 'trouble' }, async (page, server) => {
  await page.click('#run');
  await wait(900);
  assert.match(await page.locator('#said').innerText(), /Run 421 failed: 20 services: 1 error: the registry refused/);
  server.setDown(true);
  await page.click('#run');
  await wait(900);
  assert.match(await page.locator('#said').innerText(), /No result of the run: Gantry does not answer/);
});

await check('an address that explains a service waits for the token', { token: 'a'.repeat(20), query: '?explain=shop-web' }, async page => {
  await page.fill('#token', 'a'.repeat(20), { timeout: 2000 });
  await page.keyboard.press('Enter');
  await wait(900);
  assert.match(await page.locator('#drawer').innerText(), /^shop-web/);
  assert.equal(new URL(page.url()).search, '?explain=shop-web');
});

await check('a newer Gantry loads its page', { scene: 'well' }, async (page, server) => {
  await page.evaluate(() => { window.old = true; });
  server.it.world.version = '0.2.0';
  server.cut();
  server.send(server.it.news('counts'));
  for (let i = 0; i < 300; i++) server.send(server.it.news('counts')); // A gap: the server sends the whole state.
  await wait(2500);
  assert.equal(await page.evaluate(() => window.old), undefined);
  assert.match(await page.locator('#version').innerText(), /0\.2\.0/);
});

await check('a release names its digest', { scene: 'trouble' }, async (page, { it }) => {
  const { digest } = it.world.quarantine[0];
  await page.locator('#quarantine [data-release]').first().click();
  assert.ok((await page.locator('#ask').innerText()).includes(digest));
  await page.click('#ask-ok');
  await wait(900);
  assert.match(await page.locator('#said').innerText(), /1 released/);
  assert.equal(it.world.quarantine.length, 1);
  assert.equal(await page.locator('#quarantine tbody tr').count(), 1);
});

await check('an approval is for the digest that the drawer shows', { scene: 'well' }, async (page, { it }) => {
  const [row] = it.rows.values(), offers = 'sha256:' + '5a'.repeat(32);
  Object.assign(row, { state: 'held', gate: 'age', offers, offers_image: row.image, until: new Date(Date.now() + 9e6).toISOString() });
  await page.goto(`${page.url().split('?')[0]}?explain=${row.service}`);
  await page.locator('#drawer', { hasText: 'Held until' }).waitFor();
  await page.locator('#drawer button', { hasText: 'Approve 5a5a5a5a5a5a' }).click();
  assert.ok((await page.locator('#ask').innerText()).includes(offers));
  await page.fill('#why', 'tested on staging');
  await page.click('#ask-ok');
  await page.locator('#said', { hasText: `is approved for ${row.service}` }).waitFor();
  assert.deepEqual(it.approved, { service: row.service, digest: offers, why: 'tested on staging' });
});

await check('lost data is said to be stale, and comes back', { scene: 'rollout' }, async (page, server) => {
  server.setDown(true);
  await wait(4500);
  assert.match(await page.locator('#live').innerText(), /^stale since \d\d:\d\d, trying again/);
  assert.match(await page.locator('#verdict').innerText(), /^Stale since/);
  assert.match(await page.title(), /^Stale/);
  for (let i = 0; i < 3; i++) server.send(server.it.step());
  server.setDown(false);
  await page.click('#retry', { timeout: 9000 });
  await wait(1500);
  assert.match(await page.locator('#live').innerText(), /^live/);
  assert.match(await page.locator('#rollouts').innerText(), new RegExp(`${server.it.world.rollouts[0].succeeded}\\s*updated`));
});

await check('silence of 40 s is a lost connection', { scene: 'well', silent: true }, async page => {
  await wait(36e3);
  assert.match(await page.locator('#live').innerText(), /^live/);
  await page.evaluate(() => { const old = window.fetch; window.fetch = (url, ...rest) => String(url).includes('events') || String(url).includes('state') ? Promise.reject(new Error('no')) : old(url, ...rest); });
  await wait(6e3);
  assert.match(await page.locator('#live').innerText(), /^stale since/);
});

await check('the status region speaks at most every 10 s', { scene: 'rollout', services: 1200, step: 1000 }, async page => {
  await page.evaluate(() => { window.said = []; new MutationObserver(() => window.said.push(performance.now())).observe(document.getElementById('spoken'), { childList: true, characterData: true, subtree: true }); });
  await wait(24e3);
  const said = await page.evaluate(() => window.said);
  assert.ok(said.length >= 2 && said.length <= 3, `${said.length} times`);
  said.reduce((before, at) => { assert.ok(at - before > 9900); return at; });
  return `${said.length} times in 24 s`;
});

await check('a new and a removed service show', { scene: 'well' }, async (page, { it, send, world }) => {
  send({ ...it.news('counts'), services: [{ service: 'newcomer', image: 'registry.example/new:1', state: 'updating', why: 'first update', since: new Date().toISOString() }] });
  await wait(600);
  assert.equal(await page.locator('#groups [data-service=newcomer]').count(), 1);
  send({ ...it.news('counts'), services: [{ service: 'newcomer', image: 'registry.example/other:1', state: 'waiting', why: '', since: null }] });
  await wait(600);
  assert.match(await page.locator('#groups tr:has([data-service=newcomer])').innerText(), /other:1/);
});

for (const [width, height] of [[320, 800], [768, 900], [1600, 1000]]) {
  await check(`nothing is too wide at ${width} px`, { scene: 'hostile', width, height }, async page => {
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  });
}

// Late frames: what the browser's trace says about the main thread. Its own computing time counts, so that a busy
// machine fails nothing; the time by the wall is told beside it.
for (const [scene, query] of [['rollout', ''], ['trouble', '?state=all'], ['trouble', '?state=up_to_date']]) {
  await check(`no late frame with 1200 services (${scene} ${query})`, { scene, services: 1200, step: 100, query: 'page.css', width: 1600, height: 1000 }, async (page, { url }) => {
    await browser.startTracing(page, { categories: ['toplevel', 'devtools.timeline'] });
    await page.goto(url + query);
    await wait(6000);
    for (let y = 0; y < 12; y++) { await page.mouse.wheel(0, 900); await wait(120); }
    for (const key of ['all', 'u']) {
      await page.evaluate(key => document.querySelector(`[data-filter=${key}]`).click(), key);
      await wait(1500);
    }
    await page.fill('#search', 'sorbet');
    await wait(1500);
    const events = JSON.parse(String(await browser.stopTracing())).traceEvents;
    const { pid, tid } = events.find(event => JSON.stringify(event.args || '').includes('page.js') && event.name === 'EvaluateScript');
    const tasks = events.filter(event => event.pid === pid && event.tid === tid && event.name.endsWith('RunTask') && event.ph === 'X');
    const longest = key => Math.max(...tasks.map(task => (task[key] || 0) / 1000)), late = tasks.filter(task => task.dur > 50e3).length;
    assert.ok(longest('tdur') < 50, `the longest task computed for ${longest('tdur').toFixed(1)} ms`);
    return `the longest of ${tasks.length} tasks computed for ${longest('tdur').toFixed(1)} ms and took ${longest('dur').toFixed(1)} ms by the wall; ${late} took more than 50 ms by the wall`;
  });
}
await browser.close();
console.log(failed ? `${failed} failed` : 'all well');
process.exit(failed ? 1 : 0);
