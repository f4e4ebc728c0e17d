// The worker at __ROUTE__. tqserver takes the route off, so paths here start at /.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

const { PORT, TQ_GENERATION, TQ_WORKER_BASE } = process.env;

/** GET /: private/page.html, which is read anew each time. */
async function page(request, response) {
  const template = await readFile(join(TQ_WORKER_BASE, "private/page.html"), "utf8");
  // Links start where clients see the worker.
  const prefix = request.headers["x-forwarded-prefix"] ?? "";
  const values = { generation: TQ_GENERATION, prefix };
  const html = template.replace(/{{(\w+)}}/g, (_, name) => escape(values[name]));
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(html);
}

function escape(text) {
  return String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const routes = {
  "/": page,
  "/health": (_request, response) => response.writeHead(204).end(),
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
    server.closeIdleConnections();
  });
}
