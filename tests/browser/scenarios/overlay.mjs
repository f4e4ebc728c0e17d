// A failed build is shown over the page that still serves, and goes when it is mended.
//
// Asks for `break` and then `break again`, two different failures; each answers {message, file, href}:
// what is wrong, where as it is shown (`file:line:column`), and the link to it. Asks for `mend`, which
// brings no new page.
import assert from "node:assert/strict";
import { look } from "../look.mjs";
import { OVERLAY, clickDismiss, readOverlay } from "../tab.mjs";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  const overlay = page.locator(OVERLAY);
  await page.evaluate(() => {
    document.body.append(Object.assign(document.createElement("input"), { id: "tq-word" }));
  });
  await page.locator("#tq-word").pressSequentially("un");

  const first = await ask("break");
  await overlay.waitFor();
  const shown = await readOverlay(page);
  assert.deepEqual(shown.links, [{ text: first.file, href: first.href }]);
  assert.deepEqual(shown.messages, [first.message]);
  assert.ok(!shown.tags.includes("IMG"), "text is text");
  assert.match(shown.dialog, /could not be built/);
  await page.keyboard.type("touched");
  assert.equal(await page.locator("#tq-word").inputValue(), "untouched", "the focus stays");

  await page.keyboard.press("Escape");
  await overlay.waitFor({ state: "detached" });
  const second = await ask("break again");
  await overlay.waitFor();
  assert.deepEqual((await readOverlay(page)).messages, [second.message]);
  await look(page, "overlay");
  await clickDismiss(page);
  await overlay.waitFor({ state: "detached" });

  await ask("break");
  await overlay.waitFor();
  await ask("mend");
  await overlay.waitFor({ state: "detached" });
  assert.deepEqual(log.statuses, [200], "the page was loaded once");
}
