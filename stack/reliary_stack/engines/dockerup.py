"""One `up` of the engine with containers: what it does, in order, and how it takes that back."""

from __future__ import annotations

import hashlib
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reliary import composefile
from reliary.artifacts import File, Site
from reliary.model import Stack
from reliary.pins import pins
from reliary_stack.demo.history import BLOCK, openmetrics
from reliary_stack.engines import readiness
from reliary_stack.engines.dockercli import (
    CommandFailed,
    Compose,
    Container,
    containers,
    docker,
    last_logs,
    remove_containers,
    remove_networks,
    remove_volumes,
    volumes,
)
from reliary_stack.engines.dockerimage import ensure_exporter_image, has_image, readable_by_all
from reliary_stack.engines.dockerparts import compose_site, part_of, scraped
from reliary_stack.engines.dockersecrets import copy_secrets
from reliary_stack.engines.dockerstate import HOST, State, project_of, write_state
from reliary_stack.engines.engine import Change, EngineError, Part, Report, Running

if TYPE_CHECKING:
    from reliary_stack.engines.docker import DockerEngine

__all__ = ["Attempt", "explained"]

POLL_SECONDS = 0.3
HISTORY_FILE = "history.om"


class Attempt:
    """One `up`: what it found, what it has changed since, and how to take that back."""

    def __init__(self, engine: DockerEngine, stack: Stack, definitions: Path, release: str, report: Report) -> None:
        self.engine, self.stack, self.definitions, self.release = engine, stack, definitions, release
        self.report = report
        self.said: dict[str, Part] = {}
        self.former = engine.state()
        self.project = project_of(stack.name)
        self.found = engine.containers(self.project)
        self.found_ids = {each.id for each in self.found}
        self.found_running = {each.part for each in self.found if each.status == "running"}
        self.found_volumes = volumes(self.project)
        self.found_secrets = engine.secrets.exists()
        self.state, self.site = State(self.project), Site()

    def require_own_project(self) -> None:
        """Raises EngineError when another folder runs this stack, or this folder another one. To be called first."""
        others = [each for each in containers(self.project) if each.id not in self.found_ids]
        if others:
            reason = f"a stack of the name {self.stack.name} already runs from {others[0].folder}"
            raise EngineError("reliary", reason, "Stop it there, or give this one another name.")
        if self.former.project != self.project and self.engine.containers(self.former.project):
            reason = f"{self.former.project} still runs from this folder"
            raise EngineError("reliary", reason, "Stop it with `reliary down`, or choose another --state.")

    def run(self, history: bool) -> Running:
        """The running stack. Raises EngineError, CommandFailed and OSError; then `undo` is to be called."""
        parts = composefile.parts(self.stack)
        image = self._images(parts)
        ports = self._ports(parts)
        self.site = compose_site(self.stack, ports)
        files = self.engine.compiler(self.stack, self.site, self.release)
        self.state = State(self.project, _digest(files, image, ports), parts, ports)
        self._write_build(files)
        password = copy_secrets(composefile.secret_names(self.stack), self.definitions / "secrets", self.engine.secrets)
        if self.former.build != self.state.build:
            self._end_former()
        if history and self.stack.demo and self._storage not in self.found_volumes:
            self._write_history()
        self._start()
        write_state(self.state, self.engine.state_file)
        self._remove_builds_but(self.state)
        return self._running(password)

    def undo(self) -> None:
        """Puts back what was there before: its containers, its build, and no volume or file of this call."""
        with suppress(CommandFailed):
            now = containers(self.project)
            remove_containers(each for each in now if each.id not in self.found_ids)
            remove_volumes(volumes(self.project) - self.found_volumes)
            if not self.found:
                remove_networks(self.project)
            elif self.found_running and self.found_ids - {each.id for each in now} and self.former.build:
                self._compose(self.former).run("up", "-d")
        self._remove_builds_but(self.former)
        if not self.found_secrets:
            shutil.rmtree(self.engine.secrets, ignore_errors=True)

    def _images(self, parts: tuple[str, ...]) -> str:
        """Gets what is not here; returns the digest of what the exporter's image is made of."""
        pinned = pins(self.stack.pins)
        for part in parts:
            if part in pinned and not has_image(pinned[part].reference):
                self._pull(part, pinned[part].reference)
        build = lambda text: self._say(Part("exporter", "", "starting", text))  # noqa: E731
        with explained("exporter", "its image was not built", "Building needs a registry and a package index."):
            return ensure_exporter_image(pinned["python"].reference, build)

    def _pull(self, part: str, image: str) -> None:
        self._say(Part(part, "", "starting", f"is downloaded: {image}"))
        next_step = "Connect to its registry, or bring it here with `docker load`."
        with explained(part, f"its image {image} is not to be had", next_step):
            docker("pull", "-q", image)

    def _ports(self, parts: tuple[str, ...]) -> dict[str, int]:
        """A running part keeps its port; another gets its former one, its usual one or any, whichever is free."""
        former = dict(self.former.ports or {})
        ports: dict[str, int] = {}
        with ExitStack() as held:
            for part in (part for part in self.engine.ports if part in parts):
                choices = [former[part]] if part in former else []
                free = (_free_port(port, held) for port in (*choices, self.engine.ports[part], 0))
                kept = former.get(part) if part in self.found_running else None
                ports[part] = kept or next(filter(None, free))
        return ports

    def _write_build(self, files: tuple[File, ...]) -> None:
        from reliary.emit import write_build

        build = self._compose(self.state).build
        if not build.exists():
            write_build(files, self.release, build)
            readable_by_all(build)

    def _compose(self, state: State) -> Compose:
        variables = {composefile.port_variable(part): str(port) for part, port in (state.ports or {}).items()}
        variables[composefile.SECRETS_VARIABLE] = str(self.engine.secrets)
        command = Compose.command_here() or ()
        return Compose(command, state.project, self.engine.builds / (state.build or ""), variables)

    def _end_former(self) -> None:
        """Compose 1 fails to replace containers behind newer engines, so the old ones go before the new ones come."""
        remove_containers(self.found)
        for each in self.found:
            self._say(Part(each.part, self.former.url(each.part), "stopped"))

    @property
    def _storage(self) -> str:
        return f"{self.project}_prometheus-data"

    def _write_history(self) -> None:
        """Fills the new volume, by the promtool of the very image that will read it."""
        self._say(Part("prometheus", "", "starting", "is given a past"))
        self._compose(self.state).run("up", "--no-start")
        with tempfile.TemporaryDirectory(prefix=".history-", dir=self.engine.folder) as scratch:
            with Path(scratch, HISTORY_FILE).open("w", encoding="utf-8") as file:
                file.writelines(openmetrics(self.stack, self.engine.now()))
            readable_by_all(Path(scratch))
            command = _backfill(pins(self.stack.pins)["prometheus"].reference, scratch, self._storage)
            with explained("history", "past data could not be written", "Start without a past (--no-history)."):
                docker(*command)

    def _start(self) -> None:
        deadline = time.monotonic() + self.engine.patience_seconds
        try:
            self._compose(self.state).run("up", "-d", meanwhile=lambda: self._all_healthy(deadline))
        except CommandFailed:
            self._all_healthy(deadline)  # most often a part has failed, and this tells which and why
            raise
        while not self._all_healthy(deadline):
            pass

    def _all_healthy(self, deadline: float) -> bool:
        """Reports how every part is, after a short pause. Raises EngineError when one has failed or time is up."""
        time.sleep(POLL_SECONDS)
        found = {each.part: each for each in containers(self.project)}
        parts = [self._judged(name, found.get(name)) for name in self.state.parts]
        for part in parts:
            self._say(part)
            if part.state == "failed":
                raise self._failure(part.detail, found[part.name])
        late = [part for part in parts if part.state != "healthy"]
        if late and time.monotonic() > deadline:
            patience = f"is not healthy after {self.engine.patience_seconds:g} s"
            raise self._failure(f"{patience}: it {late[0].detail or 'was not started'}", found.get(late[0].name))
        return not late

    def _judged(self, name: str, container: Container | None) -> Part:
        if container is None:
            return Part(name, self.state.url(name), "starting")
        if container.restarts and container.id not in self.found_ids:
            return Part(name, self.state.url(name), "failed", "ended while the stack was starting")
        part = part_of(name, self.state, container)
        trouble = self._trouble(name, part.url) if part.state == "healthy" else None
        return replace(part, state="starting", detail=trouble) if trouble else part

    def _trouble(self, name: str, url: str) -> str | None:
        """What keeps a part from being useful although its container is healthy."""
        if name == "grafana" or not url:
            return None
        found = readiness.trouble(name, url)
        if found is None and name == "prometheus":
            return readiness.scraping_trouble(url, scraped(self.stack, self.site))
        return found

    def _failure(self, reason: str, container: Container | None) -> EngineError:
        part = container.part if container else "docker"
        lines = last_logs(container) if container else ()
        return EngineError(part, reason, "Correct what its last lines say, then try again.", lines)

    def _say(self, part: Part) -> None:
        if self.said.get(part.name) != part:
            self.said[part.name] = part
            self.report(part)

    def _running(self, password: Path) -> Running:
        parts = tuple(self.said[name] for name in self.state.parts)
        here = Path.cwd()
        told = f"user admin, password in {password.relative_to(here) if password.is_relative_to(here) else password}"
        parts = tuple(replace(part, detail=told) if part.name == "grafana" else part for part in parts)
        for part in parts:
            self._say(part)
        return Running(self.state.url("prometheus"), parts, self._change())

    def _change(self) -> Change:
        if not self.found_running:
            return "started"
        same = self.found_ids == {each.id for each in containers(self.project)}
        return "unchanged" if same and len(self.found_running) == len(self.found) else "updated"

    def _remove_builds_but(self, state: State) -> None:
        for build in self.engine.builds.glob("*"):
            if build.name != state.build:
                shutil.rmtree(build)
        if state.build is None:
            shutil.rmtree(self.engine.builds, ignore_errors=True)


