// Times as people write them, and the choice of a range of time.

import { el, find } from "./dom.js";
import { go, state } from "./state.js";
import { language, t } from "./words.js";

const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const PRESETS = ["5m", "15m", "30m", "1h", "3h", "6h", "12h", "24h", "2d", "7d", "30d"];

const two = (number) => String(number).padStart(2, "0");

/** `2026-01-02 03:04:05.678`, in the reader's own time. */
export function written(ms) {
  const d = new Date(ms);
  const day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  return `${day} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, "0")}`;
}

/** An element with a time; its title says it in UTC. */
export const timeOf = (ms) => {
  const iso = new Date(ms).toISOString();
  return el("time", { datetime: iso, title: iso }, written(ms));
};

/** A time below an axis: as much of it as changes from bar to bar. */
export function tick(ms, span) {
  const options = span < 2 * MINUTE ? { hour: "2-digit", minute: "2-digit", second: "2-digit" }
    : span < 36 * HOUR ? { hour: "2-digit", minute: "2-digit" }
    : span < 5 * DAY ? { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" }
    : { month: "short", day: "numeric" };
  return new Intl.DateTimeFormat(language(), { ...options, hourCycle: "h23" }).format(ms);
}

/** How long, in one or two units. */
export function duration(ms) {
  const s = Math.round(ms / 1000);
  if (s < 1) return `${ms} ms`;
  const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => s >= size);
  const [name, size] = units[first];
  const next = units[first + 1];
  const rest = next ? Math.floor((s % size) / next[1]) : 0;
  return `${Math.floor(s / size)}${name}${rest ? ` ${rest}${next[0]}` : ""}`;
}

function label({ from, to }) {
  const relative = /^now-(\d+)([smhdw])$/.exec(from);
  if (relative && to === "now") return t("last", { count: relative[1], unit: t("unit_" + relative[2]) });
  const end = (text) => (text.startsWith("now") ? text : written(Date.parse(text)).replace(/(:00)?\.000$/, "").replace(/\.\d+$/, ""));
  return `${end(from)} – ${end(to)}`;
}

export function showRange() {
  find("when").textContent = label(state());
}

const local = (ms) => written(ms).slice(0, 19).replace(" ", "T");

/** The instant of an end as it is now, for the fields of exact times. */
function instant(text, or) {
  const relative = /^now(?:-(\d+)([smhdw]))?$/.exec(text);
  if (!relative) return Date.parse(text) || or;
  const unit = { s: 1000, m: MINUTE, h: HOUR, d: DAY, w: 7 * DAY }[relative[2]] || 0;
  return Date.now() - (relative[1] || 0) * unit;
}

function close() {
  find("times").hidden = true;
  find("when").setAttribute("aria-expanded", "false");
}

export function openTimes() {
  const { from, to } = state();
  const choose = (changes) => {
    close();
    find("when").focus();
    go({ ...changes, again: true });
  };
  const preset = (text) => {
    const [, count, unit] = /(\d+)(\w)/.exec(text);
    const chosen = from === "now-" + text && to === "now";
    const say = t("last", { count, unit: t("unit_" + unit) });
    return el("button", { type: "button", "aria-current": chosen && "true", onclick: () => choose({ from: "now-" + text, to: "now" }) }, say);
  };
  const field = (id, ms) => el("input", { id, type: "datetime-local", step: 1, ".value": local(ms), required: true });
  const [begin, end] = [field("exact-from", instant(from, Date.now() - HOUR)), field("exact-to", instant(to, Date.now()))];
  const apply = (event) => {
    event.preventDefault();
    const [a, b] = [begin, end].map((one) => new Date(one.value).getTime());
    if (a >= b) {
      end.setCustomValidity(t("range_backwards"));
      end.reportValidity();
      return;
    }
    choose({ from: new Date(a).toISOString(), to: new Date(b).toISOString() });
  };
  end.addEventListener("input", () => end.setCustomValidity(""));
  const sheet = find("times");
  sheet.replaceChildren(
    el("div", { class: "presets" }, el("h3", {}, t("relative")), PRESETS.map(preset)),
    // Not a form: it stands within one.
    el("div", { class: "exact" },
      el("h3", {}, t("absolute")),
      el("label", {}, t("from"), begin),
      el("label", {}, t("to"), end),
      el("button", { type: "button", class: "primary", onclick: apply }, t("apply")),
      el("p", { class: "soft" }, t("zone", { zone: Intl.DateTimeFormat().resolvedOptions().timeZone })),
    ),
  );
  for (const one of [begin, end]) one.addEventListener("keydown", (event) => { if (event.key === "Enter") apply(event); });
  sheet.hidden = false;
  find("when").setAttribute("aria-expanded", "true");
  (sheet.querySelector("[aria-current]") || sheet.querySelector("button")).focus();
}

export function startTimes() {
  find("when").addEventListener("click", () => (find("times").hidden ? openTimes() : close()));
  document.addEventListener("pointerdown", (event) => {
    if (!find("times").hidden && !event.target.closest(".when")) close();
  });
  find("times").addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
    find("when").focus();
  });
}
