/** What a check of the judge found, on Load Rational Scorer: a line for everything that was looked at. */

import { element } from "./dom.js";
import { translated } from "./sentences.js";
import { checkName, say } from "./words.js";

const SIGNS = { good: "✓", poor: "!", stops: "✗" };

export class CheckCard {
  constructor() {
    this.element = element("section", { class: "rr rr-check", "aria-label": say("checkUp"), "data-capture-wheel": "true" });
  }

  /** @param {{check: string, state: "good"|"poor"|"stops", sentence: string}[]} lines all that is known so far */
  show(lines) {
    const body = element("ul", { class: "rr-body", tabindex: "0", role: "list", "aria-label": say("checkUp") });
    body.append(...lines.map(renderLine));
    this.element.replaceChildren(body);
  }
}

function renderLine({ check, state, sentence }) {
  const sign = element("span", { class: "rr-sign", title: say(`check_${state}`), text: SIGNS[state] ?? SIGNS.stops });
  const words = element("p", {}, element("strong", { text: checkName(check) }), ` ${translated(sentence)}`);
  return element("li", { class: `rr-${state}` }, sign, words);
}
