/** What Prompt Refine made of a prompt: the words that changed, and why. Every text in it is somebody else's. */

import { element } from "./dom.js";
import { caption } from "./captions.js";
import { translated } from "./sentences.js";
import { renderDiff } from "./word_diff.js";
import { say } from "./words.js";

export class RewordingCard {
  constructor() {
    this.element = element("section", { class: "rr rr-rewording", "aria-label": say("rewording"), "data-capture-wheel": "true" });
    this.element.append(element("p", { class: "rr-empty", text: say("noRewording") }));
  }

  /** Of a loop that has ended: what was made of its best iteration's prompt. */
  showLoop({ iterations, best }) {
    const iteration = iterations[best ?? iterations.length - 1];
    const { prompt: before, proposal, card } = iteration;
    const after = proposal?.trim() || before;
    const changed = after !== before;
    this.show([{ heading: caption(iteration, best), before, after, changed, comments: (changed && card?.refinement?.comments) || "" }]);
  }

  /** @param {{before: string, after: string, changed: boolean, comments: string}[]} rewordings one per run of the node in a list */
  show(rewordings) {
    const body = element("div", { class: "rr-body", tabindex: "0", role: "region", "aria-label": say("rewording") });
    body.append(...rewordings.map(renderRewording));
    this.element.replaceChildren(body);
  }
}

function renderRewording({ heading, before, after, changed, comments }) {
  const verdict = element("p", { class: `rr-verdict${changed ? " rr-changed" : ""}`, text: say(changed ? "reworded" : "kept") });
  return element("article", {}, heading && element("h3", { text: heading }), verdict, renderDiff(before, after), comments && element("p", { class: "rr-comments", dir: "auto", text: translated(comments) }));
}
