/** Where a loop would go around an ordinary graph: what makes the image, which text it is made from, and its seeds. */

import { isPrimitive, linkInto, sourceOf } from "./graph_nodes.js";

const SEEDS = new Set(["seed", "noise_seed"]);
const TEXT_TYPES = new Set(["customtext", "textarea", "text", "string"]);
const LABEL = /\bNegative prompts?\s?[:：]/i;
const LOOP = new Set(["RR_LoopStart", "RR_LoopUntilScore"]);

/**
 * @typedef {object} LoopPlan
 * @property {{node: object, slot: number}} image the output that is judged
 * @property {{node: object, slot: number}[]} texts inputs that take the prompt
 * @property {{node: object, slot: number}[]} negatives inputs that take the negative prompt; none where it stays as it is
 * @property {{node: object, slot: number}[]} seeds inputs that take the seed
 * @property {string} prompt
 * @property {string} negative
 * @property {number|null} seed
 * @param {object} node a sampler, a decoder, or a node that makes images from a prompt by itself
 * @returns {LoopPlan|null} null where there is no image, prompt or seed, or where a loop is already
 */
export function planLoop(node) {
  const image = imageOf(node);
  if (!image) return null;
  const makers = upstream(image.node);
  if (makers.some(({ comfyClass }) => LOOP.has(comfyClass))) return null;
  const seeds = makers.flatMap((maker) => widgetInputs(maker, ({ name }) => SEEDS.has(name)));
  const texts = textsOf(makers);
  if (!seeds.length || !texts.length) return null;
  const seed = seeds.map(({ widget }) => Number(widget.value)).find((value) => Number.isSafeInteger(value) && value > 0);
  const negatives = negativesOf(makers, texts);
  return { image, texts, negatives, seeds, prompt: typed(texts), negative: typed(negatives), seed: seed ?? null };
}

/** The image that comes of a node: its own, or that of the first node which its latent reaches. */
function imageOf(node, seen = new Set()) {
  if (!node || seen.has(node)) return null;
  seen.add(node);
  const slot = node.outputs?.findIndex(({ type }) => type === "IMAGE") ?? -1;
  if (slot >= 0) return { node, slot };
  for (const [place, output] of (node.outputs ?? []).entries()) {
    if (output.type !== "LATENT") continue;
    for (const target of node.getOutputNodes(place) ?? []) {
      const image = imageOf(target, seen);
      if (image) return image;
    }
  }
  return null;
}

/** A node and everything that it is made from, nearest first. */
function upstream(node) {
  const found = [node];
  for (const one of found) {
    for (const place of (one.inputs ?? []).keys()) {
      const source = sourceOf(one, place);
      if (source && !found.includes(source)) found.push(source);
    }
  }
  return found;
}

/** Inputs that carry the positive prompt: of an encoder on the way to a sampler, or of a node that takes text itself. */
function textsOf(makers) {
  const own = makers[0].inputs?.some(({ type }) => type === "LATENT") ? [] : textInputs(makers[0]);
  if (own.length) return own;
  return makers.flatMap((maker) => conditions(maker).flatMap((place) => encoders(sourceOf(maker, place)))).filter(firstOfItsKind());
}

/**
 * Inputs that carry the negative prompt. One text takes it along with the prompt, so both must be typed, not wired; and a
 * sampler without guidance does not heed it.
 */
function negativesOf(makers, texts) {
  if (texts.some(comesFromANode) || LABEL.test(typed(texts))) return [];
  const heeding = makers.filter(({ widgets }) => widgets?.find(({ name }) => name === "cfg")?.value !== 1);
  const inputs = heeding.flatMap((maker) => conditions(maker, true).flatMap((place) => encoders(sourceOf(maker, place), true)));
  const isPrompt = (input) => texts.some(({ node, slot }) => node === input.node && slot === input.slot);
  return inputs.filter(firstOfItsKind()).filter((input) => !comesFromANode(input) && !isPrompt(input));
}

/** What the first of some texts says: a primitive gives a widget its value in the page. */
function typed([text]) {
  const source = text && sourceOf(text.node, text.slot);
  return String((isPrimitive(source) ? source.widgets?.[0]?.value : text?.widget.value) ?? "");
}

/** Whether a text is made while the graph runs. */
const comesFromANode = ({ node, slot }) => Boolean(linkInto(node, slot)) && !isPrimitive(sourceOf(node, slot));

/** Places at which a sampler or a guider takes what is wanted, or what is unwanted. */
function conditions(node, negative = false) {
  const takesLatent = (node.inputs ?? []).some(({ type }) => type === "LATENT" || type === "GUIDER");
  const guides = (node.outputs ?? []).some(({ type }) => type === "GUIDER");
  return takesLatent || guides ? conditioning(node, negative) : [];
}

/** The text inputs of the first nodes upstream that have any. */
function encoders(node, negative = false) {
  if (!node) return [];
  const own = textInputs(node);
  if (own.length) return own;
  const places = conditioning(node, negative);
  return (places.length ? places : conditioning(node)).flatMap((place) => encoders(sourceOf(node, place), negative));
}

/** Conditioning inputs of one kind: a node that has both, such as ControlNetApplyAdvanced, hands each on apart. */
function conditioning(node, negative = false) {
  return (node.inputs ?? []).flatMap(({ name, type }, place) => (type === "CONDITIONING" && /neg/i.test(name) === negative ? [place] : []));
}

const textInputs = (node) => widgetInputs(node, ({ type, element, options }) => TEXT_TYPES.has(type) && Boolean(element || options?.multiline || type !== "string"));

/** Inputs of a node whose widgets fit, with their widgets. */
function widgetInputs(node, fits) {
  return (node.inputs ?? []).flatMap((input, slot) => {
    const widget = input.widget && node.widgets?.find(({ name }) => name === input.widget.name);
    return widget && fits(widget) ? [{ node, slot, widget }] : [];
  });
}

function firstOfItsKind() {
  const seen = new Set();
  return ({ node, slot }) => {
    const key = `${node.id}.${slot}`;
    return !seen.has(key) && Boolean(seen.add(key));
  };
}
