/** The client: one key, many keys, ranges of keys, and several datasets at one instant. */
import type { BatchAnswer, BatchesAnswer, ScanAnswer } from "./api.js";
import { Cache, type CacheOptions } from "./cache.js";
import { ApiError, ConnectionError, NotFoundError, problemError, UsageError } from "./errors.js";
import { batchKeys, bytesInBatch, checkText, datasetSegment, fromBase64, fromBase64url, identity, type Key, keySegment } from "./keys.js";
import { isBatch, isBatches, isPage, isValue } from "./shapes.js";
import { type Answer, type Call, headerValue, type Request, Transport } from "./transport.js";

/** Most keys of one request, and most records of a page. */
const CHUNK = 1000;
/** Of the keys of one request, as JSON: well below what the server takes as a body, which is 4 MiB. */
const CHUNK_BYTES = 2 << 20;
/** Of a key in a path, in characters: the server takes more, and what stands before it may not. */
const LONGEST_SEGMENT = 6000;
/** Chunks of one batch that are asked for at the same time, once the first has said the version. */
const CHUNKS_AT_ONCE = 4;

export interface ClientOptions {
  /** Where the server is; else the variable `TIDETABLE_SERVER`, else http://127.0.0.1:7070. */
  readonly baseUrl?: string | undefined;
  /** Else the variable `TIDETABLE_TOKEN`; null for none. */
  readonly token?: string | null | undefined;
  /** Of a whole call, all tries and waits included. 10,000 unless said. `fetch` has no timeout of connecting alone. */
  readonly totalTimeoutMs?: number | undefined;
  /** 3 unless said. */
  readonly maxTries?: number | undefined;
  /** Requests at the same time; further ones wait for their turn. 64 unless said. */
  readonly poolSize?: number | undefined;
  /** For whom everything is read: draws the arm of a canary. */
  readonly unit?: string | null | undefined;
  /** Off unless given. */
  readonly cache?: CacheOptions | null | undefined;
  /** Reads JSON, where JSON.parse will not do: whole numbers beyond 2^53, say. */
  readonly parse?: ((text: string) => unknown) | undefined;
  /** Another `fetch`: of a test, or with an agent of its own. */
  readonly fetch?: typeof fetch | undefined;
}

export interface ReadOptions {
  /** Only these top-level fields. */
  readonly fields?: readonly string[] | undefined;
  /** This kept version instead of the current one. */
  readonly version?: number | undefined;
  /** For whom this is read, instead of the client's `unit`. */
  readonly unit?: string | undefined;
  /** Ends the call; it is rejected with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export interface ScanOptions extends ReadOptions {
  /** Only keys that begin so; all keys without it. */
  readonly prefix?: string | undefined;
  /** Most records; all without it. */
  readonly limit?: number | undefined;
}

/** A value, and where it comes from. */
export interface Entry<T> {
  readonly value: T;
  readonly version: number;
  readonly etag: string | null;
  /** The instant that the data describes, if its push named one. */
  readonly asOf: string | null;
}

/** Values of many keys, all of one version. The version is null if nothing was asked for. */
export interface Entries<K, T> {
  readonly version: number | null;
  readonly values: Map<K, T>;
}

export interface ScanRecord<T> {
  readonly key: Key;
  readonly value: T;
}

export interface Page<T> {
  readonly version: number;
  readonly records: ReadonlyArray<ScanRecord<T>>;
}

/** Of one dataset of several: its values, or why there are none. */
export type DatasetAnswer<K, T> = Entries<K, T> & { readonly error?: undefined } | { readonly error: ApiError };

export class Client {
  readonly #transport: Transport;
  readonly #cache: Cache | undefined;

