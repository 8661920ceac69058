// What the conformance suite cannot see: what a program in this language relies on beyond the guarantees of all clients.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { inspect } from "node:util";
import { ApiError, Client, ConnectionError, NotFoundError, TimeoutError, UsageError } from "../dist/index.js";
import { retryAfterMs } from "../dist/retries.js";
import { typesOf } from "../scripts/types.mjs";

const TOKEN = "tt_0123456789abcdef_secret-of-the-test";

/** A client whose requests are answered by `answer`, and the requests. */
function client(answer, options = {}) {
  const asked = [];
  const fetch = async (url, init) => {
    asked.push({ url: String(url), ...init, body: init.body && JSON.parse(init.body) });
    return answer(asked.length, asked.at(-1));
  };
  return { asked, client: new Client({ baseUrl: "http://tide.test", token: TOKEN, fetch, ...options }) };
}

const value = (body, version = 1, headers = {}) =>
  Response.json(body, { headers: { "Tidetable-Version": String(version), ETag: `"${JSON.stringify(body).length}"`, ...headers } });
/** A value that is no JSON: two bytes that are no text either. */
const bytes = (headers = {}) =>
  new Response(new Uint8Array([255, 0]), { headers: { "Content-Type": "application/octet-stream", "Content-Length": "2", "Tidetable-Version": "7", ETag: '"b"', ...headers } });
const problem = (status, code) => new Response(JSON.stringify({ code, status, detail: "made up", request_id: "r-1" }), { status });
const batch = (keys, version = 1) => Response.json({ version, results: keys.map((key) => ({ key, found: true, value: key })) });

test("the types are what the OpenAPI document says", () => {
  const document = JSON.parse(readFileSync(new URL("../../../src/http/openapi.json", import.meta.url), "utf8"));
  assert.equal(readFileSync(new URL("../src/api.ts", import.meta.url), "utf8"), typesOf(document), "run `npm run types`");
});

test("nothing is depended on, and the lock file names no host", () => {
  const described = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  assert.equal(described.dependencies, undefined);
  assert.doesNotMatch(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"), /https?:/);
});

test("an entry has version, ETag and the instant of its data; an absent key is null", async () => {
  const { client: here } = client((n) => (n === 1 ? value({ a: 1 }, 7, { "Tidetable-As-Of": "2026-11-22T00:00:00Z" }) : problem(404, "key_not_found")));
  assert.deepEqual(await here.getEntry("d", "k"), { value: { a: 1 }, version: 7, etag: '"7"', asOf: "2026-11-22T00:00:00Z" });
  assert.equal(await here.getEntry("d", "k"), null);
  assert.equal(await here.get("d", "k"), null);
});

test("errors are told apart by class and by code", async () => {
  const { client: here } = client((n) => [problem(404, "dataset_not_found"), problem(410, "version_deleted"), problem(410, "erased"), problem(403, "forbidden")][n - 1]);
  for (const code of ["dataset_not_found", "version_deleted"]) {
    await assert.rejects(here.get("d", "k"), (fault) => fault instanceof NotFoundError && fault.code === code && fault.requestId === "r-1" && fault.detail === "made up");
  }
  for (const code of ["erased", "forbidden"]) {
    await assert.rejects(here.get("d", "k"), (fault) => fault instanceof ApiError && !(fault instanceof NotFoundError) && fault.code === code);
  }
});

test("a signal ends a call with its own reason, and nothing is tried again", async () => {
  const controller = new AbortController();
  const { asked, client: here } = client((n, { signal }) => new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason));
    controller.abort(new Error("the page was left"));
  }));
  await assert.rejects(here.get("d", "k", { signal: controller.signal }), /the page was left/);
  await assert.rejects(here.getMany("d", ["k"], { signal: controller.signal }), /the page was left/);
  assert.equal(asked.length, 1);
});

// Without the signal the wait goes on for a minute, and the test does not.
test("a signal ends the wait before a retry", { timeout: 20_000 }, async () => {
  const controller = new AbortController();
  const { asked, client: here } = client(() => {
    setImmediate(() => controller.abort(new Error("the page was left")));
    return new Response("", { status: 503, headers: { "Retry-After": "60" } });
  }, { totalTimeoutMs: 100_000 });
  await assert.rejects(here.get("d", "k", { signal: controller.signal }), /the page was left/);
  assert.equal(asked.length, 1);
});

