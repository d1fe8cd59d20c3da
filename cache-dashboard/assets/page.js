// The page: it asks the API for figures while it can be seen, and shows them. All that comes from the API is
// put into the page as text (`textContent`), never as HTML: a key or a value may be anything.
"use strict";

// Where the page's parts and the API are. A name and a password in the address are kept by the browser, which
// refuses a request to an address that has them.
const FOLDER = new URL(".", document.currentScript.src);
FOLDER.username = "";
FOLDER.password = "";
const PAUSE = 2000; // Between two polls, in milliseconds.
const LIMIT = 5000; // How long an answer may take.
const KEPT = 61; // So many figures are in the chart: two minutes.

const $ = (id) => document.getElementById(id);

/** An element with a class, attributes and children; a child that is text stays text. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A bar as SVG, whose length is an attribute: the policy of the page allows no inline style. */
function bar(share, width) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} 6`);
  svg.setAttribute("aria-hidden", "true");
  for (const [name, length] of [["rail", width], ["fill", share * width]]) {
    const rect = document.createElementNS(space, "rect");
    rect.setAttribute("class", name);
    rect.setAttribute("width", length.toFixed(1));
    rect.setAttribute("height", "6");
    rect.setAttribute("rx", "3");
    svg.append(rect);
  }
  return svg;
}

// ---- How figures are written -------------------------------------------------------------------------------

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const count = (n) => (n === null || n === undefined ? "–" : n < 1e6 ? whole.format(n) : compact.format(n));
const percent = (share) => {
  if (share === null || share === undefined) return "–";
  const text = (share * 100).toFixed(share > 0 && share < 1 ? 1 : 0);
  // 99.97 % is not 100 %.
  return `${share < 1 && text === "100.0" ? ">99.9" : text} %`;
};
const perSecond = (n) => (n === null || n === undefined ? "–" : n >= 10 || n === 0 ? whole.format(n) : n.toFixed(1));

/** Seconds as text. */
function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0 s";
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

const clock = (date) => date.toLocaleTimeString("en-GB");
/** What is said of a server begins in lower case, since it may stand behind other words. */
const sentence = (text) => (text ? text[0].toUpperCase() + text.slice(1) : text);
const words = (name) => name.replaceAll("_", " ");

// ---- Asking ------------------------------------------------------------------------------------------------

/** An error of the API, or of the way to it. */
class Problem extends Error {
  constructor(what, howToMend, status) {
    super(what);
    this.howToMend = howToMend;
    this.status = status;
  }
}

async function ask(path, body) {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), body === undefined ? LIMIT : 60000);
  const request = { signal: end.signal, headers: { Accept: "application/json" }, cache: "no-store" };
  if (body !== undefined) {
    request.method = "POST";
    request.headers["Content-Type"] = "application/json";
    request.body = JSON.stringify(body);
  }
  try {
    const response = await fetch(new URL(path, FOLDER), request);
    let answer = null;
    try {
      answer = await response.json();
    } catch {
      throw new Problem("The answer is not JSON.", "See that no proxy answers in the place of the program.", response.status);
    }
    if (!response.ok) {
      const error = answer.error ?? {};
      throw new Problem(error.what ?? `The status is ${response.status}.`, error.how_to_mend ?? "", response.status);
    }
    return answer;
  } catch (error) {
    if (error instanceof Problem) throw error;
    const what = error.name === "AbortError" ? "The program does not answer." : "The program cannot be reached.";
    throw new Problem(what, "See that it runs. This page asks again by itself.", 0);
  } finally {
    clearTimeout(timer);
  }
}

// ---- What is known -----------------------------------------------------------------------------------------

const known = { stats: null, health: null, servers: null, functions: null, at: null };
const samples = []; // { hits, misses } per second
let view = "overview";
let timer = null;
let isAsking = false;
let failures = 0;
let sort = { by: "misses", descending: true };

async function poll() {
  clearTimeout(timer);
  timer = null;
  if (document.hidden || isAsking) return;
  isAsking = true;
  try {
    const asked = [ask("api/stats"), ask("api/health"), ask("api/servers")];
    if (view === "functions" || view === "overview") asked.push(ask("api/functions"));
    const [stats, health, servers, functions] = await Promise.all(asked);
    sample(stats);
    Object.assign(known, { stats, health, servers, at: new Date() });
    if (functions) known.functions = functions.functions;
    if (failures > 0) announce("The figures are live again.");
    failures = 0;
    live("good", "live");
    document.body.classList.remove("stale-figures");
    show();
  } catch (error) {
    failures += 1;
    lost(error);
  } finally {
    isAsking = false;
    if (!document.hidden) {
      const pause = Math.min(PAUSE * 2 ** Math.max(0, failures - 1), 15000);
      timer = setTimeout(poll, pause);
    }
  }
}

function sample(stats) {
  const before = known.stats;
  if (!before || stats.at <= before.at) return;
  const seconds = (stats.at - before.at) / 1000;
  // After a pause, or a restart of the program, a rate would be made up.
  const isOf = (name) => Math.max(0, stats[name] - before[name]) / seconds;
  if (seconds > 3 * (PAUSE / 1000) || stats.hits < before.hits) samples.length = 0;
  else samples.push({ hits: isOf("hits"), misses: isOf("misses"), loads: isOf("loads"), errors: isOf("errors") });
  while (samples.length > KEPT) samples.shift();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    timer = null;
    live("quiet", "paused");
  } else {
    poll();
  }
});

function live(tone, text) {
  $("live-badge").dataset.tone = tone;
  $("live-text").textContent = text;
}

let announced = "";
function announce(text) {
  if (text !== announced) $("announce").textContent = text;
  announced = text;
}

/** The figures could not be asked for. */
function lost(error) {
  const isRefused = error.status === 401 || error.status === 403;
  live("bad", isRefused ? "not authorised" : "not live");
  document.body.classList.add("stale-figures");
  const since = known.at ? `The figures are those of ${clock(known.at)}.` : "There are no figures yet.";
  const title = isRefused ? "This dashboard does not answer you any more." : error.message;
  $("notices").replaceChildren(notice("bad", title, since, sentence(error.howToMend), "lost"));
  announce(`${title} ${since}`);
}

function notice(tone, title, ...texts) {
  const kind = texts.pop();
  const [first, ...others] = texts.filter(Boolean);
  return el("div", { class: "notice", "data-tone": tone, "data-kind": kind },
    el("p", {}, el("b", {}, title), first ? ` ${first}` : ""),
    ...others.map((text) => el("p", { class: "quiet" }, text)));
}

/** What is true of the whole cache, above every view. */
function notices() {
  const { servers, health } = known;
  const shown = [];
  const status = health.status;
  if (!servers.is_off && status.error) {
    const title = { unreachable: "The server cannot be reached.", denied: "The server refuses access.", writes_refused: "The server refuses writes." }[status.state] ?? words(status.state);
    const effect = status.state === "writes_refused" ? "What is stored is served; nothing new is stored." : "Calls go on without the cache: each one loads.";
    // The view of servers says the rest of each server.
    const rest = view === "servers" ? [] : [sentence(status.error), health.how_to_mend];
    shown.push(notice(status.state === "writes_refused" ? "warn" : "bad", title, effect, ...rest, "degraded"));
  }
  return shown;
}

// ---- Views -------------------------------------------------------------------------------------------------

const VIEWS = ["overview", "functions", "servers", "look-up", "invalidate"];

function route(isFirst) {
  const [wanted, ...rest] = location.hash.replace(/^#/, "").split("/");
  // The skip link leads to the content of the view that is shown.
  if (wanted === "main") return;
  view = VIEWS.includes(wanted) ? wanted : "overview";
  for (const name of VIEWS) {
    $(`view-${name}`).hidden = name !== view;
    const link = document.querySelector(`.tabs a[href="#${name}"]`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    // Not by `scrollIntoView`: from then on, the first Tab would go on from the link, past the skip link.
    if (name === view) link.parentElement.scrollLeft = link.offsetLeft - (innerWidth - link.offsetWidth) / 2;
  }
  const title = $(`title-${view}`);
  document.title = `${title.textContent} · Cache dashboard`;
  if (!isFirst) {
    title.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  if (view === "look-up" && rest.length > 0) {
    let name = rest.join("/");
    try {
      name = decodeURIComponent(name);
    } catch {
      // It is taken as it stands.
    }
    $("look-up-name").value = name;
    lookUp(name);
  }
  show();
  if (!isFirst) poll();
}
addEventListener("hashchange", () => route(false));

function show() {
  if (!known.stats) return;
  if (failures === 0) $("notices").replaceChildren(...notices());
  badges();
  if (view === "overview") overview();
  else if (view === "functions") functions();
  else if (view === "servers") servers();
  else if (view === "invalidate") changes();
  else if (looked && !looked.hasActions) showLooked();
  $("foot-version").textContent = `cache-dashboard ${known.health.dashboard.version}`;
  $("foot-time").textContent = `Last answer at ${clock(known.at)}`;
}

const STORES = { off: "off", in_process: "in the process", server: "a server", cluster: "a cluster" };

function badges() {
  const { servers, health } = known;
  const state = health.status.state;
  const store = STORES[servers.store] ?? servers.store;
  const [tone, text] = servers.is_off ? ["quiet", "disabled"]
    : health.status.error ? [state === "writes_refused" ? "warn" : "bad", `degraded: ${words(state)}`]
    : state === "unknown" ? ["quiet", `${store}: not asked yet`]
    : ["good", `enabled: ${store}`];
  $("state-badge").dataset.tone = tone;
  $("state-text").textContent = text;
}

/** One figure with its name, and a line below it. */
function card(name, value, below = "", { isAlarm = false, isText = false } = {}) {
  const classes = [isText && "text", isAlarm && "alarm"].filter(Boolean).join(" ");
  return el("div", {}, el("dt", {}, name), el("dd", { class: classes || null }, value, el("span", { class: "sub" }, below)));
}

function overview() {
  const { stats, servers } = known;
  const lookUps = stats.hits + stats.misses;
  const isEmpty = !servers.is_off && lookUps === 0;
  $("overview-off").hidden = !servers.is_off;
  $("overview-empty").hidden = !isEmpty;
  $("overview-figures").hidden = servers.is_off;
  document.querySelector("#overview-figures .split").hidden = isEmpty;
  $("cards").hidden = isEmpty;
  if (servers.is_off) return;
  $("hit-rate").textContent = percent(stats.hit_rate);
  $("hit-rate-note").textContent = `of ${count(lookUps)} look-ups since the program started`;
  $("hit-rate-fill").setAttribute("width", ((stats.hit_rate ?? 0) * 100).toFixed(1));
  $("hit-rate-meter").setAttribute("aria-label", `Hit rate: ${percent(stats.hit_rate)}`);
  chart();
  const last = samples.at(-1);
  const rate = (name) => (last ? `${perSecond(last[name])} per second` : " ");
  $("cards").replaceChildren(
    card("Hits", count(stats.hits), rate("hits")),
    card("Misses", count(stats.misses), rate("misses")),
    card("Loads", count(stats.loads), stats.load_failures > 0 ? `${count(stats.load_failures)} failed` : rate("loads")),
    card("Time saved", time(stats.time_saved_seconds), "an estimate"),
    card("Errors", count(stats.errors), stats.errors > 0 ? rate("errors") : "none", { isAlarm: (last?.errors ?? 0) > 0 }),
    card(servers.store === "in_process" ? "Entries" : "Copies", count(stats.entries), servers.store === "in_process" ? "in this process" : "in front of the server"),
    card("Served stale", count(stats.stale), "old values, as allowed"),
    card("Refreshes", count(stats.refreshes), stats.refreshes_failed > 0 ? `${count(stats.refreshes_failed)} failed` : `${count(servers.refreshes)} under way`),
  );
  $("attention").replaceChildren(...attention());
}

function chart() {
  const width = 600, height = 160, room = 12;
  const most = Math.max(1, ...samples.map((it) => Math.max(it.hits, it.misses)));
  const x = (at) => width - (samples.length - 1 - at) * (width / (KEPT - 1));
  const y = (n) => height - 1 - (n / most) * (height - room);
  const line = (name) => samples.map((it, at) => `${at ? "L" : "M"}${x(at).toFixed(1)} ${y(it[name]).toFixed(1)}`).join("");
  const hits = line("hits");
  $("line-hits").setAttribute("d", hits);
  $("line-misses").setAttribute("d", line("misses"));
  $("area-hits").setAttribute("d", samples.length > 1 ? `${hits}L${width} ${height}L${x(0).toFixed(1)} ${height}Z` : "");
  const last = samples.at(-1);
  $("now-hits").textContent = last ? perSecond(last.hits) : "–";
  $("now-misses").textContent = last ? perSecond(last.misses) : "–";
  $("spark-top").textContent = samples.length > 1 ? `at most ${perSecond(most)} per second` : "waiting for a second answer";
}

function attention() {
  const { health, servers, stats } = known;
  const items = [];
  const item = (tone, title, ...texts) => items.push(el("li", { "data-tone": tone },
    el("div", {}, el("p", {}, el("b", {}, title)), ...texts.filter(Boolean).map((text) => el("p", {}, text)))));
  if (health.waiting > 0) {
    item("warn", `${count(health.waiting)} ${health.waiting === 1 ? "name waits" : "names wait"} for an invalidation`,
      "They are not served in this process, and the invalidation is repeated until the server carries it out. Other processes may serve old data until then.");
  }
  if (health.overflowed) item("warn", "More names wait than there is room for", "They are kept as buckets of hashes, and some other names are invalidated with them.");
  for (const it of health.never_hit) {
    item("warn", `${it.function} never hits`, `${count(it.loads)} loads in a row were of no use: ${it.reason}.`, `${it.file}:${it.line}`);
  }
  if (stats.refreshes_skipped > 0) item("warn", `${count(stats.refreshes_skipped)} refreshes did not begin`, "As many were under way as `max_refreshes` allows.");
  if (items.length === 0 && health.status.error) item("bad", "The server", "What is wrong with it is said above.");
  if (items.length === 0) {
    item("good", "Nothing needs attention", servers.store === "in_process"
      ? "Entries are in the memory of this process, and end with it."
      : "The server works, every invalidation was carried out, and each function that was called has hits.");
  }
  return items;
}

// ---- Functions ---------------------------------------------------------------------------------------------

const loadTime = (it, name) => (it.load_time?.count > 0 ? it.load_time[`${name}_seconds`] : null);
const COLUMNS = [
  { id: "function", name: "Function", of: (it) => it.function },
  { id: "hit_rate", name: "Hit rate", of: (it) => it.hit_rate ?? -1, isNumber: true },
  { id: "hits", name: "Hits", of: (it) => it.hits ?? -1, isNumber: true },
  { id: "misses", name: "Misses", of: (it) => it.misses ?? -1, isNumber: true },
  { id: "loads", name: "Loads", of: (it) => it.loads ?? -1, isNumber: true },
  { id: "p50", name: "Load p50", of: (it) => loadTime(it, "p50") ?? -1, isNumber: true },
  { id: "p99", name: "p99", of: (it) => loadTime(it, "p99") ?? -1, isNumber: true },
  { id: "saved", name: "Time saved", of: (it) => it.time_saved_seconds ?? -1, isNumber: true },
];

function head() {
  $("functions-head").replaceChildren(...COLUMNS.map((column) => {
    const button = el("button", { type: "button", "data-sort": column.id }, column.name);
    button.addEventListener("click", () => sortBy(column.id, sort.by === column.id ? !sort.descending : Boolean(column.isNumber)));
    return el("th", { scope: "col", role: "columnheader", class: column.isNumber ? "number" : null, id: `th-${column.id}` }, button);
  }));
  $("sort").replaceChildren(...COLUMNS.map((column) => el("option", { value: column.id }, column.name)));
  $("sort").addEventListener("change", (event) => sortBy(event.target.value, event.target.value !== "function"));
}

function sortBy(by, descending) {
  sort = { by, descending };
  functions();
  const column = COLUMNS.find((it) => it.id === by);
  announce(`Sorted by ${column.name}, ${descending ? "descending" : "ascending"}.`);
}

function functions() {
  const all = known.functions;
  for (const { id } of COLUMNS) {
    $(`th-${id}`).setAttribute("aria-sort", sort.by === id ? (sort.descending ? "descending" : "ascending") : "none");
  }
  $("sort").value = sort.by;
  if (!all) return;
  const wanted = $("filter").value.trim().toLowerCase();
  const calledOnly = $("called-only").checked;
  const isShown = (it) => (!calledOnly || it.called)
    && [it.function, it.template, it.file, it.value, ...it.tags].some((text) => text.toLowerCase().includes(wanted));
  const { of } = COLUMNS.find((it) => it.id === sort.by);
  const shown = all.filter(isShown).sort((one, other) => {
    const [a, b] = [of(one), of(other)];
    const order = a < b ? -1 : a > b ? 1 : 0;
    return (sort.descending ? -order : order) || (one.function < other.function ? -1 : 1);
  });
  $("functions-body").replaceChildren(...shown.map(row));
  $("functions").hidden = shown.length === 0;
  $("functions-count").textContent = all.length === 0 ? "" : `${shown.length} of ${all.length}`;
  const none = $("functions-none");
  none.hidden = shown.length > 0;
  if (all.length === 0) {
    none.replaceChildren("This program has no annotated function. Write ", el("code", {}, "#[cached(key = \"user:<id>\", ttl = 60)]"), " above an async function, and it is listed here.");
  } else {
    none.textContent = "No function matches. Change the filter to see the others.";
  }
}

/** The path, with a place to break it. */
const shortPath = (path) => path.split("::").slice(-2).join("::");

function row(it) {
  const cell = (id, ...children) => {
    const column = COLUMNS.find((column) => column.id === id);
    return el("td", { role: "cell", class: "number", "data-name": column.name }, ...children);
  };
  const rate = it.hit_rate === null ? el("span", { class: "quiet" }, it.called ? "–" : "not called")
    : el("span", { class: "rate" }, bar(it.hit_rate, 44), percent(it.hit_rate));
  const name = el("th", { scope: "row", role: "rowheader" },
    el("span", { class: "fn-name", title: it.function }, shortPath(it.function)),
    el("code", { class: "mono" }, it.template),
    el("span", { class: "fn-place" }, `${it.file}:${it.line}`));
  const reasons = Object.entries(it.missed ?? {}).filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
  if (reasons.length > 0) {
    name.append(el("span", { class: "chips", "aria-label": "Why misses miss" },
      ...reasons.map(([why, n]) => el("span", { class: "chip" }, el("b", {}, count(n)), ` ${words(why)}`))));
  }
  if (it.never_hit) {
    name.append(el("span", { class: "fn-note", "data-tone": "warn" }, el("b", {}, "Never hits. "), `${count(it.never_hit.loads)} loads in a row: ${it.never_hit.reason}`));
  }
  return el("tr", { role: "row", "data-function": it.function }, name,
    cell("hit_rate", rate), cell("hits", count(it.hits)), cell("misses", count(it.misses)), cell("loads", count(it.loads)),
    cell("p50", time(loadTime(it, "p50"))), cell("p99", time(loadTime(it, "p99"))), cell("saved", time(it.time_saved_seconds)));
}

for (const id of ["filter", "called-only"]) $(id).addEventListener("input", functions);

// ---- Servers -----------------------------------------------------------------------------------------------

const BREAKERS = { idle: "closed, no connection yet", closed: "closed: requests are sent", open: "open: requests are not sent" };

function servers() {
  const it = known.servers;
  const lead = {
    off: "The cache is off: it has no store.",
    in_process: "Entries are in the memory of this process. There is no server, so nothing can be away.",
    server: "One server, as the last requests found it.",
    cluster: "The primaries of a cluster, as the last requests found them.",
  };
  $("servers-lead").textContent = lead[it.store] ?? "";
  $("servers-cards").hidden = it.store === "off";
  $("servers-cards").replaceChildren(
    card("Store", STORES[it.store] ?? it.store, words(it.status.state), { isText: true }),
    card("Journal", count(it.journal), "invalidations to repeat", { isAlarm: it.journal > 0 }),
    card("Unsettled", count(it.unsettled), "to be invalidated again"),
    card("Fences", it.fences === null ? "not known" : count(it.fences), it.fences === null ? "only a scan would tell" : "around names", { isText: it.fences === null }),
    card("Refreshes", count(it.refreshes), "under way here"),
    card("Outages", count(known.stats.outages), `${count(known.stats.refusals)} refusals`),
  );
  if (it.store === "cluster" && it.nodes.length === 0) {
    $("servers-nodes").replaceChildren(el("p", { class: "panel quiet" }, "Which nodes the cluster has is known after the first request."));
    return;
  }
  $("servers-nodes").replaceChildren(...it.nodes.map(node));
}

function node(it) {
  const { state, error } = it.status;
  const tone = error ? (state === "writes_refused" ? "warn" : "bad") : state === "working" ? "good" : "quiet";
  const mend = it.how_to_mend && el("p", { class: "quiet" }, it.how_to_mend);
  return el("article", { class: "panel", "data-node": it.address },
    el("div", { class: "node-head" }, el("h2", {}, it.address),
      el("span", { class: "badge", "data-tone": tone }, el("span", { class: "dot", "aria-hidden": "true" }), words(state))),
    el("dl", { class: "facts" },
      el("dt", {}, "Breaker"), el("dd", {}, BREAKERS[it.breaker] ?? words(it.breaker)),
      el("dt", {}, "Spoken to by"), el("dd", {}, `the driver ${it.driver}`)),
    error ? el("div", { class: "notice node-error", "data-tone": tone }, el("p", {}, el("b", {}, sentence(error))), mend)
      : mend ? el("p", { class: "quiet node-error" }, it.how_to_mend) : null);
}

// ---- Look up -----------------------------------------------------------------------------------------------

let looked = null; // What was looked up, and when.
let lookUps = 0;

$("look-up-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("look-up-name").value;
  const hash = `#look-up/${encodeURIComponent(name)}`;
  if (location.hash === hash) lookUp(name);
  else location.hash = hash;
});