  constructor(options: ClientOptions = {}) {
    const number = (value: number | undefined, otherwise: number, what: string): number => {
      if (value === undefined) return otherwise;
      if (!(value > 0)) throw new UsageError(`${what} must be more than 0, not ${value}`);
      return value;
    };
    this.#transport = new Transport({
      baseUrl: options.baseUrl ?? variable("TIDETABLE_SERVER") ?? "http://127.0.0.1:7070",
      token: (options.token === undefined ? variable("TIDETABLE_TOKEN") : options.token) ?? undefined,
      unit: options.unit ?? undefined,
      totalTimeoutMs: number(options.totalTimeoutMs, 10_000, "totalTimeoutMs"),
      maxTries: number(options.maxTries, 3, "maxTries"),
      poolSize: number(options.poolSize, 64, "poolSize"),
      parse: options.parse ?? JSON.parse,
      fetch: options.fetch ?? ((input, init) => fetch(input, init)),
    });
    this.#cache = options.cache ? new Cache(options.cache) : undefined;
  }

  /** The value of a key, or null if it is not there. `getEntry` tells a stored null apart. */
  async get<T = unknown>(dataset: string, key: Key, options: ReadOptions = {}): Promise<T | null> {
    return (await this.getEntry<T>(dataset, key, options))?.value ?? null;
  }

  /** The value of a key with its version, or null if it is not there. */
  async getEntry<T = unknown>(dataset: string, key: Key, options: ReadOptions = {}): Promise<Entry<T> | null> {
    const { segment, base64url } = keySegment(key);
    const fields = fieldsOf(options);
    if (segment.length > LONGEST_SEGMENT || fields?.some((field) => field.includes(","))) return this.#entryOfBatch<T>(dataset, key, options);
    const unit = unitHeader(options);
    const query = readQuery(options);
    if (base64url) query.set("key_encoding", "base64url");
    const target = `/v1/datasets/${datasetSegment(dataset)}/keys/${segment}${asText(query)}`;
    const name = this.#cache && Cache.name(dataset, key, fields, options.version, options.unit);
    const held = name === undefined ? undefined : this.#cache?.get(name);
    if (held && name !== undefined && this.#cache?.isFresh(name)) {
      return { value: this.#transport.decoded(held.body, isValue) as T, version: held.version, etag: held.etag, asOf: held.asOf };
    }
    const began = performance.now();
    const headers: Record<string, string> = held?.etag ? { ...unit, "If-None-Match": held.etag } : unit;
    const answer = await this.#transport.call(options.signal, (call) => this.#found(call, { method: "GET", target, headers, ofValue: true }, dataset, name, options, began));
    if (answer === null) return null;
    const body = answer.status === 304 && held ? held.body : answer.body;
    const entry = { version: versionOf(answer.headers), etag: answer.headers.get("etag"), asOf: answer.headers.get("tidetable-as-of") };
    if (this.#cache && name !== undefined) {
      const isLatest = options.version !== undefined || this.#cache.saw(dataset, entry.version, began);
      if (isLatest) this.#cache.keep(name, dataset, options.version !== undefined, { body, ...entry }, began);
    }
    return { value: (answer.status === 304 ? this.#transport.decoded(body, isValue) : answer.value) as T, ...entry };
  }

  /** What no path can say: a long key, a field with a comma in its name. */
  async #entryOfBatch<T>(dataset: string, key: Key, options: ReadOptions): Promise<Entry<T> | null> {
    const { version, values } = await this.getManyEntries<T>(dataset, [key], options);
    return version !== null && values.has(key) ? { value: values.get(key) as T, version, etag: null, asOf: null } : null;
  }

  /** The answer about one key; null if the version does not have it. */
  async #found(call: Call, request: Request & { readonly headers: Record<string, string> }, dataset: string,
    name: string | undefined, options: ReadOptions, began: number): Promise<Answer<unknown> | null> {
    try {
      const answer = await this.#transport.ask(call, request, isValue);
      if (answer.status === 304 && request.headers["If-None-Match"] === undefined) throw new ConnectionError("a 304 that nobody asked for");
      return answer;
    } catch (fault) {
      if (!(fault instanceof ApiError) || fault.status !== 404 || fault.code !== "key_not_found") throw fault;
      if (this.#cache && name !== undefined) {
        const version = fault.version;
        if (version !== null && options.version === undefined) this.#cache.saw(dataset, version, began);
        this.#cache.drop(name);
      }
      return null;
    }
  }

  /** The values of those keys that are there, all of one version, under the keys as they were given. */
  async getMany<T = unknown, K extends Key = Key>(dataset: string, keys: Iterable<K>, options: ReadOptions = {}): Promise<Map<K, T>> {
    return (await this.getManyEntries<T, K>(dataset, keys, options)).values;
  }

  /** As `getMany`, with the version. */
  async getManyEntries<T = unknown, K extends Key = Key>(dataset: string, keys: Iterable<K>, options: ReadOptions = {}): Promise<Entries<K, T>> {
    const distinct = distinctKeys(keys);
    const path = `/v1/datasets/${datasetSegment(dataset)}/batch-get`;
    distinct.forEach((key) => keySegment(key));
    if (distinct.length === 0) return { version: null, values: new Map() };
    const began = performance.now();
    const found = await this.#transport.call(options.signal, async (call) => {
      try {
        return await this.#allChunks<T, K>(call, path, distinct, options);
      } catch (fault) {
        const gone = fault instanceof NotFoundError && (fault.code === "version_deleted" || fault.code === "version_not_found");
        // Its version went while it was read: once more, on the one that is current by now.
        if (!gone || options.version !== undefined) throw fault;
        return await this.#allChunks<T, K>(call, path, distinct, options);
      }
    });
    if (options.version === undefined && found.version !== null) this.#cache?.saw(dataset, found.version, began);
    return found;
  }

  /** The first chunk says the version; the others are of that one. */
  async #allChunks<T, K extends Key>(call: Call, path: string, keys: readonly K[], options: ReadOptions): Promise<Entries<K, T>> {
    const chunks = chunksOf(keys);
    const parts = new Array<Entries<K, T>>(chunks.length);
    const first = await this.#chunk<T, K>(call, path, chunks[0] ?? [], options, options.version);
    parts[0] = first;
    let next = 1;
    let failed = false;
    const worker = async (): Promise<void> => {
      while (next < chunks.length && !failed) {
        const at = next++;
        try {
          parts[at] = await this.#chunk<T, K>(call, path, chunks[at] ?? [], options, first.version ?? undefined);
        } catch (fault) {
          failed = true;
          throw fault;
        }
      }
    };
    const workers = Array.from({ length: Math.min(CHUNKS_AT_ONCE, chunks.length - 1) }, worker);
    // All of them end before this does: nothing of one attempt runs into the next.
    const ends = await Promise.allSettled(workers);
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    return { version: first.version, values: new Map(parts.flatMap((part) => [...part.values])) };
  }

  /** One request; two of half the keys, of one version, if its answer is too large. */
  async #chunk<T, K extends Key>(call: Call, path: string, keys: readonly K[], options: ReadOptions, version: number | undefined): Promise<Entries<K, T>> {
    const headers = unitHeader(options);
    const fields = fieldsOf(options);
    const body = { ...batchKeys(keys), ...(fields ? { fields } : {}), ...(version === undefined ? {} : { version }) };
    try {
      const answer = await this.#transport.ask<BatchAnswer>(call, { method: "POST", target: path, body, headers }, isBatch(keys.length));
      const got = wanted(answer);
      return { version: got.version, values: valuesOf(keys, got.results) };
    } catch (fault) {
      if (!(fault instanceof ApiError) || fault.code !== "answer_too_large" || keys.length < 2) throw fault;
      const half = Math.ceil(keys.length / 2);
      const first = await this.#chunk<T, K>(call, path, keys.slice(0, half), options, version);
      const second = await this.#chunk<T, K>(call, path, keys.slice(half), options, first.version ?? undefined);
      return { version: first.version, values: new Map([...first.values, ...second.values]) };
    }
  }

  /** Keys of several datasets as they stood at one instant; up to 1,000 in all. One that fails has its error in its place. */
  async multi<T = unknown, K extends Key = Key>(requests: Readonly<Record<string, Iterable<K>>>, options: Pick<ReadOptions, "signal" | "unit"> = {}):
    Promise<Map<string, DatasetAnswer<K, T>>> {
    const asked = Object.entries(requests).map(([dataset, keys]) => ({ dataset, keys: distinctKeys(keys) }));
    const total = asked.reduce((sum, one) => sum + one.keys.length, 0);
    if (total > CHUNK) throw new UsageError(`${total} keys cannot be read at one instant: at most ${CHUNK}`);
    if (asked.length === 0) return new Map();
    const headers = unitHeader(options);
    const body = { requests: asked.map((one) => ({ dataset: one.dataset, ...batchKeys(one.keys) })) };
    const began = performance.now();
    const answer = await this.#transport.call(options.signal, (call) =>
      this.#transport.ask<BatchesAnswer>(call, { method: "POST", target: "/v1/batch-get", body, headers }, isBatches(asked.map((one) => one.keys.length))));
    const answers = new Map<string, DatasetAnswer<K, T>>();
    wanted(answer).answers.forEach((part, at) => {
      const { dataset, keys } = asked[at] ?? { dataset: part.dataset, keys: [] };
      if (part.error) {
        answers.set(dataset, { error: problemError(part.error.status, part.error, answer.headers.get("x-request-id")) });
      } else {
        if (part.version !== undefined) this.#cache?.saw(dataset, part.version, began);
        answers.set(dataset, { version: part.version ?? null, values: valuesOf(keys, part.results ?? []) });
      }
    });
    return answers;
  }

  /** Empties the cache, if there is one: of values that must not be given again, as those of a pinned version whose key was erased. */
  clearCache(): void {
    this.#cache?.clear();
  }

  /** Records in key order, page by page, all of one version. */
  async *scan<T = unknown>(dataset: string, options: ScanOptions = {}): AsyncGenerator<ScanRecord<T> & { readonly version: number }, void, void> {
    for await (const page of this.scanPages<T>(dataset, options)) {
      for (const record of page.records) yield { ...record, version: page.version };
    }
  }

  /** As `scan`, a page at a time, up to 1,000 records each. The total timeout is of each page. */
  async *scanPages<T = unknown>(dataset: string, options: ScanOptions = {}): AsyncGenerator<Page<T>, void, void> {
    const path = `/v1/datasets/${datasetSegment(dataset)}/scan`;
    const headers = unitHeader(options);
    let left = options.limit ?? Infinity;
    let cursor: string | null = null;
    if (!(left > 0)) return;
    do {
      const query = readQuery(options);
      query.set("limit", String(Math.min(left, CHUNK)));
      if (cursor !== null) query.set("cursor", cursor);
      else if (options.prefix) {
        checkText(options.prefix, "the prefix");
        query.set("prefix", options.prefix);
      }
      const target = path + asText(query);
      const began = performance.now();
      const answer: Answer<ScanAnswer> = await this.#transport.call(options.signal, (call) => this.#transport.ask(call, { method: "GET", target, headers }, isPage));
      const page = wanted(answer);
      // A later page is of the version of the first, whatever is current by now.
      if (options.version === undefined && cursor === null) this.#cache?.saw(dataset, page.version, began);
      cursor = page.next;
      left -= page.records.length;
      yield {
        version: page.version,
        records: page.records.map((one) => ({ key: one.key_encoding === "base64url" ? fromBase64url(one.key) : one.key, value: decoded(one) as T })),
      };
    } while (cursor !== null && left > 0);
  }
}

