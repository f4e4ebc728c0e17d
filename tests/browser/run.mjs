// Runs one scenario in a headless Chromium: node run.mjs SCENARIO URL
//
// URL is the page that the scenario is about. What a browser cannot do itself, such as to change a
// source file, the scenario asks for: this prints a line `ask WORD` and awaits a line of JSON, which
// tells what came of it. Each scenario says what it asks for, so that any site can be behind it.
// Prints `passed` at the end; else it says on stderr what was wrong and exits with 1.
import assert from "node:assert/strict";
import readline from "node:readline";
import { chromium } from "playwright-core";
import { TabLog } from "./tab.mjs";

const PATIENCE = 30_000; // ms

const [name, url] = process.argv.slice(2);
const { default: scenario } = await import(`./scenarios/${name}.mjs`);

const input = readline.createInterface({ input: process.stdin });
const answers = input[Symbol.asyncIterator]();
// Whoever started this is gone; the browser goes with this process.
input.on("close", () => process.exit(2));

async function ask(word) {
  console.log(`ask ${word}`);
  const { value } = await answers.next();
  return JSON.parse(value);
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
const context = await browser.newContext();
context.setDefaultTimeout(PATIENCE);
const violations = [];
await context.exposeBinding("tqViolation", (_, what) => violations.push(what));
await context.addInitScript(() => {
  document.addEventListener("securitypolicyviolation", (event) => {
    window.tqViolation(`${event.violatedDirective}: ${event.blockedURI}`);
  });
});

const errors = [];
/** A new tab with the page, and what happens in it. */
async function open() {
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(String(error)));
  const log = new TabLog(page);
  await page.goto(url);
  return { page, log };
}

await scenario({ open, ask });
assert.deepEqual(violations, [], "violations of the content security policy");
assert.deepEqual(errors, [], "errors of scripts");
await browser.close();
console.log("passed");
process.exit(0);
