#!/bin/sh
# @comfyorg/litegraph 0.17.2 (ComfyUI's frontend): a widget that is not saved gives its neighbours' values to the wrong widgets.
#
# `widget.serialize = false` keeps a button or a preview out of the workflow file. Saving leaves its place empty and puts the
# next value where the widget stands; loading leaves the widget out of its count. So a file that was just written is read one
# place off: of three widgets with the second unsaved, the third comes back as null, and with a fourth behind it as its
# neighbour's. `clone()`, and copying with it, goes the same way. Behind the last widget it does no harm, where most
# extensions put theirs. The frontend 1.49.6, that of ComfyUI 0.33, has both halves in it; 1.58.1 writes without gaps.
#
# Seen with Node 20.20.2:
#     saved: [10,null,30,40]
#     loaded: a 10, preview null, steps null, size 30
#     cloned: a 10, preview null, steps null, size 30
#
# Fails (1) if steps comes back as 30. Needs node, npm and npm's package index; takes a few seconds.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --prefix "$folder" @comfyorg/litegraph@0.17.2 > /dev/null

cat > program.mjs <<'JAVASCRIPT'
import { LGraph, LGraphNode, LiteGraph } from "@comfyorg/litegraph";

class Sampler extends LGraphNode {
  constructor() {
    super("Sampler");
    this.serialize_widgets = true;
    this.addWidget("number", "a", 1, () => {});
    this.addWidget("button", "preview", null, () => {}).serialize = false;
    this.addWidget("number", "steps", 2, () => {});
    this.addWidget("number", "size", 3, () => {});
  }
}
LiteGraph.registerNodeType("test/sampler", Sampler);

const say = (name, node) => console.log(`${name}: ${node.widgets.map((widget) => `${widget.name} ${widget.value}`).join(", ")}`);
const graph = new LGraph();
const node = LiteGraph.createNode("test/sampler");
graph.add(node);
[10, null, 30, 40].forEach((value, place) => (node.widgets[place].value = value));
const saved = JSON.parse(JSON.stringify(node.serialize()));
console.log(`saved: ${JSON.stringify(saved.widgets_values)}`);
const loaded = LiteGraph.createNode("test/sampler");
loaded.configure(saved);
say("loaded", loaded);
say("cloned", node.clone());
process.exit(loaded.widgets[2].value === 30 ? 1 : 0);
JAVASCRIPT

node program.mjs
