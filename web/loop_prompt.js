/** Writing a prompt and a seed of the film back into the Loop Start that the loop began with. */

import { app } from "../../scripts/app.js";
import { asOneStep } from "./undo.js";

const START = "RR_LoopStart";

/** The Loop Start whose flow reaches a Loop Until Score; null where there is none. */
export function startOf(end) {
  const place = end.findInputSlot?.("flow") ?? -1;
  const start = place < 0 ? null : end.getInputNode(place);
  return start?.comfyClass === START ? start : null;
}

/**
 * Write both, as one step of undo; the seed stays fixed from then on. A prompt or seed that comes by a wire is written
 * where the wire begins, if that is a widget.
 * @returns {boolean} whether there was a place for both
 */
export function usePrompt(end, { prompt, seed }) {
  const start = startOf(end);
  if (!start) return false;
  const wished = [["prompt", literal(prompt)], ...(seed === null ? [] : [["seed", seed]])];
  const places = wished.map(([name, value]) => [widgetOf(start, name), value]);
  if (places.some(([place]) => !place)) return false;
  asOneStep(() => places.forEach(([place, value]) => write(place, value)));
  return true;
}

function write({ node, widget }, value) {
  set(node, widget, value);
  const control = typeof value === "number" && node.widgets.find(({ name }) => name === "control_after_generate");
  if (control) set(node, control, "fixed");
}

function set(node, widget, value) {
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
}

/** The widget that an input takes its value from: its own, or the first of the node that is wired to it. */
function widgetOf(start, name) {
  const source = start.getInputNode(start.findInputSlot(name));
  if (!source) return widgetNamed(start, (widget) => widget.name === name);
  return widgetNamed(source, ({ value }) => (name === "prompt" ? typeof value === "string" : typeof value === "number"));
}

function widgetNamed(node, fits) {
  const widget = node.widgets?.find(fits);
  return widget ? { node, widget } : null;
}

/** Choices in curly braces were resolved before the loop began: what is written is not to be resolved again. */
function literal(prompt) {
  return prompt.replace(/[{}|]/g, "\\$&");
}