async function lookUp(name) {
  lookUps += 1;
  const number = lookUps;
  const result = $("look-up-result");
  result.setAttribute("aria-busy", "true");
  try {
    const inspection = await ask(`api/inspect?name=${encodeURIComponent(name)}`);
    if (number !== lookUps) return;
    looked = { ...inspection, at: performance.now() };
    showLooked();
  } catch (error) {
    if (number !== lookUps) return;
    looked = null;
    result.replaceChildren(notice("bad", sentence(error.message), sentence(error.howToMend), "look-up-error"));
  } finally {
    if (number === lookUps) result.removeAttribute("aria-busy");
  }
}

function showLooked() {
  // What may be done is known once the state of the cache is.
  looked.hasActions = known.health !== null;
  $("look-up-result").replaceChildren(inspected(looked));
}

const HOLDS = { nothing: "nothing", entry: "an entry", lease: "a lease: a call loads", fence: "a writer’s fence", unreadable: "bytes that cannot be read" };

function inspected(it) {
  const tone = it.would_be_served ? "good" : it.holds === "nothing" || it.holds === "lease" ? "quiet" : "warn";
  const mark = it.would_be_served ? "✓" : it.holds === "nothing" ? "–" : it.holds === "lease" ? "…" : "✕";
  const parts = [el("div", { class: "panel verdict", "data-tone": tone, "data-served": String(it.would_be_served) },
    el("span", { class: "mark", "aria-hidden": "true" }, mark),
    el("div", {}, el("p", { class: "why", id: "why" }, it.why), el("p", { class: "mono" }, it.name), actions(it)))];
  const fact = (name, ...value) => [el("dt", {}, name), el("dd", {}, ...value)];
  const facts = [...fact("Under the key", HOLDS[it.holds] ?? words(it.holds))];
  const { entry } = it;
  if (entry) {
    facts.push(
      ...fact("Fresh for", el("span", { id: "countdown", "data-name": it.name }, time(entry.remaining_seconds))),
      ...fact("Age", entry.age_seconds === null ? "not kept in the process" : time(entry.age_seconds)),
      ...fact("Its load took", entry.load_seconds === null ? "not known" : time(entry.load_seconds)),
      ...fact("Size", entry.size === null ? "not known: a Rust value" : `${count(entry.size)} bytes`),
      ...fact("Type", entry.value_type === null ? "not known, or set by hand" : el("code", {}, entry.value_type)),
      ...fact("Schema version", String(entry.schema)));
  }
  if (it.failed) facts.push(...fact("Last load", `failed; tried again ${it.failed.again_in_seconds === null ? "soon" : `in ${time(it.failed.again_in_seconds)}`}`));
  if (it.as_tag) {
    const tag = { version: () => `version ${it.as_tag.number}`, fence: () => "a writer’s fence", absent: () => "nothing: no entry carries it" }[it.as_tag.state];
    facts.push(...fact("As a tag", el("span", { class: "mono" }, tag())));
  }
  const about = el("div", { class: "panel" }, el("h2", {}, "About it"), el("dl", { class: "facts" }, ...facts));
  if (!entry) return el("div", { class: "result" }, ...parts, about);
  parts.push(el("div", { class: "two" }, about, el("div", { class: "panel" }, el("h2", {}, "Tags"), tags(entry.tags))));
  parts.push(el("div", { class: "panel" }, el("h2", {}, "Value"), value(entry.value)));
  return el("div", { class: "result" }, ...parts);
}

