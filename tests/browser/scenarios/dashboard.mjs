// The dashboard is seen by whoever has the token, on wide and narrow screens, light and dark, with keys and
// by screen readers, and asks nobody else for anything.
//
// Asks for `token`, which answers {token}, and for `mend`, after which all is well.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { look } from "../look.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe finds wrong, in both colour schemes. */
async function assertAccessible(page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    // By the debugger, as the page itself may run nothing.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => window.axe.run());
    const found = violations.map(({ id, impact, nodes }) => [id, impact, nodes[0].html]);
    assert.deepEqual(found, [], `${name}, ${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: null });
}

export default async function ({ open, ask }) {
  const { page } = await open();
  const asked = [];
  page.on("request", (request) => asked.push(request.url()));
  await assertAccessible(page, "login");
  await look(page, "dashboard-login");

  await page.getByLabel("Token").fill("something else");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  const { token } = await ask("token");
  await page.getByLabel("Token").fill(token);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");

  const row = page.getByRole("row", { name: /^api_users/ }).first();
  assert.match(await row.innerText(), /backoff/);
  assert.match(await page.getByRole("alert").innerText(), /failed/);
  await assertAccessible(page, "dashboard");
  await look(page, "dashboard-degraded");

  await ask("mend");
  await page.getByRole("link", { name: "Look again" }).click();
  await page.getByText("desired").waitFor({ state: "detached" });
  assert.match(await row.innerText(), /serving/);
  await look(page, "dashboard");
  if (process.env.TQ_SCREENSHOTS) {
    // The picture in docs/dashboard.md.
    await page.locator("body").screenshot({ path: `${process.env.TQ_SCREENSHOTS}/dashboard.png` });
  }

  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Token").waitFor();
  await page.goto(new URL("/dashboard", page.url()).href);
  await page.getByLabel("Token").waitFor();

  const { origin } = new URL(page.url());
  assert.ok(asked.length > 5);
  assert.deepEqual(asked.filter((url) => new URL(url).origin !== origin), []);
}
