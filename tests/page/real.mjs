// Drives the page of a real Gantry in a real browser: a rollout from its canary to its end, a failure with its last words,
// release, pause and resume, filters, a lost connection. tests/it/live/page.rs starts Gantry and pushes the images.
//
// node tests/page/real.mjs URL TOKEN, in a folder where `npm install playwright-core` was run. It asks for what it needs by a
// line `need WHAT` and goes on with the next line of its input.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import assert from 'node:assert/strict';

const { chromium } = createRequire(join(process.cwd(), 'x.js'))('playwright-core');
const [url, token] = process.argv.slice(2), origin = new URL(url).origin;
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const need = async what => { console.log('need ' + what); assert.ok(!(await answers.next()).done, 'no answer'); };

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
  args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
page.setDefaultTimeout(90e3);
const errors = [], foreign = [];
let isAway = false;
page.on('pageerror', error => errors.push(error.stack));
page.on('console', message => message.type() === 'error' && !isAway && errors.push(message.text()));
page.on('request', request => new URL(request.url()).origin !== origin && !request.url().startsWith('data:') && foreign.push(request.url()));

/** Waits until an element says this. */
const says = (selector, words) => page.locator(selector, { hasText: words }).first().waitFor();
const step = what => console.log('ok ' + what);

try {
  await page.goto(url + '#token=' + token);
  await says('#verdict-words', 'all 6 services are on the newest image');
  step('verdict');

  await need('good');
  const canaries = page.waitForFunction(() => /canary/i.test(document.getElementById('rollouts').innerText));
  await page.click('#run');
  await canaries;
  await says('#rollouts', 'done');
  await says('#verdict-words', 'all 6 services are on the newest image');
  await says('#said', /6 updated/);
  step('rollout from canary to done');

  await need('bad');
  await page.click('#run');
  await says('#attention', 'no database');
  await says('#verdict-words', /needs? attention|stopped/);
  step('failure with its last words');

  // Each look says that the digest is in quarantine; a release offers it again.
  await page.locator('#quarantine [data-release]').first().click();
  await page.click('#ask-ok');
  await says('#said', /[Rr]eleased/);
  step('release');

  await page.click('#pause');
  await page.fill('#why', 'a look at the bad image');
  await page.click('#ask-ok');
  await says('#guard', 'Paused by anna: a look at the bad image');
  await page.click('#resume');
  await says('#said', 'Updates may begin again');
  await page.locator('#guard', { hasText: 'Paused by' }).waitFor({ state: 'detached' }).catch(() => {});
  assert.doesNotMatch(await page.locator('#guard').innerText(), /Paused by/);
  step('pause and resume');

  const filter = page.locator('#filters button', { hasText: 'not up to date' });
  await filter.click();
  const filtered = page.url();
  assert.match(filtered, /\?.*state=/);
  await page.reload();
  await page.locator('#filters [aria-pressed="true"]').waitFor();
  assert.equal(page.url(), filtered);
  step('filters in the address');

  await page.locator('#groups [data-service]').first().click();
  await says('#drawer-body', /registry/i);
  await page.keyboard.press('Escape');
  step('explanation');

  isAway = true;
  await need('away');
  await says('#live', /lost|again|old|since/i);
  await need('back');
  await page.waitForFunction(() => document.getElementById('verdict-words').innerText !== '' && !/lost/i.test(document.getElementById('live').innerText));
  isAway = false;
  step('connection lost and found again');

  assert.deepEqual(errors, []);
  assert.deepEqual(foreign, []);
  console.log('done');
} catch (error) {
  console.log('page ' + (await page.locator('body').innerText()).replaceAll('\n', ' | ').slice(0, 4000));
  console.log('fails ' + String(error.stack).replaceAll('\n', ' | '), errors.join(' | '));
  process.exitCode = 1;
}
await browser.close();
process.exit();
