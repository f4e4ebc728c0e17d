// How what is shown of a failure looks.
import assert from "node:assert/strict";
import { overlayExcess } from "./tab.mjs";

/**
 * Looks at a page on a wide screen and on a narrow one: nothing reaches over its edge. Where
 * TQ_SCREENSHOTS names a folder, puts `NAME-WIDTH-SCHEME.png` there, light and dark.
 */
export async function look(page, name) {
  const before = page.viewportSize();
  for (const width of [1280, 360]) {
    await page.setViewportSize({ width, height: 740 });
    const reach = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(reach <= width, `${name}: ${reach} px on ${width}`);
    assert.equal(await overlayExcess(page), 0, `${name}: pixels too many on ${width}`);
    for (const colorScheme of process.env.TQ_SCREENSHOTS ? ["light", "dark"] : []) {
      await page.emulateMedia({ colorScheme });
      const path = `${process.env.TQ_SCREENSHOTS}/${name}-${width}-${colorScheme}.png`;
      await page.screenshot({ path });
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
}
