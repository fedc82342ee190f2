/** After a page reload: the last critiques and rewordings of this workflow, asked from the server's history. */

import { api } from "../../scripts/api.js";
import { everyNode, rootGraph } from "./graph_nodes.js";

const KINDS = ["rr_critique", "rr_refine", "rr_loop", "rr_loop_run"];
const RUNS = 8; // of the history: each carries its whole workflow

/**
 * Give every waiting node what it last put out.
 * @param {(node: object) => boolean} wants whether a node shows outputs of this pack and has none yet
 * @param {(node: object, output: object) => void} give takes `{rr_critique}`, `{rr_refine}`, `{rr_loop}` or `{rr_loop_run}`
 */
export async function restore(wants, give) {
  const workflow = rootGraph()?.id;
  if (!workflow || ![...everyNode()].some(([, node]) => wants(node))) return;
  const response = await api.fetchApi(`/history?max_items=${RUNS}`);
  const history = response.ok ? await response.json() : {};
  if (rootGraph()?.id !== workflow) return; // another one was opened meanwhile
  const runs = Object.values(history).filter(({ prompt }) => workflowOf(prompt) === workflow);
  const last = new Map(runs.flatMap((run) => [...shown(run)])); // of several runs, the newest
  for (const [id, node] of everyNode()) if (wants(node) && last.has(id)) give(node, last.get(id));
}

/** A queue entry is [number, prompt id, prompt, extra, ...]; its workflow's id tells one graph from another. */
function workflowOf(prompt) {
  return prompt?.[3]?.extra_pnginfo?.workflow?.id;
}

/** Outputs by visible node; of the copies that a loop made, the last one stands. */
function shown({ outputs = {}, meta = {} }) {
  const entries = Object.entries(outputs).map(([id, output]) => [String(meta[id]?.display_node ?? id), output]);
  return new Map(entries.filter(([, output]) => KINDS.some((kind) => output[kind])));
}
