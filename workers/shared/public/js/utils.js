// What the scripts of all workers share.

/** The address of a WebSocket at `path` of the page's own host. */
export function socketUrl(path) {
  const url = new URL(path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

/** Shows `text` in every element that has `data-show="name"`. */
export function show(name, text) {
  for (const element of document.querySelectorAll(`[data-show="${name}"]`)) {
    element.textContent = text;
  }
}
