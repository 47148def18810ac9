"""The engine with containers: what `docker-compose.yml` says, behind a Docker engine that sees this machine's files.

Each build has a folder of its own, named after what is in it. So containers never look into a folder whose content
was exchanged, and the build before is still there when the new one does not come up. Compose starts; stopping goes by
the labels that it leaves, which needs no file of ours. `_Attempt` is one `up`.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from reliary import composefile
from reliary.artifacts import File, Site
from reliary.model import Stack
from reliary.pins import pins
from reliary_stack import readiness
from reliary_stack.dockercli import (
    CommandFailed,
    Compose,
    Container,
    containers,
    docker,
    engine_answers,
    last_logs,
    remove_containers,
    remove_networks,
    remove_volumes,
    volumes,
)
from reliary_stack.dockerimage import ensure_exporter_image, has_image, readable_by_all
from reliary_stack.dockersecrets import copy_secrets, remove_copies
from reliary_stack.dockerstate import HOST, State, only_run, project_of, read_state, write_state
from reliary_stack.engine import Change, EngineError, Part, PartState, Report, Running
from reliary_stack.history import BLOCK, openmetrics
from reliary_stack.processes import termination_unwinds, uninterrupted

__all__ = ["DockerEngine", "available", "compose_site"]

POLL_SECONDS = 0.3
HISTORY_FILE = "history.om"

Compiler: TypeAlias = Callable[[Stack, Site, str], tuple[File, ...]]


def available() -> bool:
    """Whether a Docker engine answers within two seconds and Compose is installed."""
    return engine_answers() and Compose.command_here() is not None


def compose_site(stack: Stack, ports: Mapping[str, int]) -> Site:
    """The site of containers that people reach on this machine at `ports`, by part."""
    return Site(
        prometheus_url=f"http://localhost:{ports['prometheus']}",
        alertmanager_url=f"http://localhost:{ports['alertmanager']}",
        grafana_url=f"http://localhost:{ports['grafana']}",
        targets=tuple(_unreachable(stack)),
    )


def _unreachable(stack: Stack) -> Iterator[tuple[str, str]]:
    """Addresses of the played service that the demo cannot have, and its own: it has many names, but one port."""
    targets = [target.rsplit(":", 1) for target in composefile.played_targets(stack)]
    for host, port in targets:
        if port != targets[0][1] or re.fullmatch(r"localhost|[0-9.]+", host):
            yield f"{host}:{port}", f"demo:{targets[0][1]}"


def _compile(stack: Stack, site: Site, release: str) -> tuple[File, ...]:
    from reliary.compile import compile_stack  # not needed for `down` and `parts`, and slow to import

    return compile_stack(stack, site, release)


@dataclass(frozen=True, slots=True)
class DockerEngine:
    """A stack in containers; the folder `docker` in `state_dir` has its builds and copies of its secrets.

    A port of `ports` that is taken is replaced by a free one. A part that is not healthy after `patience_seconds`
    has failed; downloads do not count.
    """

    state_dir: Path
    compiler: Compiler = _compile
    ports: Mapping[str, int] = field(default_factory=lambda: composefile.PORTS)
    patience_seconds: float = 180.0
    now: Callable[[], float] = time.time

    def up(self, stack: Stack, definitions: Path, report: Report, *, release: str, history: bool = True) -> Running:
        """See `Engine.up`. Images that are not here are downloaded, that of the exporter is built."""
        with _as_engine_errors(), termination_unwinds(), only_run(self.folder):
            _require_commands()
            attempt = _Attempt(self, stack, definitions.absolute(), release, report)
            try:
                return attempt.run(history)
            except BaseException:
                with uninterrupted():
                    attempt.undo()
                raise

    def down(self, report: Report, *, remove_data: bool = False) -> tuple[Part, ...]:
        """See `Engine.down`. Grafana's password stays as long as its data."""
        with _as_engine_errors(), only_run(self.folder), uninterrupted():
            state = self.state()
            found = self.containers(state.project)
            if not found and not self.state_file.exists():
                return ()  # never started from here: what goes by that name is not ours to remove
            remove_containers(found)
            remove_networks(state.project)
            stopped = tuple(Part(each.part, state.url(each.part), "stopped") for each in found)
            for part in stopped:
                report(part)
            self._tidy(state, remove_data)
            return stopped

    def _tidy(self, state: State, remove_data: bool) -> None:
        _remove(self.builds)
        if remove_data:
            remove_volumes(volumes(state.project))
            _remove(self.secrets, self.state_file)
        else:
            remove_copies(self.secrets)
            write_state(replace(state, build=None), self.state_file)

    def parts(self) -> tuple[Part, ...]:
        """See `Engine.parts`. Raises EngineError if the Docker engine does not say."""
        with _as_engine_errors():
            state = self.state()
            found = {each.part: each for each in self.containers(state.project)}
            names = (state.parts or tuple(found)) if found else ()
            return tuple(_part(name, state, found.get(name)) for name in names)

    @property
    def folder(self) -> Path:
        return self.state_dir.absolute() / "docker"

    @property
    def builds(self) -> Path:
        return self.folder / "builds"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    def state(self) -> State:
        return read_state(self.state_file, project_of(self.state_dir.name))

    def containers(self, project: str) -> tuple[Container, ...]:
        """Those of the project that were started from our folder, and not from another one."""
        return tuple(each for each in containers(project) if each.folder.is_relative_to(self.folder))


