// A worker that was never built says why, and shows its page as soon as it can be built.
//
// Begins where the build of the page's worker has failed and nothing of it serves. Asks for `break
// again`, as in overlay.mjs, and for `change`, as in reload.mjs.
import assert from "node:assert/strict";
import { look } from "../look.mjs";
import { OVERLAY, shows } from "../tab.mjs";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  assert.deepEqual(log.statuses, [503]);
  await log.connected;
  assert.equal(await page.locator(OVERLAY).count(), 0, "the page itself says all of it");
  const { message, file, href } = await ask("break again");
  await page.locator("pre", { hasText: message }).waitFor();
  const links = await page.locator("a").evaluateAll((all) =>
    all.map((it) => ({ text: it.textContent, href: it.getAttribute("href") })));
  assert.deepEqual(links, [{ text: file, href }]);
  await look(page, "503");
  const { text } = await ask("change");
  await shows(page, text);
  assert.deepEqual(log.statuses, [503, 503, 200]);
}
