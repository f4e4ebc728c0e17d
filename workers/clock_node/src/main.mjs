// The sample worker at /clock/node: a page, a JSON answer and an event stream, with nothing but
// what Node brings along. tqserver takes the route off, so paths here start at /.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

const { PORT, TQ_GENERATION, TQ_WORKER, TQ_WORKER_BASE } = process.env;

/** Milliseconds between two events of the stream. */
const PERIOD = 200;

const now = () => ({
  worker: TQ_WORKER,
  generation: TQ_GENERATION,
  time: new Date().toISOString(),
});

/** GET /: private/page.html, which is read anew each time: change it and reload. */
async function page(request, response) {
  const template = await readFile(join(TQ_WORKER_BASE, "private/page.html"), "utf8");
  // Links start where clients see the worker.
  const values = { ...now(), prefix: request.headers["x-forwarded-prefix"] ?? "" };
  const html = template.replace(/{{(\w+)}}/g, (_, name) => escape(values[name]));
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(html);
}

function escape(text) {
  return String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** GET /time */
function time(_request, response) {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(now()));
}

const streams = new Set();

/** GET /ticks: events, until the client goes or the worker is told to stop. */
function ticks(_request, response) {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const tick = () => response.write(`data: ${JSON.stringify(now())}\n\n`);
  tick();
  const timer = setInterval(tick, PERIOD);
  streams.add(response);
  response.on("close", () => {
    clearInterval(timer);
    streams.delete(response);
  });
}

const routes = {
  "/": page,
  "/health": (_request, response) => response.writeHead(204).end(),
  "/time": time,
  "/ticks": ticks,
};

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  try {
    if (Object.hasOwn(routes, pathname)) await routes[pathname](request, response);
    else response.writeHead(404).end("Not found\n");
  } catch (error) {
    console.error(error);
    response.writeHead(500).end("Something went wrong\n");
  }
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`serving on 127.0.0.1:${PORT}`));

// Accepts no more; the process ends by itself when the last answer is through.
for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    server.close(() => console.log("stopped"));
    for (const stream of streams) stream.end();
    server.closeIdleConnections();
  });
}
