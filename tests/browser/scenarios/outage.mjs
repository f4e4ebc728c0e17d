// A tab that was not connected when its page was replaced is loaded again once it is.
//
// Asks for `stop`: the server takes no connections; `change`, as in reload.mjs, meanwhile; `start`.
import assert from "node:assert/strict";
import { shows } from "../tab.mjs";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  const closed = (await log.connected).waitForEvent("close");
  await ask("stop");
  await closed;
  const { text } = await ask("change");
  assert.deepEqual(log.statuses, [200]);
  await ask("start");
  await shows(page, text);
  assert.deepEqual(log.statuses, [200, 200]);
}
