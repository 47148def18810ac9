"""Where the servers come from: PATH, else Debian's packages, unpacked into a cache of ours.

Nothing is installed: `apt-get download` fetches and verifies a package, `dpkg-deb -x` unpacks it, and none of its
scripts runs. So no service is started, no user is created and no root is needed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

__all__ = ["TOOLS", "Tool", "ToolMissing", "ToolName", "cache_folder", "find_tool"]

ToolName: TypeAlias = Literal["prometheus", "promtool", "alertmanager", "amtool", "blackbox_exporter"]

TOOLS: tuple[ToolName, ...] = get_args(ToolName)
"""Every tool that can be found."""

DOWNLOAD_SECONDS = 600
VERSION_SECONDS = 30

# Debian's Alertmanager reads its default templates from a compiled-in path and exits when it is not there. The
# replacement has the same length and names the working directory, see `Tool.cwd`.
_TEMPLATES = "usr/share/prometheus/alertmanager"
_COMPILED_IN = f"/{_TEMPLATES}".encode()
_WORKING_FOLDER = b"/proc/self/cwd" + b"/." * 10
assert len(_COMPILED_IN) == len(_WORKING_FOLDER)


@dataclass(frozen=True, slots=True)
class Tool:
    """An executable, and the folder in which it has to be started (None: any)."""

    path: Path
    cwd: Path | None = None


class ToolMissing(Exception):
    """A tool is neither here nor could it be fetched: `tried` says what was done, `next_step` what helps."""

    def __init__(self, name: str, tried: tuple[str, ...], next_step: str) -> None:
        super().__init__(f"{name} was not found: {'; '.join(tried)}. {next_step}")
        self.name, self.tried, self.next_step = name, tried, next_step


@dataclass(frozen=True, slots=True)
class _Source:
    """Names on PATH, upstream's first; the last one is also the file's name in Debian's package."""

    package: str
    commands: tuple[str, ...]
    cwd: str | None = None

    def unpacked(self, folder: Path) -> Tool:
        cwd = folder / self.cwd if self.cwd else None
        return Tool(folder / "usr/bin" / self.commands[-1], cwd)


_SOURCES: dict[ToolName, _Source] = {
    "prometheus": _Source("prometheus", ("prometheus",)),
    "promtool": _Source("prometheus", ("promtool",)),
    "alertmanager": _Source("prometheus-alertmanager", ("alertmanager", "prometheus-alertmanager"), _TEMPLATES),
    "amtool": _Source("prometheus-alertmanager", ("amtool",)),
    "blackbox_exporter": _Source("prometheus-blackbox-exporter", ("blackbox_exporter", "prometheus-blackbox-exporter")),
}


class _Failed(Exception):
    """A step of the download went wrong; its text is for people."""


def _ignore(_: str) -> None:
    pass


def find_tool(name: ToolName, *, download: bool = True, say: Callable[[str], None] = _ignore) -> Tool:
    """The tool from PATH, else from the cache, else (with `download`) freshly fetched into the cache.

    `say` is told what takes long. Safe to call from several processes at once. Raises ToolMissing.
    """
    source = _SOURCES[name]
    on_path = next(filter(None, map(shutil.which, source.commands)), None)
    if on_path:
        return Tool(Path(on_path).absolute())
    tried = [f"{' and '.join(source.commands)} on PATH", f"the cache {cache_folder()}"]
    cached = _newest(source)
    if cached is None and download:
        try:
            cached = _fetch(source, say)
        except (_Failed, OSError) as failed:
            tried.append(f"Debian's package {source.package} ({failed})")
    if cached is None:
        raise ToolMissing(name, tuple(tried), _next_step(name, source, download))
    return cached


def _next_step(name: str, source: _Source, download: bool) -> str:
    if not download:
        return f"Install {name} so that it is on PATH, or allow the download of Debian's {source.package}."
    return f"Install {name} so that it is on PATH, or connect to a Debian mirror and try again."


