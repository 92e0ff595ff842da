// Lines as they come. The newest is at the top, as in the list of lines that were found.

import { el, find } from "./dom.js";
import { drawEmpty, lineItem } from "./lines.js";
import { params, state } from "./state.js";
import { count, t } from "./words.js";

const KEPT = 1000;
let source;
let waiting = [];
let isPaused = false;
let passed = 0;
let drawn;

function report(text) {
  const skipped = passed ? " · " + t("skipped", { count: count(passed) }) : "";
  find("state").textContent = text + skipped;
}

function draw() {
  drawn = undefined;
  if (isPaused) {
    report(t("paused", { count: count(waiting.length) }));
    return;
  }
  const list = find("lines");
  if (waiting.length) list.querySelector(".empty")?.remove();
  const items = waiting.slice(-KEPT).reverse().map(lineItem);
  waiting = [];
  for (const item of items) item.classList.add("fresh");
  list.prepend(...items);
  while (list.children.length > KEPT) list.lastElementChild.remove();
  report(t("live_on"));
}

const later = () => { drawn ??= requestAnimationFrame(draw); };

function pause(is) {
  isPaused = is;
  find("pause").textContent = t(is ? "resume" : "pause");
  find("pause").setAttribute("aria-pressed", String(is));
  later();
}

export const togglePause = () => source && pause(!isPaused);

export function stopTail() {
  source?.close();
  source = undefined;
  waiting = [];
  find("pause").hidden = true;
  find("live").setAttribute("aria-pressed", "false");
}

/** Begins to listen. `failed` is called with why it cannot be. */
export function startTail() {
  stopTail();
  passed = 0;
  isPaused = false;
  find("live").setAttribute("aria-pressed", "true");
  find("pause").hidden = false;
  find("pause").textContent = t("pause");
  drawEmpty(t("live_waits"));
  report(t("live_starts"));
  source = new EventSource("/api/tail?" + params(state(), ["q"]));
  source.addEventListener("lines", (event) => {
    const { lines, skipped } = JSON.parse(event.data);
    passed += skipped;
    waiting.push(...lines);
    if (waiting.length > KEPT) {
      passed += waiting.length - KEPT;
      waiting = waiting.slice(-KEPT);
    }
    later();
  });
  source.addEventListener("alive", (event) => {
    passed += Number(event.data);
  });
  source.addEventListener("state", (event) => {
    const { state: how, text } = JSON.parse(event.data);
    report(how === "trouble" ? text : t(how === "live" ? "live_on" : "live_starts"));
  });
  // The browser tries again by itself.
  source.onerror = () => report(t(source?.readyState === EventSource.CLOSED ? "live_refused" : "live_broken"));
}

export const isLive = () => source !== undefined;

export function startTailButtons(toggleLive) {
  find("live").addEventListener("click", toggleLive);
  find("pause").addEventListener("click", togglePause);
}
