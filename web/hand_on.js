/** Overruling the judge: the next run hands on the iteration that the user wants, and makes nothing for it. */

import { api } from "../../scripts/api.js";
import { element } from "./dom.js";
import { say } from "./words.js";

const HAND_ON = "/rationalrewards/loop/hand_on";

/**
 * @param {object} state a run that has ended
 * @param {number|null} iteration to be handed on; null for the best one again
 * @returns {Promise<string>} the sentence that says what came of it
 */
export async function handOn({ prompt_id, node }, iteration) {
  const response = await api.fetchApi(HAND_ON, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt_id, node, iteration }),
  });
  if (response.ok) return say(iteration === null ? "handsOnBest" : "handsOn");
  const answer = await response.json().catch(() => ({}));
  return answer.error ?? say("handOnFailed", { status: response.status });
}

/** The buttons of a film that has ended: the selected picture, or the judge's best again. */
export class HandOnButtons {
  /** @param {() => number|null} selected the picture that is marked now; @param {Element} more another button of the row */
  constructor(selected, more) {
    this.more = more;
    this.wanted = element("button", { type: "button", class: "rr-button rr-hand-on", text: say("handOn"), title: say("handOnMeaning"), on: { click: () => this.ask(selected()) } });
    this.best = element("button", { type: "button", class: "rr-button", text: say("handOnBest"), on: { click: () => this.ask(null) } });
    this.said = element("span", { role: "status" });
    this.element = element("div", { class: "rr-choice", hidden: true }, more, this.wanted, this.best, this.said);
  }

  show(state) {
    this.wanted.hidden = state.iterations.length < 2;
    this.element.hidden = state.running || (this.wanted.hidden && this.more.hidden);
    this.best.hidden = state.overruled === null || state.overruled === undefined;
    const run = `${state.prompt_id} ${state.node}`;
    if (run !== this.run) this.said.textContent = "";
    this.run = run;
    this.state = state;
  }

  async ask(iteration) {
    this.said.textContent = await handOn(this.state, iteration);
  }
}
