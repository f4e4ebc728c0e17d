// A page that is replaced is loaded again, once for each change and never to an error.
//
// Asks for `change`: another generation or other templates; answers {text}, what pages show then.
import assert from "node:assert/strict";
import { shows } from "../tab.mjs";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  for (let changes = 1; changes <= 3; changes++) {
    const { text } = await ask("change");
    await shows(page, text);
    assert.deepEqual(log.statuses, Array(1 + changes).fill(200));
  }
}
