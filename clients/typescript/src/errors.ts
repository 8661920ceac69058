/** What a call may end with instead of an answer. No text here ever has the token in it. */
import type { Problem } from "./api.js";

/** The base of all errors of this client. */
export class TidetableError extends Error {
  override name = "TidetableError";
}

/** The server, or something before it, answered with an error. */
export class ApiError extends TidetableError {
  override name = "ApiError";
  constructor(
    /** The stable name that programs switch on; null if the answer was no problem document. */
    readonly code: string | null,
    /** The status; 0 for a redirect in a browser, which does not tell it. */
    readonly status: number,
    /** What the server says of it, for people. */
    readonly detail: string | null,
    /** By which the server's log names the request. */
    readonly requestId: string | null,
    /** The version that the answer was read from, if it was from one. */
    readonly version: number | null = null,
  ) {
    super(`${status || "a redirect"}${code ? ` ${code}` : ""}${detail ? `: ${detail}` : ""}${requestId ? ` (request ${requestId})` : ""}`);
  }
}

/** A dataset or a version that is not there, or not any more. Never a key: an absent key is no error. */
export class NotFoundError extends ApiError {
  override name = "NotFoundError";
}

/** The total timeout was over. */
export class TimeoutError extends TidetableError {
  override name = "TimeoutError";
}

/** No connection, or an answer that broke off or is none of the API's. */
export class ConnectionError extends TidetableError {
  override name = "ConnectionError";
}

/** Refused before anything was sent. */
export class UsageError extends TidetableError {
  override name = "UsageError";
}

const NOT_FOUND = new Set(["dataset_not_found", "version_not_found", "no_current_version", "version_deleted"]);

/** The error that a problem document is. */
export function problemError(status: number, problem: Partial<Problem>, requestId: string | null, version: number | null = null): ApiError {
  const text = (value: unknown): string | null => (typeof value === "string" ? value : null);
  const code = text(problem.code);
  const Kind = code !== null && NOT_FOUND.has(code) ? NotFoundError : ApiError;
  return new Kind(code, status, text(problem.detail), text(problem.request_id) ?? requestId, version);
}

/** The error that an answer is, whatever its body. */
export function answerError(status: number, body: string, headers: Headers): ApiError {
  let problem: unknown;
  try {
    problem = JSON.parse(body);
  } catch {
    problem = null;
  }
  const isObject = typeof problem === "object" && problem !== null && !Array.isArray(problem);
  return problemError(status, isObject ? (problem as Partial<Problem>) : {}, headers.get("x-request-id"), Number(headers.get("tidetable-version")) || null);
}