function tags(all) {
  if (all.length === 0) return el("p", { class: "quiet" }, "It has none.");
  const now = (tag) => (tag.now.state === "version" ? tag.now.number : words(tag.now.state));
  return el("dl", { class: "facts" }, ...all.flatMap((tag) => [
    el("dt", {}, el("a", { href: `#look-up/${encodeURIComponent(tag.name)}` }, el("code", {}, tag.name))),
    el("dd", { "data-tag": tag.name },
      tag.is_valid ? el("span", { class: "ok" }, "same version") : el("span", { class: "not" }, tag.now.state === "fence" ? "fenced" : tag.now.state === "absent" ? "version lost" : "invalidated"),
      el("span", { class: "mono quiet" }, tag.is_valid ? ` ${tag.stored}` : ` stored ${tag.stored}, now ${now(tag)}`)),
  ]));
}

function value(it) {
  if (it.form === "json") return el("pre", { class: "value", tabindex: "0", id: "value", "aria-label": "The value, as JSON" }, it.text);
  if (it.form === "none") return el("p", {}, "What is cached is a ", el("code", {}, "None"), ": the function found nothing, and that is served.");
  if (it.form === "bytes") {
    const lines = it.preview.match(/.{1,64}/g) ?? [];
    return el("div", {}, el("p", { class: "quiet" }, `${count(it.length)} bytes: ${it.why}. The first ${count(it.preview.length / 2)}:`), el("pre", { class: "value", tabindex: "0", id: "value" }, lines.join("\n")));
  }
  return el("p", { class: "quiet", id: "value-hidden" }, it.why);
}

