/** Reads from Tidetable. Start with `Client`. */
export type * as api from "./api.js";
export type { CacheOptions } from "./cache.js";
export { Client } from "./client.js";
export type { ClientOptions, DatasetAnswer, Entries, Entry, Page, ReadOptions, ScanOptions, ScanRecord } from "./client.js";
export { ApiError, ConnectionError, NotFoundError, TidetableError, TimeoutError, UsageError } from "./errors.js";
export type { Key } from "./keys.js";
