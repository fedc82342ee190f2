/** What Prompt Refine made of a prompt: the words that changed, and why. Every text in it is somebody else's. */

import { element } from "./dom.js";
import { caption } from "./captions.js";
import { translated } from "./sentences.js";
import { renderDiff } from "./word_diff.js";
import { say } from "./words.js";

export class RewordingCard {
  constructor() {
    this.element = element("section", { class: "rr rr-rewording", "aria-label": say("rewording"), "data-capture-wheel": "true" });
    this.clear();
  }

  clear() {
    this.element.replaceChildren(element("p", { class: "rr-empty", text: say("noRewording") }));
  }

  /**
   * What was made of the best iteration's prompt, or, while the loop runs, of a kept iteration's: of a new one the node
   * itself has just told, with its reasons. Before the first iteration nothing of another run stays.
   */
  showLoop({ iterations, best, running }, live) {
    const iteration = iterations[running || best === null ? iterations.length - 1 : best];
    if (!iteration) return this.clear();
    if (running && live && !iteration.replayed) return; // the node itself said more
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
