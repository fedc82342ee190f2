/** Reports are Markdown: the core's Preview as Text shows them so, which it does not remember in a workflow's file. */

import { everyNode } from "./graph_nodes.js";

const PREVIEW = "PreviewAny";
const MODE = "preview_mode";
const REPORTS = new Set(["report", "text"]);

export function readableReports() {
  for (const [, node] of everyNode()) {
    if (node.comfyClass !== PREVIEW) continue;
    const link = node.getInputLink?.(0);
    const source = link && node.graph.getNodeById(link.origin_id);
    const ours = String(source?.comfyClass ?? "").startsWith("RR_") && REPORTS.has(source.outputs[link.origin_slot]?.name);
    const mode = ours && node.widgets?.find(({ name }) => name === MODE);
    if (!mode || mode.value) continue;
    mode.value = true;
    mode.callback?.(true);
  }
}
