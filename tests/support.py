"""What several tests need: the example, compiled; a receiver of notifications; waiting for something to be true."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from reliary.definitions.spec import read_definitions
from reliary.model import Stack

ROOT = Path(__file__).resolve().parent.parent
AETHER = ROOT / "examples" / "aether"


def aether() -> Stack:
    """The stack of the example."""
    return stack_of(AETHER)


def stack_of(definitions: Path) -> Stack:
    reading = read_definitions(definitions)
    assert reading.stack is not None, reading.problems
    return reading.stack


def changed_copy(folder: Path, changes: dict[str, dict[str, str]]) -> Path:
    """A copy of the example's definitions with texts replaced, by file; each text must be there."""
    copy = folder / "aether"
    shutil.copytree(AETHER, copy)
    for name, replacements in changes.items():
        text = (copy / name).read_text(encoding="utf-8")
        for old, new in replacements.items():
            assert old in text, f"{name} does not contain {old!r}"
            text = text.replace(old, new)
        (copy / name).write_text(text, encoding="utf-8")
    return copy


def until(what: str, true: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until something is true; fails with its name when it takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.2)


class Inbox:
    """Alerts that arrived at a webhook, in order: (receiver's path, status, labels, annotations)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.alerts: list[tuple[str, str, dict[str, str], dict[str, str]]] = []

    def take(self, path: str, body: dict[str, Any]) -> None:
        self.alerts += [(path, alert["status"], alert["labels"], alert["annotations"]) for alert in body["alerts"]]

    def names(self, status: str, tenant_label: str = "tenant_id") -> set[tuple[str, str]]:
        """Alert and tenant of all that arrived in a status."""
        return {
            (labels["alertname"], labels.get(tenant_label, ""))
            for _, state, labels, _ in self.alerts
            if state == status
        }


@contextmanager
def inbox() -> Iterator[Inbox]:
    """A webhook receiver on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            received.take(self.path, json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Inbox(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
