// A server that is restarted while its socket stays is noticed, and nobody meets an error.
//
// Asks for `restart`, and for `change`, as in reload.mjs.
import assert from "node:assert/strict";
import { shows } from "../tab.mjs";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  await log.connected;
  // Nobody knows what was saved meanwhile.
  const loaded = page.waitForEvent("load");
  await ask("restart");
  await loaded;
  assert.deepEqual(log.statuses, [200, 200]);
  const { text } = await ask("change");
  await shows(page, text);
  assert.deepEqual(log.statuses, [200, 200, 200]);
}
