// The client in a real browser: what `fetch` hides there, and what it does by itself. Skipped where there is no Chromium.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const browser = ["chromium", "chromium-browser", "google-chrome"].find((name) => spawnSync(name, ["--version"]).status === 0);

/** What the page does: each line is a name and what came of it. */
const page = `<!doctype html><meta charset="utf-8"><script type="module">
import { Client } from "/dist/index.js";
const client = new Client({ baseUrl: location.origin, token: null, unit: "müller", totalTimeoutMs: 1500, cache: { ttlMs: 0 } });
const said = {};
const say = async (name, call) => {
  said[name] = await call().catch((fault) => [fault.name, fault.status ?? null]);
};
await say("first", () => client.getEntry("d", "a/b ü"));
await say("revalidated", () => client.getEntry("d", "a/b ü"));
await say("many", async () => [...(await client.getMany("d", ["x", new Uint8Array([255, 0])])).values()]);
await say("dots", () => client.get("d", ".."));
await say("redirect", () => client.get("d", "redirect"));
await say("short", () => client.get("d", "short"));
await say("stalled", () => client.get("d", "stalled"));
await say("busy", () => client.get("d", "busy"));
await fetch("/done", { method: "POST", body: JSON.stringify(said) });
</script>`;

/** Answers as the server does, or as something broken does. */
function answers(seen, done) {
  return async (request, response) => {
    const { method, url, headers } = request;
    let body = "";
    for await (const piece of request.setEncoding("utf8")) body += piece;
    if (url === "/") return response.setHeader("Content-Type", "text/html").end(page);
    if (url.startsWith("/dist/")) return response.setHeader("Content-Type", "text/javascript").end(readFileSync(new URL(`..${url}`, import.meta.url)));
    if (url === "/done") return done(JSON.parse(body)), response.end();
    if (!url.startsWith("/v1/")) return response.writeHead(404).end();
    response.setHeader("Content-Type", "application/json");
    seen.push({ url, unit: Buffer.from(headers["tidetable-unit"] ?? "", "latin1").toString(), etag: headers["if-none-match"] });
    if (url.endsWith("/redirect")) return response.writeHead(302, { Location: "/v1/datasets/d/keys/elsewhere" }).end();
    if (url.endsWith("/short")) return response.writeHead(200, { "Content-Length": 9, "Tidetable-Version": 1 }), response.write("12345", () => response.destroy());
    if (url.endsWith("/stalled")) return response.writeHead(200, { "Tidetable-Version": 1 }), response.write("1");
    if (url.endsWith("/busy") && seen.filter((one) => one.url.endsWith("/busy")).length === 1) return response.writeHead(503).end();
    if (method === "POST") return response.end(JSON.stringify({ version: 2, results: JSON.parse(body).keys.map((key) => ({ key, found: true, value: key })) }));
    if (headers["if-none-match"] === '"e"') return response.writeHead(304, { ETag: '"e"', "Tidetable-Version": 2 }).end();
    return response.writeHead(200, { ETag: '"e"', "Tidetable-Version": 1 }).end('{"ok":true}');
  };
}

test("in a browser", { skip: browser === undefined && "there is no Chromium", timeout: 60_000 }, async () => {
  const seen = [];
  const profile = mkdtempSync(join(tmpdir(), "tidetable-browser-"));
  const server = createServer();
  const said = new Promise((resolve) => server.on("request", answers(seen, resolve)));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${server.address().port}/`;
  const shown = spawn(browser, ["--headless=new", "--no-sandbox", "--disable-gpu", `--user-data-dir=${profile}`, address], { stdio: "ignore" });
  const ended = new Promise((resolve) => shown.on("exit", resolve));
  try {
    assert.deepEqual(await said, {
      first: { value: { ok: true }, version: 1, etag: '"e"', asOf: null },
      revalidated: { value: { ok: true }, version: 2, etag: '"e"', asOf: null },
      many: ["eA", "_wA"],
      dots: { ok: true },
      // A browser tells no more of a redirect.
      redirect: ["ApiError", 0],
      short: ["ConnectionError", null],
      stalled: ["TimeoutError", null],
      busy: { ok: true },
    });
    assert.deepEqual(seen.slice(0, 2).map(({ etag }) => etag), [undefined, '"e"']);
    assert.equal(seen[0].url, "/v1/datasets/d/keys/a%2Fb%20%C3%BC");
    assert.ok(seen.some(({ url }) => url === "/v1/datasets/d/keys/Li4?key_encoding=base64url"), "dots are resolved away");
    assert.ok(seen.every(({ unit, url }) => unit === "müller" && !url.endsWith("/elsewhere")));
  } finally {
    shown.kill();
    await ended;
    server.close();
    server.closeAllConnections();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
});
