/** Two pictures, one upon the other, with a line between them that can be moved. */

import { element } from "./dom.js";
import { picture } from "./pictures.js";
import { say } from "./words.js";

const MIDDLE = 50;

/**
 * @param {{label: string, image: object}} left what is seen to the left of the line
 * @param {{label: string, image: object}} right what is seen to the right of it
 */
export function comparison(left, right) {
  const line = element("input", {
    type: "range",
    min: "0",
    max: "100",
    value: String(MIDDLE),
    "aria-label": say("compareLine", { left: left.label, right: right.label }),
    on: { input: () => split(line.value), pointerdown: (event) => event.stopPropagation() },
  });
  const names = element("figcaption", {}, element("span", { text: left.label }), element("span", { text: right.label }));
  const pair = element("div", { class: "rr-pair", on: { pointermove: follow } }, picture(right.image, right.label), picture(left.image, left.label));
  const figure = element("figure", { class: "rr-comparison" }, pair, line, names);
  split(MIDDLE);

  function split(percent) {
    figure.style.setProperty("--rr-split", `${percent}%`);
  }

  function follow(event) {
    const { left: edge, width } = pair.getBoundingClientRect();
    if (!width) return;
    line.value = String(Math.round((100 * (event.clientX - edge)) / width));
    split(line.value);
  }

  return figure;
}
