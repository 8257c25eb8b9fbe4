// Takes pictures of the status page with invented data.
//
// Start it in a folder where `npm install playwright-core` was run:  node PATH/tests/page/shots.mjs [FOLDER [NAME]]
// CHROMIUM names the browser (default /usr/bin/chromium); NAME takes only pictures whose name holds it.
import { createRequire } from 'node:module';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { start } from './serve.mjs';

const { chromium } = createRequire(join(process.cwd(), 'x.js'))('playwright-core');
const folder = process.argv[2] || 'shots', only = process.argv[3] || '';
mkdirSync(folder, { recursive: true });
export const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});

async function shot(name, { width = 1600, height = 1000, scheme = 'light', steps = 0, query = '', act, full = true, zoom = 1, script = true, ...what }) {
  if (!name.includes(only)) return;
  const server = await start(what);
  for (let i = 0; i < steps; i++) server.it.step();
  const context = await browser.newContext({ viewport: { width: Math.round(width / zoom), height: Math.round(height / zoom) }, deviceScaleFactor: zoom, colorScheme: scheme, javaScriptEnabled: script });
  const page = await context.newPage();
  page.on('console', message => { if (message.type() === 'error') console.log(`${name}: ${message.text()}`); });
  page.on('pageerror', error => console.log(`${name}: ${error.stack}`));
  await page.goto(server.url + query);
  await page.waitForTimeout(1500);
  if (act) await act(page, server);
  const wide = script && await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  if (wide > 0) console.log(`${name}: ${wide} px too wide`);
  await page.screenshot({ path: join(folder, name + '.png'), fullPage: full });
  await context.close();
  server.close();
}

for (const scheme of ['light', 'dark']) for (const width of [320, 1600]) {
  const more = { scheme, width, height: width < 500 ? 800 : 1000 };
  await shot(`20-well-${width}-${scheme}`, { ...more, scene: 'well' });
  await shot(`20-trouble-${width}-${scheme}`, { ...more, scene: 'trouble', steps: 4 });
  await shot(`1200-rollout-${width}-${scheme}`, { ...more, services: 1200, scene: 'rollout', steps: 22, full: width > 500 });
  await shot(`1200-trouble-${width}-${scheme}`, { ...more, services: 1200, scene: 'trouble', steps: 22, full: false, height: 2400 });
}
await shot('1200-well-1600-light', { services: 1200, scene: 'well' });
await shot('20-paused-1600-dark', { scene: 'paused', scheme: 'dark' });
await shot('20-trouble-768-light', { scene: 'trouble', steps: 4, width: 768 });
await shot('20-trouble-zoom200', { scene: 'trouble', steps: 4, width: 1280, zoom: 2 });
await shot('20-hostile-1280-light', { scene: 'hostile', width: 1280 });
await shot('20-unknown', { scene: 'unknown', width: 1000, full: false });
await shot('no-script', { scene: 'trouble', script: false, width: 1000 });
await shot('gate', { token: 'x'.repeat(20), width: 1000, full: false, height: 500 });
// Those of the documentation: docs/pictures.
await shot('status-page', { scene: 'trouble', steps: 4, width: 1200, height: 860, full: false });
await shot('explanation', { scene: 'trouble', steps: 4, width: 1200, height: 860, full: false, act: async page => { await page.click('#attention [data-service]'); await page.waitForTimeout(500); } });
await shot('drawer-1600-light', { scene: 'trouble', steps: 4, full: false, act: async page => { await page.click('#attention [data-service]'); await page.waitForTimeout(500); } });
await shot('drawer-320-dark', { scene: 'trouble', width: 320, height: 800, scheme: 'dark', full: false, act: async page => { await page.click('#attention [data-service]'); await page.waitForTimeout(500); } });
await shot('report', { scene: 'trouble', width: 1280, full: false, act: async page => { await page.click('[data-run="398"]'); await page.waitForTimeout(500); } });
await shot('release', { scene: 'trouble', width: 1280, full: false, act: page => page.click('#quarantine [data-release]') });
await shot('pause', { scene: 'well', width: 1280, full: false, act: page => page.click('#pause') });
await shot('run-said', { scene: 'well', width: 1280, full: false, act: async page => { await page.click('#run'); await page.waitForTimeout(900); } });
await shot('stale', { scene: 'well', width: 1280, full: false, act: async (page, server) => { server.setDown(true); await page.waitForTimeout(4500); } });
await browser.close();
