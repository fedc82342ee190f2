// Makes one workflow in the page and gives back both of its forms: {ui, api}.
// With `inside`, the nodes of these names become a subgraph, and it alone stays: a blueprint.
// Everything that the running ComfyUI does not know is an error.
async ({ id, name: title, nodes, groups, app: shown, inside }) => {
  await app.loadGraphData({ id, revision: 0, last_node_id: 0, last_link_id: 0, nodes: [], links: [], groups: [], config: {}, extra: {}, version: 0.4 });
  const made = {};

  for (const [name, { type, at, size, title, widgets, collapsed, models }] of Object.entries(nodes)) {
    const node = LiteGraph.createNode(type);
    if (!node) throw new Error(`there is no node ${type}`);
    app.graph.add(node);
    for (const [key, value] of Object.entries(widgets)) {
      const widget = node.widgets.find((one) => one.name === key || key === "");
      if (!widget) throw new Error(`${type} has no widget ${key}: ${node.widgets.map((one) => one.name)}`);
      widget.value = value;
      widget.callback?.(value);
    }
    if (title) node.title = title;
    node.pos = at;
    node.setSize(size);
    if (collapsed) node.flags.collapsed = true;
    if (models?.length) node.properties.models = models;
    made[name] = node;
  }

  for (const [name, { wires }] of Object.entries(nodes)) {
    for (const [key, wire] of Object.entries(wires)) {
      const [source, output] = wire.split(".");
      const from = made[source].findOutputSlot(output);
      const to = made[name].findInputSlot(key);
      if (from < 0) throw new Error(`${wire}: ${made[source].outputs.map((one) => one.name)}`);
      if (to < 0) throw new Error(`${name} has no input ${key}: ${made[name].inputs.map((one) => one.name)}`);
      if (!made[source].connect(from, made[name], to)) throw new Error(`${wire} does not fit ${name}.${key}`);
    }
  }

  for (const { title, around, color } of groups) {
    const group = new LiteGraph.LGraphGroup(title);
    group.color = color;
    const boxes = around.map((name) => [...made[name].pos, ...made[name].size]);
    const [left, top] = [Math.min(...boxes.map((box) => box[0])) - 20, Math.min(...boxes.map((box) => box[1])) - 80];
    group.pos = [left, top];
    group.size = [Math.max(...boxes.map((box) => box[0] + box[2])) + 20 - left, Math.max(...boxes.map((box) => box[1] + box[3])) + 20 - top];
    app.graph.add(group);
  }

  if (shown) {
    const widgets = shown.inputs.map((name) => name.split(/\.(.*)/)).map(([name, widget]) => [Number(made[name].id), widget]);
    app.graph.extra.linearData = { inputs: widgets, outputs: shown.outputs.map((name) => String(made[name].id)) };
  }

  if (inside?.length) {
    const { subgraph, node } = app.graph.convertToSubgraph(new Set(inside.map((name) => made[name])));
    subgraph.name = title;
    node.title = title;
    for (const other of app.graph.nodes.filter((one) => one !== node)) app.graph.remove(other);
    node.pos = [0, 0];
  }
  const { output } = await app.graphToPrompt();
  // As the frontend writes a file: without the keys that have no value, which older frontends refuse.
  return JSON.parse(JSON.stringify({ ui: app.graph.serialize(), api: output }));
};
