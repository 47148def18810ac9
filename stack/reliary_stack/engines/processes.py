"""Detached processes: started, recognised again by a later run, and ended. Linux only.

A process is known by its pid and the moment the kernel started it, so a pid that was recycled is never mistaken
for ours. Signals go through a pidfd, which cannot come to mean another process between the check and the kill.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = [
    "Launch",
    "Ledger",
    "LedgerDamaged",
    "Process",
    "Record",
    "is_alive",
    "last_lines",
    "read_ledger",
    "start",
    "stop",
    "termination_unwinds",
    "uninterrupted",
    "write_ledger",
]

GRACE_SECONDS = 20.0
KILL_SECONDS = 5.0
TAIL_BYTES = 64 * 1024
LEDGER_FORMAT = 1

# What our servers may know about us. Tokens and passwords live in the environment of many shells.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH")

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Popen must be polled to reap its process, and complains when it is dropped while the process runs.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class Process:
    """One process for all time: its pid, its start in clock ticks since boot, and which boot that was."""

    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How a part is started. Two that are equal need no restart: `reads` stands for what is only read at the start."""

    name: str
    port: int
    command: tuple[str, ...]
    cwd: str
    reads: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A part that was started, as the next run finds it."""

    launch: Launch
    process: Process


@dataclass(frozen=True, slots=True)
class Ledger:
    """What runs, in the order in which it was started, and the digest of the build that it runs with."""

    build: str = ""
    records: tuple[Record, ...] = ()


class LedgerDamaged(Exception):
    """The file does not say which processes are ours."""


def read_ledger(file: Path) -> Ledger:
    """What `write_ledger` wrote; an empty one if there is no file. Raises LedgerDamaged."""
    try:
        data = json.loads(file.read_bytes())
        if data.pop("format") != LEDGER_FORMAT:
            raise LedgerDamaged(f"{file} was written by another version")
        return Ledger(data["build"], tuple(_record(each) for each in data["records"]))
    except FileNotFoundError:
        return Ledger()
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise LedgerDamaged(f"{file} is damaged") from fault


def _record(data: dict[str, Any]) -> Record:
    launch, process = data["launch"], Process(**data["process"])
    # A pid of 0 or below would address groups of processes.
    if type(process.pid) is not int or process.pid <= 0:
        raise ValueError("not a pid")
    return Record(Launch(**{**launch, "command": tuple(launch["command"])}), process)


def write_ledger(ledger: Ledger, file: Path) -> None:
    """Replaces the file in one step: a reader finds the old one or the new one."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(json.dumps({"format": LEDGER_FORMAT, **asdict(ledger)}, indent=1) + "\n")
    fresh.replace(file)


def start(launch: Launch, log: Path) -> Record:
    """The part, started in a session of its own that outlives us; its output goes to `log`, without a terminal.

    The log of the run before is kept beside it as `<name>.before`. Raises OSError if it cannot be executed.
    """
    if log.exists():
        log.replace(log.with_name(f"{log.name}.before"))
    with log.open("wb") as output:
        child = subprocess.Popen(
            launch.command,
            cwd=launch.cwd,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children.append(child)
    # Even if it has ended already, it keeps its entry in /proc until it is reaped.
    stat = _stat(child.pid)
    assert stat is not None
    return Record(launch, Process(child.pid, stat.start_ticks, _boot_id()))


def is_alive(process: Process) -> bool:
    """Whether this very process still runs."""
    _reap()
    stat = _stat(process.pid)
    return stat is not None and stat.runs and stat.start_ticks == process.start_ticks and process.boot_id == _boot_id()


def stop(processes: Iterable[Process], grace_seconds: float = GRACE_SECONDS) -> None:
    """Ends them: SIGTERM to all at once, `grace_seconds` to comply, then SIGKILL. Gone ones are passed over.

    What they started in their sessions is killed when they are gone.
    """
    leaders: list[int] = []
    members: list[int] = []
    with ExitStack() as open_files:
        for process in processes:
            if held := _hold(process, open_files):
                leaders += held
                members += [fd for each in _session(process.pid) for fd in _hold(each, open_files)]
        deadline = time.monotonic() + grace_seconds
        for fd in leaders:
            _send(fd, signal.SIGTERM)
        for fd in leaders:
            _wait(fd, deadline - time.monotonic())
        for fd in leaders + members:
            _send(fd, signal.SIGKILL)
        for fd in leaders + members:
            _wait(fd, KILL_SECONDS)
    _reap()


def last_lines(log: Path, count: int) -> tuple[str, ...]:
    """The last lines of a log that are not blank; none if there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(line.rstrip() for line in text.splitlines() if line.strip())[-count:]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds back Ctrl-C, SIGTERM and SIGHUP to the end of the block, so that what must be done together is.

    Outside the main thread, where no signal is handled, it does nothing.
    """
    caught: list[int] = []
    with _handled(_ENDING_SIGNALS, lambda number, _: caught.append(number)):
        yield
    for number in caught[:1]:
        signal.raise_signal(number)


@contextmanager
def termination_unwinds() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise SystemExit within the block, so that what was begun is undone."""
    quiet = [number for number in _ENDING_SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    with _handled(quiet, lambda number, _: sys.exit(128 + number)):
        yield


@contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, object], object]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


@dataclass(frozen=True, slots=True)
class _Stat:
    runs: bool
    session: int
    start_ticks: int


def _stat(pid: int) -> _Stat | None:
    """What /proc says about a pid (see proc_pid_stat(5)), None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the command's name in parentheses, which may itself contain spaces and parentheses.
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(runs=fields[0] not in "ZX", session=int(fields[3]), start_ticks=int(fields[19]))


@cache
def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _session(leader: int) -> list[Process]:
    """The other processes of a session whose leader is alive."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    stats = {pid: stat for pid in pids if pid != leader and (stat := _stat(pid))}
    return [Process(pid, stat.start_ticks, _boot_id()) for pid, stat in stats.items() if stat.session == leader]


def _hold(process: Process, open_files: ExitStack) -> list[int]:
    """A file descriptor for the process, none if it is gone."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return []
    open_files.callback(os.close, fd)
    # Only now: an identity that is checked before the descriptor is held could change in between.
    return [fd] if is_alive(process) else []


def _send(fd: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(fd, number)


def _wait(fd: int, seconds: float) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll(max(0.0, seconds) * 1000)


def _reap() -> None:
    _children[:] = [child for child in _children if child.poll() is None]
