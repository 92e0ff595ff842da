// The fleet: agents as they say they are, and the items that they are to collect.

import { ask, change } from "./ask.js";
import { el, find, shown, toast } from "./dom.js";
import { duration } from "./time.js";
import { count, say, t } from "./words.js";

const EVERY_MS = 5000;
const TEMPLATE = 'include = ["/var/log/app/*.log"]\ntopic = "app_log"\n';
let timer;
let isShown = false;

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 999.5 && unit < units.length - 1) { bytes /= 1000; unit += 1; }
  return `${unit && bytes < 99.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

function notes(agent) {
  const found = [];
  if (!agent.ready && agent.reason) found.push(agent.reason);
  for (const item of agent.items || []) if (item.error) found.push(`${item.name}: ${item.error}`);
  for (const one of agent.refused || []) {
    found.push(t("refused", { item: one.item || one.key, reason: one.reason }) + (one.earlier_in_force ? " " + t("earlier") : ""));
  }
  if (agent.rival) found.push(t("rival", { rival: agent.rival }));
  if (agent.holding) found.push(t("holding"));
  return found;
}

const cell = (label, ...content) => el("td", { "data-label": label }, ...content);
const number = (label, text) => el("td", { class: "number", "data-label": label }, text);
const head = (names, numbers) => el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col", class: numbers.includes(name) && "number" }, name ? t(name) : el("span", { class: "unseen" }, t("actions"))))));

function agentsTable(agents, now) {
  if (!agents.length) return el("p", { class: "empty" }, t("no_agents"));
  const worst = (agent) => (agent.ready ? (notes(agent).length ? 1 : 2) : 0);
  const sorted = [...agents].sort((a, b) => worst(a) - worst(b) || b.lag_bytes - a.lag_bytes || (a.host < b.host ? -1 : 1));
  return el("table", { class: "stack" },
    head(["host", "how", "lag", "lines_s", "files", "items", "up", "version"], ["lag", "lines_s", "files", "items"]),
    el("tbody", {}, sorted.map((agent) => {
      const wrong = notes(agent);
      const badge = agent.ready ? ["badge good", t("ready")] : ["badge bad", t("not_ready")];
      return el("tr", {},
        el("td", { class: "first" }, ...shown(agent.host || "?"), wrong.length ? el("ul", { class: "notes" }, wrong.map((note) => el("li", {}, ...shown(note)))) : ""),
        cell(t("how"), el("span", { class: badge[0] }, badge[1])),
        number(t("lag"), size(agent.lag_bytes || 0)), number(t("lines_s"), count(agent.lines_per_second || 0)),
        number(t("files"), count(agent.files || 0)), number(t("items"), count(agent.items_total || 0)),
        cell(t("up"), agent.started ? duration((now - agent.started) * 1000) : ""), cell(t("version"), ...shown(agent.version || "")));
    })));
}

function itemsTable(items, edit) {
  if (!items.length) return el("p", { class: "empty" }, t("no_items"));
  return el("table", { class: "stack" },
    head(["name", "whose", "topic", "include", ""], []),
    el("tbody", {}, items.map((item) => el("tr", {},
      el("td", { class: "first" }, ...shown(item.name)),
      cell(t("whose"), el("span", { class: "badge plain" }, t("kind_" + item.kind), " ", ...shown(item.whose))),
      cell(t("topic"), ...shown(item.topic || "–")),
      cell(t("include"), item.error ? el("span", { class: "error" }, ...shown(item.error)) : el("span", { class: "mono" }, ...shown((item.include || []).join("\n")))),
      el("td", { class: "acts" }, el("button", { type: "button", onclick: () => openItem(item, edit) }, t(edit ? "edit" : "see")))))));
}

function sums(agents, items) {
  const bad = agents.filter((agent) => !agent.ready || notes(agent).length).length;
  const sum = (name) => agents.reduce((total, agent) => total + (agent[name] || 0), 0);
  const one = (value, name, isBad) => el("div", { class: "card" + (isBad ? " bad" : "") }, el("b", {}, value), el("span", { class: "soft" }, t(name)));
  return el("div", { class: "sums" }, one(count(agents.length), "agents"), one(count(bad), "with_errors", bad > 0),
    one(size(sum("lag_bytes")), "lag"), one(count(sum("lines_per_second")), "lines_s"), one(count(items.length), "items"));
}

function draw({ agents, items, now, edit }) {
  const add = el("button", { type: "button", class: "primary", onclick: () => openItem({ kind: "group", whose: "", name: "", text: TEMPLATE, revision: 0 }, true) }, t("add_item"));
  find("fleet-page").replaceChildren(
    sums(agents, items),
    el("div", { class: "fleet-head" }, el("h2", {}, t("agents"))),
    el("div", { class: "card" }, agentsTable(agents, now)),
    el("div", { class: "fleet-head" }, el("h2", {}, t("collection_items")), edit ? add : el("span", { class: "soft" }, t("read_only"))),
    el("div", { class: "card" }, itemsTable(items, edit)),
  );
}

async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await ask("/api/fleet", "");
    // What is being used is not taken away.
    if (isShown && !find("fleet-page").contains(document.activeElement)) draw(answer);
    else if (isShown && !find("fleet-page").childElementCount) draw(answer);
  } catch (failure) {
    if (isShown) find("fleet-page").replaceChildren(el("p", { class: "problem", role: "alert" }, ...shown(say(failure))));
  }
  if (isShown) timer = setTimeout(refresh, EVERY_MS);
}

export function showFleet() {
  isShown = true;
  find("fleet-page").replaceChildren();
  refresh();
}

export function stopFleet() {
  isShown = false;
  clearTimeout(timer);
}

/** An item to be seen, changed or made. */
function openItem(item, edit) {
  const dialog = find("item");
  const isNew = item.revision === 0;
  const verdict = el("p", { class: "verdict", role: "status" });
  const kind = el("select", { disabled: !isNew }, ["group", "host"].map((name) => el("option", { value: name, selected: item.kind === name }, t("kind_" + name))));
  const whose = el("input", { ".value": item.whose, disabled: !isNew, required: true, spellcheck: "false", autocapitalize: "off" });
  const name = el("input", { ".value": item.name, disabled: !isNew, required: true, spellcheck: "false", autocapitalize: "off" });
  const text = el("textarea", { ".value": item.text ?? "", readonly: !edit || item.text === null, spellcheck: "false", rows: 12 });
  const wish = () => ({ [kind.value]: whose.value.trim(), name: name.value.trim(), text: text.value, revision: item.revision });
  const tell = (words, isGood) => {
    verdict.className = "verdict " + (isGood ? "good" : "error");
    verdict.replaceChildren(...shown(words));
  };
  let waiting;
  const lint = () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      if (!name.value.trim()) return tell(t("name_first"), false);
      try {
        const good = await change("POST", "/api/fleet/lint", wish());
        tell(t("lint_good", { topic: good.topic, include: good.include.join(" ") }), true);
      } catch (failure) {
        tell(say(failure), false);
      }
    }, 250);
  };
  const write = async (method, done) => {
    clearTimeout(waiting);
    try {
      await change(method, "/api/fleet/item", wish());
      dialog.close();
      toast(t(done));
      refresh();
    } catch (failure) {
      tell(say(failure), false);
    }
  };
  const remove = el("button", { type: "button", class: "danger" }, t("delete"));
  remove.addEventListener("click", () => {
    // The second click means it.
    if (remove.dataset.sure) return write("DELETE", "deleted");
    remove.dataset.sure = "yes";
    remove.textContent = t("delete_sure");
  });
  const close = el("button", { type: "button", class: "quiet icon", "aria-label": t("close"), onclick: () => dialog.close() }, "×");
  const form = el("form", { class: "item-form", onsubmit: (event) => { event.preventDefault(); write("PUT", "saved"); } },
    el("div", { class: "two" }, el("label", {}, t("whose"), kind), el("label", {}, t("group_or_host"), whose), el("label", {}, t("name"), name)),
    el("label", {}, t("definition"), text), verdict,
    edit ? el("div", { class: "foot" }, isNew ? "" : remove, el("button", { type: "submit", class: "primary", disabled: item.text === null }, t("save"))) : "");
  for (const one of [whose, name, text, kind]) one.addEventListener("input", lint);
  dialog.replaceChildren(el("div", { class: "panel-head" }, el("h2", {}, t(isNew ? "add_item" : "item")), close), el("div", { class: "panel-body" }, form));
  if (item.text === null) tell(t("no_text"), false);
  else if (item.error) tell(item.error, false);
  dialog.showModal();
  (isNew ? whose : text).focus();
}