function actions(it) {
  if (!known.health?.dashboard.editable) return null;
  const button = (text, attributes, act) => {
    const made = el("button", { type: "button", ...attributes }, text);
    made.addEventListener("click", act);
    return made;
  };
  const again = () => lookUp(it.name);
  const buttons = [button("Invalidate…", { id: "act-invalidate" }, () => invalidateNames([it.name], again))];
  if (it.entry) buttons.push(button("Expire…", { id: "act-expire" }, () => expireNames([it.name], again)));
  if (known.servers.store === "server" || known.servers.store === "cluster") {
    buttons.push(button(it.entry ? "Edit…" : "Set a value…", { id: "act-edit" }, () => edit(it)));
  }
  return el("p", { class: "buttons" }, ...buttons);
}

/** The ttl counts down without asking again; when it has ended, it is asked once more. */
setInterval(() => {
  const shown = $("countdown");
  if (!shown || !looked?.entry || document.hidden || looked.entry.remaining_seconds === null) return;
  const left = looked.entry.remaining_seconds - (performance.now() - looked.at) / 1000;
  shown.textContent = left > 0 ? time(left) : "it has ended";
  if (left <= 0 && looked.would_be_served) {
    looked.would_be_served = false;
    lookUp(looked.name);
  }
}, 250);

