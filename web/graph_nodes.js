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
