/** One action to a loop: places Load Rational Scorer, Loop Start, Rational Critique, Prompt Refine and Loop Until Score. */

import { app } from "../../scripts/app.js";
import { isPrimitive, linkInto } from "./graph_nodes.js";
import { showNotice } from "./judge_notice.js";
import { planLoop } from "./loop_plan.js";
import { asOneStep } from "./undo.js";
import { say } from "./words.js";

const GAP = 60;
const LARGEST_SEED = 2 ** 32; // Loop Start's seeds lie below it
const OUR_JUDGE = /^(LLM|text_encoders|rationalrewards)\/.*rationalrewards(?!.*edit)/i;

/** The entry of a node's menu; nothing where no loop could be made. */
export function loopMenu(node) {
  const plan = planLoop(node);
  return plan ? [{ content: say("loopThis"), callback: () => build(plan) }] : [];
}

function build(plan) {
  const { graph } = plan.image.node;
  const made = asOneStep(() => {
    const nodes = placed(graph);
    wire(graph, plan, nodes);
    return nodes;
  });
  app.canvas.selectNodes?.(Object.values(made));
  show(Object.values(made));
}

/** The five nodes in a row below everything else, so that nothing lies upon anything. */
function placed(graph) {
  const others = [...graph.nodes];
  const left = Math.min(...others.map(({ pos }) => pos[0]));
  const top = Math.max(...others.map(({ pos, size }) => pos[1] + size[1])) + 2 * GAP;
  const columns = [
    [["start", "RR_LoopStart"], ["judge", "RR_LoadScorer"]],
    [["critique", "RR_RationalCritique"]],
    [["refine", "RR_PromptRefine"]],
    [["end", "RR_LoopUntilScore"]],
  ];
  const nodes = {};
  let x = left;
  for (const column of columns) {
    let y = top;
    for (const [name, type] of column) {
      const node = LiteGraph.createNode(type);
      graph.add(node);
      node.pos = [x, y];
      nodes[name] = node;
      if (name === "judge") {
        chooseJudge(node);
        showNotice(node); // taller now
      }
      y += node.size[1] + LiteGraph.NODE_TITLE_HEIGHT + GAP; // Nodes 2.0 shows some nodes higher than they say
    }
    x += Math.max(...column.map(([name]) => nodes[name].size[0])) + GAP;
  }
  return nodes;
}

function wire(graph, { image, texts, negatives, seeds, prompt, negative, seed }, { judge, start, critique, refine, end }) {
  moveConsumers(graph, image, end);
  takeOver(graph, texts, start, "prompt", prompt);
  takeOver(graph, seeds, start, "seed", seed === null ? null : seed % LARGEST_SEED);
  const control = start.widgets.find(({ name }) => name === "control_after_generate");
  if (control) control.value = "fixed"; // as long as it stays, queueing again goes on where the loop ended
  connect(start, "flow", end, "flow");
  connect(judge, "scorer", critique, "scorer");
  connect(start, "original_prompt", critique, "prompt");
  connect(critique, "critique", refine, "critique");
  connect(start, "prompt", refine, "prompt");
  connect(critique, "critique", end, "critique");
  connect(refine, "prompt", end, "refined_prompt");
  if (negatives.length) wireNegative(negatives, negative, { start, refine, end });
  for (const judged of [critique, end]) image.node.connect(image.slot, judged, judged.findInputSlot("image"));
}

/** The negative prompt goes round behind the prompt; Loop Start hands it out apart. */
function wireNegative(inputs, negative, { start, refine, end }) {
  const prompt = start.widgets.find(({ name }) => name === "prompt");
  if (negative.trim()) prompt.value = `${prompt.value.trimEnd()}\nNegative prompt: ${negative.trim()}`;
  for (const { node, slot } of inputs) start.connect(start.findOutputSlot("negative_prompt"), node, slot);
  connect(start, "negative_prompt", refine, "negative_prompt");
  connect(refine, "negative_prompt", end, "refined_negative");
}

/**
 * Loop Start gives what the inputs took so far. Their value goes into its own widget; a wire that brought it (of another
 * node, or of the subgraph around) is led into Loop Start instead.
 */
function takeOver(graph, inputs, start, name, value) {
  const slot = start.findInputSlot(name);
  const link = inputs.map(({ node, slot: place }) => linkInto(node, place)).find(Boolean);
  const source = link && graph.getNodeById(link.origin_id);
  const typed = isPrimitive(source) ? source.widgets?.[0]?.value : undefined;
  if (link && typed === undefined) lead(graph, link, start, slot);
  const kept = typed ?? value;
  const widget = start.widgets.find((one) => one.name === name);
  if (kept !== null && kept !== undefined) widget.value = kept;
  for (const { node, slot: place } of inputs) start.connect(start.findOutputSlot(name), node, place);
}

function lead(graph, link, node, slot) {
  const source = graph.getNodeById(link.origin_id);
  if (source) source.connect(link.origin_slot, node, slot);
  else graph.inputs?.[link.origin_slot]?.connect(node.inputs[slot], node);
}

/** What took the image takes the best one: a saved picture is the loop's, not each iteration's. */
function moveConsumers(graph, { node, slot }, end) {
  const best = end.findOutputSlot("best_image");
  for (const id of [...(node.outputs[slot].links ?? [])]) {
    const link = graph.getLink?.(id) ?? graph.links.get?.(id) ?? graph.links[id];
    const target = graph.getNodeById(link.target_id);
    if (target) end.connect(best, target, link.target_slot);
    else graph.outputs?.[link.target_slot]?.connect(end.outputs[best], end);
  }
}

function connect(from, output, to, input) {
  from.connect(from.findOutputSlot(output), to, to.findInputSlot(input));
}

/** The local engine, and the released judge if it is there: the miniature knows only its own shapes. */
function chooseJudge(node) {
  set(node, "engine", "local");
  const names = node.widgets.find(({ name }) => name === "engine.checkpoint")?.options.values ?? [];
  const judge = names.find((name) => OUR_JUDGE.test(name));
  if (judge) set(node, "engine.checkpoint", judge);
}

function set(node, name, value) {
  const widget = node.widgets.find((one) => one.name === name);
  widget.value = value;
  widget.callback?.(value);
}

/** Bring the new nodes into sight. */
function show(nodes) {
  const [left, top] = [0, 1].map((axis) => Math.min(...nodes.map(({ pos }) => pos[axis])));
  const [right, low] = [0, 1].map((axis) => Math.max(...nodes.map(({ pos, size }) => pos[axis] + size[axis])));
  app.canvas.animateToBounds?.([left, top, right - left, low - top]);
}