// ---- Changes -----------------------------------------------------------------------------------------------

function changes() {
  const isEditable = known.health.dashboard.editable;
  $("read-only").hidden = isEditable;
  for (const it of document.querySelectorAll("#invalidate-forms :is(button, input, textarea)")) it.disabled = !isEditable;
}

/** Takes the answer to what the dialog asks now. */
let answered = () => {};
$("confirm").addEventListener("close", () => {
  // The event comes a moment after the dialog was closed. By then it may be open again, for another question.
  if (!$("confirm").open) answered($("confirm").returnValue === "yes");
});

/** Asks in a dialog that says what will happen. */
function confirmed({ title, text, list, yes, isDanger }) {
  answered(false);
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").replaceChildren(...text.map((line) => el("p", {}, line)), list ? el("p", { class: "list" }, list.join("\n")) : "");
  $("confirm-yes").textContent = yes;
  $("confirm-yes").className = isDanger ? "bad" : "primary";
  dialog.returnValue = "no";
  dialog.showModal();
  // What is pressed by accident changes nothing.
  $("confirm-no").focus();
  return new Promise((resolve) => {
    answered = resolve;
  });
}

async function change(path, body, done, after) {
  try {
    const answer = await ask(path, body);
    const text = done(answer);
    toast("good", "Done.", text);
    announce(`Done. ${text}`);
    after?.();
  } catch (error) {
    toast("bad", sentence(error.message), sentence(error.howToMend));
    announce(`${error.message} ${error.howToMend}`);
  }
  poll();
}

