// What the page shows, which is all in its address: so an address can be kept, sent and gone back to.

const DEFAULTS = { q: "", from: "now-15m", to: "now", line: "", view: "", live: "" };

function read() {
  const params = new URLSearchParams(location.search);
  const state = { f: params.getAll("f") };
  for (const [name, value] of Object.entries(DEFAULTS)) state[name] = params.get(name) || value;
  return state;
}

let current = read();
let changed = () => {};

export const state = () => current;

/** Parameters that name a state; what is as always is left out. */
export function params(of = current, names = Object.keys(DEFAULTS)) {
  const params = new URLSearchParams();
  for (const name of names) if (of[name] !== DEFAULTS[name]) params.set(name, of[name]);
  for (const filter of of.f) params.append("f", filter);
  return params;
}

export const address = (of = current) => "/" + (params(of).size ? "?" + params(of) : "");

/** Goes to a changed state. `how`: "push" for a step that can be gone back, "replace" for none. */
export function go(changes, how = "push") {
  const next = { ...current, ...changes };
  if (address(next) === address(current) && how === "push" && !changes.again) return;
  delete next.again;
  current = next;
  history[how === "push" ? "pushState" : "replaceState"](null, "", address(current));
  changed(changes);
}

/** Calls when the state has changed, by us or by the browser's buttons. */
export function onChange(call) {
  changed = call;
  addEventListener("popstate", () => {
    current = read();
    changed(current);
  });
}

/** Filters with this one turned on or off; its opposite is turned off. */
export function toggled(filter) {
  const opposite = filter.startsWith("-") ? filter.slice(1) : "-" + filter;
  const rest = current.f.filter((one) => one !== filter && one !== opposite);
  return current.f.includes(filter) ? rest : [...rest, filter];
}
