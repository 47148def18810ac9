"""A small HTTP/1.1 server for answers that are ready: it copies bytes, bounds idle connections and drains."""

from __future__ import annotations

import socket
import socketserver
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

# Longer than the usual scrape intervals, so that a scraper keeps its connection.
IDLE_SECONDS = 75.0
DRAIN_SECONDS = 5.0

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """A GET or HEAD; the path has no query string, an absent header is the empty text."""

    path: str
    accept: str
    accept_encoding: str


@dataclass(frozen=True, slots=True)
class Response:
    """A finished answer; `encoding` is the Content-Encoding that the body has, if any."""

    status: HTTPStatus
    content_type: str
    body: bytes
    encoding: str | None = None


Respond: TypeAlias = Callable[[Request], Response]


class AnswerServer(ThreadingHTTPServer):
    """Listens as soon as it is made (port 0: any free one) and answers within `serve_forever`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], respond: Respond) -> None:
        self.respond = respond
        self._connections: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The HTTP server of the standard library asks the DNS for its own name here, which may hang for seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Clients that go away are no fault of ours.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def drain(self) -> None:
        """Accepts nothing more, lets the requests under way finish (for 5 s at most) and ends idle connections."""
        self.shutdown()
        self.server_close()
        for connection in tuple(self._connections):
            # Whoever waits for a next request reads its end; whoever is answering still can.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.01)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "reliary-exporter"
    sys_version = ""
    timeout = IDLE_SECONDS
    # Head and body are two writes; Nagle's algorithm would hold the second one back.
    disable_nagle_algorithm = True
    server: AnswerServer

    def do_GET(self) -> None:
        request = Request(
            path=self.path.partition("?")[0],
            accept=self.headers.get("Accept", ""),
            accept_encoding=self.headers.get("Accept-Encoding", ""),
        )
        self._send(self.server.respond(request))

    do_HEAD = do_GET

    def _refuse(self) -> None:
        self._send(Response(HTTPStatus.METHOD_NOT_ALLOWED, TEXT, b"only GET and HEAD are answered here\n"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        self.send_header("Vary", "Accept, Accept-Encoding")
        if response.encoding is not None:
            self.send_header("Content-Encoding", response.encoding)
        if response.status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        # A request's body is never read; left on the connection it would be taken for the next request.
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line per scrape would bury what matters."""