function toast(tone, title, text) {
  const made = notice(tone, title, text, "changed");
  document.querySelectorAll('[data-kind="changed"]').forEach((old) => old.remove());
  $(`title-${view}`).after(made);
  if (tone === "good") setTimeout(() => made.remove(), 8000);
}

const names = (n) => (n === 1 ? "1 name" : `${count(n)} names`);

async function invalidateNames(all, after) {
  const isSure = await confirmed({
    title: `Invalidate ${names(all.length)}?`,
    text: ["The entry under each name is removed, and every entry that carries it as a tag is not served any more, in all processes. The next calls load."],
    list: all, yes: "Invalidate",
  });
  if (isSure) await change("api/invalidate", { names: all }, () => `${names(all.length)} invalidated.`, after);
}

async function expireNames(all, after) {
  const isSure = await confirmed({
    title: `Expire ${all.length === 1 ? "1 key" : `${count(all.length)} keys`}?`,
    text: ["The ttl of each entry ends now. Where a function allows it, the old value is served while it is refreshed; else the entry is removed. Entries that carry the name as a tag stay."],
    list: all, yes: "Expire",
  });
  if (isSure) await change("api/expire", { names: all }, () => `${names(all.length)} expired.`, after);
}

$("form-names").addEventListener("submit", (event) => {
  event.preventDefault();
  const all = [...new Set($("names").value.split("\n").map((name) => name.trim()).filter(Boolean))];
  if (all.length === 0) return;
  if (event.submitter?.name === "expire") expireNames(all);
  else invalidateNames(all);
});

