// The lines around one, as they stand in its file.

import { ask } from "./ask.js";
import { el, find, shown } from "./dom.js";
import { levelClass } from "./histogram.js";
import { level, message } from "./lines.js";
import { go, state } from "./state.js";
import { timeOf } from "./time.js";
import { say, t } from "./words.js";

const STEP = 50;
let asked;

function item(line, isOne) {
  return el("li", { class: "lv-" + levelClass(line.fields["log.level"]), "aria-current": isOne && "true", ".line": line },
    el("div", { class: "row" }, timeOf(line.time), level(line), message(line)));
}

function place(answer) {
  const { fields } = answer.line;
  if (answer.kind === "partition") return t("around_partition", { topic: fields["kafka.topic"], partition: fields["kafka.partition"] });
  return `${fields["host.name"]}:${fields["log.file.path"]}`;
}

function params(id, before, after) {
  const params = new URLSearchParams({ id, before, after });
  if (state().q) params.set("q", state().q);
  return params;
}

/** A button that gets more lines at an end of the list, or a word that there are none. */
function edge(list, side, isEnd) {
  if (isEnd) return el("p", { class: "end" }, t(side === "before" ? "is_first" : "is_last"));
  const button = el("button", { type: "button", class: "edge" }, t(side));
  button.addEventListener("click", async () => {
    button.disabled = true;
    const isBefore = side === "before";
    const near = isBefore ? list.firstElementChild : list.lastElementChild;
    try {
      const answer = await ask("/api/context", params(near.line.id, isBefore ? STEP : 0, isBefore ? 0 : STEP));
      const height = list.parentElement.scrollHeight;
      const lines = answer[side].map((line) => item(line, false));
      list[isBefore ? "prepend" : "append"](...lines);
      // What was looked at stays where it is.
      if (isBefore) list.parentElement.scrollTop += list.parentElement.scrollHeight - height;
      button.replaceWith(edge(list, side, isBefore ? answer.is_first : answer.is_last));
    } catch (failure) {
      button.disabled = false;
      button.textContent = say(failure);
    }
  });
  return button;
}

async function draw(id) {
  const dialog = find("context");
  const close = el("button", { type: "button", class: "quiet icon", "aria-label": t("close"), onclick: () => dialog.close() }, "×");
  const title = el("h2", { class: "context-place" }, t("around"));
  const body = el("div", { class: "panel-body", tabindex: 0 }, el("p", { class: "empty" }, t("searching")));
  dialog.replaceChildren(el("div", { class: "panel-head" }, title, close), body);
  asked?.abort();
  asked = new AbortController();
  try {
    const answer = await ask("/api/context", params(id, STEP / 2, STEP / 2), asked.signal);
    const list = el("ol", { class: "lines" });
    list.append(...answer.before.map((line) => item(line, false)), item(answer.line, true), ...answer.after.map((line) => item(line, false)));
    const notes = answer.warnings.map((one) => t("warning_" + one.code, one, one.text));
    if (answer.kind === "path") notes.push(t("around_path"));
    title.replaceChildren(...shown(place(answer)));
    body.replaceChildren(
      notes.length ? el("ul", { class: "warnings" }, notes.map((note) => el("li", {}, ...shown(note)))) : "",
      edge(list, "before", answer.is_first), list, edge(list, "after", answer.is_last),
    );
    const one = list.querySelector("[aria-current]");
    body.scrollTop = one.offsetTop - body.clientHeight / 2 + one.offsetHeight / 2;
    body.focus();
  } catch (failure) {
    if (failure.name !== "AbortError") body.replaceChildren(el("p", { class: "empty error" }, ...shown(say(failure))));
  }
}

/** Shows what the state says: the surroundings of a line, or none. */
export function showContext() {
  const dialog = find("context");
  const { line } = state();
  if (!line) {
    if (dialog.open) dialog.close();
    return;
  }
  if (!dialog.open) dialog.showModal();
  if (dialog.dataset.line !== line) draw(line);
  dialog.dataset.line = line;
}

export function startContext() {
  const dialog = find("context");
  dialog.addEventListener("close", () => {
    asked?.abort();
    delete dialog.dataset.line;
    if (state().line) go({ line: "" });
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