test("the total timeout ends a fetch that never answers", async () => {
  const { client: here } = client((n, { signal }) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))), { totalTimeoutMs: 20 });
  await assert.rejects(here.get("d", "k"), TimeoutError);
});

test("nobody can change what the cache gives to others", async () => {
  const { asked, client: here } = client(() => value({ list: [1] }), { cache: { ttlMs: 60_000 } });
  (await here.get("d", "k")).list.push(2);
  assert.deepEqual(await here.get("d", "k"), { list: [1] });
  assert.equal(asked.length, 1);
});

test("the cache is bounded: what was not used longest goes first", async () => {
  const { asked, client: here } = client(() => value(1), { cache: { ttlMs: 60_000, maxEntries: 2 } });
  for (const key of ["a", "b", "a", "c", "a", "b"]) await here.get("d", key);
  assert.deepEqual(asked.map(({ url }) => url.at(-1)), ["a", "b", "c", "b"]);
});

test("the cache is bounded in bytes, and what is larger than all of it is not held", async () => {
  const { asked, client: here } = client((n, { url }) => value("x".repeat(url.endsWith("/large") ? 3000 : 1000)), { cache: { ttlMs: 60_000, maxBytes: 5000 } });
  for (const key of ["a", "b", "a", "large", "a", "c", "a", "b", "large"]) await here.get("d", key);
  assert.deepEqual(asked.map(({ url }) => url.split("/").at(-1)), ["a", "b", "large", "c", "b", "large"]);
});

test("an emptied cache gives nothing that was read before, nor what was under way", async () => {
  let answer;
  const { asked, client: here } = client((n) => (n === 2 ? new Promise((resolve) => { answer = () => resolve(value("erased")); }) : value(n)), { cache: { ttlMs: 60_000 } });
  assert.equal(await here.get("d", "a", { version: 1 }), 1);
  const underWay = here.get("d", "b", { version: 1 });
  await new Promise(setImmediate);
  here.clearCache();
  answer();
  assert.equal(await underWay, "erased");
  await new Promise((resolve) => setTimeout(resolve, 2)); // The clock of the cache must have gone on.
  assert.equal(await here.get("d", "a", { version: 1 }), 3);
  assert.equal(await here.get("d", "b", { version: 1 }), 4);
  assert.equal(await here.get("d", "b", { version: 1 }), 4);
  assert.equal(asked.length, 4);
  client(() => value(1)).client.clearCache();
});

test("keys of bytes are found again under the arrays they were asked with, each once", async () => {
  const { asked, client: here } = client((n, { body }) => batch(body.keys));
  const [first, second] = [new Uint8Array([255, 0]), new Uint8Array([1])];
  const found = await here.getMany("d", [first, second, new Uint8Array([255, 0])]);
  assert.deepEqual([...found.keys()], [first, second]);
  assert.equal(found.get(first), "_wA");
  assert.deepEqual(asked[0].body, { keys: ["_wA", "AQ"], key_encoding: "base64url" });
});

test("text and bytes in one batch keep apart what is asked for", async () => {
  const { client: here } = client((n, { body }) => batch(body.keys));
  const bytes = new Uint8Array([97]);
  const found = await here.getMany("d", ["a", bytes]);
  assert.deepEqual([...found.keys()], ["a", bytes]);
});

test("a value that is no JSON comes as its bytes, from the cache too, and nobody can change what is kept", async () => {
  for (const [ttlMs, requests] of [[60_000, 1], [0, 3]]) {
    const { asked, client: here } = client((n) => (n === 1 ? bytes() : new Response(null, { status: 304, headers: { "Tidetable-Version": "7", ETag: '"b"' } })), { cache: { ttlMs } });
    const first = await here.getEntry("d", "k");
    assert.deepEqual(first, { value: new Uint8Array([255, 0]), version: 7, etag: '"b"', asOf: null });
    first.value[0] = 1;
    (await here.get("d", "k"))[0] = 2;
    assert.deepEqual(await here.get("d", "k"), new Uint8Array([255, 0]));
    assert.equal(asked.length, requests);
  }
});

