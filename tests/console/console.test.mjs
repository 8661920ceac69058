// The console, as an operator uses it: the real server, real pushes, a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { accessible, launch, open, tabTo } from "./browser.mjs";
import { rows, startServer } from "./server.mjs";

const BINARY = process.env.TIDETABLE_BINARY;
// A version that was built without a profile has none to show.
const NO_PROFILE = /404/;
let server;
let browser;

before(async () => {
  assert.ok(BINARY, "TIDETABLE_BINARY names the program: make test-console sets it");
  [server, browser] = await Promise.all([startServer(BINARY, ["--environment", "staging"]), launch()]);
  await someVersions("course-recs");
  await server.push("learner-stats", rows(50, 0.1));
  await server.must("POST", "v1/datasets/learner-stats/hold", { reason: "exam week" });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Versions 1 and 2 served well, 3 is current, 4 was refused by a gate. */
async function someVersions(dataset) {
  await server.must("PUT", `v1/datasets/${dataset}`, {
    description: "What to learn next",
    owner: dataset === "course-recs" ? "recommenders of courses" : "others",
  });
  for (const [number, score] of [0.5, 0.6, 0.7].entries())
    await server.push(dataset, rows(1200, score), `&label=run-${number + 1}`);
  const refused = await server.ask(
    "POST",
    `v1/datasets/${dataset}/push?key=learner_id&format=ndjson&label=run-4`,
    rows(90, 0.7)
      .map((row) => JSON.stringify(row))
      .join("\n"),
  );
  assert.equal(refused.status, 422);
  for (const key of ["1", "2", "3", "absent"]) await server.ask("GET", `v1/datasets/${dataset}/keys/${key}`);
}

const texts = async (locator) => (await locator.allTextContents()).map((text) => text.trim());

test("a server without data says how to make a first push", async () => {
  const empty = await startServer(BINARY);
  const page = await open(browser, empty.address);
  await page.at("#/", "h1:has-text('No dataset yet')");
  const shown = await page.locator("main").innerText();
  assert.match(shown, /curl --data-binary @recs\.ndjson/);
  assert.ok(shown.includes(empty.address), "the line is for this very server");
  await accessible(page, "the empty overview");
  await page.leave();
  await empty.stop();
});

test("the overview shows every dataset, its state in words, and finds them", async () => {
  await Promise.all(
    Array.from({ length: 40 }, (_, at) => server.must("PUT", `v1/datasets/team-${at}`, { owner: "many" })),
  );
  const page = await open(browser, server.address);
  await page.at("#/", "[data-dataset=course-recs]");
  assert.equal(await page.locator(".environment").first().innerText(), "staging");
  assert.ok(
    (await page.locator(".where").innerText()).includes(server.address.replace("http://", "")),
    "the address is always in sight",
  );
  const all = (await server.must("GET", "v1/datasets?limit=1000")).datasets.length;
  const row = await page.locator("[data-dataset=course-recs]").innerText();
  for (const part of [/Healthy/, /course-recs/, /\b3\b/, /1,200/, /75 %/]) assert.match(row, part);
  assert.match(await page.locator("[data-dataset=learner-stats]").innerText(), /Held/);
  assert.equal(await page.locator("[data-dataset]").count(), all);

  await page.keyboard.press("/");
  await page.keyboard.type("recommenders of courses");
  await page.locator("[data-dataset=team-1]").waitFor({ state: "detached" });
  assert.deepEqual(await texts(page.locator(".row-link")), ["course-recs"], "owners are searched too");
  assert.match(page.url(), /q=recommenders/, "what was filtered can be sent to somebody");
  await page.locator(`#announcer:has-text('1 of ${all} datasets shown')`).waitFor({ state: "attached" });
  await page.fill("input[type=search]", "");
  await page.click("button.filter:has-text('Held')");
  assert.deepEqual(await texts(page.locator(".row-link")), ["learner-stats"]);
  await page.click("button.filter:has-text('All')");
  await page.click("button.sort:has-text('Records')");
  const sizes = await texts(page.locator("[data-dataset] td[data-word=Records]"));
  assert.deepEqual(sizes.slice(0, 2), ["1,200", "50"]);
  assert.equal(await page.locator("th[aria-sort=descending]").innerText(), "Records");
  await page.leave();
});

test("what is being read again neither takes the focus nor what is being typed", async () => {
  const page = await open(browser, server.address);
  await page.at("#/", "[data-dataset=course-recs]");
  await page.locator("input[type=search]").pressSequentially("cour");
  for (let times = 0; times < 3; times += 1) {
    const read = page.waitForResponse((response) => response.url().includes("/v1/series"));
    await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
    await read;
  }
  await page.keyboard.type("se");
  assert.equal(await page.inputValue("input[type=search]"), "course");
  // A link in a table that changes keeps it as well.
  await page.locator("[data-dataset=course-recs] a").focus();
  await server.must("PUT", "v1/datasets/a-course-before", {});
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.locator("[data-dataset=a-course-before]").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "course-recs");
  await server.must("DELETE", "v1/datasets/a-course-before");
  await page.leave();
});

test("a dataset's page has its versions, what the gates said, and its traffic", async () => {
  const page = await open(browser, server.address);
  page.expected = NO_PROFILE;
  await page.at("#/datasets/course-recs", "[data-version='4']");
  assert.deepEqual(await texts(page.locator("[data-version] .version-name")), [
    "Version 4",
    "Version 3",
    "Version 2",
    "Version 1",
  ]);
  assert.match(await page.locator("[data-version='4']").innerText(), /run-4[\s\S]*Rejected[\s\S]*max_shrink_percent/);
  assert.match(await page.locator("[data-version='3']").innerText(), /run-3[\s\S]*Active/);
  assert.match(await page.locator(".tiles").innerText(), /Hit rate\s+75 %/);
  // The charts by keyboard: each step says its moment and figures.
  const slider = page.locator(".slider input");
  await slider.focus();
  await page.keyboard.press("ArrowLeft");
  assert.match(await slider.getAttribute("aria-valuetext"), /^\d\d:\d\d:\d\d, Lookups\/s .*, Hit rate .*, p99 /);
  assert.equal(
    await page.locator(".segments [aria-pressed=true]").innerText(),
    "1 h",
    "a young server has no more to show",
  );
  await page.click("button:has-text('24 h')");
  await page.click("summary:has-text('The same as a table')");
  assert.ok((await page.locator(".traffic table tbody tr").count()) >= 24);
  assert.match(await page.locator(".traffic table tbody").innerText(), /Activated 2 → 3/);
  await page.click("button:has-text('6 h')");
  assert.match(page.url(), /hours=6/);
  assert.ok(await page.locator(".traffic table").isVisible(), "what was opened stays open");
  assert.ok(await page.locator(".lane").getAttribute("aria-label"));
  await page.click("[data-version='4'] .version-name");
  await page.locator("h2:has-text('Gates')").waitFor();
  assert.match(await page.locator("tr:has-text('max_shrink_percent')").innerText(), /refused/);
  await page.leave();
});

test("a rollback by keyboard alone says what it will do, asks why, and does it", async () => {
  await someVersions("roll-back");
  const page = await open(browser, server.address);
  await page.at("#/datasets/roll-back", "button:has-text('Roll back…')");
  await tabTo(page, "Roll back…");
  await page.keyboard.press("Enter");
  const dialog = page.locator("dialog[open]");
  await dialog.waitFor();
  const said = await dialog.innerText();
  for (const part of [
    /staging/,
    /Roll roll-back back to version 2/,
    /version 2 \(run-2\) instead of version 3 \(run-3\)/,
    /Version 3 is marked bad/,
    /The dataset is held/,
  ])
    assert.match(said, part);
  await accessible(page, "the dialog");
  await page.keyboard.press("Enter");
  await dialog.locator("text=Say why").waitFor();
  assert.equal((await server.dataset("roll-back")).current, 3, "without a reason nothing is done");
  await page.keyboard.type("half of the learners are missing");
  await page.keyboard.press("Enter");
  await dialog.waitFor({ state: "detached" });
  await page.locator(".toast:has-text('Rolled roll-back back from 3 to 2')").waitFor();
  const after = await server.dataset("roll-back");
  assert.deepEqual([after.current, after.held], [2, true]);
  const line = (await server.history("roll-back")).find((event) => event.event === "rolled_back");
  assert.deepEqual([line.from, line.to, line.reason], [3, 2, "half of the learners are missing"]);
  await page.locator("[data-version='3'] .chip:has-text('Bad')").waitFor();
  assert.notEqual(await page.evaluate(() => document.activeElement.tagName), "BODY", "the focus is somewhere");
  await page.leave();
});

test("Escape and Cancel change nothing", async () => {
  await someVersions("escape");
  await server.must("POST", "v1/datasets/escape/rollback", { reason: "scores look wrong" });
  const page = await open(browser, server.address);
  await page.at("#/datasets/escape", "button:has-text('Release…')");
  await page.click("button:has-text('Release…')");
  await page.locator("dialog[open]").waitFor();
  await page.keyboard.type("never mind");
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Release…");
  await page.click("button:has-text('Release…')");
  await page.click("dialog button:has-text('Cancel')");
  assert.equal((await server.dataset("escape")).held, true);
  await page.leave();
});

test("a release says what it activates, and does; a hold holds", async () => {
  await someVersions("release");
  await server.must("POST", "v1/datasets/release/rollback", { reason: "scores look wrong" });
  await server.push("release", rows(1210, 0.8), "&label=run-5");
  assert.equal((await server.dataset("release")).current, 2, "it is held");
  const page = await open(browser, server.address);
  await page.at("#/datasets/release", "[data-version='5']");
  await page.click("button:has-text('Release…')");
  const dialog = page.locator("dialog[open]");
  assert.match(await dialog.innerText(), /Version 5 \(run-5\) is the newest that waits/);
  await dialog.locator("[name=reason]").fill("the job is mended");
  await dialog.locator("button:has-text('Release and activate 5')").click();
  await page.locator(".toast:has-text('version 5 is current')").waitFor();
  await page.locator("[data-version='5'] .chip:has-text('Active')").waitFor();
  await page.click("button:has-text('Hold…')");
  await page.fill("dialog [name=reason]", "exam week");
  await page.click("dialog button[type=submit]");
  await page.locator(".banner:has-text('exam week')").waitFor();
  assert.equal((await server.dataset("release")).hold.reason, "exam week");
  await page.leave();
});

test("what the server refuses is shown as it said it, and nothing is changed", async () => {
  await someVersions("race");
  const page = await open(browser, server.address);
  page.expected = /409/;
  await page.at("#/datasets/race", "[data-version='2'] button:has-text('Activate…')");
  await page.click("[data-version='2'] button:has-text('Activate…')");
  // Meanwhile somebody else is faster.
  await server.must("POST", "v1/datasets/race/activate", { version: 1 });
  await page.fill("dialog [name=reason]", "by hand");
  await page.click("dialog button[type=submit]");
  const problem = page.locator("dialog .problem");
  await problem.waitFor();
  assert.match(await problem.innerText(), /current_changed/);
  assert.equal((await server.dataset("race")).current, 1);
  await problem.locator("button:has-text('Look at what is current now')").click();
  await page.locator("[data-version='1'] .chip:has-text('Active')").waitFor();
  await page.leave();
});

test("a refused version can be forced, and the dialog says that it is", async () => {
  await someVersions("force");
  const page = await open(browser, server.address);
  page.expected = NO_PROFILE;
  await page.at("#/datasets/force/versions/4", "h2:has-text('Version 4')");
  await page.click("button[aria-label='Activate… version 4']");
  assert.match(await page.locator("dialog").innerText(), /A gate refused it \(.*max_shrink_percent/);
  await page.fill("dialog [name=reason]", "the small file was right");
  await page.click("dialog button:has-text('Force 4')");
  await page.locator(".toast:has-text('Version 4 of force is current')").waitFor();
  await page.leave();
});

test("a key is looked up now and in every version", async () => {
  await server.push("odd-keys", [
    { learner_id: "a/b ü", course: "x" },
    { learner_id: ".", course: "y" },
  ]);
  const page = await open(browser, server.address);
  await page.at("#/datasets/course-recs/keys", "[data-key-field]");
  await page.fill("[data-key-field]", "42");
  await page.keyboard.press("Enter");
  await page.locator(".key-now .json").waitFor();
  assert.match(await page.locator(".key-now").innerText(), /In the current version, 3[\s\S]*"learner_id": 42/);
  assert.match(await page.locator(".key-history .rail").innerText(), /Version 3[\s\S]*changed/);
  assert.match(page.url(), /keys\/42$/);
  await page.fill("[data-key-field]", "nobody");
  await page.keyboard.press("Enter");
  await page.locator(".key-now:has-text('The key is not in it.')").waitFor();
  await page.at("#/datasets/odd-keys/keys/a%2Fb%20%C3%BC", ".key-now .json:has-text('\"x\"')");
  await page.at("#/datasets/odd-keys/keys/%2E", ".key-now .json:has-text('\"y\"')");
  await page.leave();
});

test("a push that came to nothing is told on its dataset's page", async () => {
  await someVersions("refused");
  const page = await open(browser, server.address);
  await page.at("#/datasets/refused", ".banner:has-text('The newest push')");
  const told = await page.locator(".banner:has-text('The newest push')").innerText();
  assert.match(told, /version 4, begun .*, was rejected: .*max_shrink_percent.*Version 3 is still served\./);
  await page.leave();
});

test("values are shown and compared as they are stored, numbers too", async () => {
  const push = (number) =>
    server.must(
      "POST",
      "v1/datasets/large-numbers/push?key=learner_id&format=ndjson",
      `{"learner_id":1,"id":${number},"part":1.0}`,
    );
  await push("9007199254740992");
  await push("9007199254740993");
  const page = await open(browser, server.address);
  await page.at("#/datasets/large-numbers/keys/1", ".key-now .json");
  assert.match(await page.locator(".key-now").innerText(), /"id": 9007199254740993[\s\S]*"part": 1\.0/);
  assert.deepEqual(await texts(page.locator(".rail .differs")), ["changed"]);
  assert.match((await texts(page.locator(".rail mark"))).join(), /^[^,]*"id": 9007199254740993,?$/);
  await page.at("#/datasets/large-numbers/compare/1..2", ".side-to mark");
  assert.match(await page.locator(".side-from").first().innerText(), /"id": 9007199254740992/);
  assert.match(await page.locator(".side-to").first().innerText(), /"id": 9007199254740993/);
  await page.at("#/datasets/large-numbers/versions/2", ".profile .more > summary");
  await page.locator(".profile .more > summary").click();
  assert.match(await page.locator(".samples .json").innerText(), /"id": 9007199254740993[\s\S]*"part": 1\.0/);
  // The figures of the profile itself are reckoned with.
  assert.doesNotMatch(await page.locator(".profile").innerText(), /NaN|\[object/);
  await page.leave();
});

test("what is no JSON is said to be shown in base64", async () => {
  await server.must("PUT", "v1/datasets/texts", { content_type: "text/plain" });
  await server.push("texts", [{ learner_id: 1, text: "plain" }], "&value=text");
  const page = await open(browser, server.address);
  await page.at("#/datasets/texts/keys/1", ".key-now .json");
  assert.match(await page.locator(".key-now").innerText(), /In base64[\s\S]*"[\w+/]+=*"/);
  await page.leave();
});

test("two versions are compared, and a comparison has an address", async () => {
  const page = await open(browser, server.address);
  await page.at("#/datasets/course-recs/compare/2..3", ".diff-counts");
  assert.match(await page.locator(".diff-counts").innerText(), /Added\s*0[\s\S]*Removed\s*0[\s\S]*Changed\s*1,200/);
  assert.match(await page.locator(".bars").innerText(), /score/);
  assert.ok((await page.locator(".side-to mark").count()) > 0, "what differs is marked");
  await page.selectOption("select[name=from]", "1");
  await page.click("button:has-text('Compare')");
  await page.locator("p:has-text('against those of version 1')").waitFor();
  assert.match(page.url(), /compare\/1\.\.3$/);
  await page.leave();
});

test("a comparison that takes long can be called off", async () => {
  const page = await open(browser, server.address);
  await page.route("**/diff?**", () => {});
  await page.at("#/datasets/course-recs/compare/1..2", ".running");
  await page.click(".running button:has-text('Cancel')");
  await page.locator(".running").waitFor({ state: "detached" });
  await page.leave();
});

test("the history says who did what, and why", async () => {
  await someVersions("history");
  await server.must("POST", "v1/datasets/history/rollback", { reason: "half of the learners are missing" });
  const page = await open(browser, server.address);
  await page.at("#/datasets/history/history", ".lines tbody tr");
  const lines = await page.locator(".lines tbody").innerText();
  assert.match(lines, /Rolled back\s+3 → 2\s+anonymous\s+half of the learners are missing/);
  assert.doesNotMatch(lines, /Push began/);
  await page.click("label:has-text('Every step of a push')");
  await page.locator(".lines td:has-text('Push began')").first().waitFor();
  await page.leave();
});

test("a canary is started, seen and ended", async () => {
  await someVersions("canary");
  const page = await open(browser, server.address);
  await server.push("canary", rows(1205, 0.9), "&label=run-5&activate=false");
  await page.at("#/datasets/canary", "[data-version='5'] button:has-text('Canary…')");
  await page.click("[data-version='5'] button:has-text('Canary…')");
  await page.fill("dialog [name=percent]", "140");
  assert.ok(await page.locator("dialog button[type=submit]").isDisabled());
  await page.fill("dialog [name=percent]", "25");
  await page.fill("dialog [name=reason]", "new model");
  await page.click("dialog button:has-text('Start canary at 25 %')");
  await page.locator(".banner:has-text('served to 25 % of units')").waitFor();
  await page.click("button:has-text('End canary…')");
  await page.fill("dialog [name=reason]", "fewer hits");
  await page.click("dialog button[type=submit]");
  await page.locator(".banner:has-text('served to 25 %')").waitFor({ state: "detached" });
  await page.click("[data-version='5'] button:has-text('Canary…')");
  await page.fill("dialog [name=reason]", "again");
  await page.click("dialog button:has-text('Start canary at 10 %')");
  await page.click("button:has-text('Promote canary…')");
  await page.fill("dialog [name=reason]", "better on all counts");
  await page.click("dialog button:has-text('Promote 5')");
  await page.locator("[data-version='5'] .chip:has-text('Active')").waitFor();
  await page.leave();
});

test("a running push is seen on the overview and on its dataset's page", async () => {
  await server.must("POST", "v1/datasets/course-recs/versions", { key: "learner_id", label: "run-parts" });
  const page = await open(browser, server.address);
  await page.at("#/", ".pushes li");
  assert.match(await page.locator(".pushes").innerText(), /Receiving[\s\S]*course-recs \d[\s\S]*run-parts/);
  page.expected = NO_PROFILE;
  await page.click(".pushes a");
  await page.locator("h2:has-text('run-parts')").waitFor();
  await page.leave();
});

const PAGES = [
  ["#/", "[data-dataset=course-recs]"],
  ["#/datasets/course-recs", "[data-version='3']"],
  ["#/datasets/course-recs/versions/4", "h2:has-text('Gates')"],
  ["#/datasets/course-recs/compare/2..3", ".diff-counts"],
  ["#/datasets/course-recs/keys/42", ".key-now .json"],
  ["#/datasets/course-recs/history", ".lines tbody tr"],
  ["#/datasets/course-recs/settings", ".lines tbody tr"],
  ["#/datasets/absent", "h1:has-text('There is no such dataset')"],
];

for (const theme of ["light", "dark"]) {
  test(`no page has a serious finding of axe, ${theme}`, async () => {
    const page = await open(browser, server.address, { theme });
    page.expected = /404/;
    for (const [hash, ready] of PAGES) {
      await page.at(hash, ready);
      await accessible(page, `${hash} in ${theme}`);
    }
    await page.leave();
  });
}

test("on a phone nothing is cut off and nothing scrolls sideways", async () => {
  const page = await open(browser, server.address, { width: 375, height: 740 });
  page.expected = /404/;
  for (const [hash, ready] of PAGES) {
    await page.at(hash, ready);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(over <= 0, `${hash} is ${over} pixels too wide`);
  }
  await page.leave();
});

test("the theme can be switched, and is kept", async () => {
  const page = await open(browser, server.address, { theme: "light" });
  await page.at("#/", "[data-dataset=course-recs]");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.selectOption("#theme", "dark");
  const dark = await ground();
  assert.notEqual(dark, light);
  await page.reload();
  await page.locator("[data-dataset=course-recs]").waitFor();
  assert.equal(await ground(), dark);
  await page.leave();
});

test("a server that cannot be reached is said to be, with what was seen last", async () => {
  const page = await open(browser, server.address);
  page.expected = /ERR_|Failed to load/;
  await page.at("#/datasets/course-recs", "[data-version='3']");
  await server.kill();
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.locator(".offline:has-text('cannot be reached')").waitFor();
  assert.ok(await page.locator("[data-version='3']").isVisible());
  await page.leave();
});

test("a server that asks for tokens is shown to whoever has one, as long as the tab", async () => {
  const guarded = await startServer(BINARY);
  await guarded.push("course-recs", rows(50, 0.1));
  await guarded.push("course-recs", rows(50, 0.2));
  const make = async (role, by) =>
    (
      await guarded.must(
        "POST",
        "v1/tokens",
        { name: "ada", roles: [role] },
        by ? { authorization: `Bearer ${by}` } : {},
      )
    ).token;
  const admin = await make("admin");
  const operator = await make("operator", admin);
  const page = await open(browser, guarded.address);
  page.expected = /401|403/;
  await page.at("#/", "h1:has-text('asks for a token')");
  await accessible(page, "the question for a token");
  await page.fill("input[name=token]", "tt_wrong");
  await page.keyboard.press("Enter");
  await page.locator("[role=alert]:has-text('not good')").waitFor();
  assert.equal(await page.inputValue("input[name=token]"), "", "what was typed does not stay");
  await page.fill("input[name=token]", operator);
  await page.click("button:has-text('Go on')");
  await page.locator("[data-dataset=course-recs]").waitFor();
  assert.ok(!page.url().includes(operator), "an address is no place for it");
  await page.reload();
  await page.locator("[data-dataset=course-recs]").waitFor();
  // An operator sees how versions differ, and no values.
  await page.at("#/datasets/course-recs/compare/1..2", "text=Samples are shown to those who may read values");
  // Another tab asks again; and so does this one, once it has forgotten.
  const other = await page.context().newPage();
  await other.goto(`${guarded.address}/#/`);
  await other.locator("h1:has-text('asks for a token')").waitFor();
  await page.click("button:has-text('Forget token')");
  await page.locator("h1:has-text('asks for a token')").waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.leave();
  await guarded.stop();
});
