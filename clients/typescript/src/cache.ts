/** Values that were read before, and when they may be given again. */
import { identity, type Key } from "./keys.js";
import type { Body } from "./transport.js";

export interface CacheOptions {
  /** For so long a value is given without asking; after that the server is asked whether it is still the same. */
  readonly ttlMs: number;
  /** `version`: drop all of a dataset as soon as any answer of it shows another version. */
  readonly mode?: "ttl" | "version";
  /** Most values that are held; the one longest not used goes first. 10,000 unless said. */
  readonly maxEntries?: number;
  /** Most bytes of them, at two for each character. 64 MiB unless said; a value that is larger is not held. */
  readonly maxBytes?: number;
}

/** What is held: what came, not the value, so that nobody can change what others are given. */
export interface Held {
  readonly body: Body;
  readonly version: number;
  readonly etag: string | null;
  readonly asOf: string | null;
}

interface Entry extends Held {
  readonly dataset: string;
  readonly pinned: boolean;
  readonly readAt: number;
  readonly size: number;
}

export class Cache {
  readonly #entries = new Map<string, Entry>();
  /** The version that each dataset showed last, and when that was known. */
  readonly #seen = new Map<string, { readonly version: number; readonly at: number }>();
  readonly #options: CacheOptions;
  #bytes = 0;
  #clearedAt = -Infinity;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  /** What an entry is found by; unlike joined text it keeps all parts apart. */
  static name(dataset: string, key: Key, fields: readonly string[] | undefined, version: number | undefined, unit: string | undefined): string {
    return JSON.stringify([dataset, identity(key), fields ?? null, version ?? null, unit ?? null]);
  }

  get(name: string): Held | undefined {
    const entry = this.#entries.get(name);
    if (entry !== undefined) {
      this.#entries.delete(name);
      this.#entries.set(name, entry);
    }
    return entry;
  }

  /** Whether it may be given without asking. A pinned version never changes. */
  isFresh(name: string): boolean {
    const entry = this.#entries.get(name);
    return entry !== undefined && (entry.pinned || performance.now() - entry.readAt < this.#options.ttlMs);
  }

  /** Keeps the answer to a read that began at `began`. */
  keep(name: string, dataset: string, pinned: boolean, held: Held, began: number): void {
    const { maxEntries = 10_000, maxBytes = 64 << 20 } = this.#options;
    this.drop(name);
    const size = 2 * name.length + (typeof held.body === "string" ? 2 : 1) * held.body.length;
    // What was asked for before the cache was emptied may be what it was emptied of.
    if (size > maxBytes || began <= this.#clearedAt) return;
    this.#entries.set(name, { ...held, dataset, pinned, size, readAt: performance.now() });
    this.#bytes += size;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= maxEntries && this.#bytes <= maxBytes) break;
      this.drop(oldest);
    }
  }

  drop(name: string): void {
    this.#bytes -= this.#entries.get(name)?.size ?? 0;
    this.#entries.delete(name);
  }

  clear(): void {
    this.#entries.clear();
    this.#seen.clear();
    this.#bytes = 0;
    this.#clearedAt = performance.now();
  }

  /**
   * An answer of this dataset, to a read of no version in particular that began at `began`, shows this version. False if the answer may be
   * older than what is known: it was under way when another version was seen, and must not be kept.
   */
  saw(dataset: string, version: number, began: number): boolean {
    if (this.#options.mode !== "version") return true;
    const before = this.#seen.get(dataset);
    if (before !== undefined && before.version !== version) {
      if (began < before.at) return false;
      for (const [name, entry] of this.#entries) {
        if (entry.dataset === dataset && !entry.pinned) this.drop(name);
      }
    }
    this.#seen.set(dataset, { version, at: performance.now() });
    return true;
  }
}