test("bytes of which nobody can say whether they are all, or of what, are no value", async () => {
  for (const headers of [{ "Content-Length": undefined, Connection: "close" }, { "Tidetable-Version": undefined }]) {
    const { asked, client: here } = client(() => {
      const answer = bytes();
      for (const [name, text] of Object.entries(headers)) text === undefined ? answer.headers.delete(name) : answer.headers.set(name, text);
      return answer;
    });
    await assert.rejects(here.get("d", "k"), ConnectionError);
    assert.equal(asked.length, 3);
  }
});

test("values in base64 are bytes in batches, in scans and of several datasets", async () => {
  const one = { key: "k", found: true, value: "/wA=", encoding: "base64" };
  const { client: here } = client((n, { url }) => Response.json(
    url.includes("/scan") ? { version: 3, records: [one], next: null }
    : url.endsWith("/v1/batch-get") ? { answers: [{ dataset: "d", version: 3, results: [one] }] }
    : { version: 3, results: [one, { key: "z", found: false }] }));
  const expected = new Uint8Array([255, 0]);
  assert.deepEqual([...await here.getMany("d", ["k", "z"])], [["k", expected]]);
  for await (const { value: got } of here.scan("d")) assert.deepEqual(got, expected);
  assert.deepEqual((await here.multi({ d: ["k"] })).get("d").values.get("k"), expected);
  const { client: broken } = client(() => Response.json({ version: 3, results: [{ ...one, value: "%%" }] }));
  await assert.rejects(broken.getMany("d", ["k"]), ConnectionError);
});

test("what a path cannot say is asked for in a batch of one; a scan refuses it", async () => {
  const { asked, client: here } = client((n, { body }) => batch(body.keys, 4));
  const long = "ü".repeat(3000);
  assert.deepEqual(await here.getEntry("d", long), { value: long, version: 4, etag: null, asOf: null });
  assert.deepEqual(await here.get("d", "k", { fields: ["a,b"], version: 4 }), "k");
  assert.deepEqual(asked.map(({ method, body }) => [method, body]),
    [["POST", { keys: [long] }], ["POST", { keys: ["k"], fields: ["a,b"], version: 4 }]]);
  await assert.rejects(async () => { for await (const _ of here.scan("d", { fields: ["a,b"] })); }, UsageError);
  assert.equal(asked.length, 2);
  const { client: empty } = client((n, { body }) => Response.json({ version: 4, results: body.keys.map((key) => ({ key, found: false })) }));
  assert.equal(await empty.getEntry("d", long), null);
});

test("no more requests run at the same time than the pool has room for", async () => {
  let running = 0;
  let most = 0;
  const { asked, client: here } = client(async () => {
    most = Math.max(most, ++running);
    await new Promise(setImmediate);
    running -= 1;
    return value(1);
  }, { poolSize: 3 });
  await Promise.all(Array.from({ length: 20 }, (_, n) => here.get("d", `k${n}`)));
  assert.equal(asked.length, 20);
  assert.equal(most, 3);
});

test("whoever gives up waiting for a place in the pool takes nobody's turn", { timeout: 20_000 }, async () => {
  let answer;
  const { asked, client: here } = client((n) => (n === 1 ? new Promise((resolve) => { answer = () => resolve(value(1)); }) : value(n)), { poolSize: 1, totalTimeoutMs: 100_000 });
  const first = here.get("d", "a");
  const controller = new AbortController();
  const second = here.get("d", "b", { signal: controller.signal });
  const third = here.get("d", "c");
  await new Promise(setImmediate);
  controller.abort(new Error("the page was left"));
  await assert.rejects(second, /the page was left/);
  answer();
  assert.deepEqual(await Promise.all([first, third]), [1, 2]);
  assert.equal(asked.length, 2);
});

test("in mode version, an answer that was overtaken by a swap is not kept", async () => {
  let late;
  const { asked, client: here } = client((n, { url }) => {
    if (n === 1) return new Promise((resolve) => { late = () => resolve(value("old", 1)); });
    return value(`new ${url.at(-1)}`, 2);
  }, { cache: { ttlMs: 60_000, mode: "version" } });
  const slow = here.get("d", "a");
  await new Promise((resolve) => setTimeout(resolve, 2)); // The clock of the cache must have gone on.
  assert.equal(await here.get("d", "b"), "new b");
  late();
  assert.equal(await slow, "old");
  assert.equal(await here.get("d", "a"), "new a");
  assert.equal(await here.get("d", "b"), "new b");
  assert.equal(asked.length, 3);
});