def cache_folder() -> Path:
    """$RELIARY_CACHE, else `reliary` in $XDG_CACHE_HOME or ~/.cache. It may not exist yet."""
    if chosen := os.environ.get("RELIARY_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "reliary"


def _newest(source: _Source) -> Tool | None:
    """The tool of the package that was unpacked last; only finished folders have a name without a dot."""
    folders = sorted(_packages().glob(f"{source.package}_*_{_architecture()}"), key=lambda path: path.stat().st_mtime)
    tools = (source.unpacked(folder) for folder in reversed(folders))
    return next((tool for tool in tools if os.access(tool.path, os.X_OK)), None)


def _packages() -> Path:
    return cache_folder() / "debian"


def _architecture() -> str:
    # A home folder may be shared by machines of different kinds.
    return _run("dpkg", "--print-architecture").strip() if shutil.which("dpkg") else "*"


def _fetch(source: _Source, say: Callable[[str], None]) -> Tool:
    if missing := [program for program in ("apt-get", "dpkg-deb") if not shutil.which(program)]:
        raise _Failed(f"there is no {' and no '.join(missing)} here")
    _packages().mkdir(parents=True, exist_ok=True)
    with _only_one(_packages() / ".lock", say):
        # Another process may have fetched it while this one waited.
        return _newest(source) or _unpack(source, say)


@contextmanager
def _only_one(lock: Path, say: Callable[[str], None]) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another download")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpack(source: _Source, say: Callable[[str], None]) -> Tool:
    """Fetches into a hidden folder and renames it when it is finished and tried: no other run sees a half one."""
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=_packages()) as scratch:
        say(f"downloading Debian's {source.package}")
        archive = _download(source.package, Path(scratch))
        unpacked, final = Path(scratch, "root"), _packages() / archive.stem
        _run("dpkg-deb", "-x", archive, unpacked)
        if source.cwd:
            _redirect_templates(source.unpacked(unpacked).path)
        for each in _SOURCES.values():
            if each.package == source.package:
                _run(each.unpacked(unpacked).path, "--version", seconds=VERSION_SECONDS)
        shutil.rmtree(final, ignore_errors=True)
        unpacked.rename(final)
        final.touch()  # the archive brought a date of its own; `_newest` wants today's
    return source.unpacked(final)


def _redirect_templates(binary: Path) -> None:
    binary.write_bytes(binary.read_bytes().replace(_COMPILED_IN, _WORKING_FOLDER))


def _download(package: str, scratch: Path) -> Path:
    """The path of the package, fetched with this machine's lists, else with fresh lists of our own."""
    try:
        return _apt_download(package, scratch, ())
    except _Failed as first:
        # No lists (a slim image) or old ones (the mirror has dropped the version they name).
        private = _private_lists(scratch / "apt")
        try:
            # Update's own exit code says little: one unreachable third-party source is no obstacle.
            _call(_apt(private, "update"))
            return _apt_download(package, scratch, private)
        except _Failed as second:
            raise _Failed(f"{first}; with fresh package lists: {second}") from second


def _private_lists(folder: Path) -> tuple[str, ...]:
    for needed in ("state", "lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True)
    places = {"Dir::State": "state", "Dir::State::Lists": "lists", "Dir::Cache": "cache"}
    return tuple(part for key, value in places.items() for part in ("-o", f"{key}={folder / value}"))


def _apt(options: tuple[str, ...], *arguments: str) -> tuple[str, ...]:
    return (
        "apt-get", "-q", *options,
        "-o", "APT::Sandbox::User=root",  # else it warns that its own user cannot reach our folder
        "-o", "APT::Get::AllowUnauthenticated=false",
        "-o", "Acquire::Languages=none",
        "-o", "Acquire::Retries=2",
        "-o", "Acquire::http::Timeout=30",
        *arguments,
    )  # fmt: skip


def _apt_download(package: str, scratch: Path, options: tuple[str, ...]) -> Path:
    _run(*_apt(options, "download", package), cwd=scratch)
    found = list(scratch.glob(f"{package}_*.deb"))
    if len(found) != 1:
        raise _Failed(f"apt-get download {package} left {len(found)} packages")
    return found[0]


def _run(*command: str | Path, cwd: Path | None = None, seconds: float = DOWNLOAD_SECONDS) -> str:
    """Its standard output. Raises _Failed with the last line that it wrote."""
    done = _call(command, cwd, seconds)
    if done.returncode != 0:
        lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("E:")]  # apt ends with warnings
        said = (errors or lines or [f"exit code {done.returncode}"])[-1]
        raise _Failed(f"{Path(command[0]).name}: {said}")
    return done.stdout


def _call(
    command: Sequence[str | Path], cwd: Path | None = None, seconds: float = DOWNLOAD_SECONDS
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _Failed(f"{Path(command[0]).name} took longer than {seconds:g} seconds") from None
