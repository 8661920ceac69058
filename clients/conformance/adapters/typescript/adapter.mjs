// The adapter of the TypeScript client: one JSON object a line, as ../../README.md says.
import { createInterface } from "node:readline";
import { inspect } from "node:util";
import { ApiError, Client, ConnectionError, TimeoutError, UsageError } from "../../../typescript/dist/index.js";

const NEEDS = ["bytes_keys", "cache", "cache_version", "clear_cache", "surrogates", "unit", "unit_of_any_text", "unit_per_call", "user_agent"];

let client = null;

const milliseconds = (seconds) => (seconds == null ? undefined : seconds * 1000);
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const base64 = (key) => Buffer.from(key).toString("base64");
const present = (value) => value ?? undefined;

const calls = {
  hello: () => ({ language: "typescript", needs: NEEDS }),
  open({ base_url: baseUrl, options: { total_timeout, token, cache, max_tries, unit } }) {
    client = null;
    client = new Client({
      baseUrl, token, unit, maxTries: present(max_tries), totalTimeoutMs: milliseconds(total_timeout),
      cache: cache && { ttlMs: milliseconds(cache.ttl), mode: cache.mode ?? "ttl" },
    });
    return { ok: true };
  },
  async get({ dataset, key, key_base64, fields, version, unit }) {
    const entry = await opened().getEntry(dataset, key_base64 == null ? key : bytes(key_base64), { fields: present(fields), version: present(version), unit: present(unit) });
    return entry === null ? { found: false } : { found: true, value: entry.value, version: entry.version };
  },
  async get_many({ dataset, keys, keys_base64, fields, version, unit }) {
    const asked = keys_base64 == null ? keys : keys_base64.map(bytes);
    const found = await opened().getManyEntries(dataset, asked, { fields: present(fields), version: present(version), unit: present(unit) });
    return { values: [...found.values].map(([key, value]) => [typeof key === "string" ? key : base64(key), value]), version: found.version };
  },
  async scan({ dataset, prefix, limit, fields, version, unit }) {
    const records = [];
    let read = null;
    for await (const page of opened().scanPages(dataset, { prefix: present(prefix), limit: present(limit), fields: present(fields), version: present(version), unit: present(unit) })) {
      read = page.version;
      for (const { key, value } of page.records) records.push([typeof key === "string" ? key : { base64: base64(key) }, value]);
    }
    return { records, version: read };
  },
  async multi({ requests, unit }) {
    const answers = await opened().multi(Object.fromEntries(requests.map(({ dataset, keys }) => [dataset, keys])), { unit: present(unit) });
    return {
      answers: [...answers].map(([dataset, { error, values, version }]) =>
        error ? { dataset, error: { code: error.code, status: error.status } } : { dataset, version, values: [...values] }),
    };
  },
  clear_cache() {
    opened().clearCache();
    return { ok: true };
  },
  describe: () => ({ text: `${inspect(opened(), { depth: 9, showHidden: true })} ${JSON.stringify(opened())} ${opened()}` }),
  close() {
    client = null;
    return { ok: true };
  },
};

function opened() {
  if (client === null) throw new UsageError("there is no client");
  return client;
}

function told(fault) {
  const text = `${inspect(fault, { depth: 9, showHidden: true })}`;
  const kinds = [[ApiError, "http"], [TimeoutError, "timeout"], [ConnectionError, "connection"], [UsageError, "usage"]];
  const kind = kinds.find(([Kind]) => fault instanceof Kind)?.[1] ?? "internal";
  return { kind, code: fault.code ?? null, status: fault.status ?? null, detail: fault.detail ?? null, request_id: fault.requestId ?? null, text };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, call, ...asked } = JSON.parse(line);
  let answer;
  try {
    answer = await calls[call](asked);
  } catch (fault) {
    answer = { error: told(fault) };
  }
  process.stdout.write(JSON.stringify({ id, ...answer }) + "\n");
}