$("form-pattern").addEventListener("submit", async (event) => {
  event.preventDefault();
  const pattern = $("pattern").value;
  const isSure = await confirmed({
    title: "Invalidate all names that match?",
    text: ["All entries whose keys match are removed, and every entry with a tag that matches is not served any more, in all processes. On a server, all keys of its database are looked at."],
    list: [pattern], yes: "Invalidate all that match", isDanger: true,
  });
  if (isSure) await change("api/invalidate", { pattern }, (answer) => `${count(answer.removed)} ${answer.removed === 1 ? "entry was" : "entries were"} removed because their keys match.`);
});

$("form-clear").addEventListener("submit", async (event) => {
  event.preventDefault();
  const isSure = await confirmed({
    title: "Clear the whole cache?",
    text: ["Every entry of this cache’s namespace is removed, for all processes. Each next call loads, all at once: the database behind the cache feels that."],
    yes: "Clear the cache", isDanger: true,
  });
  if (isSure) await change("api/invalidate", { clear: true }, () => "The cache is empty.");
});

// ---- The editor --------------------------------------------------------------------------------------------

let edited = null;

function edit(it) {
  edited = it;
  const shown = it.entry?.value;
  $("editor-title").textContent = it.entry ? "Replace the value" : "Set a value";
  $("editor-yes").textContent = $("editor-title").textContent;
  $("editor-name").textContent = it.name;
  $("editor-note").textContent = it.entry
    ? "Its tags, its schema version and its type stay. A call that cannot read the value loads, and replaces it."
    : "There is no entry: it gets no tags, and can be read by hand or by a function without tags.";
  $("editor-json").value = shown?.form === "json" ? shown.text : "";
  $("editor-ttl").value = it.entry?.remaining_seconds ? Math.max(1, Math.round(it.entry.remaining_seconds)) : 60;
  check();
  $("editor").showModal();
  $("editor-json").focus();
}

