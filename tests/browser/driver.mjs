// Drives a browser: each line of stdin is a JSON string with code to run. The value of the code, or its
// error, is written as one line. The tests are in tests/it/page.rs.

import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import axe from 'axe-core';

const AsyncFunction = Object.getPrototypeOf(async () => {}).constructor;
const emit = value => process.stdout.write(`@lab ${JSON.stringify(value)}\n`);

// In a container there is no sandbox, and the shared memory is small.
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
});

// This outlives a line: the code keeps its page here.
const the = {
  requests: new Set(),
  errors: [],
  async open(url, options = {}) {
    await this.context?.close();
    this.context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    this.page = await this.context.newPage();
    this.page.setDefaultTimeout(15000);
    this.page.on('request', request => this.requests.add(request.url()));
    this.page.on('console', message => { if (message.type() === 'error') this.errors.push(message.text()); });
    this.page.on('pageerror', error => this.errors.push(String(error)));
    await this.page.goto(url);
  },
  // Not Playwright's own way of waiting: that is an eval, which the page's policy forbids.
  async until(holds) {
    const end = Date.now() + 15000;
    while (!await this.page.evaluate(`Boolean(${holds})`)) {
      if (Date.now() > end) throw new Error(`waited for ${holds}`);
      await new Promise(done => setTimeout(done, 50));
    }
  },
  // What a reader with a screen reader or a keyboard would stumble over.
  async barriers() {
    await this.page.evaluate(axe.source);
    const { violations } = await this.page.evaluate(() => axe.run());
    return violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(node => node.html + ' ' + node.failureSummary).slice(0, 3)}`);
  },
};

emit('ready');
for await (const line of createInterface({ input: process.stdin })) {
  try {
    emit({ value: await new AsyncFunction('the', 'page', JSON.parse(line))(the, the.page) ?? null });
  } catch (error) {
    emit({ error: String(error.stack ?? error) });
  }
}
await browser.close();