/** The header of a unit that is this call's own. */
function unitHeader(options: Pick<ReadOptions, "unit">): Record<string, string> {
  return options.unit === undefined ? {} : { "Tidetable-Unit": headerValue(options.unit, "unit") };
}

/** The names of fields, if some are asked for. Who writes no types may give anything. */
function fieldsOf({ fields }: ReadOptions): readonly string[] | undefined {
  const given: unknown = fields ?? undefined;
  const isList = Array.isArray(given) && given.every((field) => typeof field === "string");
  if (given !== undefined && !isList) throw new UsageError(`fields is a list of names, and not ${JSON.stringify(given)}`);
  return fields ?? undefined;
}

/** The query of a read, its names and values as the server reads them. */
function readQuery(options: ReadOptions): Map<string, string> {
  const query = new Map<string, string>();
  const fields = fieldsOf(options);
  if (fields) {
    for (const field of fields) {
      checkText(field, "a field");
      // In a query a comma stands between two names, encoded or not.
      if (field.includes(",")) throw new UsageError(`the field ${JSON.stringify(field)} has a comma, which a scan cannot ask for: getMany can`);
    }
    query.set("fields", fields.join(","));
  }
  if (options.version !== undefined) query.set("version", String(options.version));
  return query;
}

function asText(query: Map<string, string>): string {
  const parts = [...query].map(([name, value]) => `${name}=${value.split(",").map(encodeURIComponent).join(",")}`);
  return parts.length === 0 ? "" : `?${parts.join("&")}`;
}

