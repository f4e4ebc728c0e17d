// Many tabs at once are all loaded again.
//
// Asks for `change`, as in reload.mjs.
import assert from "node:assert/strict";
import { shows } from "../tab.mjs";

const TABS = 8;

export default async function ({ open, ask }) {
  const tabs = await Promise.all(Array.from({ length: TABS }, () => open()));
  await Promise.all(tabs.map(({ log }) => log.connected));
  const { text } = await ask("change");
  await Promise.all(tabs.map(({ page }) => shows(page, text)));
  for (const { log } of tabs) assert.deepEqual(log.statuses, [200, 200]);
}
