// The real server on a directory of its own, and a client for what a test wants done behind the
// console's back.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

export async function startServer(binary, args = []) {
  const data = await mkdtemp(path.join(process.env.TIDETABLE_TEST_DIR ?? tmpdir(), "tidetable-console-"));
  const environment = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith("TIDETABLE_")),
  );
  const child = spawn(binary, ["serve", "--listen", "127.0.0.1:0", "--data", path.join(data, "data"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    // Whatever else runs on the machine, pushes get their share.
    env: { ...environment, TIDETABLE_PUSHES_GIVE_WAY: "false" },
  });
  let said = "";
  child.stderr.on("data", (text) => {
    said += text;
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const lines = createInterface({ input: child.stdout });
  const address = await Promise.race([
    new Promise((resolve) => lines.once("line", (line) => resolve(line.split(" listening on ")[1]))),
    ended.then(() => {
      throw new Error(`the server did not start: ${said}`);
    }),
  ]);
  const server = {
    address,
    async ask(method, where, body, headers = {}) {
      const plain = body === undefined || typeof body === "string";
      const type = plain ? {} : { "content-type": "application/json" };
      const text = plain ? body : JSON.stringify(body);
      const answer = await fetch(`${address}/${where}`, { method, body: text, headers: { ...type, ...headers } });
      const json = await answer.json().catch(() => null);
      return { status: answer.status, json };
    },
    /** Does it, and fails if the server does not. */
    async must(method, where, body, headers) {
      const { status, json } = await server.ask(method, where, body, headers);
      if (status >= 300) throw new Error(`${method} ${where}: ${status} ${JSON.stringify(json)}`);
      return json;
    },
    push: (dataset, rows, query = "") =>
      server.must(
        "POST",
        `v1/datasets/${dataset}/push?key=learner_id&format=ndjson${query}`,
        rows.map((row) => JSON.stringify(row)).join("\n"),
      ),
    dataset: (name) => server.must("GET", `v1/datasets/${name}`),
    history: async (name) => (await server.must("GET", `v1/datasets/${name}/history`)).events,
    /** SIGKILL: it is gone at once. */
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    async stop() {
      await server.kill();
      await rm(data, { recursive: true, force: true });
    },
  };
  for (let tries = 0; (await fetch(`${address}/readyz`)).status !== 200; tries += 1) {
    if (tries > 600) throw new Error(`not ready: ${said}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return server;
}

/** Rows of so many learners; `score` makes a version another one. */
export const rows = (learners, score, more = {}) =>
  Array.from({ length: learners }, (_, at) => ({
    learner_id: at + 1,
    course: ["databases", "networks", "statistics"][at % 3],
    score: score + (at % 7) / 100,
    ...more,
  }));
