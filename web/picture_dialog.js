/** A modal dialog that shows pictures large, one page each: beside what is said of it, and against another picture. */

import { comparison } from "./comparison.js";
import { element } from "./dom.js";
import { picture } from "./pictures.js";
import { say } from "./words.js";

/**
 * Escape closes it, the arrow keys turn the pages.
 * @typedef {object} Page
 * @property {string} label
 * @property {object|null} image `{filename, subfolder, type}`
 * @property {() => Node} render what stands beside the picture
 * @property {{text: string, title?: string, run: () => string|Promise<string>}[]} [actions]
 *   buttons below it; `run` gives the sentence that is then shown
 * @property {{key: string, label: string, image: object}[]} [rivals] pictures that it can be laid against
 * @param {Page[]} pages
 */
export function openPictures(pages, start = 0) {
  let current = start;
  let rival = null; // key of the picture that pages are laid against
  const stage = element("div", { class: "rr-stage" });
  const text = element("div", { class: "rr-text" });
  const rivals = element("div", { class: "rr-rivals", role: "group", "aria-label": say("compareWith") });
  const heading = element("h2", { "aria-live": "polite" });
  const previous = turner("‹", say("previous"), -1);
  const next = turner("›", say("next"), 1);
  const close = element("button", { type: "button", class: "rr-button", text: say("close"), on: { click: () => box.close() } });
  const header = element("header", {}, heading, rivals, pages.length > 1 && previous, pages.length > 1 && next, close);
  const box = element("dialog", { class: "rr rr-dialog", on: { keydown: onKey, click: onClick } }, header, stage, text);
  box.addEventListener("close", () => box.remove());

  function turner(sign, label, step) {
    return element("button", { type: "button", class: "rr-button", text: sign, "aria-label": label, on: { click: () => show(current + step) } });
  }

  function show(index) {
    current = Math.min(Math.max(index, 0), pages.length - 1);
    const page = pages[current];
    heading.textContent = page.label;
    box.setAttribute("aria-label", page.label);
    text.replaceChildren(...actionsOf(page), page.render());
    previous.disabled = current === 0;
    next.disabled = current === pages.length - 1;
    showStage(page);
  }

  function showStage(page) {
    const against = page.image && page.rivals?.find(({ key }) => key === rival);
    rivals.replaceChildren(...(page.rivals ?? []).map((one) => rivalButton(page, one)));
    if (!page.image) stage.replaceChildren(element("span", { class: "rr-gone", text: say("gone") }));
    else if (against) stage.replaceChildren(comparison(against, page));
    else stage.replaceChildren(picture(page.image, page.label));
  }

  function rivalButton(page, { key, label }) {
    const chosen = key === rival;
    const click = () => {
      rival = chosen ? null : key;
      showStage(page);
      rivals.querySelector(`[data-key="${key}"]`)?.focus();
    };
    return element("button", { type: "button", class: "rr-button", "data-key": key, "aria-pressed": String(chosen), text: label, on: { click } });
  }

  function onKey(event) {
    event.stopPropagation(); // ComfyUI's own shortcuts must not act behind the dialog
    if (event.target.type === "range") return; // its arrow keys move the line between two pictures
    if (event.key === "ArrowLeft") show(current - 1);
    if (event.key === "ArrowRight") show(current + 1);
  }

  function onClick(event) {
    if (event.target === box) box.close();
  }

  document.body.append(box);
  show(start);
  box.showModal();
  close.focus();
}

/** The page's buttons and the line that says what came of them. */
function actionsOf({ actions = [] }) {
  if (!actions.length) return [];
  const said = element("p", { class: "rr-told", role: "status" });
  const buttons = actions.map(({ text, title, run }) => {
    const click = async () => {
      said.textContent = await run();
    };
    return element("button", { type: "button", class: "rr-button", text, title, on: { click } });
  });
  return [element("div", { class: "rr-actions" }, ...buttons), said];
}