/** Says whether what is written can be sent. */
function check() {
  const line = $("editor-check");
  let isJson = true;
  try {
    JSON.parse($("editor-json").value);
    line.textContent = "It is valid JSON.";
  } catch (error) {
    isJson = false;
    line.textContent = $("editor-json").value.trim() === "" ? "Write a value as JSON, such as {\"name\": \"Ada\"}." : `It is not valid JSON: ${error.message}`;
  }
  line.className = `check-line ${isJson ? "ok" : "not"}`;
  $("editor-json").setAttribute("aria-invalid", String(!isJson));
  const ttl = Number($("editor-ttl").value);
  const isTtl = Number.isFinite(ttl) && ttl > 0;
  $("editor-ttl-check").textContent = isTtl ? `It is served for ${time(ttl)} from now on.` : "Write a number of seconds above zero.";
  $("editor-ttl-check").className = `check-line ${isTtl ? "quiet" : "not"}`;
  $("editor-yes").disabled = !isJson || !isTtl;
  return isJson && isTtl;
}
for (const id of ["editor-json", "editor-ttl"]) $(id).addEventListener("input", check);
$("editor-no").addEventListener("click", () => $("editor").close());

$("editor-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!check()) return;
  const { name } = edited;
  // The text itself: a number that was read into JavaScript might have other digits.
  const body = { name, json: $("editor-json").value, ttl: Number($("editor-ttl").value) };
  $("editor").close();
  const isSure = await confirmed({
    title: edited.entry ? "Replace this value?" : "Set this value?",
    text: [`All processes are served it for ${time(body.ttl)}, until it is invalidated. What is in the database does not change.`],
    list: [name], yes: edited.entry ? "Replace" : "Set",
  });
  if (isSure) await change("api/set", body, (answer) => `The value was sent. ${answer.why}`, () => lookUp(name));
  else $("editor").showModal();
});

head();
route(true);
poll();
