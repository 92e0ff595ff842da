// Bars of how many lines came when, by level. Dragging over them is the choice of a range of time.

import { el, find, svg } from "./dom.js";
import { go, state } from "./state.js";
import { tick, written } from "./time.js";
import { count, t } from "./words.js";

const CLASSES = ["error", "warn", "info", "debug", "other"];
const OF_LEVEL = {
  emerg: "error", emergency: "error", panic: "error", alert: "error", crit: "error", critical: "error", fatal: "error",
  severe: "error", err: "error", error: "error", warn: "warn", warning: "warn", notice: "info", info: "info",
  information: "info", informational: "info", debug: "debug", trace: "debug", verbose: "debug", fine: "debug",
};

/** The class of a level: how it is coloured. */
export const levelClass = (level) => OF_LEVEL[(level || "").toLowerCase()] || "other";

const HEIGHT = 118, FOOT = 18, HEAD = 4;
let shownAnswer;

function split([start, levels, total]) {
  const counts = { error: 0, warn: 0, info: 0, debug: 0, other: 0 };
  let known = 0;
  for (const [level, number] of Object.entries(levels)) {
    counts[levelClass(level)] += number;
    known += number;
  }
  counts.other += Math.max(0, total - known);
  return { start, counts, total };
}

export function drawHistogram(answer) {
  shownAnswer = answer;
  const place = find("histogram");
  place.classList.remove("stale");
  const { range: { from, to }, bar_ms: width } = answer;
  const bars = answer.bars.map(split);
  const most = Math.max(1, ...bars.map((bar) => bar.total));
  const size = place.clientWidth || 600;
  const height = place.clientHeight || HEIGHT;
  const x = (ms) => ((Math.min(Math.max(ms, from), to) - from) / (to - from)) * size;
  const y = (number) => (number / most) * (height - FOOT - HEAD);
  const base = height - FOOT;
  const drawing = svg("svg", { viewBox: `0 0 ${size} ${height}`, role: "img", "aria-label": summary(bars, answer) });
  drawing.append(svg("line", { class: "axis", x1: 0, x2: size, y1: base + 0.5, y2: base + 0.5 }));
  for (const bar of bars) {
    const [left, right] = [x(bar.start), x(bar.start + width)];
    const gap = right - left > 4 ? 1 : 0;
    let top = base;
    for (const name of CLASSES) {
      const tall = y(bar.counts[name]);
      if (!tall) continue;
      // A single error among thousands must be seen too.
      const seen = Math.max(tall, 1.5);
      top -= seen;
      drawing.append(svg("rect", { class: "lv-" + name, x: left, y: top, width: Math.max(right - left - gap, 1), height: seen }));
    }
  }
  const steps = Math.max(2, Math.floor(size / 130));
  for (let step = 0; step <= steps; step += 1) {
    const at = (step / steps) * size;
    const anchor = step === 0 ? "start" : step === steps ? "end" : "middle";
    drawing.append(svg("text", { x: at, y: height - 4, "text-anchor": anchor }, tick(from + (step / steps) * (to - from), to - from)));
  }
  drawing.append(svg("text", { x: 0, y: HEAD + 8 }, bars.length ? count(most) : ""));
  place.replaceChildren(drawing);
  find("legend").replaceChildren(
    ...CLASSES.filter((name) => bars.some((bar) => bar.counts[name])).map((name) => el("li", { class: "lv-" + name }, t("level_" + name))),
  );
  find("zoom-out").hidden = false;
}

function summary(bars, { bar_ms: width }) {
  if (!bars.length) return t("no_lines");
  const high = bars.reduce((a, b) => (b.total > a.total ? b : a));
  return t("histogram_says", { bars: bars.length, seconds: width / 1000, most: count(high.total), when: written(high.start) });
}

export function staleHistogram() {
  find("histogram").classList.add("stale");
}

/** Where in time a pointer is. */
function momentAt(event) {
  const box = find("histogram").getBoundingClientRect();
  const { from, to } = shownAnswer.range;
  const part = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  return from + part * (to - from);
}

export function startHistogram() {
  const place = find("histogram");
  let begun;
  const tip = el("div", { class: "tip", hidden: true });
  const draw = (name, a, b) => {
    const drawing = place.querySelector("svg");
    place.querySelector("." + name)?.remove();
    if (!drawing || a === undefined) return;
    const { from, to } = shownAnswer.range;
    const size = drawing.viewBox.baseVal;
    const [left, right] = [a, b].map((ms) => ((ms - from) / (to - from)) * size.width).sort((p, q) => p - q);
    drawing.append(svg("rect", { class: name, x: left, y: 0, width: Math.max(right - left, 1), height: size.height - FOOT }));
  };
  place.addEventListener("pointerdown", (event) => {
    if (!shownAnswer || event.button !== 0) return;
    begun = momentAt(event);
    place.setPointerCapture(event.pointerId);
  });
  place.addEventListener("pointermove", (event) => {
    if (!shownAnswer) return;
    const moment = momentAt(event);
    if (begun !== undefined) draw("band", begun, moment);
    const width = shownAnswer.bar_ms;
    const bar = shownAnswer.bars.map(split).find(({ start }) => moment >= start && moment < start + width);
    draw("hovered", ...(bar ? [bar.start, bar.start + width] : []));
    tip.hidden = !bar;
    if (!bar) return;
    const levels = CLASSES.filter((name) => bar.counts[name]).map((name) => `${t("level_" + name)} ${count(bar.counts[name])}`);
    tip.textContent = `${written(bar.start).slice(0, width < 1000 ? 23 : 19)}  ·  ${levels.join(", ")}`;
    if (!tip.isConnected) place.append(tip);
    const box = place.getBoundingClientRect();
    const left = Math.min(Math.max(event.clientX - box.left + 12, 0), Math.max(box.width - tip.offsetWidth - 2, 0));
    tip.style.left = `${left}px`;
  });
  const leave = () => {
    begun = undefined;
    draw("band");
    draw("hovered");
    tip.hidden = true;
  };
  place.addEventListener("pointerup", (event) => {
    const [a, b] = [begun, shownAnswer && momentAt(event)].sort((p, q) => p - q);
    const chosen = begun !== undefined && b - a > (shownAnswer.range.to - shownAnswer.range.from) / 100;
    leave();
    if (chosen) go({ from: new Date(Math.floor(a)).toISOString(), to: new Date(Math.ceil(b)).toISOString() });
  });
  place.addEventListener("pointercancel", leave);
  place.addEventListener("pointerleave", () => begun === undefined && leave());
  find("zoom-out").addEventListener("click", () => {
    if (!shownAnswer) return;
    const { from, to } = shownAnswer.range;
    const span = to - from;
    const end = Math.min(to + span / 2, Date.now());
    go({ from: new Date(Math.max(0, end - 2 * span)).toISOString(), to: state().to.startsWith("now") ? "now" : new Date(end).toISOString() });
  });
  let waiting;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => shownAnswer && drawHistogram(shownAnswer));
  });
}