class _Attempt:
    """One `up`: what it found, what it has changed since, and how to take that back."""

    def __init__(self, engine: DockerEngine, stack: Stack, definitions: Path, release: str, report: Report) -> None:
        self.engine, self.stack, self.definitions, self.release = engine, stack, definitions, release
        self.report = report
        self.said: dict[str, Part] = {}
        self.former = engine.state()
        self.project = project_of(stack.name)
        self.found = engine.containers(self.project)
        self.found_ids = {each.id for each in self.found}
        self.found_volumes = volumes(self.project)
        self.found_places = [place for place in (engine.builds, engine.secrets, engine.state_file) if place.exists()]
        self.state, self.site = State(self.project), Site()

    def run(self, history: bool) -> Running:
        self._require_own_project()
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
        _remove(*(build for build in self.engine.builds.iterdir() if build.name != self.state.build))
        return self._running(password)

    def _require_own_project(self) -> None:
        others = [each for each in containers(self.project) if each not in self.found]
        if others:
            reason = f"a stack of the name {self.stack.name} already runs from {others[0].folder}"
            raise EngineError("reliary", reason, "Stop it there, or give this one another name.")

    def _images(self, parts: tuple[str, ...]) -> str:
        """Gets what is not here; returns the digest of what the exporter's image is made of."""
        pinned = pins(self.stack.pins)
        for part in parts:
            if part in pinned and not has_image(reference := pinned[part].reference):
                self._say(Part(part, "", "starting", f"is downloaded: {reference}"))
                with _explained(part, f"its image {reference} is not to be had", "Connect, or load it: docker load."):
                    docker("pull", "-q", reference)
        build = lambda text: self._say(Part("exporter", "", "starting", text))  # noqa: E731
        with _explained("exporter", "its image was not built", "Building needs a registry and a package index."):
            return ensure_exporter_image(pinned["python"].reference, build)

    def _ports(self, parts: tuple[str, ...]) -> dict[str, int]:
        """A running part keeps its port; another gets its former one, its usual one or any, whichever is free."""
        former = dict(self.former.ports or {})
        runs = {each.part for each in self.found if each.status == "running"}
        ports: dict[str, int] = {}
        with ExitStack() as held:
            for part in (part for part in self.engine.ports if part in parts):
                choices = [former[part]] if part in former else []
                free = (_free_port(port, held) for port in (*choices, self.engine.ports[part], 0))
                ports[part] = former[part] if part in runs and part in former else next(filter(None, free))
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
            with _explained("history", "past data could not be written", "Start without a past (--no-history)."):
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
        part = _part(name, self.state, container)
        trouble = self._trouble(name, part.url) if part.state == "healthy" else None
        return replace(part, state="starting", detail=trouble) if trouble else part

    def _trouble(self, name: str, url: str) -> str | None:
        """What keeps a part from being useful although its container is healthy."""
        if name == "grafana" or not url:
            return None
        found = readiness.trouble(name, url)
        if found is None and name == "prometheus":
            return readiness.scraping_trouble(url, _scraped(self.stack, self.site))
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
        told = f"user admin, password in {password}"
        parts = tuple(replace(part, detail=told) if part.name == "grafana" else part for part in parts)
        for part in parts:
            self._say(part)
        return Running(self.state.url("prometheus"), parts, self._change())

    def _change(self) -> Change:
        if not any(each.status == "running" for each in self.found):
            return "started"
        same = self.found_ids == {each.id for each in containers(self.project)}
        return "unchanged" if same and all(each.status == "running" for each in self.found) else "updated"

    def undo(self) -> None:
        """Puts back what was there before: its containers, its build, and no volume or file of this call."""
        with suppress(CommandFailed):
            now = containers(self.project)
            remove_containers(each for each in now if each.id not in self.found_ids)
            remove_volumes(volumes(self.project) - self.found_volumes)
            if not self.found:
                remove_networks(self.project)
            elif self.found_ids - {each.id for each in now} and self.former.build:
                self._compose(self.former).run("up", "-d")
        builds = self.engine.builds.glob("*")
        _remove(*(build for build in builds if build.name != self.former.build))
        for place in (self.engine.builds, self.engine.secrets):
            if place not in self.found_places:
                _remove(place)


