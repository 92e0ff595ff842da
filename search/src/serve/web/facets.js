// Values of some fields with how many lines have them; a click makes a filter of one. Filters are shown as chips.

import { el, find, shown } from "./dom.js";
import { levelClass } from "./histogram.js";
import { go, state, toggled } from "./state.js";
import { count, t } from "./words.js";

function value(field, text, number) {
  const filter = `${field}:${text}`;
  const isOn = state().f.includes(filter);
  const name = text === "" ? el("i", {}, t("none")) : el("bdi", {}, ...shown(text));
  const classes = field === "level" ? `value level lv-${levelClass(text)}` : "value";
  return el("li", {},
    el("button", {
      type: "button", class: classes, "aria-pressed": String(isOn), title: text, onclick: () => go({ f: toggled(filter) }),
    }, el("span", {}, name), el("span", { class: "count" }, count(number))),
    el("button", {
      type: "button", class: "not", title: t("exclude"), "aria-label": `${t("exclude")}: ${text || t("none")}`,
      onclick: () => go({ f: toggled("-" + filter) }),
    }, "⊘"),
  );
}

export function drawFacets({ facets }) {
  const place = find("facets");
  place.classList.remove("stale");
  const drawn = facets.filter((facet) => facet.values.length || facet.none).map((facet) => {
    const values = facet.values.map(([text, number]) => value(facet.field, text, number));
    // Of what nobody knows there is nothing to choose.
    if (facet.none && facet.values.length) values.push(value(facet.field, "", facet.none));
    const others = facet.others ? el("p", { class: "others" }, t("others", { count: count(facet.others) })) : null;
    const isPath = facet.field === "file" ? " path" : "";
    return values.length ? el("section", { class: "facet" + isPath }, el("h2", {}, t("field_" + facet.field)), el("ul", {}, values), others) : null;
  });
  place.replaceChildren(...drawn.filter(Boolean));
}

export function drawChips() {
  const { f } = state();
  const place = find("chips");
  place.hidden = f.length === 0;
  place.replaceChildren(...f.map((filter) => {
    const isNot = filter.startsWith("-");
    const [field, ...rest] = (isNot ? filter.slice(1) : filter).split(":");
    const text = rest.join(":");
    const name = t("field_" + field, undefined, field);
    const turned = isNot ? filter.slice(1) : "-" + filter;
    return el("li", { class: isNot && "not" },
      el("button", { type: "button", title: t("turn"), onclick: () => go({ f: f.map((one) => (one === filter ? turned : one)) }) },
        `${isNot ? t("not") + " " : ""}${name}: `, ...(text ? shown(text) : [t("none")])),
      el("button", { type: "button", "aria-label": `${t("remove")}: ${filter}`, onclick: () => go({ f: f.filter((one) => one !== filter) }) }, "×"),
    );
  }));
}
