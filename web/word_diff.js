/** What changed between two prompts, word by word. */

import { element } from "./dom.js";
import { say } from "./words.js";

const LONGEST = 600; // words on one side; beyond it the table of the comparison is not worth its memory

/**
 * @returns {{kind: "same"|"removed"|"added", text: string}[]} in reading order, neighbours of one kind joined
 */
export function diffWords(before, after) {
  const [old, fresh] = [split(before), split(after)];
  if (old.length > LONGEST || fresh.length > LONGEST) {
    return before === after ? [part("same", after)] : [part("removed", before), part("added", after)];
  }
  // A word is the same word whether a blank or the end of the text follows it.
  const [olds, freshs] = [old, fresh].map((words) => words.map((word) => word.trimEnd()));
  const common = commonLengths(olds, freshs);
  const parts = [];
  let [i, j] = [0, 0];
  while (i < old.length || j < fresh.length) {
    if (i < old.length && j < fresh.length && olds[i] === freshs[j]) {
      push(parts, "same", fresh[j]);
      i += 1;
      j += 1;
    } else if (j === fresh.length || (i < old.length && common[i + 1][j] >= common[i][j + 1])) {
      push(parts, "removed", old[i]);
      i += 1;
    } else {
      push(parts, "added", fresh[j]);
      j += 1;
    }
  }
  return parts;
}

/** The diff as a paragraph: removed words struck out, added ones marked, both named for screen readers. */
export function renderDiff(before, after) {
  const parts = diffWords(before, after).map(({ kind, text }) => {
    if (kind === "same") return element("span", { text });
    return element(kind === "added" ? "ins" : "del", { text, "aria-label": `${say(kind)}: ${text.trim()}` });
  });
  return element("p", { class: "rr-diff", dir: "auto" }, ...parts);
}

/** Words and punctuation marks with the blanks that follow them; scripts without blanks are compared sign by sign. */
function split(text) {
  const signs = "\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af";
  return text.match(new RegExp(`[${signs}]|[,.;:!?]\\s*|[^\\s,.;:!?${signs}]+\\s*|\\s+`, "gu")) ?? [];
}

/** lengths[i][j] is the length of the longest common subsequence of old[i..] and fresh[j..]. */
function commonLengths(old, fresh) {
  const lengths = Array.from({ length: old.length + 1 }, () => new Uint16Array(fresh.length + 1));
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = fresh.length - 1; j >= 0; j -= 1) {
      lengths[i][j] = old[i] === fresh[j] ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  return lengths;
}

function push(parts, kind, text) {
  const last = parts.at(-1);
  if (last?.kind === kind) last.text += text;
  else parts.push(part(kind, text));
}

function part(kind, text) {
  return { kind, text };
}
