// A page of which nothing serves for a while stays, and is loaded again once: when it is served.
//
// Asks for `vanish`: the worker is being built, and nothing of it serves; for `template`: a change of
// its templates, which pages cannot show yet; and for `change`, as in reload.mjs.
import assert from "node:assert/strict";
import { shows } from "../tab.mjs";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  const socket = await log.connected;
  let asked = 0;
  page.on("request", (request) => { if (request.isNavigationRequest()) asked++; });

  /** Asks, and resolves once the page has heard what `condition` holds for. */
  async function told(word, condition) {
    const heard = socket.waitForEvent("framereceived", ({ payload }) => condition(JSON.parse(payload)));
    const [{ payload }] = await Promise.all([heard, ask(word)]);
    return JSON.parse(payload);
  }
  const { pages } = await told("vanish", (state) => !state.generation);
  await told("template", (state) => state.pages > pages);
  // By then it has done what it does about that.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve)));
  const { text } = await ask("change");
  await shows(page, text);
  assert.equal(asked, 1);
  assert.deepEqual(log.statuses, [200, 200]);
}