def _part(name: str, state: State, container: Container | None) -> Part:
    """How a part is, as Docker sees it."""
    condition, detail = _condition(container) if container else ("failed", "has no container")
    return Part(name, state.url(name), condition, detail)


def _condition(container: Container) -> tuple[PartState, str]:
    match container.status, container.health:
        case "running", "healthy" | None:
            return "healthy", ""
        case "running", "starting":
            return "starting", container.said
        case "running", _:
            return "failed", f"is unhealthy: {container.said}"
        case "created", _:
            return "starting", ""
        case "paused", _:
            return "stopped", "is paused"
        case _:
            return "failed", f"has ended with exit code {container.exit_code}"


def _scraped(stack: Stack, site: Site) -> dict[str, str]:
    """The parts by the address (host:port) at which Prometheus scrapes them."""
    found = {site.prometheus: "prometheus", site.alertmanager: "alertmanager", site.exporter: "exporter"}
    if site.blackbox and any(service.probes for service in stack.services):
        found[site.blackbox] = "blackbox"
    return found | {site.address(target): "demo" for target in composefile.played_targets(stack)}


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


def _remove(*places: Path) -> None:
    for place in places:
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def _require_commands() -> None:
    local = "run the stack as local processes (--engine local)"
    if not engine_answers():
        raise EngineError("docker", "no Docker engine answers", f"Start Docker, or {local}.")
    if Compose.command_here() is None:
        raise EngineError("docker", "Compose is not installed", f"Install Docker's compose plugin, or {local}.")


@contextmanager
def _explained(part: str, reason: str, next_step: str) -> Iterator[None]:
    try:
        yield
    except CommandFailed as failed:
        raise EngineError(part, f"{reason}: {failed}", next_step, failed.lines) from failed


@contextmanager
def _as_engine_errors() -> Iterator[None]:
    """What can go wrong beneath, with a next step."""
    try:
        with _explained("docker", "a command failed", "Does `docker version` show a server? Then try again."):
            yield
    except OSError as error:
        raise EngineError("reliary", str(error), "Correct it, then try again.") from error
