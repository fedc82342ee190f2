/** Load Rational Scorer says before a run that its judge is missing, what it is, and how to get it. */

import { element } from "./dom.js";
import { JudgeDownload } from "./judge_download.js";
import { say } from "./words.js";

const LOADER = "RR_LoadScorer";
const WIDGET = "rr_judge_notice";
const HEIGHT = 225;
const WIDTH = 360;
const JUDGES = { edit: "RationalRewards-8B-Edit", image: "RationalRewards-8B-T2I" };

/** Watch a Load Rational Scorer: its notice comes and goes with what its widgets say. */
export function watchJudge(node) {
  if (node.comfyClass !== LOADER) return;
  const changed = node.onWidgetChanged;
  node.onWidgetChanged = function (...args) {
    changed?.apply(this, args);
    showNotice(node);
  };
}

export function showNotice(node) {
  if (node.comfyClass !== LOADER) return;
  const name = missingJudge(node);
  const there = node.widgets.find((widget) => widget.name === WIDGET);
  if (there && there.judge !== name) node.removeWidget(there);
  if (!name || there?.judge === name) return;
  const widget = node.addDOMWidget(WIDGET, "rationalrewards", notice(node, name), {
    serialize: false,
    hideInPanel: true,
    hideOnZoom: false,
    getMinHeight: () => HEIGHT,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  widget.judge = name;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width, WIDTH), Math.max(node.size[1], height)]);
}

/** The released judge that the chosen checkpoint stands for, if that checkpoint is not on the disk; else null. */
function missingJudge(node) {
  const value = (name) => node.widgets.find((widget) => widget.name === name);
  if (value("engine")?.value !== "local") return null;
  const checkpoint = value("engine.checkpoint");
  if (!checkpoint) return null;
  const names = checkpoint.options?.values ?? [];
  const real = names.filter((name) => name.includes("/") && !name.includes(":")); // the list says in a sentence that it is empty
  if (real.includes(checkpoint.value)) return null;
  return /-edit/i.test(checkpoint.value) && !/ or -edit/i.test(checkpoint.value) ? JUDGES.edit : JUDGES.image;
}

/** The judge that has arrived, chosen on its node, as a person would choose it. */
function select(node, checkpoint) {
  const widget = node.widgets.find((one) => one.name === "engine.checkpoint");
  if (!widget) return;
  const before = widget.value;
  // A refresh of the lists does not reach the widgets of a chosen engine; the page's next loading does.
  const values = widget.options?.values;
  if (Array.isArray(values) && !values.includes(checkpoint)) widget.options.values = [...values, checkpoint];
  widget.value = checkpoint;
  widget.callback?.(checkpoint);
  node.onWidgetChanged?.(widget.name, checkpoint, before, widget);
  node.graph?.setDirtyCanvas(true, true);
}

function notice(node, name) {
  const command = say("judgeCommand", { name });
  const copy = element("button", { type: "button", class: "rr-button", text: say("copy"), on: { click: () => navigator.clipboard?.writeText(command) } });
  return element(
    "section",
    { class: "rr rr-notice", "aria-label": say("judgeMissing", { name }) },
    element("p", {}, element("strong", { text: say("judgeMissing", { name }) })),
    new JudgeDownload(name, (checkpoint) => select(node, checkpoint)).element,
    element("p", { text: say("judgeSize", { name }) }),
    element("p", {}, element("a", { href: new URL(say("judgePage", { name })).href, target: "_blank", rel: "noopener noreferrer", text: say("judgePage", { name }) })),
    element("p", { class: "rr-command" }, element("code", { text: command }), copy),
  );
}
