/** The iterations of one loop: pictures with rewards, what changed in the prompt, and the button that ends it. */

import { api } from "../../scripts/api.js";
import { lacks } from "./critique_card.js";
import { element, figure } from "./dom.js";
import { HandOnButtons } from "./hand_on.js";
import { PauseBox } from "./pause_box.js";
import { caption } from "./captions.js";
import { iterationPages, promptOf } from "./iteration_pages.js";
import { MoreButton } from "./more_button.js";
import { openPictures } from "./picture_dialog.js";
import { picture } from "./pictures.js";
import { whyUnscored } from "./sentences.js";
import { sparkline } from "./sparkline.js";
import { estimate, seconds } from "./times.js";
import { knows, say } from "./words.js";

const STOP = "/rationalrewards/loop/stop";

export class Filmstrip {
  /** @param {object} node the Loop Until Score that the film is on */
  constructor(node) {
    this.node = node;
    this.status = element("p", { class: "rr-status", role: "status", text: say("noLoop") });
    this.stop = element("button", { type: "button", class: "rr-button rr-stop", text: say("stop"), disabled: true, on: { click: () => this.askToStop() } });
    this.more = new MoreButton(node, (sentence) => (this.status.textContent = sentence));
    this.notes = element("p", { class: "rr-notes" });
    this.pause = new PauseBox();
    this.choice = new HandOnButtons(() => this.selected, this.more.element);
    this.chart = element("div", { class: "rr-chart" });
    this.list = element("ol", {
      class: "rr-strip",
      "data-capture-wheel": "true",
      on: { keydown: (event) => this.onKey(event), pointerleave: () => this.describe(this.selected) },
    });
    this.detail = element("div", { class: "rr-detail", "data-capture-wheel": "true", tabindex: "0", role: "region", "aria-label": say("prompt") });
    const head = element("header", { class: "rr-head" }, this.status, this.stop);
    this.element = element("section", { class: "rr rr-film", "aria-label": say("iterations") }, head, this.notes, this.pause.element, this.choice.element, this.chart, this.list, this.detail);
    this.state = null;
    this.asked = null;
    this.selected = null;
  }

  /** One more iteration of the run that is shown, or the first of a new one. False if iterations are missing before it. */
  take({ row, ...head }) {
    if (this.shows(head) && this.isLate(row, head)) return true;
    const known = this.shows(head) && row.index ? this.state.iterations : [];
    if (row.index > known.length) return false;
    this.show({ ...head, iterations: [...known.slice(0, row.index), row] });
    return true;
  }

  /** A page that lags asks the server, which is further by then; what it sent before comes afterwards, and is no news. */
  isLate(row, { running }) {
    const { iterations } = this.state;
    const behind = row.index < iterations.length - 1 || (running && !this.state.running);
    return behind && JSON.stringify(iterations[row.index]) === JSON.stringify(row);
  }

  shows(state) {
    return this.state !== null && state.prompt_id === this.state.prompt_id && state.node === this.state.node;
  }

  /** @param {object} state a whole run, as the server tells it to a page that has not followed it */
  show(state) {
    const before = this.shows(state) ? this.state : null;
    if (!before || state.iterations.length < before.iterations.length) this.clear();
    this.state = state;
    const changed = !before || state.iterations.length !== before.iterations.length || state.running !== before.running;
    this.status.textContent = sentence(state);
    this.status.classList.toggle("rr-good", state.reached);
    this.notes.textContent = state.seed_wired ? "" : say("seedUnwired");
    this.showStop();
    this.pause.show(state);
    this.more.show(state);
    this.choice.show(state);
    this.chart.replaceChildren(sparkline(state.iterations, state.best, state.threshold, state.running ? state.max_iterations : state.iterations.length));
    this.showPictures();
    const newest = state.iterations.length - 1;
    if (changed) this.select(state.running ? newest : (state.best ?? newest), { reveal: !state.running });
  }

