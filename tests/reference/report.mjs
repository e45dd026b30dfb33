// Opens a page of `qstill report` in Chromium and tries it as a person would: nothing is fetched, nothing is said on
// the console, keys and clicks do what the page says, in light and dark and at the width of a phone.
//
//     node --experimental-websocket tests/reference/report.mjs runs/demo/report.html [FOLDER for screenshots]
//
// Needs Node 20 and Chromium (`CHROMIUM=path` if it has another name); Node 22 needs no flag.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [file, folder] = process.argv.slice(2);
const url = pathToFileURL(resolve(file)).href;
const profile = mkdtempSync(join(tmpdir(), "qstill-report-"));
const browser = spawn(process.env.CHROMIUM ?? "chromium",
  ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", `--user-data-dir=${profile}`]);
const port = await new Promise((found) => {
  browser.stderr.on("data", (text) => {
    const line = /DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)/.exec(String(text));
    if (line) found(line[1]);
  });
});
const opened = await fetch(`http://127.0.0.1:${port}/json/new?about:blank`, { method: "PUT" });
const socket = new WebSocket((await opened.json()).webSocketDebuggerUrl);
await new Promise((open) => (socket.onopen = open));

const [waiting, complaints, requests] = [new Map(), [], []];
let [calls, loaded] = [0, () => {}];
socket.onmessage = ({ data }) => {
  const { id, method, params, result } = JSON.parse(data);
  if (id) waiting.get(id)(result);
  if (["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"].includes(method)) complaints.push(params);
  if (method === "Network.requestWillBeSent") requests.push(params.request.url);
  if (method === "Page.loadEventFired") loaded();
};
const call = (method, params = {}) => new Promise((done) => {
  waiting.set(++calls, done);
  socket.send(JSON.stringify({ id: calls, method, params }));
});
for (const domain of ["Page", "Runtime", "Log", "Network"]) await call(`${domain}.enable`);

/** What an expression of the page is worth. */
async function ask(expression) {
  const { result, exceptionDetails } = await call("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  assert.equal(exceptionDetails, undefined, JSON.stringify(exceptionDetails));
  return result.value;
}

async function press(key) {
  for (const type of ["keyDown", "keyUp"]) await call("Input.dispatchKeyEvent", { type, key });
}

async function show(width, scheme, picture) {
  await call("Emulation.setDeviceMetricsOverride", { width, height: 900, deviceScaleFactor: 1, mobile: width < 500 });
  await call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
  const done = new Promise((then) => (loaded = then));
  await call("Page.navigate", { url });
  await done;
  await ask("new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)))");
  assert.ok(await ask("document.documentElement.scrollWidth <= innerWidth"), `${picture} is wider than its window`);
  if (!folder) return;
  const { cssContentSize: size } = await call("Page.getLayoutMetrics");
  const clip = { x: 0, y: 0, width: size.width, height: size.height, scale: 1 };
  const { data } = await call("Page.captureScreenshot", { captureBeyondViewport: true, clip });
  writeFileSync(join(folder, `${picture}.png`), Buffer.from(data, "base64"));
}

await show(390, "light", "phone");
await show(1280, "dark", "dark");
await show(1280, "light", "light");

const paper = "getComputedStyle(document.body).backgroundColor";
const light = await ask(paper);
await ask("document.getElementById('theme').click()");
assert.notEqual(await ask(paper), light, "the button changes the theme");
await ask("document.getElementById('theme').click()");

await ask("document.querySelector('.plot')?.focus()");
await press("ArrowRight");
if (await ask("document.querySelector('.plot') !== null")) {
  assert.match(await ask("document.getElementById('tip').textContent"), /round 1: /, "arrow keys go through a plot");
}

const part = (name) => `document.querySelector('[data-part="${name}"]')`;
if (await ask(`${part("view")} !== null`)) {
  const active = () => ask(`${part("view")}.getAttribute("aria-activedescendant")`);
  await ask(`${part("view")}.focus()`);
  const start = await active();
  await press("ArrowRight");
  assert.notEqual(await active(), start, "the right arrow goes to the first child");
  await press("ArrowLeft");
  assert.equal(await active(), start, "the left arrow goes back");
  const nodes = () => ask("document.querySelectorAll('.view .node').length");
  await ask(`${part("unfold")}.click()`);
  const all = await nodes();
  await press("Enter");
  assert.ok((await nodes()) < all, "Enter folds what is below the root");
  await press("Enter");
  assert.equal(await nodes(), all, "and unfolds it");

  const count = () => ask(`${part("list")}.children.length`);
  const problems = await count();
  await ask(`(${part("search")}.value = "no question says this", ${part("search")}.dispatchEvent(new Event("input")))`);
  assert.equal(await count(), 0);
  await ask(`(${part("search")}.value = "", ${part("search")}.dispatchEvent(new Event("input")))`);
  assert.equal(await count(), problems);
  const question = () => ask(`${part("question")}.textContent`);
  const first = await question();
  await ask(`[...${part("list")}.querySelectorAll("button")].find((b) => b.getAttribute("aria-current") === "false")?.click()`);
  if (problems > 1) assert.notEqual(await question(), first, "a click shows another problem");
  await ask(`(${part("moment")}.value = 1, ${part("moment")}.dispatchEvent(new Event("input")))`);
  assert.match(await ask(`${part("said")}.textContent`), /^(1 of|all)/);
  await ask(`document.querySelector('[data-part="solutions"] button')?.click()`);
}
assert.deepEqual(complaints, [], "nothing is said on the console");
assert.deepEqual([...new Set(requests)].filter((one) => !one.startsWith(url)), [], "nothing is fetched");
console.log("the page works");
socket.close();
browser.kill();
