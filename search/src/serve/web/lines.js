// The list of lines, and what a line says when it is opened.

import { copy, el, find, marked, shown } from "./dom.js";
import { levelClass } from "./histogram.js";
import { address, go, state, toggled } from "./state.js";
import { timeOf } from "./time.js";
import { count, t } from "./words.js";

/** Names that people type for fields, as the server knows them. */
const NAMES = {
  "host.name": "host", "log.file.path": "file", "log.level": "level", "kafka.topic": "topic",
  "kafka.partition": "partition", "log.offset": "offset", "logdrive.generation": "generation", "event.dataset": "item",
};
const FIRST = ["log.file.path", "host.name", "log.level", "log.offset", "kafka.topic", "kafka.partition", "kafka.offset"];

export const messageOf = (line) => line.parts.join("");

export const level = (line) => {
  const name = line.fields["log.level"];
  return el("span", { class: `level lv-${levelClass(name)}` }, ...shown(name || ""));
};

export function message(line) {
  const cut = line.cut ? el("i", { class: "soft" }, " " + t("cut", { bytes: count(line.cut) })) : null;
  return el("span", { class: "message" }, ...marked(line.parts), cut);
}

function fields(line) {
  const rank = (name) => (FIRST.indexOf(name) + 1 || 99);
  const names = Object.keys(line.fields).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  return el("dl", { class: "fields" }, names.flatMap((name) => {
    const text = line.fields[name];
    const filter = `${NAMES[name] || name}:${text}`;
    const button = (sign, filter, what) => el("button", {
      type: "button", title: t(what), "aria-label": `${t(what)}: ${name}`, onclick: () => go({ f: toggled(filter) }),
    }, sign);
    return [
      el("dt", {}, ...shown(NAMES[name] || name)),
      el("dd", {}, ...shown(text), " ", button("+", filter, "only"), button("−", "-" + filter, "exclude")),
    ];
  }));
}

function detail(line) {
  const link = () => new URL(address({ ...state(), live: "", line: line.id }), location.href).href;
  return el("div", { class: "detail" },
    el("div", { class: "acts" },
      el("button", { type: "button", class: "around", onclick: () => go({ line: line.id }) }, t("around")),
      el("button", { type: "button", onclick: () => copy(messageOf(line), t("copied")) }, t("copy")),
      el("button", { type: "button", onclick: () => copy(link(), t("link_copied")) }, t("copy_link")),
    ),
    fields(line),
  );
}

/** Opens a line, or closes it. */
export function toggle(item) {
  const button = item.querySelector(".open");
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  item.classList.toggle("opened", !isOpen);
  if (isOpen) item.querySelector(".detail")?.remove();
  else item.append(detail(item.line));
}

export function lineItem(line) {
  const item = el("li", { class: "lv-" + levelClass(line.fields["log.level"]), ".line": line });
  const row = el("div", {
    class: "row",
    onclick: (event) => {
      // Whoever marks text does not want it to move.
      if (!event.target.closest("button") && !String(getSelection())) toggle(item);
    },
  },
  el("button", { type: "button", class: "open", "aria-expanded": "false", "aria-label": t("open"), onclick: () => toggle(item) }),
  timeOf(line.time), level(line),
  el("span", { class: "host", title: line.fields["host.name"] }, ...shown(line.fields["host.name"] || "")),
  message(line));
  item.append(row);
  return item;
}

export function drawLines(lines) {
  find("lines").replaceChildren(...lines.map(lineItem));
}

export function addLines(lines) {
  find("lines").append(...lines.map(lineItem));
}

/** Says why there is nothing. */
export function drawEmpty(text, hint) {
  find("lines").replaceChildren(el("li", { class: "empty" }, el("p", {}, text), hint && el("p", {}, hint)));
}

export function drawWarnings(warnings) {
  const place = find("warnings");
  const say = (one) => t("warning_" + one.code, one, one.text);
  place.hidden = warnings.length === 0;
  place.replaceChildren(...warnings.map((one) => el("li", {}, ...shown(say(one)))));
}
