"""The engine without containers: the servers run as processes of this user, on loopback.

`LocalEngine.up` makes what runs equal to what the definitions say: it starts what is missing, restarts what was
started differently, and lets the rest reload. `_Attempt` is one such run; it notes every change it makes, so that
a failure or Ctrl-C can take them back.
"""

from __future__ import annotations

import hashlib
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from reliary.artifacts import File, Site
from reliary.model import Stack
from reliary_stack.binaries import Tool, ToolMissing, ToolName, find_tool
from reliary_stack.demo.history import HistoryError, backfill
from reliary_stack.engines import readiness
from reliary_stack.engines.engine import Change, EngineError, Part, PartState, Report, Running
from reliary_stack.engines.exclusive import Busy, exclusive
from reliary_stack.engines.parts import HOST, PORTS, RELOADING, SERVERS, Folders, launch_of, site, wanted
from reliary_stack.engines.processes import (
    Launch,
    Ledger,
    LedgerDamaged,
    Record,
    is_alive,
    last_lines,
    read_ledger,
    start,
    stop,
    termination_unwinds,
    uninterrupted,
    write_ledger,
)

__all__ = ["LocalEngine"]

OURS = ("build", "build.before", "data", "logs", "state.json", ".gitignore")
LOG_LINES = 15
POLL_SECONDS = 0.1

Compiler: TypeAlias = Callable[[Stack, Site, str], tuple[File, ...]]


