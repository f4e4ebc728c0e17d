// The home page's live parts. Without this script the page can still be read.

import { show, socketUrl } from "./utils.js";

// Event stream: EventSource connects anew by itself when a generation ends.
const clock = document.querySelector("#clock");
let generation;
const events = new EventSource(clock.dataset.clock);
events.onopen = () => clock.classList.add("live");
events.onerror = () => clock.classList.remove("live");
events.onmessage = ({ data }) => {
  const tick = JSON.parse(data);
  show("tick", `tick ${tick.tick} from generation ${tick.generation}`);
  if (generation !== undefined && generation !== tick.generation) announce(tick);
  generation = tick.generation;
};

function announce(tick) {
  show("generation", tick.generation);
  show("commit", tick.commit.slice(0, 7) || "none");
  for (const fact of document.querySelectorAll(".facts [data-show]")) {
    fact.classList.remove("changed");
    void fact.offsetWidth; // lets the animation start over
    fact.classList.add("changed");
  }
}

// WebSocket: opened by the first message, and again by the first one after a generation ended.
const echo = document.querySelector("#echo");
let socket;
function open() {
  return new Promise((resolve, reject) => {
    const opened = new WebSocket(socketUrl(echo.dataset.echo));
    opened.onopen = () => resolve(opened);
    opened.onerror = () => reject(new Error("cannot connect"));
    opened.onmessage = ({ data }) => show("echo", `“${data}”`);
    opened.onclose = ({ code, reason }) => show("echo", `closed: ${code} ${reason}`);
  });
}
echo.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = echo.elements.text.value;
  try {
    if (socket?.readyState !== WebSocket.OPEN) socket = await open();
    socket.send(text);
    echo.reset();
  } catch (error) {
    show("echo", error.message);
  }
});

// Download: counted here, so that it can be watched while a deployment goes on.
const download = document.querySelector("#download");
const progress = document.querySelector("progress");
download.addEventListener("click", async (event) => {
  event.preventDefault();
  progress.hidden = false;
  try {
    const response = await fetch(download.href);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    progress.max = Number(response.headers.get("content-length"));
    const decoder = new TextDecoder();
    let received = 0;
    let sender = "";
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      progress.value = received += value.length;
      sender ||= decoder.decode(value).match(/generation \d+/)?.[0] ?? "";
      show("download", `${received >> 10} of ${progress.max >> 10} KiB, ${sender}`);
    }
    show("download", `complete: ${received >> 10} KiB, all of them from ${sender}`);
  } catch (error) {
    show("download", `failed: ${error.message}`);
  }
});