/** Keys in their order, as many together as one request takes. */
function chunksOf<K extends Key>(keys: readonly K[]): K[][] {
  const chunks: K[][] = [];
  let chunk: K[] = [];
  let bytes = 0;
  for (const key of keys) {
    const size = bytesInBatch(key);
    if (chunk.length === CHUNK || (chunk.length > 0 && bytes + size > CHUNK_BYTES)) {
      chunks.push(chunk);
      chunk = [];
      bytes = 0;
    }
    chunk.push(key);
    bytes += size;
  }
  chunks.push(chunk);
  return chunks;
}

/** Each key once, at its first place. */
function distinctKeys<K extends Key>(keys: Iterable<K>): K[] {
  if (typeof keys === "string") throw new UsageError("keys are a list, not one string");
  const seen = new Map<string, K>();
  for (const key of keys) {
    const name = identity(key);
    if (!seen.has(name)) seen.set(name, key);
  }
  return [...seen.values()];
}

function valuesOf<K, T>(keys: readonly K[], results: BatchAnswer["results"]): Map<K, T> {
  return new Map(keys.flatMap((key, at): Array<[K, T]> => {
    const one = results[at];
    return one?.found ? [[key, decoded(one) as T]] : [];
  }));
}

/** The value of a result or record: JSON, or the bytes of a dataset of another kind. */
function decoded(one: { readonly value?: unknown; readonly encoding?: string }): unknown {
  if (one.encoding === undefined) return one.value;
  try {
    return fromBase64(String(one.value));
  } catch {
    throw new ConnectionError("a value of the answer is no base64");
  }
}

/** The value of an answer that cannot be a 304. */
function wanted<T>(answer: Answer<T>): T {
  if (answer.value === undefined) throw new ConnectionError("a 304 that nobody asked for");
  return answer.value;
}

function versionOf(headers: Headers): number {
  const version = Number(headers.get("tidetable-version"));
  if (version >= 1) return version;
  throw new ConnectionError("the answer does not say its version: something else than the server answered, or a browser may not see Tidetable-Version");
}

/** A variable of the environment, where there is one. */
function variable(name: string): string | undefined {
  const environment = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env;
  return environment?.[name] || undefined;
}