def _backfill(image: str, history: str, volume: str) -> tuple[str, ...]:
    return (
        "run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "65534:65534",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--mount", f"type=bind,source={history},target=/history,readonly",
        "--mount", f"type=volume,source={volume},target=/prometheus",
        "--entrypoint", "/bin/promtool", image,
        "tsdb", "create-blocks-from", "--quiet", f"--max-block-duration={BLOCK}",
        "openmetrics", f"/history/{HISTORY_FILE}", "/prometheus",
    )  # fmt: skip


def _digest(files: tuple[File, ...], image: str, ports: Mapping[str, int]) -> str:
    """Names a build after all that its containers are made of: another name, other containers."""
    return hashlib.sha256(repr((files, image, sorted(ports.items()))).encode()).hexdigest()[:16]


def _free_port(port: int, held: ExitStack) -> int | None:
    """The port (0: any), kept until `held` ends so that no other part gets it; None if it is taken."""
    server = held.enter_context(socket.socket())
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((HOST, port))
        server.listen()
    except OSError:
        return None
    return int(server.getsockname()[1])


@contextmanager
def explained(part: str, reason: str, next_step: str) -> Iterator[None]:
    """Turns a command that failed within the block into an EngineError that says what that means."""
    try:
        yield
    except CommandFailed as failed:
        raise EngineError(part, f"{reason}: {failed}", next_step, failed.lines) from failed
