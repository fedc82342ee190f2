/** After a page reload: the last critiques, rewordings and loops of this workflow, asked from the server. */

import { api } from "../../scripts/api.js";
import { everyNode, rootGraph } from "./graph_nodes.js";

const RUNS = 8; // of the history: each carries its whole workflow

/**
 * Give every waiting node what the server last knew of it.
 * @param {(node: object) => boolean} wants whether a node shows outputs of this pack
 * @param {(node: object, output: object) => void} give takes `{rr_critique}`, `{rr_refine}` or `{rr_loop}`
 */
export async function restore(wants, give) {
  const waiting = [...everyNode()].filter(([, node]) => wants(node));
  const workflow = rootGraph()?.id;
  if (!waiting.length || !workflow) return;
  const [history, queue] = await Promise.all([json(`/history?max_items=${RUNS}`), json("/queue")]);
  const finished = Object.values(history ?? {}).filter(({ prompt }) => workflowOf(prompt) === workflow);
  const running = (queue?.queue_running ?? []).filter((prompt) => workflowOf(prompt) === workflow);
  const prompts = new Set([...finished.map(({ prompt }) => prompt), ...running].map(([, id]) => id));
  for (const run of finished) {
    const outputs = shown(run);
    for (const [id, node] of waiting) if (outputs.has(id)) give(node, outputs.get(id));
  }
  for (const [id, node] of waiting) {
    if (node.comfyClass !== "RR_LoopUntilScore") continue;
    const state = await json(`/rationalrewards/loop/${encodeURIComponent(id)}`);
    if (state && prompts.has(state.prompt_id)) give(node, { rr_loop: [settled(state, running)] });
  }
}

/** A queue entry is [number, prompt id, prompt, extra, ...]; its workflow's id tells one graph from another. */
function workflowOf(prompt) {
  return prompt?.[3]?.extra_pnginfo?.workflow?.id;
}

/** Outputs by visible node; of the copies that a loop made, the last one stands. */
function shown({ outputs = {}, meta = {} }) {
  const entries = Object.entries(outputs).map(([id, output]) => [String(meta[id]?.display_node ?? id), output]);
  return new Map(entries.filter(([, output]) => output.rr_critique || output.rr_refine || output.rr_loop));
}

/** A state that says "running" of a prompt that is over was cut short. */
function settled(state, running) {
  if (!state.running || running.some(([, id]) => id === state.prompt_id)) return state;
  return { ...state, running: false, stopped: "interrupted" };
}

async function json(path) {
  const response = await api.fetchApi(path);
  return response.ok ? response.json() : null;
}
