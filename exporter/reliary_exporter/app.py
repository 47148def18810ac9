"""The sidecar process: it refreshes what it knows from Prometheus and serves it at /metrics, /healthz and /readyz.

Three threads share one immutable page, which is replaced as a whole: one refreshes, one takes stale values off the
page in time even while a refresh hangs, one accepts connections. Requests only copy what the page holds.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Self

from reliary.exporterfile import ExporterConfig, from_text
from reliary_exporter.collector import families
from reliary_exporter.exposition import Exposition, choose, render
from reliary_exporter.prometheus import PrometheusClient
from reliary_exporter.server import TEXT, AnswerServer, Request, Response
from reliary_exporter.snapshot import Activity, Fault, Snapshot, State, refreshed

log = logging.getLogger(__name__)

# How late a value may be that leaves the page, and the shortest pause between two rounds.
_WATCH_SECONDS = 0.2
_MIN_PAUSE_SECONDS = 1.0

_INDEX = b"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Reliary exporter</title></head>
<body><h1>Reliary exporter</h1><ul>
<li><a href="/metrics">/metrics</a>: the series, for Prometheus</li>
<li><a href="/healthz">/healthz</a>: whether the process lives</li>
<li><a href="/readyz">/readyz</a>: whether the values can be relied on</li>
</ul></body></html>
"""


@dataclass(frozen=True, slots=True)
class _Page:
    """A state and its bytes, which hold until a reading in them becomes stale."""

    state: State
    exposition: Exposition
    holds_until: float


class Exporter:
    """A running sidecar, as a context manager: it listens from the start and refreshes until it is closed.

    Raises OSError when the configuration or the address cannot be had, and ValueError (ExporterFileError) when the
    configuration says nothing usable. Later faults of the file are counted, and the last good one stays in force.
    """

    def __init__(self, config_path: Path, address: tuple[str, int], *, clock: Callable[[], float] = time.time) -> None:
        self._config_path = config_path
        self._clock = clock
        self._config_text = config_path.read_text("utf-8")
        config = from_text(self._config_text)
        self._client = _client(config)
        self._page_lock = threading.Lock()
        self._page = self._printed(State(config, Snapshot(), Activity()))
        self._server = AnswerServer(address, self._respond)
        self._closing = threading.Event()
        # Unlike an Event, a SimpleQueue may be filled by a signal handler while the same thread waits for it.
        self._ended: SimpleQueue[BaseException | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=work.__name__, daemon=True)
            for work in (self._serve_requests, self._refresh_in_rounds, self._watch_for_staleness)
        ]

    @property
    def port(self) -> int:
        return self._server.server_port

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.drain()
        for thread in self._threads:
            thread.join(timeout=_MIN_PAUSE_SECONDS)

    def stop(self) -> None:
        """Ends `wait`; may be called from any thread and from a signal handler."""
        self._ended.put(None)

    def wait(self) -> None:
        """Blocks until `stop` is called. Raises what a thread of the exporter could not go on from."""
        failure = self._ended.get()
        if failure is not None:
            raise failure

    def refresh(self) -> None:
        """One round: reads the configuration if it changed, asks Prometheus, and publishes what is known then."""
        begun = time.monotonic()
        before = self._page.state
        config, config_faults = self._current_config(before.config)
        # Another release may ask other queries under the same names: its values start from nothing.
        known = before.snapshot if config is before.config else Snapshot()
        snapshot = refreshed(known, config, self._client, self._clock())
        faults = (*config_faults, *snapshot.faults)
        _report(before.activity, faults)
        activity = before.activity.after(time.monotonic() - begun, faults)
        with self._page_lock:
            self._page = self._printed(State(config, snapshot, activity))

    def _current_config(self, config: ExporterConfig) -> tuple[ExporterConfig, tuple[Fault, ...]]:
        try:
            text = self._config_path.read_text("utf-8")
            if text == self._config_text:
                return config, ()
            changed = from_text(text)
        except (OSError, ValueError) as error:
            return config, (Fault("config", f"{self._config_path} is not applied: {error}"),)
        self._config_text = text
        self._client.close()
        self._client = _client(changed)
        log.info("release %s is applied", changed.release)
        return changed, ()

    def _printed(self, state: State) -> _Page:
        now = self._clock()
        return _Page(state, render(families(state, now)), state.next_expiry(now))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:
            # A sidecar that has lost a thread must not look alive: `wait` raises this in the main thread.
            self._ended.put(failure)

    def _serve_requests(self) -> None:
        self._server.serve_forever(poll_interval=0.1)

    def _refresh_in_rounds(self) -> None:
        while not self._closing.is_set():
            self.refresh()
            state = self._page.state
            pause = state.config.refresh_seconds - (state.activity.seconds or 0.0)
            self._closing.wait(max(pause, _MIN_PAUSE_SECONDS))
        self._client.close()

    def _watch_for_staleness(self) -> None:
        while not self._closing.wait(_WATCH_SECONDS):
            with self._page_lock:
                if self._clock() >= self._page.holds_until:
                    self._page = self._printed(self._page.state)

    def _respond(self, request: Request) -> Response:
        page = self._page
        match request.path:
            case "/metrics":
                choice = choose(page.exposition, request.accept, request.accept_encoding)
                return Response(HTTPStatus.OK, choice.content_type, choice.body, choice.encoding)
            case "/healthz":
                return Response(HTTPStatus.OK, TEXT, b"alive\n")
            case "/readyz":
                return _readiness(page.state.unready(self._clock()))
            case "/":
                return Response(HTTPStatus.OK, "text/html; charset=utf-8", _INDEX)
            case _:
                return Response(HTTPStatus.NOT_FOUND, TEXT, b"not found: see / for what is here\n")


def serve(config_path: Path, address: tuple[str, int], *, clock: Callable[[], float] = time.time) -> None:
    """Serves until SIGTERM or SIGINT, then lets the requests under way finish and returns.

    To be called in the main thread. `address` is a host and a port. Raises as `Exporter` does, and whatever ended
    one of its threads.
    """
    exporter = Exporter(config_path, address, clock=clock)
    with _at_signals(exporter.stop), exporter:
        log.info("listening on %s port %d", address[0], exporter.port)
        exporter.wait()


@contextmanager
def _at_signals(stop: Callable[[], None]) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before = [(number, signal.signal(number, handle)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _client(config: ExporterConfig) -> PrometheusClient:
    return PrometheusClient(config.prometheus_url, within_seconds=config.refresh_seconds)


def _readiness(unready: str | None) -> Response:
    if unready is None:
        return Response(HTTPStatus.OK, TEXT, b"ready\n")
    return Response(HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"not ready: {_whole(unready)}\n".encode())


def _whole(text: str) -> str:
    """Text that can be written: half a character, which a server may send as an escape, becomes a question mark."""
    return text.encode(errors="replace").decode()


def _report(activity: Activity, faults: tuple[Fault, ...]) -> None:
    """Logs faults when they begin and when they end: a line per round would say nothing new."""
    if activity.faults == tuple(fault.reason for fault in faults):
        return
    for fault in faults:
        log.warning("refresh failed (%s): %s", fault.reason, _whole(fault.message))
    if not faults:
        log.info("refresh succeeded")
