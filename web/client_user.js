/** Tells the server whose page this is: where ComfyUI has several users, a run asks the user of the page that queued it. */

import { api } from "../../scripts/api.js";

const PATH = "/rationalrewards/client";

let told = null;

function tell() {
  const { clientId } = api; // known once the server has greeted the page
  if (!clientId || clientId === told) return;
  told = clientId;
  const headers = { "Content-Type": "application/json" };
  api.fetchApi(PATH, { method: "POST", headers, body: JSON.stringify({ client_id: clientId }) }).catch(() => (told = null));
}

export function tellUser() {
  tell();
  api.addEventListener("status", tell);
  // A server that was started again knows nobody.
  api.addEventListener("reconnected", () => {
    told = null;
    tell();
  });
}
