/** Which candidate is better: shown on the node, answered by a click or a key, kept by the server at once. */

import { api } from "../../scripts/api.js";
import { element } from "./dom.js";
import { openPictures } from "./picture_dialog.js";
import { picture } from "./pictures.js";
import { say } from "./words.js";

const PATH = "/rationalrewards/preferences";

export class PreferencePicker {
  constructor() {
    this.title = element("p", { class: "rr-status", text: say("preference") });
    this.request = element("p", { class: "rr-request", dir: "auto", title: say("request") });
    this.grid = element("div", { class: "rr-candidates", "data-capture-wheel": "true" });
    this.told = element("p", { class: "rr-told", role: "status" });
    this.counts = element("p", { class: "rr-comments", "aria-live": "polite" });
    this.buttons = {
      tie: this.button("tie", () => this.pick("tie")),
      bad: this.button("bad", () => this.pick("bad")),
      undo: this.button("undo", () => this.undo()),
      later: this.button("later", () => this.later()),
      enlarge: this.button("enlarge", () => this.enlarge()),
      export: this.button("export", () => this.export()),
    };
    const { tie, bad, undo, later, enlarge, export: exporter } = this.buttons;
    this.element = element(
      "section",
      { class: "rr rr-pick", tabindex: "0", "aria-label": say("preference"), on: { keydown: (event) => this.onKey(event) } },
      element("header", { class: "rr-head" }, this.title, element("nav", { class: "rr-pager" }, enlarge, later)),
      this.request,
      this.grid,
      element("footer", { class: "rr-answers" }, tie, bad, undo, exporter),
      this.told,
      this.counts,
    );
    this.dataset = null;
    this.state = null;
    this.asked = 0;
    this.busy = false;
    this.render();
  }

  /** A run has put a question. It is shown, unless somebody is about to answer another one. */
  put({ dataset, question }) {
    const engaged = this.dataset === dataset && this.waits() && this.element.matches(":hover, :focus-within");
    this.dataset = dataset;
    return this.load(`?question=${engaged ? this.state.question.key : question}`);
  }

  /** The first question that waits: after a page reload. */
  open(dataset) {
    this.dataset = dataset;
    return this.load("");
  }

  later() {
    return this.state?.question && this.load(`?after=${this.state.question.key}`);
  }

  /** One answer at a time: a second click belongs to what is shown next, and must have been meant for it. */
  async pick(choice) {
    const { question } = this.state ?? {};
    if (!question || this.busy || choice >= question.images.length) return;
    await this.send("/pick", { question: question.key, choice }, (state) => this.show(state));
  }

  async undo() {
    const answer = this.state?.undo;
    if (answer && !this.busy) await this.send("/undo", { answer }, (state) => this.show(state));
  }

  async export() {
    if (this.busy || !this.state?.answered) return;
    await this.send("/export", {}, (done) => this.tell(say("exported", done)));
  }

  enlarge() {
    const { question } = this.state ?? {};
    if (!question) return;
    const page = (image, label) => ({ label, image, render: () => element("p", { dir: "auto", text: question.request }) });
    openPictures([
      ...question.images.map((image, place) => page(image, say("candidate", { number: place + 1 }))),
      ...question.sources.map((image) => page(image, say("source"))),
    ]);
  }

  async load(query) {
    const asked = ++this.asked;
    const state = await this.ask(query);
    if (state && asked === this.asked) this.show(state);
  }

  async send(wish, body, then) {
    this.busy = true;
    this.asked++; // whatever was asked before answers an older state
    const headers = { "Content-Type": "application/json" };
    const answer = await this.ask(wish, { method: "POST", headers, body: JSON.stringify(body) });
    this.busy = false;
    if (answer) then(answer);
  }

  /** The server's answer, or null; why there is none is said on the node, but for a data set without questions. */
  async ask(path, options = {}) {
    try {
      const response = await api.fetchApi(`${PATH}/${encodeURIComponent(this.dataset)}${path}`, options);
      if (response.ok) return await response.json();
      const { error } = await response.json().catch(() => ({}));
      if (options.method || response.status !== 404) this.tell(error ?? say("pickFailed", { status: response.status }), true);
    } catch {
      this.tell(say("pickUnreachable"), true);
    }
    return null;
  }

  show(state) {
    const inside = this.element.contains(document.activeElement);
    const another = state.question?.key !== this.state?.question?.key;
    this.state = state;
    this.tell(answerOf(state.question));
    this.render(another);
    if (inside) this.element.focus({ preventScroll: true });
  }

  tell(sentence, failed = false) {
    this.told.textContent = sentence;
    this.told.classList.toggle("rr-poor", failed);
  }

  waits() {
    return Boolean(this.state?.question) && this.state.question.choice === null;
  }

  render(another = true) {
    const { question } = this.state ?? {};
    const { tie, bad, undo, later, enlarge, export: exporter } = this.buttons;
    tie.disabled = bad.disabled = enlarge.disabled = !question;
    undo.disabled = !this.state?.undo;
    later.disabled = !(this.state?.waiting > (this.waits() ? 1 : 0));
    exporter.disabled = !this.state?.answered;
    tie.setAttribute("aria-pressed", question?.choice === "tie");
    bad.setAttribute("aria-pressed", question?.choice === "bad");
    this.request.textContent = question?.request ?? "";
    this.counts.textContent = this.state ? countsOf(this.state) : "";
    if (another) this.grid.replaceChildren(...this.pictures(question));
    this.grid.querySelectorAll("button").forEach((button, place) => button.setAttribute("aria-pressed", question.choice === place));
  }

  pictures(question) {
    if (!question) return [element("p", { class: "rr-empty", text: say("noQuestion") })];
    const sources = question.sources.map((image) =>
      element("figure", { class: "rr-candidate rr-source" }, picture(image, say("source")), element("figcaption", { text: say("source") })),
    );
    const shown = [...sources, ...question.images.map((image, place) => this.candidate(image, place))];
    this.grid.style.setProperty("--rr-columns", shown.length > 3 ? Math.ceil(shown.length / 2) : shown.length);
    return shown;
  }

  candidate(image, place) {
    const label = say("pickThis", { number: place + 1 });
    return element(
      "button",
      // detail > 1: the second half of a double click, which would answer the question that came after the first.
      { type: "button", class: "rr-candidate", title: label, "aria-label": label, on: { click: ({ detail }) => detail < 2 && this.pick(place) } },
      picture(image, ""),
      element("kbd", { text: place + 1 }),
    );
  }

  button(key, act) {
    const meaning = say(`${key}Meaning`);
    return element("button", { type: "button", class: `rr-button rr-${key}`, text: say(key), title: meaning, on: { click: ({ detail }) => detail < 2 && act() } });
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = /^[1-8]$/.test(event.key) ? Number(event.key) - 1 : null;
    const acts = { t: () => this.pick("tie"), b: () => this.pick("bad"), u: () => this.undo(), n: () => this.later(), e: () => this.enlarge() };
    const act = place === null ? acts[event.key.toLowerCase()] : () => this.pick(place);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation(); // ComfyUI has its own meaning for some of these keys
    if (!event.repeat) act();
  }
}

function answerOf(question) {
  const choice = question?.choice ?? null;
  if (choice === null) return "";
  if (choice === "tie") return say("answeredTie");
  return choice === "bad" ? say("answeredBad") : say("answeredOne", { number: choice + 1 });
}

function countsOf(state) {
  const counts = say("pickCounts", state);
  return state.judged ? `${counts} · ${say("pickAgreement", state)}` : counts;
}
