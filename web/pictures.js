/** Pictures of the server's temp folder: their addresses, and a dialog that shows one large. */

import { api } from "../../scripts/api.js";
import { element } from "./dom.js";
import { say } from "./words.js";

const FOLDERS = new Set(["temp", "output", "input"]);
const SMALL = 160; // pictures narrower than this are shown with hard pixels: the miniature's are 48 wide

/** The address of `{filename, subfolder, type}`; `thumbnail` asks for a light copy. */
export function pictureUrl(image, { thumbnail = false } = {}) {
  const query = new URLSearchParams({
    filename: String(image.filename),
    subfolder: String(image.subfolder ?? ""),
    type: FOLDERS.has(image.type) ? image.type : "temp",
  });
  if (thumbnail) query.set("preview", "webp;80");
  return api.apiURL(`/view?${query}`);
}

export function picture(image, alt, options = {}) {
  const shown = element("img", { src: pictureUrl(image, options), alt, loading: "lazy", draggable: "false" });
  shown.addEventListener("load", () => {
    shown.classList.toggle("rr-pixels", shown.naturalWidth < SMALL);
    shown.closest(".rr-frame")?.style.setProperty("--rr-ratio", String(shown.naturalWidth / shown.naturalHeight));
  });
  shown.addEventListener("error", () => shown.replaceWith(element("span", { class: "rr-gone", text: say("gone") })));
  return shown;
}

/**
 * A modal dialog with one page per entry; Escape closes it, the arrow keys turn the pages.
 * @param {{label: string, image: object|null, render: () => Node}[]} pages
 */
export function openPictures(pages, start = 0) {
  let current = start;
  const stage = element("div", { class: "rr-stage" });
  const text = element("div", { class: "rr-text" });
  const heading = element("h2", { "aria-live": "polite" });
  const previous = turner("‹", say("previous"), -1);
  const next = turner("›", say("next"), 1);
  const close = element("button", { type: "button", class: "rr-button", text: say("close"), on: { click: () => box.close() } });
  const header = element("header", {}, heading, pages.length > 1 && previous, pages.length > 1 && next, close);
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
    stage.replaceChildren(page.image ? picture(page.image, page.label) : element("span", { class: "rr-gone", text: say("gone") }));
    text.replaceChildren(page.render());
    previous.disabled = current === 0;
    next.disabled = current === pages.length - 1;
  }

  function onKey(event) {
    event.stopPropagation(); // ComfyUI's own shortcuts must not act behind the dialog
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
