// Chromium, and a page that notes whatever it must not do: an error, a request to another origin,
// a violation of the content security policy.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { existsSync } from "node:fs";
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const BROWSERS = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

export async function launch() {
  const executablePath = BROWSERS.find((path) => path && existsSync(path));
  assert.ok(executablePath, "no Chromium: scripts/setup console installs it, or CHROMIUM says where it is");
  // Root may not have a sandbox; the pages are this repository's own.
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return chromium.launch({ executablePath, args: [...sandbox, "--disable-dev-shm-usage"] });
}

/** A page of that size and theme on `address`. `page.faults` is what it must not have done. */
export async function open(browser, address, { theme = "light", width = 1280, height = 900 } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: theme,
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.faults = [];
  // An answer that is an error by intent is written to the browser's console too: tests name it.
  page.on(
    "console",
    (message) =>
      message.type() === "error" &&
      !page.expected?.test(message.text()) &&
      page.faults.push(`console: ${message.text()}`),
  );
  page.on("pageerror", (error) => page.faults.push(`error: ${error.stack ?? error.message}`));
  page.on(
    "request",
    (request) => request.url().startsWith(`${address}/`) || page.faults.push(`request to ${request.url()}`),
  );
  await page.exposeFunction("noteViolation", (text) => page.faults.push(`policy: ${text}`));
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) =>
      window.noteViolation(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`),
    );
  });
  if (process.env.CONSOLE_FILES) await page.route(/\/console\/|\/$/, unbuilt);
  page.address = address;
  page.at = async (hash, ready) => {
    // The same page with another hash is not loaded again.
    await page.goto(`${address}/${hash}`);
    await page.locator(ready).first().waitFor();
    return page;
  };
  page.leave = async () => {
    assert.deepEqual(page.faults, []);
    await context.close();
  };
  return page;
}

// With CONSOLE_FILES=src/console the files are those of the tree, under the headers of the server:
// to work on the console without building.
async function unbuilt(route) {
  const { origin, pathname } = new URL(route.request().url());
  const name = pathname.split("/").pop() || "index.html";
  const type = { html: "text/html", css: "text/css", js: "text/javascript", svg: "image/svg+xml" }[
    name.split(".").pop()
  ];
  const [page, body] = await Promise.all([fetch(`${origin}/`), readFile(`${process.env.CONSOLE_FILES}/${name}`)]);
  const policy = page.headers.get("content-security-policy") ?? "";
  await route.fulfill({ body, headers: { "content-type": type, "content-security-policy": policy } });
}

/** Fails on what axe calls serious or critical. */
export async function accessible(page, what) {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const grave = violations
    .filter((v) => ["serious", "critical"].includes(v.impact))
    .map(
      (v) =>
        `${v.id}: ${v.help}\n${v.nodes
          .slice(0, 3)
          .map((n) => `    ${n.html.slice(0, 160)} ${n.failureSummary?.split("\n")[1] ?? ""}`)
          .join("\n")}`,
    );
  assert.deepEqual(grave, [], `${what} is not accessible`);
}

/** Presses Tab until the focused element has that name, as somebody without a mouse would. */
export async function tabTo(page, name) {
  for (let presses = 0; presses < 80; presses += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      return element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? "";
    });
    if (focused === name) return;
  }
  assert.fail(`Tab does not come to ${name}`);
}
