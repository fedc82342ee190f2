/** A loop that waits for its user: the next prompt to change, take or skip. */

import { api } from "../../scripts/api.js";
import { element } from "./dom.js";
import { say } from "./words.js";

const ANSWER = "/rationalrewards/loop/answer";

export class PauseBox {
  constructor() {
    this.title = element("h3");
    this.prompt = element("textarea", { class: "rr-pause-prompt", rows: "3", dir: "auto", "data-capture-wheel": "true", on: { keydown: (event) => event.stopPropagation() } });
    this.take = element("button", { type: "button", class: "rr-button rr-take", text: say("pauseTake"), on: { click: () => this.answer("take") } });
    this.skip = element("button", { type: "button", class: "rr-button rr-skip", text: say("pauseSkip"), on: { click: () => this.answer("skip") } });
    this.failure = element("p", { class: "rr-notes", role: "status" });
    this.element = element("div", { class: "rr-pause", hidden: true }, this.title, this.prompt, this.take, this.skip, this.failure);
    this.asked = null;
  }

  /** @param {object} state of a run; what the user is typing stays as long as the same question waits */
  show(state) {
    const { waiting, running } = state;
    const question = running && waiting ? `${state.prompt_id} ${state.node} ${state.iterations.length}` : null;
    this.element.hidden = question === null;
    this.run = { prompt_id: state.prompt_id, node: state.node };
    if (question === this.asked) return;
    this.asked = question;
    this.failure.textContent = "";
    if (question === null) return;
    this.title.textContent = say("pauseNext", { seed: waiting.seed });
    this.prompt.setAttribute("aria-label", this.title.textContent);
    this.prompt.value = waiting.prompt;
    this.enable(true);
  }

  enable(on) {
    this.take.disabled = this.skip.disabled = !on;
  }

  async answer(choice) {
    this.enable(false);
    const response = await api.fetchApi(ANSWER, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...this.run, answer: choice, ...(choice === "take" ? { prompt: this.prompt.value } : {}) }),
    });
    if (response.ok) return;
    this.enable(true);
    const said = await response.json().catch(() => ({}));
    this.failure.textContent = said.error ?? say("pauseFailed", { status: response.status });
  }
}