  /** Nothing of another run stays. */
  clear() {
    this.selected = null;
    this.asked = null;
    this.list.replaceChildren();
    this.detail.replaceChildren();
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
    const { node, prompt_id } = this.state;
    this.asked = prompt_id;
    this.showStop();
    const response = await api.fetchApi(STOP, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ prompt_id, node }),
    });
    if (response.ok) return;
    this.asked = null;
    this.showStop();
    const answer = await response.json().catch(() => ({}));
    this.status.textContent = answer.error ?? say("stopFailed", { status: response.status });
  }

  /** Pictures stay as they are (each is fetched once); new ones join, and the best is marked anew. */
  showPictures() {
    const { iterations, best } = this.state;
    const atEnd = this.list.scrollLeft + this.list.clientWidth >= this.list.scrollWidth - 8;
    iterations.slice(this.list.children.length).forEach((iteration) => this.list.append(this.thumbnail(iteration)));
    this.buttons().forEach((button, place) => {
      const iteration = iterations[place];
      button.classList.toggle("rr-best", place === best);
      button.setAttribute("aria-label", `${caption(iteration, best)}. ${say("enlarge")}`);
      button.querySelector("small").textContent = `${place === best ? "★ " : ""}${place + 1}`;
    });
    if (atEnd) this.list.scrollLeft = this.list.scrollWidth;
  }

  thumbnail(iteration) {
    const place = iteration.index;
    const shown = iteration.image ? picture(iteration.image, "", { thumbnail: true }) : element("span", { class: "rr-gone", text: say("gone") });
    const short = lacks(iteration.card, iteration.reward, this.state.threshold);
    const reward = iteration.unscored
      ? element("b", { class: "rr-unknown", text: say("unscored"), title: whyUnscored(iteration.unscored).join("\n") })
      : element("b", { class: short.length ? "" : "rr-good", text: figure(iteration.reward), title: short.join("\n") });
    const button = element(
      "button",
      {
        type: "button",
        class: "rr-frame",
        title: short.join("\n"),
        on: { click: () => this.enlarge(place), focus: () => this.select(place), pointerenter: () => this.describe(place) },
      },
      element("span", { class: "rr-picture" }, shown),
      element("span", { class: "rr-caption" }, element("small"), reward),
    );
    return element("li", {}, button);
  }

  buttons() {
    return [...this.list.querySelectorAll("button")];
  }

  select(place, { reveal = false } = {}) {
    if (!this.state.iterations[place]) return;
    this.selected = place;
    this.buttons().forEach((button, index) => button.classList.toggle("rr-selected", index === place));
    if (reveal) this.reveal(place);
    this.describe(place);
  }

  /** Prompt and shortfall of an iteration below the strip: of the selected one, or for a moment of the one pointed at. */
  describe(place) {
    const iteration = this.state?.iterations[place];
    if (!iteration) return;
    const short = iteration.unscored ? whyUnscored(iteration.unscored) : lacks(iteration.card, iteration.reward, this.state.threshold);
    this.detail.replaceChildren(
      element("h3", { text: [caption(iteration, this.state.best), seconds(iteration.seconds)].filter(Boolean).join(" · ") }),
      short.length ? element("p", { class: "rr-short", dir: "auto", text: short.join(" · ") }) : "",
      promptOf(this.state, place),
    );
  }

  /** Scroll the strip, and nothing around it, until a picture is in sight. */
  reveal(place) {
    const frame = this.buttons()[place].parentElement;
    this.list.scrollLeft = frame.offsetLeft - this.list.offsetLeft - (this.list.clientWidth - frame.offsetWidth) / 2;
  }

  enlarge(place) {
    openPictures(iterationPages(this.node, this.state), place);
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

/** Why the loop is where it is, in figures that are true: what the best image lacks is named, dimension or reward. */
function sentence(state) {
  const best = state.best === null ? null : state.iterations[state.best];
  const count = state.iterations.length;
  const values = { count, current: count + 1, most: state.max_iterations ?? "…", best: figure(best?.reward), threshold: figure(state.threshold) };
  if (state.running) return [say(best ? "running" : "runningFirst", values), estimate(state)].filter(Boolean).join(" · ");
  const key = state.reached ? "stopReached" : `stop_${state.stopped}`;
  const short = best ? lacks(best.card, best.reward, state.threshold) : count ? [say("noneScored")] : [];
  return [knows(key) ? say(key, values) : state.ending, best && say("bestOf", values), short.length && `${short.slice(0, 2).join(" · ")}.`].filter(Boolean).join(" ");
}
