// The pictures of the console in docs/, from the stand-in's made-up day:
// `node tests/console/pictures.mjs`, then look at them. pngquant makes them small, where it is there.

import { spawnSync } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "./browser.mjs";
import { start } from "./stub.mjs";

const DOCS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../docs");
const PICTURES = [
  { name: "console-overview", hash: "#/", theme: "light", height: 800 },
  { name: "console-dataset", hash: "#/datasets/course-recs", theme: "dark", height: 1240, chart: true },
];

const server = await start(0, 16);
const browser = await launch();
for (const { name, hash, theme, height, chart } of PICTURES) {
  const page = await browser.newPage({ viewport: { width: 1280, height }, colorScheme: theme, deviceScaleFactor: 1.5 });
  await page.goto(`http://127.0.0.1:${server.address().port}/${hash}`);
  await page.locator("main h1").waitFor();
  await page
    .locator(chart ? ".plot-p99 .line" : ".spark-line")
    .first()
    .waitFor();
  if (chart) {
    // The pointer on the rollback: its figures and reason show above.
    const plot = await page.locator(".plot-hits").boundingBox();
    const mark = await page.locator(".lane-mark.tone-bad").boundingBox();
    await page.mouse.move(mark.x + mark.width / 2, plot.y + plot.height / 2);
  }
  const file = path.join(DOCS, `${name}.png`);
  await page.screenshot({ path: file });
  spawnSync("pngquant", ["--force", "--skip-if-larger", "--speed", "1", "--quality", "70-95", "--output", file, file]);
  await page.close();
}
await browser.close();
server.close();
