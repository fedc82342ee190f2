/** Finding nodes by the ids that the server and the page use for them, subgraphs included. */

import { app } from "../../scripts/app.js";

/** The outermost graph: `app.graph` may be the subgraph that is open. */
export function rootGraph() {
  return app.rootGraph ?? app.graph?.rootGraph ?? app.graph;
}

/** The node of an execution id: "7", or "12:7" for node 7 inside subgraph node 12. */
export function nodeOfExecution(id) {
  let graph = rootGraph();
  let node = null;
  for (const step of String(id).split(":")) {
    node = find(graph, step);
    graph = node?.subgraph;
  }
  return node;
}

/** The link that ends at an input. The method of all nodes: a subgraph node's own answers for one of its outputs. */
export const linkInto = (node, slot) => LiteGraph.LGraphNode.prototype.getInputLink.call(node, slot) ?? null;

/** The node that an input is wired to; null where none is, and at the edge of a subgraph. */
export function sourceOf(node, slot) {
  const link = linkInto(node, slot);
  return (link && node.graph.getNodeById(link.origin_id)) ?? null;
}

/** Whether a node exists in the page alone, and gives a widget its value. */
export const isPrimitive = (node) => Boolean(node && (node.isVirtualNode || node.type === "PrimitiveNode"));

/** The subgraph nodes that a node is inside of, the outermost first. */
export function hostsOf(id) {
  const steps = String(id).split(":");
  return steps.slice(1).flatMap((_, depth) => nodeOfExecution(steps.slice(0, depth + 1).join(":")) ?? []);
}

/** The node of a key of the page's stored outputs: "7", or "<uuid of the subgraph>:7". */
export function nodeOfLocator(locator) {
  const [subgraph, id] = String(locator).split(":");
  if (id === undefined) return find(rootGraph(), subgraph);
  return find(rootGraph()?.subgraphs?.get(subgraph), id);
}

function find(graph, id) {
  return graph?.getNodeById?.(id) ?? graph?.getNodeById?.(Number(id)) ?? null;
}

/** Every node with its execution id, subgraphs entered; each subgraph on the way once per path. */
export function* everyNode(graph = rootGraph(), path = "") {
  for (const node of graph?.nodes ?? []) {
    const id = `${path}${node.id}`;
    yield [id, node];
    if (node.subgraph) yield* everyNode(node.subgraph, `${id}:`);
  }
}
