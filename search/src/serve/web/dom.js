// Making elements. Text becomes text and nothing else, whatever it holds; what would hide, move or reorder text is
// written out as the number of its character.

/* Control characters but tab and line end; directions; separators and characters without a width; tags. */
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

const NAMES = { 0x1b: "ESC", 0x0d: "CR", 0x00: "NUL", 0x07: "BEL", 0x08: "BS", 0x7f: "DEL" };

/** Nodes of a text of somebody else's. */
export function shown(text) {
  const nodes = [];
  let end = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (found.index > end) nodes.push(text.slice(end, found.index));
    const point = found[0].codePointAt(0);
    const name = NAMES[point] || "U+" + point.toString(16).toUpperCase().padStart(4, "0");
    const mark = document.createElement("span");
    mark.className = "code-point";
    mark.textContent = name;
    nodes.push(mark);
    end = found.index + found[0].length;
  }
  if (end < text.length) nodes.push(text.slice(end));
  return nodes;
}

/** Nodes of a message in parts, of which every second one is what was looked for. */
export function marked(parts) {
  return parts.flatMap((part, at) => {
    if (at % 2 === 0) return shown(part);
    return [el("mark", {}, ...shown(part))];
  });
}

/** An element: attributes, properties that begin with a dot, listeners that begin with `on`, and what is in it. */
export function el(tag, attributes = {}, ...children) {
  const svg = attributes.xmlns ? "http://www.w3.org/2000/svg" : "";
  const element = svg ? document.createElementNS(svg, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "xmlns" || value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith(".")) element[name.slice(1)] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

export const svg = (tag, attributes, ...children) => el(tag, { xmlns: "svg", ...attributes }, ...children);

export const find = (id) => document.getElementById(id);

let toastTimer;

/** Says something for a moment. */
export function toast(text) {
  const place = find("toast");
  place.textContent = text;
  place.classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => place.classList.remove("on"), 2200);
}

export async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure context there is no clipboard but the old one.
    const area = el("textarea", { ".value": text, class: "unseen" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  toast(said);
}
