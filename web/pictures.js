/** Pictures of the server's folders: their addresses, and how they are shown. */

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
