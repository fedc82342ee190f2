/** "3 more": the run that is shown goes on. What it has made is kept, so only what is new is made. */

import { app } from "../../scripts/app.js";
import { element } from "./dom.js";
import { prolong } from "./loop_prompt.js";
import { say } from "./words.js";

const MORE = 3;
const UNFINISHED = new Set(["budget", "patience", "stopped", "interrupted"]);

export class MoreButton {
  /** @param {object} node the Loop Until Score; @param {(sentence: string) => void} tell says what went wrong */
  constructor(node, tell) {
    this.node = node;
    this.tell = tell;
    this.element = element("button", { type: "button", class: "rr-button rr-more", hidden: true, text: say("more", { count: MORE }), title: say("moreMeaning"), on: { click: () => this.ask() } });
  }

  widget(name) {
    return this.node.widgets.find((one) => one.name === name);
  }

  most(name) {
    return this.widget(name).options.max ?? Infinity;
  }

  show(state) {
    this.state = state;
    const full = state.iterations.length >= this.most("max_iterations");
    this.element.hidden = state.running || state.reached || full || !state.iterations.length || !UNFINISHED.has(state.stopped);
  }

  ask() {
    const { node: id, iterations, best } = this.state;
    const count = Math.min(iterations.length + MORE, this.most("max_iterations"));
    const rules = { max_iterations: count };
    const patience = count - 1 - (best ?? 0); // lasts until the last of them
    if (patience > this.widget("patience").value) rules.patience = Math.min(patience, this.most("patience"));
    if (prolong(this.node, id, iterations[0], rules)) app.queuePrompt(0, 1);
    else this.tell(say("notUsed"));
  }
}
