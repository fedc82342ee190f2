#!/bin/sh
# @comfyorg/litegraph 0.17.2 (ComfyUI's frontend): a subgraph node asked for the link of its input gives one of its output.
#
# `getInputLink(0)` of a node is the link that ends at its first input. A subgraph is a node too, of a class derived from that one.
# Wired from the same place, it answers with a link that starts at a node inside the subgraph and ends at the subgraph's own
# edge, made for the call: it looks under the same number among the outputs. With fewer outputs than inputs it ends in a
# TypeError. Code of an extension that follows links upstream goes wrong at the first subgraph: the origin is "50:1", which
# no graph has. `getInputNode(0)` and `inputs[0].link` of the same node are right. The frontend 1.58.1 has this code in it.
#
# Seen with Node 20.20.2, node 51 wired to the ordinary node 52 and to the subgraph node 50:
#     ordinary node: link from 51 to 52, node 51
#     subgraph node: link from 50:1 to -20, node 51
#
# Fails (1) if the subgraph node's link comes from 51. Needs node, npm and npm's package index; takes a few seconds.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" @comfyorg/litegraph@0.17.2 > /dev/null

cat > program.mjs <<'JAVASCRIPT'
import { LGraph, LGraphNode, LiteGraph, SubgraphNode } from "@comfyorg/litegraph";

class Box extends LGraphNode {
  constructor() {
    super("Box");
    this.addInput("in", "number");
    this.addOutput("out", "number");
  }
}
LiteGraph.registerNodeType("test/box", Box);

function subgraphNode(root) {
  const state = { lastGroupId: 0, lastNodeId: 0, lastLinkId: 0, lastRerouteId: 0 };
  const lists = { nodes: [], links: [], groups: [], inputs: [], outputs: [], widgets: [] };
  const edges = { inputNode: { id: -10, bounding: [0, 0, 9, 9] }, outputNode: { id: -20, bounding: [0, 0, 9, 9] } };
  const subgraph = root.createSubgraph({ id: "inside", name: "inside", version: 1, revision: 0, state, ...lists, ...edges });
  const inner = LiteGraph.createNode("test/box");
  subgraph.add(inner);
  subgraph.addInput("in", "number").connect(inner.inputs[0], inner);
  subgraph.addOutput("out", "number").connect(inner.outputs[0], inner);
  const instance = { id: 50, type: subgraph.id, pos: [0, 0], size: [9, 9], inputs: [], outputs: [], flags: {}, order: 0, mode: 0 };
  return new SubgraphNode(root, subgraph, instance);
}

const root = new LGraph();
const nested = subgraphNode(root);
root.add(nested);
const [first, ordinary] = [LiteGraph.createNode("test/box"), LiteGraph.createNode("test/box")];
root.add(first);
root.add(ordinary);
const origins = [ordinary, nested].map((node) => {
  first.connect(0, node, 0);
  const link = node.getInputLink(0);
  const kind = node === nested ? "subgraph" : "ordinary";
  console.log(`${kind} node: link from ${link.origin_id} to ${link.target_id}, node ${node.getInputNode(0).id}`);
  return link.origin_id;
});
process.exit(origins[0] === first.id && origins[1] !== first.id ? 0 : 1);
JAVASCRIPT

node program.mjs
