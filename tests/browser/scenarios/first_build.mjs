// A worker that was never built says why, and shows its page as soon as it can be built.
//
// Begins where the build of the page's worker has failed and nothing of it serves. Asks for `break
// again`, as in overlay.mjs, and for `change`, as in reload.mjs.
import assert from "node:assert/strict";
import { OVERLAY, readOverlay, shows } from "../tab.mjs";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  assert.deepEqual(log.statuses, [503]);
  await page.locator(OVERLAY).waitFor();
  const { message } = await ask("break again");
  // The page itself has the log of this failure.
  await page.locator("pre", { hasText: message }).waitFor();
  await page.locator(OVERLAY).waitFor();
  assert.deepEqual((await readOverlay(page)).messages, [message]);
  const { text } = await ask("change");
  await shows(page, text);
  assert.deepEqual(log.statuses, [503, 503, 200]);
  assert.equal(await page.locator(OVERLAY).count(), 0);
}
