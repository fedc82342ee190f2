/** Critiques, rewordings, filmstrips and preferences on the pack's nodes: DOM widgets only, so both renderers show them. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { CardDeck } from "./critique_card.js";
import { element } from "./dom.js";
import { Filmstrip } from "./filmstrip.js";
import { everyNode, nodeOfExecution, nodeOfLocator } from "./graph_nodes.js";
import { PreferencePicker } from "./preference_picker.js";
import { restore } from "./restore.js";
import { RewordingCard } from "./rewording_card.js";
import { loadWords } from "./words.js";

const PREFIX = "RR_";
const LOOP = "RR_LoopUntilScore";
const PICK = "RR_PreferencePick";
const REFINE = "RR_PromptRefine";
const WITH_CARDS = new Set(["RR_RationalCritique", "RR_MultiDimScore"]);
const RESTORED = new Set([...WITH_CARDS, REFINE, LOOP]);
const DECK = { name: "rr_critique_card", height: 280, width: 380 };
const REWORDING = { name: "rr_rewording", height: 170, width: 380 };
const FILM = { name: "rr_filmstrip", height: 280, width: 440 };
const PICKER = { name: "rr_preference", height: 360, width: 460 };

const TEXT_HEIGHT = 90;

/** Node -> {deck, rewording, film, picker}; the views die with their nodes. */
const views = new WeakMap();

function viewOf(node, kind, make, { name, height, width }) {
  const of = views.get(node) ?? {};
  views.set(node, of);
  if (of[kind]) return of[kind];
  of[kind] = make();
  // Neither in the prompt (options.serialize) nor in the workflow file (widget.serialize).
  const widget = node.addDOMWidget(name, "rationalrewards", of[kind].element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => height,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  for (const field of node.widgets) {
    // A taller node gives its room to the card, not to its text fields.
    if (field !== widget && field.element && field.options) field.options.getMaxHeight = () => TEXT_HEIGHT;
  }
  const [least, high] = node.computeSize();
  node.setSize([Math.max(node.size[0], least, width), Math.max(node.size[1], high)]);
  return of[kind];
}

const deckOf = (node) => viewOf(node, "deck", () => new CardDeck(), DECK);
const rewordingOf = (node) => viewOf(node, "rewording", () => new RewordingCard(), REWORDING);
const filmOf = (node) => viewOf(node, "film", () => new Filmstrip(), FILM);
const pickerOf = (node) => viewOf(node, "picker", () => new PreferencePicker(), PICKER);

function give(node, output) {
  if (output?.rr_critique?.length) deckOf(node).show(output.rr_critique);
  if (output?.rr_refine?.length) rewordingOf(node).show(output.rr_refine);
  if (output?.rr_loop?.length) filmOf(node).show(output.rr_loop[0]);
  if (output?.rr_preference?.length) pickerOf(node).put(output.rr_preference[0]);
}

const isOurs = (node) => String(node?.comfyClass ?? "").startsWith(PREFIX);

function onLoopEvent({ detail: state }) {
  const node = nodeOfExecution(state.node);
  if (node && isOurs(node)) filmOf(node).show(state);
}

/** A prompt that was interrupted or failed sends no last state. */
function onCutShort({ detail }) {
  for (const [, node] of everyNode()) {
    const film = views.get(node)?.film;
    if (film?.state?.prompt_id === detail?.prompt_id) film?.interrupted();
  }
}

app.registerExtension({
  name: "rationalrewards",

  async init() {
    document.head.append(element("link", { rel: "stylesheet", href: new URL("rationalrewards.css", import.meta.url).href }));
    await loadWords();
  },

  setup() {
    api.addEventListener("rationalrewards.loop", onLoopEvent);
    api.addEventListener("execution_interrupted", onCutShort);
    api.addEventListener("execution_error", onCutShort);
  },

  nodeCreated(node) {
    if (!isOurs(node)) return;
    if (WITH_CARDS.has(node.comfyClass)) deckOf(node);
    if (node.comfyClass === REFINE) rewordingOf(node);
    if (node.comfyClass === LOOP) filmOf(node);
    if (node.comfyClass === PICK) pickerOf(node);
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.call(this, output);
      give(this, output);
    };
  },

  /** Outputs that the page itself kept: another tab, undo, a run opened from the queue. */
  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      const node = nodeOfLocator(locator);
      if (node && isOurs(node)) give(node, output);
    }
  },

  async afterConfigureGraph() {
    const empty = (node) => RESTORED.has(node.comfyClass);
    for (const [, node] of everyNode()) {
      const dataset = node.comfyClass === PICK && node.widgets?.find(({ name }) => name === "dataset")?.value;
      if (dataset) pickerOf(node).open(dataset);
    }
    await restore(empty, give);
  },
});
