/** The iterations of one loop: pictures with rewards, what changed in the prompt, and the button that ends it. */

import { api } from "../../scripts/api.js";
import { renderCard } from "./critique_card.js";
import { element, figure } from "./dom.js";
import { openPictures, picture } from "./pictures.js";
import { sparkline } from "./sparkline.js";
import { renderDiff } from "./word_diff.js";
import { say } from "./words.js";

const STOP = "/rationalrewards/loop/stop";

export class Filmstrip {
  constructor() {
    this.status = element("p", { class: "rr-status", role: "status", text: say("noLoop") });
    this.stop = element("button", { type: "button", class: "rr-button rr-stop", text: say("stop"), disabled: true, on: { click: () => this.askToStop() } });
    this.chart = element("div", { class: "rr-chart" });
    this.list = element("ol", { class: "rr-strip", "data-capture-wheel": "true", on: { keydown: (event) => this.onKey(event) } });
    this.detail = element("div", { class: "rr-detail", "data-capture-wheel": "true", tabindex: "0", role: "region", "aria-label": say("prompt") });
    const head = element("header", { class: "rr-head" }, this.status, this.stop);
    this.element = element("section", { class: "rr rr-film", "aria-label": say("iterations") }, head, this.chart, this.list, this.detail);
    this.state = null;
    this.asked = null;
  }

  /** @param {object} state the loop's state, as the server sends it after every iteration */
  show(state) {
    const grown = state.iterations.length !== (this.state?.iterations.length ?? 0) || state.running !== this.state?.running;
    this.state = state;
    this.status.textContent = sentence(state);
    this.status.classList.toggle("rr-good", state.reached);
    this.showStop();
    this.chart.replaceChildren(sparkline(state.iterations, state.threshold, state.running ? state.max_iterations : state.iterations.length));
    this.showPictures();
    const newest = state.iterations.length - 1;
    if (grown) this.select(state.running ? newest : (state.best ?? newest), { reveal: !state.running });
  }

  /** The loop's prompt ended without a last state: somebody interrupted it, or a node failed. */
  interrupted() {
    if (this.state?.running) this.show({ ...this.state, running: false, stopped: "interrupted" });
  }

  showStop() {
    const asked = this.asked !== null && this.asked === this.state.prompt_id;
    this.stop.disabled = !this.state.running || asked;
    this.stop.textContent = say(this.state.running && asked ? "stopping" : "stop");
  }

  async askToStop() {
    const { node, prompt_id: prompt } = this.state;
    this.asked = prompt;
    this.showStop();
    const response = await api.fetchApi(STOP, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ node }),
    });
    if (response.ok) return;
    this.asked = null;
    this.showStop();
    const answer = await response.json().catch(() => ({}));
    this.status.textContent = answer.error ?? say("stopFailed", { status: response.status });
  }

  /** Rebuild the strip, keeping where the user was: focus and scroll, or the newest picture in sight. */
  showPictures() {
    const focused = this.buttons().indexOf(document.activeElement);
    const atEnd = this.list.scrollLeft + this.list.clientWidth >= this.list.scrollWidth - 8;
    this.list.replaceChildren(...this.state.iterations.map((iteration) => this.thumbnail(iteration)));
    if (focused >= 0) this.buttons()[focused]?.focus({ preventScroll: true });
    if (atEnd) this.list.scrollLeft = this.list.scrollWidth;
  }

  thumbnail(iteration) {
    const place = this.state.iterations.indexOf(iteration);
    const label = caption(iteration);
    const shown = iteration.image ? picture(iteration.image, "", { thumbnail: true }) : element("span", { class: "rr-gone", text: say("gone") });
    const reward = iteration.unscored
      ? element("b", { class: "rr-unknown", text: say("unscored"), title: iteration.unscored.message })
      : element("b", { text: figure(iteration.reward) });
    const button = element(
      "button",
      {
        type: "button",
        class: `rr-frame${iteration.best ? " rr-best" : ""}`,
        "aria-label": `${label}. ${say("enlarge")}`,
        on: { click: () => this.enlarge(place), focus: () => this.select(place), pointerenter: () => this.select(place) },
      },
      shown,
      element("span", { class: "rr-caption" }, element("small", { text: `${iteration.best ? "★ " : ""}${iteration.index + 1}` }), reward),
    );
    return element("li", {}, button);
  }

  buttons() {
    return [...this.list.querySelectorAll("button")];
  }

  select(place, { reveal = false } = {}) {
    const iteration = this.state.iterations[place];
    if (!iteration) return;
    this.buttons().forEach((button, index) => button.classList.toggle("rr-selected", index === place));
    if (reveal) this.reveal(place);
    this.detail.replaceChildren(element("h3", { text: caption(iteration) }), this.promptOf(place));
  }

  /** Scroll the strip, and nothing around it, until a picture is in sight. */
  reveal(place) {
    const frame = this.buttons()[place].parentElement;
    this.list.scrollLeft = frame.offsetLeft - this.list.offsetLeft - (this.list.clientWidth - frame.offsetWidth) / 2;
  }

  /** The prompt of an iteration, marked against the one before it. */
  promptOf(place) {
    const { iterations } = this.state;
    const before = iterations[Math.max(place - 1, 0)].prompt;
    return renderDiff(before, iterations[place].prompt);
  }

  enlarge(place) {
    const pages = this.state.iterations.map((iteration, index) => ({
      label: caption(iteration),
      image: iteration.image,
      render: () =>
        element(
          "div",
          {},
          element("h3", { text: say("prompt") }),
          this.promptOf(index),
          element("p", { class: "rr-comments", text: say("seedIs", { seed: iteration.seed }) }),
          iteration.card ? renderCard(iteration.card) : reasonOf(iteration),
        ),
    }));
    openPictures(pages, place);
  }

  onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const buttons = this.buttons();
    buttons[buttons.indexOf(document.activeElement) + step]?.focus();
  }
}

function caption(iteration) {
  const reward = iteration.unscored ? say("unscored") : figure(iteration.reward);
  return say(iteration.best ? "iterationBest" : "iteration", { index: iteration.index + 1, reward });
}

function reasonOf({ unscored }) {
  return unscored && element("p", { class: "rr-unscored" }, element("strong", { text: say("unscoredBecause") }), element("code", { text: unscored.reason }), element("span", { dir: "auto", text: unscored.message }));
}

function sentence(state) {
  const best = state.best === null ? null : state.iterations[state.best];
  const values = { count: state.iterations.length, most: state.max_iterations, best: figure(best?.reward), threshold: figure(state.threshold) };
  if (state.running) return say("running", values);
  const key = state.reached ? "stopReached" : `stop_${state.stopped}`;
  return `${knows(key) ? say(key, values) : state.ending} ${say("bestOf", values)}`;
}
