/** Get the judge: asks the hub what there is, and fetches it once somebody agreed to that. Nothing is fetched unasked. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { element } from "./dom.js";
import { say } from "./words.js";

const PATH = "/rationalrewards/judges";
const LOOK = 1000;
const gigabytes = (bytes) => (bytes / 1e9).toFixed(1);

/** Ask or tell the server about a judge; null where this ComfyUI fetches none. */
async function call(name, action = "", body = {}) {
  const post = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await api.fetchApi(`${PATH}/${encodeURIComponent(name)}${action && `/${action}`}`, action ? post : {});
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  if (!action) return null;
  throw new Error(answer?.error ?? say("getFailed", { status: response.status }));
}

/** What stands in the notice of a missing judge: an offer, a question, a bar. */
export class JudgeDownload {
  /** @param {string} name of the judge  @param {(checkpoint: string) => void} select called when it is here */
  constructor(name, select) {
    this.name = name;
    this.select = select;
    this.element = element("div", { class: "rr-get", hidden: true });
    this.look();
  }

  async look() {
    this.show(await call(this.name).catch(() => null));
  }

  async tell(action, body) {
    for (const button of this.element.querySelectorAll("button")) button.disabled = true;
    try {
      this.show(await call(this.name, action, body), action === "ask");
    } catch (error) {
      await this.look();
      this.element.append(element("p", { class: "rr-poor", role: "alert", text: error.message }));
    }
  }

  button(word, action, body) {
    return element("button", { type: "button", class: `rr-button rr-get-${action}`, text: say(word), on: { click: () => this.tell(action, body) } });
  }

  /** @param {object|null} judge as the server describes it  @param {boolean} asked whether its user wants to know what would be fetched */
  show(judge, asked = false) {
    clearTimeout(this.timer);
    this.element.hidden = judge === null;
    if (judge === null) return;
    if (judge.state === "here") return this.arrive(judge);
    const parts = { running: () => this.running(judge), part: () => this.stopped(judge), occupied: () => [element("p", { text: say("getOccupied", judge) })] };
    const usual = () => (judge.commit && (asked || judge.state === "failed") ? this.question(judge) : [this.button("getJudge", "ask")]);
    const halted = judge.state === "failed" && judge.arrived > 0 ? () => this.stopped(judge) : usual;
    const failure = judge.error && element("p", { class: "rr-poor", role: "alert", text: judge.error });
    this.element.replaceChildren(...(parts[judge.state] ?? halted)(), ...(failure ? [failure] : []));
    if (judge.state === "running") this.timer = setTimeout(() => this.element.isConnected && this.look(), LOOK);
  }

  question(judge) {
    const values = { ...judge, size: gigabytes(judge.size), free: gigabytes(judge.free ?? 0), host: new URL(judge.hub).host, commit: judge.commit.slice(0, 8) };
    return [
      element("p", { class: "rr-get-question", text: say("getQuestion", values) }),
      element("div", { class: "rr-command" }, this.button("getStart", "start", { commit: judge.commit }), this.button("getLater", "discard")),
    ];
  }

  running(judge) {
    return [this.bar(judge), element("div", { class: "rr-command" }, this.button("getStop", "stop"))];
  }

  stopped(judge) {
    const goOn = judge.commit ? this.button("getGoOn", "start", { commit: judge.commit }) : this.button("getJudge", "ask");
    const buttons = [goOn, this.button("getDiscard", "discard")];
    return [...(judge.size ? [this.bar(judge)] : []), element("div", { class: "rr-command" }, ...buttons)];
  }

  bar(judge) {
    const text = say("getArrived", { arrived: gigabytes(judge.arrived), size: gigabytes(judge.size) });
    return element("p", { class: "rr-get-bar", role: "status" }, element("progress", { value: judge.arrived, max: judge.size, "aria-label": text }), element("span", { text }));
  }

  async arrive(judge) {
    this.element.replaceChildren(element("p", { role: "status", text: say("getHere", judge) }));
    await app.refreshComboInNodes();
    this.select(judge.checkpoint);
  }
}
