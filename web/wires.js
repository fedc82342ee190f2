/** Colours of the pack's own wires: a graph is read by them. Nodes 2.0 takes them from the style sheet. */

import { app } from "../../scripts/app.js";

const COLOURS = {
  RR_SCORER: "#e0a43a", // who judges
  RR_CRITIQUE: "#b07cf0", // what was said
  RR_RUBRIC: "#5bb8a6", // by what it is judged
  RR_FLOW: "#f06292", // the loop's own way
};

export function colourWires() {
  for (const table of [app.canvas.constructor.link_type_colors, app.canvas.default_connection_color_byType]) {
    for (const [type, colour] of Object.entries(COLOURS)) keep(table, type, colour);
  }
}

/** A palette empties the colour of every type that it does not know; one that knows ours has its way. */
function keep(table, type, colour) {
  let current = table[type] || colour;
  Object.defineProperty(table, type, {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (wished) => {
      current = wished || colour;
    },
  });
}
