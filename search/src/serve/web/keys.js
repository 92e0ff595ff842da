// Everything that can be done without a mouse, and the list of it.

import { el, find } from "./dom.js";
import { toggle } from "./lines.js";
import { go } from "./state.js";
import { togglePause } from "./tail.js";
import { openTimes } from "./time.js";
import { t } from "./words.js";

const items = () => [...find("lines").children].filter((item) => item.line);
const focused = () => document.activeElement?.closest?.("#lines > li");

function step(by) {
  const all = items();
  if (!all.length) return;
  const at = all.indexOf(focused());
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + by, 0), all.length - 1);
  all[next].querySelector(".open").focus();
  all[next].scrollIntoView({ block: "nearest" });
}

const KEYS = {
  "/": ["key_search", () => { find("q").focus(); find("q").select(); }],
  j: ["key_down", () => step(1)],
  k: ["key_up", () => step(-1)],
  o: ["key_open", () => focused() && toggle(focused())],
  c: ["key_around", () => focused()?.line && go({ line: focused().line.id })],
  t: ["key_time", openTimes],
  l: ["key_live", () => find("live").click()],
  p: ["key_pause", togglePause],
  r: ["key_again", () => go({ again: true })],
  "?": ["key_help", showKeys],
};

const SYNTAX = [
  ["connection refused", "syntax_words"],
  ["\"connection refused\"", "syntax_phrase"],
  ["level:error host:web-*", "syntax_fields"],
  ["timeout OR (refused -retry)", "syntax_logic"],
  ["offset:[1000 TO 2000] status:>=500", "syntax_range"],
  ["trace_id:*", "syntax_any"],
];

export function showKeys() {
  const dialog = find("keys");
  const close = el("button", { type: "button", class: "quiet icon", "aria-label": t("close"), onclick: () => dialog.close() }, "×");
  const list = (pairs) => el("dl", { class: "key-list" }, pairs);
  dialog.replaceChildren(
    el("div", { class: "panel-head" }, el("h2", {}, t("help")), close),
    el("div", { class: "panel-body", tabindex: 0 },
      el("h3", {}, t("syntax")),
      list(SYNTAX.flatMap(([query, what]) => [el("dt", {}, el("code", {}, query)), el("dd", {}, t(what))])),
      el("h3", {}, t("keys")),
      list(Object.entries(KEYS).flatMap(([key, [what]]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, t(what))])),
    ),
  );
  dialog.showModal();
}

export function startKeys() {
  for (const id of ["keys", "item"]) {
    find(id).addEventListener("click", (event) => { if (event.target === find(id)) find(id).close(); });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const isTyping = event.target.closest?.("input, textarea, select");
    if (event.key === "Escape" && isTyping) event.target.blur();
    if (isTyping || find("search-page").hidden) return;
    const down = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (down && focused()) {
      event.preventDefault();
      step(down);
      return;
    }
    const known = KEYS[event.key];
    if (!known) return;
    event.preventDefault();
    known[1]();
  });
}