test("a place in the pool is given back, whatever becomes of its request", async () => {
  const { client: here } = client((n) => (n === 1 ? Promise.reject(new TypeError("fetch failed")) : n === 2 ? problem(500, "data_corrupt") : value(1)), { poolSize: 1, maxTries: 1 });
  await assert.rejects(here.get("d", "k"), ConnectionError);
  await assert.rejects(here.get("d", "k"), ApiError);
  assert.equal(await here.get("d", "k"), 1);
});

test("large keys go in chunks that the server takes, as they are written in JSON", async () => {
  for (const [letter, requests] of [["x", 3], ["\u0001", 20]]) {
    const { asked, client: here } = client((n, { body }) => batch(body.keys));
    const keys = Array.from({ length: 100 }, (_, n) => n + letter.repeat(60_000));
    assert.deepEqual([...(await here.getMany("d", keys)).keys()], keys);
    assert.equal(asked.length, requests);
    for (const { body } of asked) assert.ok(JSON.stringify(body).length < 4 << 20);
  }
  const { asked, client: here } = client((n, { body }) => batch(body.keys));
  await here.getMany("d", Array.from({ length: 40 }, (_, n) => new Uint8Array(60_000).fill(n)));
  assert.equal(asked.length, 2);
});

test("a chunk that fails ends the batch, and no chunk runs on after it", async () => {
  const { asked, client: here } = client((n, { body }) => (n === 3 ? problem(500, "data_corrupt") : batch(body.keys)));
  await assert.rejects(here.getMany("d", Array.from({ length: 20_000 }, (_, n) => `k${n}`)), /data_corrupt/);
  const before = asked.length;
  await new Promise(setImmediate);
  assert.equal(asked.length, before);
  assert.ok(before < 20, `${before} requests`);
});

test("a scan that is left asks for no further page", async () => {
  const { asked, client: here } = client(() => Response.json({ version: 3, records: [{ key: "a", value: 1 }, { key: "b", value: 2 }], next: "more" }));
  for await (const { key, value: got, version } of here.scan("d")) {
    assert.deepEqual([key, got, version], ["a", 1, 3]);
    break;
  }
  assert.equal(asked.length, 1);
});

test("several datasets: their values, and an error in the place of one", async () => {
  const { asked, client: here } = client((n, { body }) => Response.json({ answers: [
    { dataset: "a", version: 3, results: body.requests[0].keys.map((key) => ({ key, found: key !== "z", value: 1 })) },
    { dataset: "b", error: { code: "dataset_not_found", status: 404 } },
  ] }));
  const answers = await here.multi({ a: ["x", "z"], b: ["x"] });
  assert.deepEqual([...answers.get("a").values], [["x", 1]]);
  assert.ok(answers.get("b").error instanceof NotFoundError);
  await assert.rejects(here.multi({ a: Array.from({ length: 1001 }, (_, n) => `k${n}`) }), UsageError);
  assert.equal(asked.length, 1);
});

test("a redirect that a browser hides is an error", async () => {
  const { client: here } = client(() => Object.defineProperty(new Response(null), "status", { value: 0 }));
  await assert.rejects(here.get("d", "k"), (fault) => fault instanceof ApiError && fault.status === 0 && /redirect/.test(fault.message));
});

test("another reader of JSON may keep whole numbers exact", async () => {
  const { client: here } = client(() => new Response('{"id":9007199254740993}', { headers: { "Content-Type": "application/json", "Tidetable-Version": "1" } }), { parse: (text) => text });
  assert.equal(await here.get("d", "k"), '{"id":9007199254740993}');
});

test("neither a client nor an error shows the token", async () => {
  const { client: here } = client(() => Promise.reject(new TypeError("fetch failed", { cause: new Error("ECONNRESET") })), { maxTries: 1 });
  const fault = await here.get("d", "k").catch((error) => error);
  for (const thing of [here, fault]) {
    for (const text of [inspect(thing, { depth: 9, showHidden: true }), String(thing), JSON.stringify(thing), thing.stack ?? ""]) assert.doesNotMatch(text, /secret-of-the-test/);
  }
});

