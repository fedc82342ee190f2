/** The page's own words, in the user's language: they live in `locales/<language>/main.json`. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const SECTION = "rationalRewards";
const FOREIGN = "rationalRewardsForeign";
let words = {};
let others = {};

/** Fetch the words once, before any node is made; a page without them shows the keys and still works. */
export async function loadWords() {
  const response = await api.fetchApi("/i18n");
  if (!response.ok) {
    console.warn(`RationalRewards: no translations (HTTP ${response.status}).`);
    return;
  }
  const languages = await response.json();
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  words = { ...languages.en?.[SECTION], ...languages[language]?.[SECTION] };
  others = languages[language]?.[FOREIGN] ?? {};
}

/** {sentences, titles, reasons}: for what the server says in English; empty where that is the user's language. */
export const foreign = () => others;

/** What a check of the judge looks at, in the user's language. */
export const checkName = (name) => others.checks?.[name] ?? name;

/** Whether there are words for `key`: the server may know a reason that no language here has. */
export const knows = (key) => key in words;

/** The sentence named `key`, its `{name}` places filled. */
export function say(key, values = {}) {
  const sentence = words[key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (place, name) => (name in values ? String(values[name]) : place));
}
