// A style sheet that has changed is swapped under the page, which goes on as it was.
//
// Asks for `style`: the change of a style sheet of the page; answers {selector, property,
// value}, what it then makes of the page.
import assert from "node:assert/strict";

export default async function ({ open, ask }) {
  const { page, log } = await open();
  await page.evaluate(() => {
    window.kept = "kept";
    document.body.append(Object.assign(document.createElement("input"), { id: "tq-word" }));
    const tall = document.createElement("div");
    tall.style.height = "5000px";
    document.body.append(tall);
  });
  await page.locator("#tq-word").pressSequentially("half ty");
  await page.evaluate(() => scrollTo(0, 1234));
  const sheets = () => page.locator('link[rel="stylesheet"]').count();
  const before = await sheets();
  for (let change = 1; change <= 2; change++) {
    const wanted = await ask("style");
    await page.waitForFunction(
      ({ selector, property, value }) =>
        getComputedStyle(document.querySelector(selector)).getPropertyValue(property) === value,
      wanted,
    );
    // The old sheet goes once the new one is there.
    await page.waitForFunction(
      (count) => document.querySelectorAll('link[rel="stylesheet"]').length === count, before,
    );
  }
  assert.equal(await page.evaluate(() => scrollY), 1234);
  // The focus is where it was, too; to type scrolls there.
  await page.keyboard.type("ped");
  const state = await page.evaluate(() => ({
    kept: window.kept,
    word: document.querySelector("#tq-word").value,
  }));
  assert.deepEqual(state, { kept: "kept", word: "half typed" });
  assert.deepEqual(log.statuses, [200], "the page was loaded once");
}
