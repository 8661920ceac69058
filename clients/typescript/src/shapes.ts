/** Whether an answer is of the shape that the API has: what else stands between may answer 200 too. */
import type { BatchAnswer, BatchesAnswer, Problem, ScanAnswer } from "./api.js";

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);

export const isValue = (value: unknown): value is unknown => value !== undefined;

function areResults(value: unknown, asked: number): boolean {
  return Array.isArray(value) && value.length === asked && value.every((one) => isObject(one) && typeof one["found"] === "boolean" && (!one["found"] || "value" in one));
}

export const isBatch = (asked: number) => (value: unknown): value is BatchAnswer =>
  isObject(value) && typeof value["version"] === "number" && areResults(value["results"], asked);

/** One dataset's part of an answer of several. */
export type Part = { error: Problem } | BatchAnswer;

export const isBatches = (asked: readonly number[]) => (value: unknown): value is BatchesAnswer =>
  isObject(value) && Array.isArray(value["answers"]) && value["answers"].length === asked.length &&
  value["answers"].every((one, at) => isObject(one) && (isObject(one["error"]) || isBatch(asked[at] ?? 0)(one)));

export function isPage(value: unknown): value is ScanAnswer {
  return isObject(value) && typeof value["version"] === "number" && (value["next"] === null || typeof value["next"] === "string") &&
    Array.isArray(value["records"]) && value["records"].every((one) => isObject(one) && typeof one["key"] === "string" && "value" in one);
}