def _compile(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    from reliary.compile import compile_stack  # not needed for `down` and `parts`, and slow to import

    return compile_stack(stack, site, release)


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """A stack in `state_dir`: its build, data, logs, and which processes are its own.

    `program` is how `reliary` is called for the exporter and the demo. A port of `ports` that is taken is replaced by
    a free one. A part that is not healthy after `patience_seconds` has failed.
    """

    state_dir: Path
    program: tuple[str, ...] = (sys.executable, "-m", "reliary_stack")
    compiler: Compiler = _compile
    ports: Mapping[str, int] = field(default_factory=lambda: PORTS)
    patience_seconds: float = 120.0
    now: Callable[[], float] = time.time

    def up(self, stack: Stack, definitions: Path, report: Report, *, release: str, history: bool = True) -> Running:
        """See `Engine.up`. Needs Linux; fetches the servers from Debian if they are not on PATH."""
        if sys.platform != "linux":
            raise EngineError("reliary", "local processes need Linux", "Start a Docker engine and try again.")
        with _as_engine_errors(), termination_unwinds(), self._alone("up"):
            attempt = _Attempt(self, stack, definitions.absolute(), release, report)
            try:
                return attempt.run(history)
            except BaseException:
                with uninterrupted():
                    attempt.undo()
                raise

    def down(self, report: Report, *, remove_data: bool = False) -> tuple[Part, ...]:
        """See `Engine.down`."""
        if not self.state_dir.is_dir():
            return ()
        with _as_engine_errors(), self._alone("down"), uninterrupted():
            records = [record for record in self.ledger().records if is_alive(record.process)]
            stop(record.process for record in records)
            self.place("state.json").unlink(missing_ok=True)
            if remove_data:
                _remove(self.place(name) for name in OURS)
            stopped = tuple(_part(record.launch, "stopped") for record in records)
            for part in stopped:
                report(part)
            return stopped

    def parts(self) -> tuple[Part, ...]:
        """See `Engine.parts`. Raises EngineError if it cannot tell."""
        with _as_engine_errors():
            return tuple(self._part(record) for record in self.ledger().records)

    @contextmanager
    def _alone(self, verb: str) -> Iterator[None]:
        try:
            with exclusive(self.state_dir, verb):
                yield
        finally:
            if self.state_dir.parent.name == ".reliary":
                with suppress(OSError):  # other stacks may live in it
                    self.state_dir.parent.rmdir()

    def _part(self, record: Record) -> Part:
        launch = record.launch
        if not is_alive(record.process):
            return _part(launch, "failed", f"has ended, see {self.log(launch.name)}")
        trouble = readiness.trouble(launch.name, _url(launch))
        return _part(launch, "starting", trouble) if trouble else _part(launch, "healthy")

    def place(self, name: str) -> Path:
        """The absolute path of something in the state folder."""
        return self.state_dir.absolute() / name

    def log(self, part: str) -> Path:
        """The log of a part since it was last started."""
        return self.place("logs") / f"{part}.log"

    def ledger(self) -> Ledger:
        return read_ledger(self.place("state.json"))


class _Attempt:
    """One `up`: what it found, what it has changed since, and how to take that back."""

    def __init__(self, engine: LocalEngine, stack: Stack, definitions: Path, release: str, report: Report) -> None:
        self.engine, self.stack, self.definitions = engine, stack, definitions
        self.release, self.report = release, report
        self.build, self.build_before = engine.place("build"), engine.place("build.before")
        self.ledger = engine.ledger()
        self.running = {each.launch.name: each for each in self.ledger.records if is_alive(each.process)}
        self.replaced: list[Record] = []
        self.started: list[Record] = []
        self.rebuilt = False
        places = (*OURS, "data/alertmanager", "data/prometheus")
        self.created = [self.build_before]
        self.created += [place for name in places if not (place := engine.place(name)).exists()]

    def run(self, history: bool) -> Running:
        found = bool(self.running)
        tools = self._tools()
        ports = self._ports()
        files = self.engine.compiler(self.stack, site(self.stack, ports, self.definitions), self.release)
        launches = self._launches(tools, ports)
        self._prepare()
        self._end_outdated(launches)
        if _digest(files) != self.ledger.build or not self.build.is_dir():
            self._rebuild(files)
        if history:
            self._write_history()
        for launch in launches:
            self._start(launch)
        if self.rebuilt:
            self._reload()
        # Prometheus comes last: while another part is in trouble, its own trouble is to wait for that one.
        self._wait(sorted(ports, key="prometheus".__eq__), self._trouble, "healthy")
        self._save(_digest(files))
        _remove([self.build_before])
        parts = tuple(self._settled(launch, "healthy") for launch in launches)
        changed = self.started or self.replaced or self.rebuilt
        change: Change = "started" if not found else "updated" if changed else "unchanged"
        return Running(f"http://{HOST}:{ports['prometheus']}", parts, change)

    def _tools(self) -> dict[str, Tool]:
        return {part: self._tool(part, SERVERS[part]) for part in wanted(self.stack) if part in SERVERS}

    def _tool(self, part: str, name: ToolName) -> Tool:
        return find_tool(name, say=lambda text: self.report(Part(part, "", "starting", text)))

    def _ports(self) -> dict[str, int]:
        """A running part keeps its port; another gets its former one, its usual one or any, whichever is free."""
        former = {record.launch.name: record.launch.port for record in self.ledger.records}
        ports: dict[str, int] = {}
        with ExitStack() as held:
            for name in wanted(self.stack):
                choices = [former[name]] if name in former else []
                free = (_free_port(port, held) for port in (*choices, self.engine.ports[name], 0))
                ports[name] = former[name] if name in self.running else next(filter(None, free))
        return ports

    def _launches(self, tools: Mapping[str, Tool], ports: Mapping[str, int]) -> list[Launch]:
        folders = Folders(self.definitions, self.build, self.engine.place("data"))

        def of(part: str, port: int) -> Launch:
            tool = tools.get(part)
            program, cwd = ((str(tool.path),), tool.cwd) if tool else (self.engine.program, None)
            return launch_of(self.stack, part, port, program, cwd, folders)

        return [of(part, port) for part, port in ports.items()]

    def _prepare(self) -> None:
        for name in ("data", "logs"):
            self.engine.place(name).mkdir(exist_ok=True)
        self.engine.place(".gitignore").write_text("*\n")

    def _end_outdated(self, launches: list[Launch]) -> None:
        outdated = [record for record in self.running.values() if record.launch not in launches]
        with uninterrupted():
            stop(record.process for record in outdated)
            for record in outdated:
                self.replaced.append(self.running.pop(record.launch.name))
                self.report(_part(record.launch, "stopped"))

    def _rebuild(self, files: tuple[File, ...]) -> None:
        from reliary.emit import write_build

        _remove([self.build_before])
        if self.build.exists():
            shutil.copytree(self.build, self.build_before)
        self.rebuilt = True
        write_build(files, self.release, self.build)

    def _write_history(self) -> None:
        storage = self.engine.place("data/prometheus")
        if self.stack.demo is None or storage.exists():
            return
        self.report(Part("prometheus", "", "starting", "is given a past"))
        backfill(self.stack, self.engine.now(), storage, self._tool("prometheus", "promtool").path)

    def _start(self, launch: Launch) -> None:
        if launch.name in self.running:
            return
        if launch.name == "exporter":
            self._wait(["prometheus"], lambda record: readiness.trouble("prometheus", _url(record.launch)), "starting")
        self.report(_part(launch, "starting"))
        with uninterrupted():
            try:
                record = start(launch, self.engine.log(launch.name))
            except OSError as error:
                raise EngineError(launch.name, f"cannot be started: {error}", "Correct it, then try again.") from error
            self.running[launch.name] = record
            self.started.append(record)
            self._save(self.ledger.build)

    def _save(self, build: str) -> None:
        records = tuple(self.running[name] for name in PORTS if name in self.running)
        write_ledger(Ledger(build, records), self.engine.place("state.json"))

    def _reload(self) -> None:
        for record in self._survivors():
            name = record.launch.name
            try:
                readiness.reload(_url(record.launch))
            except readiness.ReloadRefused as refused:
                raise self._failure(name, f"refuses the new configuration: {refused}") from refused

    def _survivors(self) -> list[Record]:
        """Parts that run since before and have to be told when their configuration changes."""
        return [record for name, record in self.running.items() if name in RELOADING and record not in self.started]

    def _wait(self, names: Iterable[str], trouble: Callable[[Record], str | None], reached: PartState) -> None:
        """Returns when no part of `names` has a trouble; `reached` is what is reported of it then.

        Raises EngineError when any part ends, or time is up.
        """
        deadline = time.monotonic() + self.engine.patience_seconds
        waiting = dict.fromkeys(names, "")
        while True:
            for name, record in self.running.items():
                if not is_alive(record.process):
                    raise self._failure(name, "ended while the stack was starting")
            looks = {name: self._look(name, before, trouble, reached) for name, before in waiting.items()}
            waiting = {name: reason for name, reason in looks.items() if reason}
            if not waiting:
                return
            if time.monotonic() > deadline:
                name, reason = next(iter(waiting.items()))
                raise self._failure(name, f"is not healthy after {self.engine.patience_seconds:g} s: it {reason}")
            time.sleep(POLL_SECONDS)

    def _look(self, name: str, before: str, trouble: Callable[[Record], str | None], reached: PartState) -> str:
        """The trouble of a part, or nothing; what has changed since `before` is reported."""
        record = self.running[name]
        now = trouble(record)
        if now is None:
            self.report(self._settled(record.launch, reached))
        elif now != before:
            self.report(_part(record.launch, "starting", now))
        return now or ""

    def _trouble(self, record: Record) -> str | None:
        name, url = record.launch.name, _url(record.launch)
        found = readiness.trouble(name, url)
        if found is None and name == "prometheus":
            parts = {f"{HOST}:{each.launch.port}": part for part, each in self.running.items()}
            return readiness.scraping_trouble(url, parts)
        return found

    def _settled(self, launch: Launch, state: PartState) -> Part:
        usual = self.engine.ports[launch.name]
        return _part(launch, state, "" if launch.port == usual else f"port {usual} is taken")

    def _failure(self, part: str, reason: str) -> EngineError:
        launch = self.running[part].launch
        self.report(_part(launch, "failed", reason))
        lines = last_lines(self.engine.log(part), LOG_LINES)
        return EngineError(part, reason, "Correct what its last lines say, then try again.", lines)

    def undo(self) -> None:
        """Puts back what was there before: the old build, the parts that ran, and no files of ours."""
        stop(record.process for record in self.started)
        self.running = {name: each for name, each in self.running.items() if each not in self.started}
        if self.rebuilt and self.build_before.exists():
            _remove([self.build])
            self.build_before.rename(self.build)
        for record in self.replaced:
            with suppress(OSError):
                self.running[record.launch.name] = start(record.launch, self.engine.log(record.launch.name))
        if self.rebuilt:
            for record in self._survivors():
                with suppress(readiness.ReloadRefused):
                    readiness.reload(_url(record.launch))
        if self.running:
            self._save(self.ledger.build)
        else:
            _remove([self.engine.place("state.json")])
        _remove(self.created)


def _part(launch: Launch, state: PartState, detail: str = "") -> Part:
    return Part(launch.name, _url(launch), state, detail)


def _url(launch: Launch) -> str:
    return f"http://{HOST}:{launch.port}"


def _digest(files: tuple[File, ...]) -> str:
    return hashlib.sha256(repr(files).encode()).hexdigest()


def _free_port(port: int, held: ExitStack) -> int | None:
    """The port (0: any), kept until `held` ends so that no other part gets it; None if it is taken."""
    server = held.enter_context(socket.socket())
    # As the servers do it: a connection that is only fading out is no obstacle.
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((HOST, port))
    except OSError:
        return None
    server.listen()
    return int(server.getsockname()[1])


def _remove(places: Iterable[Path]) -> None:
    for place in places:
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


@contextmanager
def _as_engine_errors() -> Iterator[None]:
    """What can go wrong beneath, with a next step."""
    try:
        yield
    except Busy as busy:
        raise EngineError("reliary", str(busy), "Try again when it is done.") from busy
    except ToolMissing as missing:
        raise EngineError(missing.name, f"was not found: {'; '.join(missing.tried)}", missing.next_step) from missing
    except HistoryError as error:
        raise EngineError("history", str(error), "Start without a past (--no-history).", error.log_lines) from error
    except LedgerDamaged as damaged:
        step = "End the servers that still run by hand, then remove the file."
        raise EngineError("reliary", str(damaged), step) from damaged
    except OSError as error:
        raise EngineError("reliary", str(error), "Correct it, then try again.") from error
