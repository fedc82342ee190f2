/**
 * Which run a film shows. The same node ids exist in other workflows, tabs and browsers, so a run is known by its prompt
 * and a prompt by its workflow; the server is asked once per prompt.
 */

import { api } from "../../scripts/api.js";
import { hostsOf, nodeOfExecution, rootGraph } from "./graph_nodes.js";

const LOOPS = "/rationalrewards/loops";
const KEPT = 200; // prompts whose workflow is remembered
const PAUSE = 2000; // ms between two questions about a run that another page queued

/** Prompt id -> promise of {workflow, loops}. */
const prompts = new Map();

async function ask(query) {
  const response = await api.fetchApi(`${LOOPS}?${new URLSearchParams(query)}`);
  return response.ok ? response.json() : { workflow: null, loops: [] };
}

function prompt(id) {
  if (!prompts.has(id)) {
    prompts.set(id, ask({ prompt_id: id }));
    if (prompts.size > KEPT) prompts.delete(prompts.keys().next().value);
  }
  return prompts.get(id);
}

const isOpen = (workflow) => !workflow || workflow === rootGraph()?.id;

/** Whether a prompt was queued from the workflow that is open; a prompt without a workflow is taken as one that was. */
export async function isOfOpenWorkflow(promptId) {
  return isOpen((await prompt(promptId)).workflow);
}

/** The films of a page: finds those that a state belongs to, and gives its cards to the nodes that show them, too. */
export class Loops {
  /**
   * @param {(node: object, hosts: object[]) => object[]} filmsOf the filmstrips of a Loop Until Score: its own, and that of
   *   each subgraph node around it; none for another node
   * @param {(node: object, state: object, live: boolean) => void} tell shows a loop's state on a node of its body; live:
   *   what the node itself put out has just come
   */
  constructor(filmsOf, tell) {
    this.filmsOf = filmsOf;
    this.tell = tell;
    this.ofBody = new WeakMap(); // node of a body -> film of its loop
    this.own = new Set(); // prompts whose events come to this page
    this.next = null; // timer of the next question
  }

  /** What happens on the way: one new iteration. */
  async take(event) {
    this.own.add(event.prompt_id);
    if (!isOpen(event.workflow)) return;
    const films = this.films(event);
    if (films.every((film) => film.take(event))) this.after(films, true);
    else (await ask({ prompt_id: event.prompt_id })).loops.forEach((state) => this.show(state));
  }

  /** A prompt begins: its loops are there before their first image. `cached` are nodes that will not run. */
  async begin(promptId, cached) {
    this.own.add(promptId);
    const { workflow, loops } = await prompt(promptId);
    if (!isOpen(workflow)) return;
    for (const state of loops) if (!cached.includes(state.node)) this.show(state);
  }

  /**
   * A cache answered for a whole loop: this is the run it remembers. Of an output that the page kept the server may know
   * better: a later run has begun, or ended while another workflow was open.
   */
  async recall(run, kept) {
    if (this.films(run).every(({ state }) => state?.prompt_id === run.prompt_id)) return;
    const open = rootGraph()?.id;
    const { loops } = await ask({ prompt_id: run.prompt_id });
    if (rootGraph()?.id !== open) return; // the run may be another workflow's, so nothing else tells
    if (kept && this.films(run).some(({ state }) => state)) return;
    for (const state of loops) if (state.node === run.node) this.show({ ...state, workflow: null });
  }

  /** The loops of the workflow that was opened, as the server knows them. */
  async restore() {
    const workflow = rootGraph()?.id;
    if (workflow) (await ask({ workflow })).loops.forEach((state) => this.show(state));
  }

  /** Another page may have queued a run of this workflow: the server tells every page that its queue has changed. */
  async look() {
    const workflow = rootGraph()?.id;
    const { loops } = workflow ? await ask({ workflow }) : { loops: [] };
    for (const state of loops) if (state.running && !this.own.has(state.prompt_id)) this.show(state);
  }

  show(state) {
    if (!isOpen(state.workflow)) return;
    const films = this.films(state);
    for (const film of films) film.show(state);
    this.after(films, false);
    if (state.running && films.length) this.follow(state);
  }

  /** Events go to the page that queued the run; any other page asks, until the run has ended or another workflow is open. */
  follow(state) {
    clearTimeout(this.next);
    const isOver = () => this.own.has(state.prompt_id) || !isOpen(state.workflow);
    this.next = setTimeout(async () => {
      if (isOver()) return;
      const { loops } = await ask({ prompt_id: state.prompt_id }).catch(() => ({ loops: [state] })); // it comes back
      if (isOver()) return; // its own events are newer
      loops.filter((later) => this.isNews(later)).forEach((later) => this.show(later));
      if (loops.some(({ running }) => running)) this.follow(state);
    }, PAUSE);
  }

  isNews(state) {
    return this.films(state).some((film) => JSON.stringify(film.state) !== JSON.stringify(state));
  }

  films({ node: id }) {
    const node = nodeOfExecution(id);
    return node ? this.filmsOf(node, hostsOf(id)) : [];
  }

  after([film], live) {
    for (const node of film ? bodyOf(film.state) : []) {
      this.ofBody.set(node, film);
      this.tell(node, film.state, live);
    }
  }

  /** Whether a loop tells what a node of its body shows: what was kept of the node may be of another iteration or run. */
  tells(node) {
    const state = this.ofBody.get(node)?.state;
    return Boolean(state && bodyOf(state).includes(node));
  }

  /**
   * Whether a node's own output is older than what the loop shows on it: a cache sends that of the first iteration after
   * the loop has ended.
   */
  speaksFor(node) {
    if (!this.tells(node)) return false;
    const { running, iterations } = this.ofBody.get(node).state;
    return !running && iterations.length > 0;
  }
}

function bodyOf({ critique, refine }) {
  return [critique, refine].filter(Boolean).map(nodeOfExecution).filter(Boolean);
}
