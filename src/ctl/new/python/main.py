"""The worker at __ROUTE__. tqserver takes the route off, so paths here start at /."""

import html
import logging
import os
import signal
import socket
import string
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = urlsplit(self.path).path
        if path == "/":
            self.answer(HTTPStatus.OK, "text/html; charset=utf-8", self.page())
        elif path == "/health":
            self.answer(HTTPStatus.OK, "text/plain", "")
        else:
            self.answer(HTTPStatus.NOT_FOUND, "text/plain", "Not found\n")

    def page(self):
        """private/page.html, which is read anew each time."""
        file = Path(os.environ["TQ_WORKER_BASE"], "private", "page.html")
        # Links start where clients see the worker.
        values = {
            "generation": os.environ.get("TQ_GENERATION", ""),
            "prefix": self.headers.get("X-Forwarded-Prefix", ""),
        }
        values = {name: html.escape(value) for name, value in values.items()}
        return string.Template(file.read_text(encoding="utf-8")).substitute(values)

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        # A thread is bound to each connection: one that is kept for later would keep the process
        # from ending.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_):
        """What is asked is no news; errors are still logged."""


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() then waits for what is in flight
    request_queue_size = 128


def notify(message):
    """Sends a message to systemd, if it is there (sd_notify(3))."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.sendto(message, path.replace("@", "\0", 1) if path[0] == "@" else path)


def main():
    # The journal has its own time for every line.
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)

    def stop(*_):
        # Waits for the loop below to end, so it needs a thread of its own.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    notify(b"READY=1")
    logging.info("serving on 127.0.0.1:%s", server.server_port)
    # Looks ten times a second whether it is to end: the grace after SIGTERM is short.
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    logging.info("stopped")


main()
