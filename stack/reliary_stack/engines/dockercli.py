"""The commands `docker` and Compose: which of them are here, what they know, and what they refuse.

They find the engine as they always do, by DOCKER_HOST or the chosen context.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

__all__ = [
    "CommandFailed",
    "Compose",
    "Container",
    "containers",
    "docker",
    "engine_answers",
    "last_logs",
    "remove_containers",
    "remove_networks",
    "remove_volumes",
    "volumes",
]

ANSWER_SECONDS = 2.0
COMMAND_SECONDS = 1800.0
ENDING_SECONDS = 10.0
SHOWN_LINES = 15

_PROJECT = "com.docker.compose.project"
_COLOURS = re.compile("\x1b\\[[0-9;]*m")


class CommandFailed(Exception):
    """A command ended with an error or took too long; `lines` is what it said last."""

    def __init__(self, command: str, lines: tuple[str, ...]) -> None:
        super().__init__(f"`{command}` failed: {lines[-1] if lines else 'it said nothing'}")
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a Compose project, as it was a moment ago. `folder` is that of its Compose file.

    `status` and `health` are Docker's words; `health` is None without a health check. `said` is what the last check
    printed, `restarts` how often the engine started it again after it had ended by itself; `out_of_memory` if the
    kernel ended it because of its limit.
    """

    id: str
    part: str
    folder: Path
    status: str
    exit_code: int
    health: str | None
    said: str
    restarts: int
    out_of_memory: bool


def engine_answers() -> bool:
    """Whether a Docker engine answers within two seconds."""
    try:
        docker("version", "--format", "{{.Server.Version}}", seconds=ANSWER_SECONDS)
    except CommandFailed:
        return False
    return True


def docker(*words: str, seconds: float = COMMAND_SECONDS) -> str:
    """What `docker` prints. Raises CommandFailed, also when there is no such command."""
    return _run(f"docker {words[0]}", ("docker", *words), None, seconds)


def containers(project: str) -> tuple[Container, ...]:
    """Every container of a Compose project, whatever its state. Raises CommandFailed."""
    for _ in range(3):
        ids = docker("ps", "-aq", "--no-trunc", "--filter", f"label={_PROJECT}={project}").split()
        try:
            return tuple(map(_container, json.loads(docker("inspect", *ids)))) if ids else ()
        except CommandFailed as failed:
            gone = failed  # one was removed between the two questions: ask again
    raise gone


def _container(row: dict[str, Any]) -> Container:
    labels, state = row["Config"]["Labels"], row["State"]
    health = state.get("Health") or {}
    checks = health.get("Log") or [{}]
    return Container(
        id=row["Id"],
        part=labels["com.docker.compose.service"],
        folder=Path(labels.get(f"{_PROJECT}.working_dir", "/")),
        status=state["Status"],
        exit_code=state["ExitCode"],
        health=health.get("Status"),
        said=" ".join(checks[-1].get("Output", "").split()),
        restarts=row["RestartCount"],
        out_of_memory=bool(state.get("OOMKilled")),
    )


def remove_containers(found: Iterable[Container]) -> None:
    """Stops containers, all at once and each with its own time of grace, and removes them. Raises CommandFailed."""
    ids = [each.id for each in found]
    if ids:
        docker("stop", *ids)
        docker("rm", "-f", "-v", *ids)


def remove_networks(project: str) -> None:
    """Removes the networks of a Compose project. Raises CommandFailed, also when a container still uses one."""
    ids = docker("network", "ls", "-q", "--filter", f"label={_PROJECT}={project}").split()
    if ids:
        docker("network", "rm", *ids)


def volumes(project: str) -> frozenset[str]:
    """The names of a Compose project's volumes. Raises CommandFailed."""
    return frozenset(docker("volume", "ls", "-q", "--filter", f"label={_PROJECT}={project}").split())


def remove_volumes(names: Iterable[str]) -> None:
    """Removes volumes and what is in them. Raises CommandFailed."""
    doomed = sorted(names)
    if doomed:
        docker("volume", "rm", *doomed)


def last_logs(container: Container) -> tuple[str, ...]:
    """The last lines that a container wrote; none if the engine does not say."""
    try:
        done = subprocess.run(
            ["docker", "logs", "--tail", str(SHOWN_LINES), container.id],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _lines(done.stdout)


@dataclass(frozen=True, slots=True)
class Compose:
    """Compose on one project and one build. `variables` are those that the build's file asks for."""

    command: tuple[str, ...]
    project: str
    build: Path
    variables: Mapping[str, str]

    @staticmethod
    def command_here() -> tuple[str, ...] | None:
        """`docker compose` if the plugin is installed, else `docker-compose`, else None."""
        try:
            docker("compose", "version", seconds=ANSWER_SECONDS)
        except CommandFailed:
            return ("docker-compose",) if shutil.which("docker-compose") else None
        return ("docker", "compose")

    def run(self, *words: str, meanwhile: Callable[[], object] | None = None) -> None:
        """Runs a verb of Compose to its end, and calls `meanwhile` again and again. Raises CommandFailed.

        What `meanwhile` raises ends the command too.
        """
        file = str(self.build / "docker-compose.yml")
        command = (*self.command, "-p", self.project, "-f", file, *words)
        name = " ".join((*self.command, words[0]))
        _run(name, command, {**os.environ, **self.variables}, COMMAND_SECONDS, meanwhile)


def _run(
    name: str,
    command: tuple[str, ...],
    environment: Mapping[str, str] | None,
    seconds: float,
    meanwhile: Callable[[], object] | None = None,
) -> str:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = _started(name, command, environment, (output, errors))
        try:
            _await(process, seconds, meanwhile)
        except subprocess.TimeoutExpired:
            raise CommandFailed(name, (f"it took longer than {seconds:g} seconds",)) from None
        finally:
            _end(process)
        output.seek(0)
        errors.seek(0)
        said = output.read()
        if process.returncode != 0:
            raise CommandFailed(name, _lines(said + errors.read()))
    return said.decode(errors="replace")


def _started(
    name: str, command: tuple[str, ...], environment: Mapping[str, str] | None, output: tuple[IO[bytes], IO[bytes]]
) -> subprocess.Popen[bytes]:
    """The command in a session of its own: Ctrl-C reaches us alone, and we end it when it can be undone."""
    stdout, stderr = output
    nothing = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            command, env=environment, stdin=nothing, stdout=stdout, stderr=stderr, start_new_session=True
        )
    except OSError as error:
        raise CommandFailed(name, (str(error),)) from error


def _await(process: subprocess.Popen[bytes], seconds: float, meanwhile: Callable[[], object] | None) -> None:
    if meanwhile is None:
        process.wait(seconds)
        return
    while process.poll() is None:
        meanwhile()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a command that still runs, and what it started: `docker compose` is two processes."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _lines(output: bytes) -> tuple[str, ...]:
    text = _COLOURS.sub("", output.decode(errors="replace"))
    lines = (line.rstrip() for line in text.splitlines())
    return tuple(line for line in lines if line)[-SHOWN_LINES:]
