/** Writing a prompt and a seed of the film back into the Loop Start that the loop began with. */

import { app } from "../../scripts/app.js";
import { hostsOf, linkInto, sourceOf } from "./graph_nodes.js";
import { asOneStep } from "./undo.js";

const START = "RR_LoopStart";

/** The Loop Start whose flow reaches a Loop Until Score; null where there is none. */
export function startOf(end) {
  const place = end.findInputSlot?.("flow") ?? -1;
  const start = place < 0 ? null : sourceOf(end, place);
  return start?.comfyClass === START ? start : null;
}

/**
 * Write both, as one step of undo; the seed stays fixed from then on. A prompt or seed that comes by a wire is written
 * where the wire begins, if that is a widget; one that comes from the subgraph's own node, there.
 * @param {object} end the Loop Until Score; @param {string} id its execution id
 * @returns {boolean} whether there was a place for both
 */
export function usePrompt(end, id, { prompt, seed }) {
  return writeAll(wishes(end, prompt, seed), hostsOf(id));
}

/**
 * Let a run go on: its first prompt and seed, and other rules of the loop, as one step of undo.
 * @param {object} rules widget of the Loop Until Score -> number
 * @returns {boolean} whether there was a place for all
 */
export function prolong(end, id, { prompt, seed }, rules) {
  return writeAll([...wishes(end, prompt, seed), ...Object.entries(rules).map(([name, value]) => [end, name, value])], hostsOf(id));
}

function wishes(end, prompt, seed) {
  const start = startOf(end);
  return [[start, "prompt", literal(prompt)], ...(seed === null ? [] : [[start, "seed", seed]])];
}

function writeAll(wished, hosts) {
  const places = wished.map(([node, name, value]) => [node && widgetOf(node, name, typeof value, hosts), value]);
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

/** The widget that an input takes its value from: its own, the first of the node wired to it, or the subgraph node's. */
function widgetOf(node, name, kind, hosts) {
  const slot = node.findInputSlot(name);
  const source = sourceOf(node, slot);
  if (source) return widgetNamed(source, ({ value }) => typeof value === kind);
  const link = linkInto(node, slot);
  if (!link) return widgetNamed(node, (widget) => widget.name === name);
  const host = hosts.at(-1);
  return host ? widgetOf(host, node.graph.inputs[link.origin_slot].name, kind, hosts.slice(0, -1)) : null;
}

function widgetNamed(node, fits) {
  const widget = node.widgets?.find(fits);
  return widget ? { node, widget } : null;
}

/** Choices in curly braces were resolved before the loop began: what is written is not to be resolved again. */
function literal(prompt) {
  return prompt.replace(/[{}|]/g, "\\$&");
}
