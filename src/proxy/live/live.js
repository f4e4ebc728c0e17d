// The page's side of tqserver's live reload (docs/live-reload.md). The server tells how things
// stand, at once and with each change; what of it is newer than this page is acted upon. So nothing
// is missed by a page that was away, and to hear a thing twice does nothing.
"use strict";
(() => {
  const tag = document.currentScript;
  // A sandboxed page has no origin, and would be refused.
  if (!tag || self.origin === "null") return;

  /** What the page was made of. */
  const page = {
    worker: tag.dataset.worker,
    generation: Number(tag.dataset.generation),
    revision: Number(tag.dataset.revision),
  };
  /** Whether it is tqserver's own, about a worker of which nothing serves. It says what is wrong. */
  const own = page.worker && !page.generation;

  /** Whether it was loaded again, and nothing was heard since. */
  let fresh = performance.getEntriesByType("navigation")[0]?.type === "reload";

  function heard(state) {
    const again = fresh;
    fresh = false;
    if (isOld(state)) {
      // From here on this stands for the page that is being loaded.
      page.generation = state.generation;
      page.revision = Math.max(page.revision, state.pages, state.build_revision, ...Object.values(state.styles));
      // One that was old on arrival may come from a cache on the way: not as fast as it can.
      setTimeout(() => location.reload(), again ? 1000 : 0);
    } else {
      swapStyles(state.styles);
      if (!own) overlay.show(state.build);
    }
  }

  function isOld(state) {
    if (page.worker && !state.generation) {
      // There is nothing yet to load instead, unless the page is about a build that failed before.
      return own && state.build?.state === "failed" && state.build_revision > page.revision;
    }
    const imported = [...document.styleSheets].flatMap(importedBy);
    return state.generation > page.generation
      || state.pages > page.revision
      || imported.some((path) => state.styles[path] > page.revision);
  }

  // --- Style sheets ------------------------------------------------------------------------

  /** The revision that a <link> shows or is about to, where that is not the page's. */
  const revisions = new WeakMap();
  /** The <link> that is being loaded to take the place of another. */
  const successors = new Map();

  function swapStyles(styles) {
    const loading = new Set(successors.values());
    for (const link of document.querySelectorAll('link[rel~="stylesheet"][href]')) {
      const url = new URL(link.href);
      const revision = styles[url.pathname];
      const shown = revisions.get(link) ?? page.revision;
      if (url.origin !== location.origin || loading.has(link) || !(revision > shown)) continue;
      url.searchParams.set("tq", revision);
      swap(link, url, revision);
    }
  }

  function swap(link, url, revision) {
    successors.get(link)?.remove();
    const next = link.cloneNode();
    next.removeAttribute("integrity");
    next.href = url;
    const settled = (stays, goes) => () => {
      if (successors.get(link) !== next) return;
      successors.delete(link);
      goes.remove();
    };
    next.addEventListener("load", settled(next, link), { once: true });
    next.addEventListener("error", settled(link, next), { once: true });
    successors.set(link, next);
    revisions.set(link, revision).set(next, revision);
    link.after(next);
  }

  /** The paths of the sheets that a sheet imports, which cannot be swapped. */
  function importedBy(sheet) {
    let rules;
    try {
      rules = [...sheet.cssRules];
    } catch {
      return []; // of another origin
    }
    const sheets = rules.filter((rule) => rule instanceof CSSImportRule).map((rule) => rule.styleSheet);
    return sheets.filter((it) => it?.href).flatMap((it) => [new URL(it.href).pathname, ...importedBy(it)]);
  }

  // --- The overlay of a failed build -------------------------------------------------------

  const overlay = {
    host: null,
    parts: null,
    /** The failure that is shown, and the one that was sent away, each as JSON. */
    shown: "",
    dismissed: "",

    show(build) {
      if (build?.state === "building") {
        // What was wrong may still be: it goes when the build is through.
        if (this.host) this.parts.note.textContent = "Building again …";
        return;
      }
      const failure = build ? JSON.stringify(build) : "";
      if (!failure) this.dismissed = "";
      if (!failure || failure === this.dismissed) return this.hide();
      const { title, note, places, log } = this.open();
      note.textContent = "";
      if (failure === this.shown) return;
      this.shown = failure;
      places.replaceChildren(...build.places.map(placeItem));
      log.textContent = build.log.trimEnd();
      // Last: this is what a screen reader says.
      title.textContent = `${page.worker} could not be built`;
    },

    open() {
      if (this.host?.isConnected) return this.parts;
      this.shown = "";
      this.host = element("div", { id: "tqserver-overlay" });
      const root = this.host.attachShadow({ mode: "closed" });
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
      this.parts = {
        title: element("span", { role: "alert" }),
        note: element("span", { role: "status" }),
        places: element("ul"),
        log: element("pre", { tabIndex: 0, ariaLabel: "What the build said" }),
      };
      const key = element("span", { textContent: " (Esc)" });
      const button = element("button", { type: "button" }, "Dismiss", key);
      button.addEventListener("click", () => this.dismiss());
      const heading = element("h2", { id: "title" }, this.parts.title);
      const head = element("header", {}, heading, this.parts.note, button);
      const panel = element("section", { role: "dialog" }, head, this.parts.places, this.parts.log);
      panel.setAttribute("aria-labelledby", "title");
      root.append(panel);
      // Beside the body, which is the page's to replace.
      document.documentElement.append(this.host);
      return this.parts;
    },

    hide() {
      this.host?.remove();
      this.host = null;
      this.shown = "";
    },

    dismiss() {
      this.dismissed = this.shown;
      this.hide();
    },
  };

  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !overlay.host) return;
    // The page below may have a use for the key too; it gets the next.
    event.preventDefault();
    event.stopImmediatePropagation();
    overlay.dismiss();
  }, { capture: true });

  function placeItem({ file, line, column, message, href }) {
    const link = element("a", { href, textContent: `${file}:${line}:${column}` });
    return element("li", {}, link, element("p", { textContent: message }));
  }

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  const STYLE = `
    :host { all: initial !important; position: fixed !important; inset: 0 0 auto !important;
      z-index: 2147483647 !important; display: block !important }
    @media print { :host { display: none !important } }
    section { color-scheme: light dark; box-sizing: border-box; display: flex; flex-direction: column;
      gap: .75rem; max-height: 80vh; overflow: auto; margin: 0; padding: 1rem 1.5rem;
      border-bottom: 4px solid light-dark(#c62828, #ff6b6b);
      background: light-dark(#fff8f7, #241716); color: light-dark(#1b1210, #f6e9e7);
      font: 16px/1.5 system-ui, sans-serif; text-align: left; box-shadow: 0 .25rem 2rem #0006 }
    header { display: flex; align-items: baseline; gap: 0 1rem }
    h2 { margin: 0; font-size: 1.25rem; line-height: 1.3; overflow-wrap: anywhere;
      color: light-dark(#a31515, #ff9c94) }
    [role=status] { flex: 1; opacity: .8 }
    button { padding: .375rem .75rem; border: 1px solid light-dark(#8a716d, #a58b87);
      border-radius: .375rem; background: none; color: inherit; font: inherit; font-size: .875rem;
      line-height: 1.25; white-space: nowrap; cursor: pointer }
    button:hover { background: light-dark(#f1e6e4, #3a2725) }
    /* With room for the outline of its links. */
    ul { flex: none; max-height: 30vh; overflow: auto; margin: -4px; padding: 4px; list-style: none }
    ul:empty { display: none }
    li { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 1rem }
    li + li { margin-top: .25rem }
    p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere }
    a { color: light-dark(#0b57d0, #a8c7fa); overflow-wrap: anywhere }
    a, pre { font: .875rem/1.45 ui-monospace, Menlo, Consolas, monospace }
    pre { min-height: 4rem; box-sizing: border-box; overflow: auto; margin: 0; padding: .75rem;
      border-radius: .375rem; background: light-dark(#f1e6e4, #171010); tab-size: 4 }
    @media (max-width: 30rem) {
      section { padding: .75rem 1rem }
      header { flex-wrap: wrap }
      h2 { flex: 1; font-size: 1.125rem }
      [role=status] { order: 1; flex-basis: 100% }
      button span { display: none }
      pre { font-size: .8125rem }
    }
    :focus-visible { outline: 2px solid light-dark(#0b57d0, #a8c7fa); outline-offset: 2px }`;

  // --- The connection ----------------------------------------------------------------------

  const FIRST_WAIT = 250, LONGEST_WAIT = 5000; // ms
  const url = `${location.origin.replace(/^http/, "ws")}/_tqserver/live?worker=${page.worker}`;
  let socket = null, wait = FIRST_WAIT, timer = 0;

  function connect() {
    clearTimeout(timer);
    if (socket) return;
    const opened = socket = new WebSocket(url);
    opened.onopen = () => { wait = FIRST_WAIT; };
    opened.onmessage = (message) => heard(JSON.parse(message.data));
    opened.onclose = () => {
      if (socket !== opened) return;
      socket = null;
      // Spread, so that many tabs do not come back at one moment.
      timer = setTimeout(connect, wait * (0.75 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    };
  }

  // A page that is left may come back as it was, which it could not with an open connection.
  addEventListener("pagehide", () => {
    clearTimeout(timer);
    const left = socket;
    socket = null;
    left?.close();
  });
  addEventListener("pageshow", ({ persisted }) => { if (persisted) connect(); });
  // Rather than wait on, when somebody looks or the network is back.
  addEventListener("online", connect);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) connect(); });
  connect();
})();
