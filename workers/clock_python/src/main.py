"""The sample worker at /clock/python: a page, a JSON answer and an event stream, with nothing but
Python's standard library. tqserver takes the route off, so paths here start at /."""

import html
import json
import logging
import os
import signal
import socket
import string
import threading
from datetime import datetime, timezone
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PERIOD = 0.2
"""Seconds between two events of the stream."""

stopping = threading.Event()


def now():
    return {
        "worker": os.environ.get("TQ_WORKER"),
        "generation": os.environ.get("TQ_GENERATION"),
        "time": datetime.now(timezone.utc).isoformat(),
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = urlsplit(self.path).path
        routes = {"/": self.page, "/health": self.health, "/time": self.time, "/ticks": self.ticks}
        if path in routes:
            routes[path]()
        else:
            self.answer(HTTPStatus.NOT_FOUND, "text/plain", "Not found\n")

    def page(self):
        """GET /: private/page.html, which is read anew each time: change it and reload."""
        file = Path(os.environ["TQ_WORKER_BASE"], "private", "page.html")
        # Links start where clients see the worker.
        values = {**now(), "prefix": self.headers.get("X-Forwarded-Prefix", "")}
        values = {name: html.escape(str(value)) for name, value in values.items()}
        page = string.Template(file.read_text(encoding="utf-8")).substitute(values)
        self.answer(HTTPStatus.OK, "text/html; charset=utf-8", page)

    def health(self):
        self.answer(HTTPStatus.OK, "text/plain", "")

    def time(self):
        """GET /time"""
        self.answer(HTTPStatus.OK, "application/json", json.dumps(now()))

    def ticks(self):
        """GET /ticks: events, until the client goes or the worker is told to stop."""
        self.head(HTTPStatus.OK, "text/event-stream")
        try:
            while True:
                self.wfile.write(f"data: {json.dumps(now())}\n\n".encode())
                if stopping.wait(PERIOD):
                    return
        except ConnectionError:
            pass  # the client has gone

    def answer(self, status, content_type, text):
        body = text.encode()
        self.head(status, content_type, length=len(body))
        self.wfile.write(body)

    def head(self, status, content_type, length=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        if length is not None:
            self.send_header("Content-Length", str(length))
        # A thread is bound to each connection: one that is kept for later would keep the process
        # from ending.
        self.send_header("Connection", "close")
        self.end_headers()

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
        stopping.set()
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
