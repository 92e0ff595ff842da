// Puts the page together: the state is read, the server is asked, and what it answers is shown.

import { ask, keepWord } from "./ask.js";
import { showContext, startContext } from "./context.js";
import { copy, el, find, shown } from "./dom.js";
import { drawChips, drawFacets } from "./facets.js";
import { showFleet, stopFleet } from "./fleet.js";
import { drawHistogram, staleHistogram, startHistogram } from "./histogram.js";
import { showKeys, startKeys } from "./keys.js";
import { addLines, drawEmpty, drawLines, drawWarnings } from "./lines.js";
import { address, go, onChange, params, state } from "./state.js";
import { isLive, startTail, startTailButtons, stopTail } from "./tail.js";
import { showRange, startTimes } from "./time.js";
import { count, language, say, setLanguage, t, translate } from "./words.js";

let about = { tail: false, fleet: false, edit: false, export_lines_max: 0 };
let asked = new AbortController();
let found;

const isoRange = ({ from, to }) => ({ from: new Date(from).toISOString(), to: new Date(to).toISOString() });

function drawProblem(failure) {
  const place = find("problem");
  place.hidden = !failure;
  find("q").setAttribute("aria-invalid", String(Boolean(failure?.at)));
  if (!failure) return place.replaceChildren();
  const parts = [el("span", {}, ...shown(say(failure)))];
  if (failure.at) {
    const [a, b] = failure.at;
    const { q } = state();
    const bad = q.slice(a, b) || " ";
    parts.unshift(el("code", {}, ...shown(q.slice(0, a)), el("mark", {}, ...shown(bad)), ...shown(q.slice(b))));
  }
  place.replaceChildren(...parts);
}

function drawTotal(total, took) {
  if (!total) return;
  const number = count(total.value);
  find("total").textContent = t(total.exact ? "total" : "total_more", { count: number, ms: count(took) });
}

function drawExport() {
  for (const [id, format] of [["export-text", "text"], ["export-json", "jsonl"]]) {
    const query = params({ ...state(), ...(found ? isoRange(found.range) : {}) }, ["q", "from", "to"]);
    query.set("format", format);
    find(id).href = "/api/export?" + query;
  }
  find("export-note").textContent = t("export_note", { count: count(about.export_lines_max) });
}

/** Asks for everything that is shown. What was asked before and is not answered yet is given up. */
async function search() {
  asked.abort();
  asked = new AbortController();
  const { signal } = asked;
  const query = params(state(), ["q", "from", "to"]);
  drawChips();
  showRange();
  find("more").hidden = true;
  staleHistogram();
  find("facets").classList.add("stale");
  const live = state().live && about.tail;
  if (!live) {
    stopTail();
    find("state").textContent = t("searching");
    find("lines").classList.add("stale");
  }
  const counting = ask("/api/counts", query, signal);
  const lines = live ? Promise.resolve() : ask("/api/search", query, signal);
  counting.then(drawCounts, ignoreAborted);
  try {
    found = await lines;
    drawProblem();
    if (live) startTail();
    else drawFound();
    drawExport();
  } catch (failure) {
    if (failure.name === "AbortError") return;
    stopTail();
    find("lines").classList.remove("stale");
    find("state").textContent = "";
    drawProblem(failure);
    drawWarnings([]);
    drawEmpty(t("not_searched"));
  }
}

function ignoreAborted(failure) {
  if (failure.name === "AbortError") return;
  find("total").textContent = failure.at ? "" : t("not_counted");
}

function drawCounts(answer) {
  drawHistogram(answer);
  drawFacets(answer);
  drawTotal(answer.total, answer.took_ms);
}

function drawFound() {
  find("lines").classList.remove("stale");
  drawWarnings(found.warnings);
  find("state").textContent = found.lines.length ? t("newest_first") : "";
  if (found.lines.length) drawLines(found.lines);
  else drawEmpty(t("no_lines"), t("no_lines_hint"));
  find("more").hidden = !found.next || found.lines.length === 0;
}

async function more() {
  const button = find("more");
  button.disabled = true;
  const query = params({ ...state(), ...isoRange(found.range) }, ["q", "from", "to"]);
  query.set("after", JSON.stringify(found.next));
  try {
    const answer = await ask("/api/search", query, asked.signal);
    found.next = answer.next;
    addLines(answer.lines);
    drawWarnings(answer.warnings);
    button.hidden = !answer.next;
  } catch (failure) {
    if (failure.name !== "AbortError") drawProblem(failure);
  }
  button.disabled = false;
}

function drawPages() {
  const isFleet = state().view === "fleet";
  find("search-page").hidden = isFleet;
  find("fleet-page").hidden = !isFleet;
  find("to-search").toggleAttribute("aria-current", !isFleet);
  find("to-fleet").toggleAttribute("aria-current", isFleet);
  find("title").textContent = t(isFleet ? "fleet" : "search");
  document.title = isFleet ? `${t("fleet")} · Logdrive` : state().q ? `${state().q} · Logdrive` : "Logdrive";
}

function show(changes = state()) {
  drawPages();
  if (state().view === "fleet") {
    asked.abort();
    stopTail();
    showFleet(about);
    return;
  }
  stopFleet();
  if (document.activeElement !== find("q") || "q" in changes) find("q").value = state().q;
  const isOnlyLine = Object.keys(changes).every((name) => name === "line");
  if (!isOnlyLine) search();
  showContext();
}

function startTheme() {
  const set = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  };
  set(localStorage.getItem("theme"));
  find("theme").addEventListener("click", () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    const theme = isDark ? "light" : "dark";
    localStorage.setItem("theme", theme);
    set(theme);
  });
}

function startButtons() {
  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    go({ q: find("q").value.trim(), again: true });
  });
  find("more").addEventListener("click", more);
  find("help").addEventListener("click", showKeys);
  find("language").addEventListener("click", () => {
    setLanguage(language() === "zh" ? "en" : "zh");
    translate();
    show();
  });
  find("share").addEventListener("click", () => {
    // What is relative now means something else for whoever gets it later.
    const fixed = found && !state().live ? isoRange(found.range) : {};
    copy(new URL(address({ ...state(), ...fixed }), location.href).href, t("link_copied"));
  });
  for (const [id, view] of [["to-search", ""], ["to-fleet", "fleet"]]) {
    find(id).addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go({ view });
    });
  }
  document.addEventListener("pointerdown", (event) => {
    if (!event.target.closest("#export")) find("export").open = false;
  });
  find("facets-fold").open = matchMedia("(min-width: 901px)").matches;
}

async function start() {
  startTheme();
  translate();
  startTimes();
  startHistogram();
  startContext();
  startKeys();
  startButtons();
  startTailButtons(() => go({ live: isLive() ? "" : "1" }));
  onChange(show);
  try {
    about = await ask("/api/about", "");
    keepWord(about.token);
  } catch (failure) {
    drawProblem(failure);
  }
  find("live").hidden = !about.tail;
  find("to-fleet").hidden = !about.fleet;
  show();
}

start();
