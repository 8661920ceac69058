/** When a failure is tried again, how long until then, and how many retries a client can afford. */

/** Statuses that may be gone at the next try. */
export const AGAIN: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 2000;
const FULL = 10;
const EACH_CALL = 0.1;

/** Bounds what an outage costs: each call puts a little in, each retry takes one. */
export class Budget {
  #tokens = FULL;

  call(): void {
    this.#tokens = Math.min(FULL, this.#tokens + EACH_CALL);
  }

  take(): boolean {
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}

/** How long until the next try: by chance, and no shorter than the server says. */
export function waitMs(tries: number, retryAfter: string | null): number {
  const byChance = Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (tries - 1));
  return Math.max(byChance, retryAfterMs(retryAfter, Date.now()));
}

/** The milliseconds of a `Retry-After`: seconds, or an HTTP date. 0 if there is none, or none that can be read. */
export function retryAfterMs(text: string | null, now: number): number {
  if (text === null) return 0;
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // Date.parse takes much that is no HTTP date, such as -1.
  if (!/^[A-Z][a-z]{2,8}, .* GMT$/.test(text)) return 0;
  const at = Date.parse(text);
  return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}
