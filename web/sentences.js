/** What the server says in English, in the user's language where there are words for it; anything else stays as it is. */

import { foreign } from "./words.js";

const PLACE = /\{(\w+)\}/g;
const SPECIAL = /[.*+?^${}()|[\]\\]/g;
let templates = null;

/** English template -> [a pattern, the names of its places, the sentence]; made once. */
function known() {
  templates ??= Object.entries(foreign().sentences ?? {}).map(([english, sentence]) => {
    const names = [...english.matchAll(PLACE)].map(([, name]) => name);
    const pattern = english.split(/\{\w+\}/).map((part) => part.replace(SPECIAL, "\\$&")).join("([^\\n]+?)");
    return [new RegExp(`^${pattern}$`), names, sentence];
  });
  return templates;
}

/** A text of one or several lines, each a sentence of its own. */
export function translated(text) {
  return String(text).split("\n").map(oneLine).join("\n");
}

function oneLine(line) {
  for (const [pattern, names, sentence] of known()) {
    const match = pattern.exec(line);
    if (match) return sentence.replace(PLACE, (place, name) => titles(match[names.indexOf(name) + 1] ?? place));
  }
  return line;
}

/** The title of a dimension of the built-in rubrics; a rubric's own titles stay. */
export const dimensionTitle = (title) => foreign().titles?.[title] ?? title;

/** What a reason code means, or an empty text where the English message is all there is. */
const meaningOf = (reason) => foreign().reasons?.[reason] ?? "";

/** Why there is no score: what the reason means, and what the server says of this case. */
export const whyUnscored = ({ reason, message }) => [meaningOf(reason), translated(message)].filter(Boolean);

function titles(text) {
  return Object.entries(foreign().titles ?? {}).reduce((whole, [english, title]) => whole.replaceAll(english, title), text);
}
