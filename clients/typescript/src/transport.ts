/** Requests over `fetch`: one deadline for a whole call, retries, and a whole answer or an error. */
import { answerError, ApiError, ConnectionError, TimeoutError, UsageError } from "./errors.js";
import { AGAIN, Budget, waitMs } from "./retries.js";

/** A whole answer: 200, or 304 without a value. */
export interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  /** Undefined for a 304. */
  readonly value: T | undefined;
  /** As it came: text of JSON, or the bytes of a value that is none. */
  readonly body: Body;
}

export type Body = string | Uint8Array;

export interface TransportOptions {
  readonly baseUrl: string;
  readonly token: string | undefined;
  readonly unit: string | undefined;
  readonly totalTimeoutMs: number;
  readonly maxTries: number;
  readonly poolSize: number;
  readonly parse: (text: string) => unknown;
  readonly fetch: typeof fetch;
}

export interface Request {
  readonly method: "GET" | "POST";
  readonly target: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Whether it asks for a value as it is stored, which is JSON or bytes of another kind. */
  readonly ofValue?: boolean;
}

/** One call of a user's: its deadline, and the signal that ends all its requests. */
export class Call {
  readonly #controller = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #forward: () => void;
  readonly #outer: AbortSignal | undefined;
  readonly #endsAt: number;
  #late = false;

  constructor(totalTimeoutMs: number, outer: AbortSignal | undefined) {
    this.#endsAt = performance.now() + totalTimeoutMs;
    this.#timer = setTimeout(() => {
      this.#late = true;
      this.#controller.abort();
    }, totalTimeoutMs);
    this.#outer = outer;
    this.#forward = () => this.#controller.abort();
    if (outer?.aborted) this.#controller.abort();
    else outer?.addEventListener("abort", this.#forward);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  leftMs(): number {
    return this.#endsAt - performance.now();
  }

  /** Throws why the call is over, if it is. */
  check(): void {
    if (this.#outer?.aborted) throw this.#outer.reason;
    if (this.#late || this.leftMs() <= 0) throw new TimeoutError("the total timeout is over");
  }

  /** Ends what may still run of it. */
  end(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#forward);
    this.#controller.abort();
  }

  /** Waits, but not beyond the end of the call. */
  async wait(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      this.signal.addEventListener("abort", done);
      if (this.signal.aborted) done();
    });
    this.check();
  }
}

