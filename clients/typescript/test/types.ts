// Compiled, never run: what a program in TypeScript may write, and what the compiler must refuse.
import { type api, Client, type DatasetAnswer, type Key } from "../dist/index.js";

interface Course { course: string; score: number }

export async function reads(client: Client): Promise<void> {
  const one: Course[] | null = await client.get<Course[]>("course-recs", "42", { fields: ["course"], signal: AbortSignal.timeout(50) });
  const many: Map<string, Course[]> = await client.getMany<Course[], string>("course-recs", ["42", "7"]);
  const binary: Map<Key, unknown> = await client.getMany("course-recs", ["42", new Uint8Array([1])]);
  for await (const { key, value, version } of client.scan<Course[]>("course-recs", { prefix: "4" })) console.log(key, value[0]?.score, version.toFixed());
  const several: Map<string, DatasetAnswer<string, Course>> = await client.multi<Course, string>({ a: ["1"], b: new Set(["2"]) });
  const answer = several.get("a");
  if (answer?.error) console.log(answer.error.code);
  else console.log(answer?.values.get("1")?.course);
  const problem: api.Problem["code"] = "x";
  console.log(one, many, binary, problem);
  // @ts-expect-error a value may be absent
  (await client.get<Course>("d", "k")).course;
  // @ts-expect-error without a type a value is unknown
  (await client.get("d", "k"))?.course;
  // @ts-expect-error a key is text or bytes
  await client.get("d", 42);
  // @ts-expect-error a misspelt option
  await client.get("d", "k", { feilds: ["a"] });
  // @ts-expect-error milliseconds say so
  new Client({ totalTimeout: 5 });
}
