// Many tabs at once are all loaded again.
//
// Asks for `change`, as in reload.mjs, and for `tabs`; answers {tabs}, how many the server knows of,
// once these are as many as are open.
import assert from "node:assert/strict";
import { shows } from "../tab.mjs";

const TABS = 8;

export default async function ({ open, ask }) {
  const tabs = await Promise.all(Array.from({ length: TABS }, () => open()));
  assert.equal((await ask("tabs")).tabs, TABS);
  const { text } = await ask("change");
  await Promise.all(tabs.map(({ page }) => shows(page, text)));
  for (const { log } of tabs) assert.deepEqual(log.statuses, [200, 200]);
}
