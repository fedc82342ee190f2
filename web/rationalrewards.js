/** Critiques, rewordings, filmstrips and preferences on the pack's nodes: DOM widgets only, so both renderers show them. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { passThrough } from "./canvas.js";
import { CheckCard } from "./check_card.js";
import { tellUser } from "./client_user.js";
import { CardDeck } from "./critique_card.js";
import { element } from "./dom.js";
import { Filmstrip } from "./filmstrip.js";
import { everyNode, nodeOfExecution, nodeOfLocator, rootGraph } from "./graph_nodes.js";
import { showNotice, watchJudge } from "./judge_notice.js";
import { loopMenu } from "./loop_builder.js";
import { isOfOpenWorkflow, Loops } from "./loops.js";
import { PreferencePicker } from "./preference_picker.js";
import { readableReports } from "./reports.js";
import { restore } from "./restore.js";
import { RewordingCard } from "./rewording_card.js";
import { colourWires } from "./wires.js";
import { loadWords, say } from "./words.js";

const NAME = "rationalrewards";
const PREFIX = "RR_";
const LOOP = "RR_LoopUntilScore";
const PICK = "RR_PreferencePick";
const REFINE = "RR_PromptRefine";
const WITH_CARDS = new Set(["RR_RationalCritique", "RR_MultiDimScore"]);
const RESTORED = new Set([...WITH_CARDS, REFINE, LOOP]);
/** Names are kept in workflows that show a view in app mode; there its label (a key of the page's words) stands above it. */
const DECK = { name: "rr_critique_card", label: "critique", height: 280, width: 380 };
const REWORDING = { name: "rr_rewording", label: "rewording", height: 170, width: 380 };
const CHECK = { name: "rr_check", label: "checkUp", height: 320, width: 0 }; // it comes later: a wider node would lie on its neighbour
const FILM = { name: "rr_filmstrip", label: "iterations", height: 380, width: 460 };
const PICKER = { name: "rr_preference", label: "preference", height: 360, width: 460 };

const TEXT_HEIGHT = 90;
const LOOK_AFTER = 1000; // ms

/** Node -> {deck, rewording, check, film, picker}; the views die with their nodes. */
const views = new WeakMap();

