// What scenarios know of a tab.

/** Records what a tab was answered. */
export class TabLog {
  /** The status of each document. */
  statuses = [];
  /** Resolves to its first WebSocket, once the page has heard by it how things stand. */
  connected;

  constructor(page) {
    this.connected = page.waitForEvent("websocket")
      .then((socket) => socket.waitForEvent("framereceived").then(() => socket));
    // Only whoever awaits it minds that it never came.
    this.connected.catch(() => {});
    page.on("response", (response) => {
      const request = response.request();
      if (request.isNavigationRequest() && request.frame() === page.mainFrame()) {
        this.statuses.push(response.status());
      }
    });
  }
}

/** Resolves once the page shows `text`. */
export function shows(page, text) {
  return page.getByText(text, { exact: false }).first().waitFor();
}

export const OVERLAY = "#tqserver-overlay";

/** What the overlay says. Its shadow root is closed, so it is looked at through the debugger. */
export async function readOverlay(page) {
  const debug = await page.context().newCDPSession(page);
  const { root } = await debug.send("DOM.getDocument", { depth: -1, pierce: true });
  const host = find(root, (node) => attribute(node, "id") === "tqserver-overlay");
  const links = all(host, (node) => node.nodeName === "A");
  const { nodes } = await debug.send("Accessibility.getFullAXTree");
  const named = (role) => nodes.find((node) => node.role?.value === role)?.name?.value;
  const overlay = {
    tags: all(host, () => true).map((node) => node.nodeName),
    text: textOf(host),
    links: links.map((link) => ({ text: textOf(link), href: attribute(link, "href") })),
    messages: all(host, (node) => node.nodeName === "P").map(textOf),
    dialog: named("dialog"),
  };
  await debug.detach();
  return overlay;
}

/** By how many pixels the overlay is too wide, but for the log, which scrolls; 0 without one. */
export async function overlayExcess(page) {
  const debug = await page.context().newCDPSession(page);
  const { root } = await debug.send("DOM.getDocument", { depth: -1, pierce: true });
  const panel = find(root, (node) => attribute(node, "role") === "dialog");
  const parts = panel ? all(panel, (it) => ["SECTION", "HEADER", "UL"].includes(it.nodeName)) : [];
  let excess = 0;
  for (const { backendNodeId } of parts) {
    const { object: { objectId } } = await debug.send("DOM.resolveNode", { backendNodeId });
    const { result } = await debug.send("Runtime.callFunctionOn", {
      objectId, functionDeclaration: "function () { return this.scrollWidth - this.clientWidth; }",
    });
    excess = Math.max(excess, result.value);
  }
  await debug.detach();
  return excess;
}

/** Clicks the overlay's button, where it is. */
export async function clickDismiss(page) {
  const debug = await page.context().newCDPSession(page);
  const { root } = await debug.send("DOM.getDocument", { depth: -1, pierce: true });
  const host = find(root, (node) => attribute(node, "id") === "tqserver-overlay");
  const button = find(host, (node) => node.nodeName === "BUTTON");
  const { model } = await debug.send("DOM.getBoxModel", { backendNodeId: button.backendNodeId });
  await debug.detach();
  const [left, top, , , right, bottom] = model.content;
  await page.mouse.click((left + right) / 2, (top + bottom) / 2);
}

function children(node) {
  return [...(node.children ?? []), ...(node.shadowRoots ?? [])];
}

function all(node, wanted) {
  return [...(wanted(node) ? [node] : []), ...children(node).flatMap((child) => all(child, wanted))];
}

function find(node, wanted) {
  return all(node, wanted)[0];
}

function textOf(node) {
  return all(node, (it) => it.nodeName === "#text").map((it) => it.nodeValue).join("");
}

function attribute(node, name) {
  const at = node.attributes?.findIndex((it, index) => index % 2 === 0 && it === name) ?? -1;
  return at < 0 ? undefined : node.attributes[at + 1];
}
