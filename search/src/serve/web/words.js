// What the page says, in English, and in the language that was chosen.

import { find } from "./dom.js";
import { zh } from "./words-zh.js";

const en = {
  skip: "Skip to the search", pages: "Pages", search: "Search", fleet: "Fleet", language: "中文", theme: "Dark or light",
  help: "Help and keys", close: "Close", go: "Search", query: "Search query", time: "Range of time",
  query_hint: "words, \"phrases\", level:error, host:web-*, -not",
  filters: "Filters", histogram: "Lines over time", facets: "Filter by field", lines: "Lines", zoom_out: "Zoom out",
  live: "Live", pause: "Pause", resume: "Go on", share: "Copy link", export: "Export", more: "More lines",
  export_text: "Text: the lines as they were written", export_json: "JSON lines: with all fields",
  export_note: "The lines that are found, oldest first, at most {count}.",
  context: "Lines around", around: "Lines around it", keys: "Keys", item: "Collection item",
  last: "Last {count} {unit}", unit_s: "s", unit_m: "min", unit_h: "h", unit_d: "days", unit_w: "weeks",
  relative: "Up to now", absolute: "Exactly", from: "From", to: "To", apply: "Use it", zone: "Times are those of {zone}.",
  range_backwards: "The end is before the beginning.",
  searching: "Searching …", newest_first: "newest first", no_lines: "No lines.",
  no_lines_hint: "Try a longer range of time, or fewer filters.", not_searched: "Nothing was searched.", not_counted: "Not counted.",
  total: "{count} lines in {ms} ms", total_more: "More than {count} lines in {ms} ms",
  histogram_says: "Histogram of {bars} bars of {seconds} s; the highest has {most} lines, at {when}",
  level_error: "error", level_warn: "warning", level_info: "info", level_debug: "debug", level_other: "other",
  field_level: "Level", field_host: "Host", field_file: "File", field_topic: "Topic",
  none: "none", exclude: "Without this", only: "Only this", not: "not", turn: "Turn into its opposite", remove: "Remove",
  others: "{count} lines have other values", open: "Details", copy: "Copy text", copied: "Copied.", copy_link: "Copy link to line",
  link_copied: "The link is copied.", cut: "… {bytes} bytes more; an export has all of it",
  before: "↑ Earlier lines", after: "↓ Later lines", is_first: "This is the first line that is indexed of it.",
  is_last: "This is the last line that is indexed of it.", around_partition: "Partition {partition} of {topic}: the line does not name its file",
  around_path: "The line does not say where in its file it stands: this is the order in which Kafka got the lines.",
  live_on: "live, newest first", live_starts: "looking for the ends of the topics …", live_waits: "New lines appear here.",
  live_broken: "the connection broke; trying again …", live_refused: "the server does not let us listen; search once to see why",
  paused: "paused, {count} lines wait", skipped: "{count} passed over, more than can be read: narrow the search",
  key_search: "to the search box", key_down: "next line", key_up: "line before", key_open: "open or close the line",
  key_around: "lines around it", key_time: "choose the time", key_live: "live on or off", key_pause: "pause live",
  key_again: "search again", key_help: "this help", syntax: "How to search",
  syntax_words: "both words, anywhere in the line", syntax_phrase: "next to each other, in this order",
  syntax_fields: "fields; * for the rest of a word", syntax_logic: "AND, OR, NOT or -, parentheses",
  syntax_range: "numbers within bounds", syntax_any: "the field is there",
  agents: "Agents", with_errors: "With errors", lag: "Lag", lines_s: "Lines/s", items: "Items", host: "Host", how: "State",
  files: "Files", up: "Up", version: "Version", ready: "ready", not_ready: "not ready",
  refused: "item {item} refused: {reason}", earlier: "(its earlier value is in force)", rival: "another agent goes by this name: {rival}",
  holding: "items are in force that etcd has lost", no_agents: "No agent says anything; each does that has [etcd] in its configuration.",
  collection_items: "Collection items", read_only: "Read only: to change items, set a login in [serve].", add_item: "New item",
  no_items: "There are no items in etcd.", name: "Name", whose: "For", topic: "Topic", include: "Files to read", edit: "Edit", see: "See", actions: "Actions",
  kind_group: "group", kind_host: "host", group_or_host: "Name of the group or host", definition: "Definition (TOML or JSON)",
  save: "Save", delete: "Delete", delete_sure: "Really delete?", saved: "Saved; agents take it within seconds.",
  deleted: "Deleted; agents keep the positions of its files.", name_first: "Give it a name.",
  lint_good: "This is an item: {include} → {topic}", no_text: "Its value is no text; it can only be deleted.",
};

let chosen = localStorage.getItem("language") || (navigator.language.startsWith("zh") ? "zh" : "en");

export const language = () => chosen;

export function setLanguage(name) {
  chosen = name;
  localStorage.setItem("language", name);
}

/** The words for something; `or`, if nobody has words for it. */
export function t(key, values = {}, or = key) {
  const words = (chosen === "zh" && zh[key]) || en[key] || or;
  return words.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

/** A failure in words. */
export const say = (failure) => t("failure_" + failure.code, failure, failure.text || String(failure));

export const count = (number) => new Intl.NumberFormat(chosen).format(number);

/** Fills in what stands in the page itself. */
export function translate() {
  document.documentElement.lang = chosen === "zh" ? "zh-CN" : "en";
  for (const one of document.querySelectorAll("[data-t]")) one.textContent = t(one.dataset.t);
  for (const one of document.querySelectorAll("[data-label]:not(td)")) one.setAttribute("aria-label", t(one.dataset.label));
  for (const one of document.querySelectorAll("[data-hint]")) one.placeholder = t(one.dataset.hint);
  find("language").textContent = t("language");
  for (const id of ["theme", "help"]) find(id).title = t(id);
}