function viewOf(node, kind, make, { name, label, height, width }) {
  const of = views.get(node) ?? {};
  views.set(node, of);
  if (of[kind]) return of[kind];
  of[kind] = make();
  // Neither in the prompt (options.serialize) nor in the workflow file (widget.serialize).
  const widget = node.addDOMWidget(name, "rationalrewards", of[kind].element, {
    serialize: false,
    hideInPanel: true, // the side panel could only show its name
    hideOnZoom: false,
    getMinHeight: () => height,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  widget.label = say(label);
  passThrough(of[kind].element);
  for (const field of node.widgets) {
    // A taller node gives its room to the card, not to its text fields.
    if (field !== widget && field.element && field.options) field.options.getMaxHeight = () => TEXT_HEIGHT;
  }
  grow(node, width);
  return of[kind];
}

/** To the size that everything on a node needs. */
function grow(node, width) {
  const [least, high] = node.computeSize();
  node.setSize([Math.max(node.size[0], least, width), Math.max(node.size[1], high)]);
}

const deckOf = (node) => viewOf(node, "deck", () => new CardDeck(), DECK);
const rewordingOf = (node) => viewOf(node, "rewording", () => new RewordingCard(), REWORDING);
const checkOf = (node) => viewOf(node, "check", () => new CheckCard(), CHECK);
const filmOf = (node, end = node) => viewOf(node, "film", () => new Filmstrip(end), FILM);
const pickerOf = (node) => viewOf(node, "picker", () => new PreferencePicker(), PICKER);

/** What a loop knows better than a node of its body: the cards of all iterations. */
function giveLoop(node, state, live) {
  if (WITH_CARDS.has(node.comfyClass)) deckOf(node).showLoop(state);
  if (node.comfyClass === REFINE) rewordingOf(node).showLoop(state, live);
}

/** A loop inside a subgraph is seen, and stopped, on the subgraph's own node as well. */
const filmsOf = (end, hosts) => (end.comfyClass === LOOP ? [filmOf(end), ...hosts.map((host) => filmOf(host, end))] : []);

/** Of a subgraph node with a loop in it: the film, before there is a run to be shown. */
function hostFilm(node) {
  if (!node.graph) return;
  const [, end] = [...everyNode(node.subgraph)].find(([, { comfyClass }]) => comfyClass === LOOP) ?? [];
  if (!end) return;
  filmOf(node, end);
  grow(node, FILM.width); // a saved size may be of a time without a film
}

const loops = new Loops(filmsOf, giveLoop);

function give(node, output, kept = false) {
  if (output?.rr_loop_run?.length) loops.recall(output.rr_loop_run[0], kept);
  if (output?.rr_loop?.length && !(kept && views.get(node)?.film?.state)) loops.show(output.rr_loop[0]);
  if (output?.rr_check?.length) checkOf(node).show(output.rr_check);
  if (output?.rr_preference?.length) pickerOf(node).put(output.rr_preference[0]);
  if (kept ? loops.tells(node) : loops.speaksFor(node)) return;
  if (output?.rr_critique?.length) deckOf(node).show(output.rr_critique);
  if (output?.rr_refine?.length) rewordingOf(node).show(output.rr_refine);
}

const isOurs = (node) => String(node?.comfyClass ?? "").startsWith(PREFIX);

/** A node has run. Other workflows have nodes of the same id, so the prompt decides whose output it is. */
async function onExecuted({ detail }) {
  const shown = detail.display_node ?? detail.node;
  if (!isOurs(nodeOfExecution(shown)) || !(await isOfOpenWorkflow(detail.prompt_id))) return;
  const node = nodeOfExecution(shown); // another workflow may have been opened meanwhile
  if (isOurs(node)) give(node, detail.output);
}

let waiting = null;

/** Not at once: of a run of this page events come first. */
function onStatus({ detail }) {
  const count = detail?.exec_info?.queue_remaining;
  if (count === waiting) return;
  waiting = count;
  if (count) setTimeout(() => loops.look().catch(() => {}), LOOK_AFTER);
}

/** A prompt that was interrupted or failed sends no last state; one whose loop did not run at all neither. */
function onEnd({ detail }) {
  for (const [, node] of everyNode()) {
    const film = views.get(node)?.film;
    if (film?.state?.prompt_id === detail?.prompt_id) film?.interrupted();
  }
}

const extension = {
  name: NAME,

  async init() {
    document.head.append(element("link", { rel: "stylesheet", href: new URL("rationalrewards.css", import.meta.url).href }));
    await loadWords();
  },

  setup() {
    tellUser();
    colourWires();
    api.addEventListener("rationalrewards.loop", ({ detail }) => loops.take(detail));
    api.addEventListener("execution_cached", ({ detail }) => loops.begin(detail.prompt_id, detail.nodes ?? []));
    api.addEventListener("executed", onExecuted);
    api.addEventListener("status", onStatus);
    api.addEventListener("rationalrewards.check", onExecuted); // line by line, while the node runs
    for (const end of ["execution_success", "execution_interrupted", "execution_error"]) api.addEventListener(end, onEnd);
  },

  nodeCreated(node) {
    if (node.subgraph) queueMicrotask(() => hostFilm(node)); // by then it is in its graph
    if (!isOurs(node)) return;
    if (WITH_CARDS.has(node.comfyClass)) deckOf(node);
    if (node.comfyClass === REFINE) rewordingOf(node);
    if (node.comfyClass === LOOP) filmOf(node);
    if (node.comfyClass === PICK) pickerOf(node);
    watchJudge(node);
  },

  getNodeMenuItems: loopMenu,

  /** Outputs that the page itself kept: another tab, undo, a run opened from the queue. It keeps other workflows' as well. */
  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      const node = nodeOfLocator(locator);
      if (node && isOurs(node) && output?.rr_workflow?.[0] === rootGraph()?.id) give(node, output, true);
    }
  },

  async afterConfigureGraph() {
    readableReports();
    for (const [, node] of everyNode()) {
      showNotice(node);
      if (node.subgraph) hostFilm(node);
    }
    for (const [, node] of everyNode()) {
      const dataset = node.comfyClass === PICK && node.widgets?.find(({ name }) => name === "dataset")?.value;
      if (dataset) pickerOf(node).open(dataset);
    }
    await loops.restore();
    await restore((node) => RESTORED.has(node.comfyClass) && !loops.tells(node) && !views.get(node)?.film?.state, give);
  },
};

// Two copies of the pack serve two copies of this file; the server uses the nodes of one of them.
if (!app.extensions?.some(({ name }) => name === NAME)) app.registerExtension(extension);
