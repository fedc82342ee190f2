/** Saving one iteration: a PNG that tells how it was made, or the bare picture where the server has forgotten the run. */

import { api } from "../../scripts/api.js";
import { element } from "./dom.js";
import { pictureUrl } from "./pictures.js";
import { say } from "./words.js";

const PICTURE = "/rationalrewards/loop/picture";
const KEEP_URL = 60_000; // milliseconds until a download has surely begun

/**
 * @param {object} state the run that is shown; @param {object} iteration one of its iterations
 * @returns {Promise<string>} the sentence that says what was saved
 */
export async function savePicture({ prompt_id, node }, { index, image }) {
  const query = new URLSearchParams({ prompt_id: String(prompt_id), node, iteration: String(index) });
  const response = await api.fetchApi(`${PICTURE}?${query}`);
  if (!response.ok) {
    download(pictureUrl(image), image.filename);
    return say("savedBare");
  }
  const url = URL.createObjectURL(await response.blob());
  download(url, /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition"))?.[1] ?? "picture.png");
  setTimeout(() => URL.revokeObjectURL(url), KEEP_URL);
  return say("saved");
}

function download(href, name) {
  element("a", { href, download: name }).click();
}
