/** Changes of the graph that the page takes back in one step. */

import { app } from "../../scripts/app.js";

/** Make several changes one step of undo; `change` gives what comes of them. */
export function asOneStep(change) {
  app.canvas.emitBeforeChange();
  try {
    return change();
  } finally {
    app.canvas.emitAfterChange();
    app.canvas.setDirty(true, true);
  }
}