export class Transport {
  readonly #options: TransportOptions;
  readonly #base: string;
  readonly #headers: Record<string, string>;
  readonly #budget = new Budget();
  /** Who waits for a place in the pool, in order. */
  readonly #waiting = new Set<() => void>();
  #running = 0;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.#base = checkedBase(options.baseUrl);
    this.#headers = { Accept: "application/json", "User-Agent": "tidetable-client-typescript/0.1.0" };
    if (options.token !== undefined) this.#headers["Authorization"] = `Bearer ${headerValue(options.token, "token")}`;
    if (options.unit !== undefined) this.#headers["Tidetable-Unit"] = headerValue(options.unit, "unit");
  }

  get baseUrl(): string {
    return this.#base;
  }

  /** Makes a call: within the total timeout, and ended by `signal`. */
  async call<T>(signal: AbortSignal | undefined, make: (call: Call) => Promise<T>): Promise<T> {
    this.#budget.call();
    const call = new Call(this.#options.totalTimeoutMs, signal);
    try {
      call.check();
      return await make(call);
    } finally {
      call.end();
    }
  }

  /** Asks until there is a whole answer whose value `fits`, or tries, budget or time are spent. */
  async ask<T>(call: Call, request: Request, fits: (value: unknown) => value is T): Promise<Answer<T>> {
    for (let tries = 1; ; tries += 1) {
      let retryAfter: string | null = null;
      try {
        return await this.#once(call, request, fits, (told) => { retryAfter = told; });
      } catch (fault) {
        const again = fault instanceof ConnectionError || (fault instanceof ApiError && AGAIN.has(fault.status));
        if (!again || tries >= this.#options.maxTries) throw fault;
        const wait = waitMs(tries, retryAfter);
        if (wait >= call.leftMs() || !this.#budget.take()) throw fault;
        await call.wait(wait);
      }
    }
  }

  async #once<T>(call: Call, request: Request, fits: (value: unknown) => value is T, told: (retryAfter: string | null) => void): Promise<Answer<T>> {
    await this.#enter(call);
    try {
      const response = await this.#fetched(call, request);
      told(response.headers.get("retry-after"));
      const asBytes = request.ofValue === true && response.status === 200 && areBytes(response.headers);
      const body = await this.#body(call, response, asBytes);
      if (response.status === 304) return { status: 304, headers: response.headers, value: undefined, body: "" };
      if (response.status !== 200) throw answerError(response.status, String(body), response.headers);
      return { status: 200, headers: response.headers, value: this.decoded(body, fits), body };
    } finally {
      this.#leave();
    }
  }

  /** The value of what came, if it is JSON of the shape that was asked for; bytes are themselves, for their caller alone. */
  decoded<T>(body: Body, fits: (value: unknown) => value is T): T {
    let value: unknown;
    try {
      value = typeof body === "string" ? this.#options.parse(body) : body.slice();
    } catch (cause) {
      throw new ConnectionError("the answer is no JSON: it was cut off, or something else than the server answered");
    }
    if (!fits(value)) throw new ConnectionError("the answer is not of the shape that the API has: something else than the server answered");
    return value;
  }

  async #fetched(call: Call, request: Request): Promise<Response> {
    const { method, target, body, headers } = request;
    const json: Record<string, string> = body === undefined ? {} : { "Content-Type": "application/json" };
    try {
      return await this.#options.fetch(this.#base + target, {
        method,
        headers: { ...this.#headers, ...json, ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        redirect: "manual",
        // The client's own cache, or none: a browser's would answer for versions that are gone.
        cache: "no-store",
        signal: call.signal,
      });
    } catch (cause) {
      throw broken(call, cause, "no answer");
    }
  }

  async #body(call: Call, response: Response, asBytes: boolean): Promise<Body> {
    try {
      return asBytes ? new Uint8Array(await response.arrayBuffer()) : await response.text();
    } catch (cause) {
      throw broken(call, cause, "the answer broke off");
    }
  }

  /** At most `poolSize` requests run at the same time; `fetch` keeps their connections. */
  async #enter(call: Call): Promise<void> {
    while (this.#running >= this.#options.poolSize) {
      let wake = (): void => {};
      const turn = new Promise<void>((resolve) => { wake = resolve; });
      this.#waiting.add(wake);
      call.signal.addEventListener("abort", wake);
      await turn;
      call.signal.removeEventListener("abort", wake);
      const wasWoken = !this.#waiting.delete(wake);
      try {
        call.check();
      } catch (over) {
        // Its turn is another's.
        if (wasWoken) this.#wakeNext();
        throw over;
      }
    }
    this.#running += 1;
  }

  #leave(): void {
    this.#running -= 1;
    this.#wakeNext();
  }

  #wakeNext(): void {
    for (const wake of this.#waiting) {
      this.#waiting.delete(wake);
      wake();
      return;
    }
  }
}

/**
 * Whether a 200 is a value that is no JSON. What else answers with a page says no version; and what ends with its connection may have been
 * cut off, which of JSON is seen, and not of bytes.
 */
function areBytes(headers: Headers): boolean {
  const kind = (headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  if (kind === "application/json" || kind.endsWith("+json") || !headers.has("tidetable-version")) return false;
  const endsItself = headers.has("content-length") || headers.has("transfer-encoding") || headers.get("connection")?.toLowerCase() !== "close";
  if (!endsItself) throw new ConnectionError("the answer does not say where it ends");
  return true;
}

/** Why a request has no answer: the call is over, or the connection broke. */
function broken(call: Call, cause: unknown, what: string): Error {
  try {
    call.check();
  } catch (over) {
    return over as Error;
  }
  // undici hides what happened one level below.
  const below = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
  const code = (below as { code?: unknown } | null)?.code;
  return new ConnectionError(`${what}: ${typeof code === "string" ? code : below instanceof Error ? below.message : "the connection broke"}`);
}

function checkedBase(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new UsageError("the base URL is none");
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new UsageError(`the base URL must begin with http:// or https://, not ${url.protocol}`);
  if (url.username || url.password || url.search || url.hash) throw new UsageError("the base URL has a name, a password, a query or a fragment in it");
  return url.origin + url.pathname.replace(/\/+$/, "");
}

/** Text as a header carries it: UTF-8, each byte a character, and no control characters. */
export function headerValue(text: string, what: string): string {
  if (typeof text !== "string" || text.length === 0 || /[\u0000-\u001f\u007f]/.test(text)) throw new UsageError(`the ${what} is no value of a header`);
  return String.fromCharCode(...new TextEncoder().encode(text));
}