test("where the server is, and the token, may stand in the environment", async () => {
  process.env.TIDETABLE_SERVER = "http://from.environment/base/";
  process.env.TIDETABLE_TOKEN = TOKEN;
  try {
    const { asked, client: here } = client(() => value(1), { baseUrl: undefined, token: undefined });
    await here.get("d", "k");
    const { asked: without, client: nobody } = client(() => value(1), { token: null });
    await nobody.get("d", "k");
    assert.equal(asked[0].url, "http://from.environment/base/v1/datasets/d/keys/k");
    assert.equal(asked[0].headers.Authorization, `Bearer ${TOKEN}`);
    assert.equal(without[0].headers.Authorization, undefined);
  } finally {
    delete process.env.TIDETABLE_SERVER;
    delete process.env.TIDETABLE_TOKEN;
  }
});

test("a unit of any script goes as UTF-8; control characters do not go at all", async () => {
  const { asked, client: here } = client(() => value(1), { unit: "müller" });
  await here.get("d", "k");
  assert.equal(Buffer.from(asked[0].headers["Tidetable-Unit"], "latin1").toString(), "müller");
  assert.throws(() => client(() => value(1), { unit: "a\nb" }), UsageError);
});

test("a unit of one call goes in the place of the client's, with every read, and has entries of its own in the cache", async () => {
  const { asked, client: here } = client((n, { url, body }) =>
    url.includes("/keys/") ? value(n)
    : url.includes("/scan") ? Response.json({ version: 1, records: [], next: null })
    : url.endsWith("/v1/batch-get") ? Response.json({ answers: [{ dataset: "d", version: 1, results: [{ key: "k", found: false }] }] })
    : batch(body.keys), { unit: "client", cache: { ttlMs: 60_000 } });
  const read = [];
  for (const unit of ["müller", undefined, "müller", undefined]) read.push(await here.get("d", "k", { unit }));
  assert.deepEqual(read, [1, 2, 1, 2]);
  await here.getMany("d", Array.from({ length: 1001 }, (_, n) => `k${n}`), { unit: "7" });
  await here.multi({ d: ["k"] }, { unit: "7" });
  for await (const _ of here.scan("d", { unit: "7" }));
  const units = asked.map(({ headers }) => Buffer.from(headers["Tidetable-Unit"], "latin1").toString());
  assert.deepEqual(units, ["müller", "client", "7", "7", "7", "7"]);
  for (const unit of ["", "a\nb"]) {
    await assert.rejects(here.get("d", "k", { unit }), UsageError);
    await assert.rejects(here.getMany("d", ["k"], { unit }), UsageError);
    await assert.rejects(here.multi({ d: ["k"] }, { unit }), UsageError);
  }
  assert.equal(asked.length, 6);
});

test("what cannot be a call is refused before anything is sent", async () => {
  const { asked, client: here } = client(() => value(1));
  for (const key of ["", new Uint8Array(), 42, null, undefined, "\ud800"]) await assert.rejects(here.get("d", key), UsageError);
  for (const dataset of ["", ".", "..", undefined]) await assert.rejects(here.get(dataset, "k"), UsageError);
  await assert.rejects(here.getMany("d", "one string"), UsageError);
  for (const fields of ["v,k", 7, [7], {}]) {
    await assert.rejects(here.get("d", "k", { fields }), UsageError);
    await assert.rejects(here.getMany("d", ["k"], { fields }), UsageError);
    await assert.rejects(async () => { for await (const _ of here.scan("d", { fields })); }, UsageError);
  }
  assert.equal(asked.length, 0);
  for (const wrong of [{ totalTimeoutMs: 0 }, { maxTries: -1 }, { poolSize: NaN }, { baseUrl: "ftp://x" }, { baseUrl: "http://user:word@x" }]) assert.throws(() => new Client(wrong), UsageError);
});

test("Retry-After is seconds or an HTTP date, and nothing else", () => {
  const now = Date.parse("Sun, 06 Nov 1994 08:49:30 GMT");
  for (const [text, expected] of [["2", 2000], ["0", 0], [null, 0], ["", 0], ["soon", 0], ["-1", 0], ["1.5", 0], ["1994", 1994000],
    ["Sun, 06 Nov 1994 08:49:37 GMT", 7000], ["Sunday, 06-Nov-94 08:49:37 GMT", 7000], ["Sun Nov  6 08:49:37 1994", 0], ["Sun, 06 Nov 1994 08:49:20 GMT", 0]]) {
    assert.equal(retryAfterMs(text, now), expected, String(text));
  }
});
