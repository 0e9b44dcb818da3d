// The actions of the pack: each is a plain function from its input to its output.
import { Failure, http, log, serve } from "./platform.js";

function getItem({ id }) {
  log.info(`reading item ${id}`);
  const response = http.get("backend", `/items/${encodeURIComponent(id)}`);
  if (response.status === 404) {
    throw Failure.permanent(`there is no item ${id}: correct the identifier`, {
      type: "urn:{{name}}:no-item", status: 404, title: "No such item",
    });
  }
  return response.json();
}

export const handler = serve({ "get-item": getItem });
