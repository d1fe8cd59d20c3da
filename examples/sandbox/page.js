// Asks the program, and shows what it answers, as text.
"use strict";

const $ = (id) => document.getElementById(id);
const count = { reads: 0, hits: 0, loads: 0, old: 0 };
let left = null; // When the ttl ends, by this page's clock.

async function ask(path, body) {
  const request = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, { ...request, cache: "no-store" });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

function log(text, kind = "") {
  const line = document.createElement("li");
  line.className = kind;
  line.textContent = `${new Date().toLocaleTimeString("en-GB")}  ${text}`;
  $("log").prepend(line);
  while ($("log").children.length > 200) $("log").lastChild.remove();
}

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

const STATES = { running: "It runs.", frozen: "It is frozen: it answers nothing, and closes no connection.", killed: "It is killed: connections are refused." };

async function state() {
  try {
    const it = await ask("api/state");
    const { state, error } = it.status;
    const isMemory = it.server === null;
    $("badge").dataset.tone = error ? "bad" : "good";
    $("badge-text").textContent = error ? `degraded: ${state.replaceAll("_", " ")}` : isMemory ? "enabled: in the process" : `enabled: a server${it.waiting ? `, ${it.waiting} to invalidate` : ""}`;
    $("place").textContent = isMemory ? "This program found no redis-server on PATH. The cache is in the process, and there is no server to break." : `A redis-server that this program has started on port ${it.server.port}.`;
    $("server-state").textContent = isMemory ? "" : STATES[it.server.state];
    $("server-note").hidden = isMemory;
    const can = { running: ["kill", "freeze", "restart"], frozen: ["kill", "continue", "restart"], killed: ["restart"] }[it.server?.state] ?? [];
    for (const button of document.querySelectorAll("[data-act]")) button.disabled = !can.includes(button.dataset.act);
    $("database").textContent = `“${it.in_database.text}”, edition ${it.in_database.edition}`;
    $("stored").textContent = it.stored.why[0].toUpperCase() + it.stored.why.slice(1);
    left = it.stored.remaining === null ? null : performance.now() + it.stored.remaining * 1000;
    problem("");
  } catch {
    $("badge").dataset.tone = "bad";
    $("badge-text").textContent = "not live";
    problem("The sandbox does not answer. Start it again: cargo run --example sandbox");
  }
}

async function read() {
  const it = await ask("api/read");
  count.reads += 1;
  count[it.from === "the cache" ? "hits" : "loads"] += 1;
  if (it.is_old) count.old += 1;
  for (const [name, n] of Object.entries(count)) $(name).textContent = n.toLocaleString("en");
  $("old").dataset.tone = count.old === 0 ? "good" : "bad";
  const text = `edition ${it.note.edition} from ${it.from} in ${it.milliseconds.toFixed(1)} ms`;
  $("last").textContent = `The last: ${text}.`;
  log(`read ${text}${it.is_old ? "  OLD" : ""}`, it.is_old ? "bad" : it.from === "the cache" ? "quiet" : "");
}

$("write").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const it = await ask("api/write", { text: $("text").value });
    log(`wrote edition ${it.note.edition} in ${it.milliseconds.toFixed(1)} ms`, "act");
  } catch (error) {
    problem(error.message);
  }
  state();
});

for (const button of document.querySelectorAll("[data-act]")) {
  button.addEventListener("click", async () => {
    const { act } = button.dataset;
    try {
      await ask(`api/server/${act}`, {});
      log({ kill: "killed the server", freeze: "froze the server", continue: "let the server go on", restart: "restarted the server" }[act], "act");
    } catch (error) {
      problem(error.message);
    }
    state();
  });
}
$("read").addEventListener("click", () => read().catch((error) => problem(error.message)));

setInterval(() => {
  const seconds = left === null ? 0 : (left - performance.now()) / 1000;
  $("ttl").textContent = seconds > 0 ? `${seconds.toFixed(1)} s left` : "–";
}, 100);

// One after the other, and none while the page is hidden.
async function reading() {
  if ($("auto").checked && !document.hidden) await read().catch(() => {});
  setTimeout(reading, 200);
}
async function watching() {
  if (!document.hidden) await state();
  setTimeout(watching, 700);
}
reading();
watching();
