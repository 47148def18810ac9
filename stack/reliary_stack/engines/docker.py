"""The engine with containers: what `docker-compose.yml` says, behind a Docker engine that sees this machine's files.

Each build has a folder of its own, named after what is in it. So containers never look into a folder whose content
was exchanged, and the build before is still there when the new one does not come up. Compose starts; stopping goes by
the labels that it leaves, which needs no file of ours.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from reliary import composefile
from reliary.artifacts import File, Site
from reliary.model import Stack
from reliary_stack.engines.dockercli import (
    Compose,
    Container,
    containers,
    engine_answers,
    remove_containers,
    remove_networks,
    remove_volumes,
    volumes,
)
from reliary_stack.engines.dockerparts import part_of
from reliary_stack.engines.dockersecrets import remove_copies
from reliary_stack.engines.dockerstate import State, private_folder, project_of, read_state, write_state
from reliary_stack.engines.dockerup import Attempt, explained
from reliary_stack.engines.engine import EngineError, Part, Report, Running
from reliary_stack.engines.exclusive import Busy, exclusive
from reliary_stack.engines.processes import termination_unwinds, uninterrupted

__all__ = ["DockerEngine", "available"]

Compiler: TypeAlias = Callable[[Stack, Site, str], tuple[File, ...]]


def available() -> bool:
    """Whether a Docker engine answers within two seconds and Compose is installed."""
    return engine_answers() and Compose.command_here() is not None


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
        with _as_engine_errors(), termination_unwinds(), self._alone("up"):
            _require_commands()
            attempt = Attempt(self, stack, definitions.absolute(), release, report)
            attempt.require_own_project()
            try:
                return attempt.run(history)
            except BaseException:
                with uninterrupted():
                    attempt.undo()
                raise

    def down(self, report: Report, *, remove_data: bool = False) -> tuple[Part, ...]:
        """See `Engine.down`. Grafana's password stays as long as its data."""
        with _as_engine_errors(), self._alone("down"), uninterrupted():
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
        shutil.rmtree(self.builds, ignore_errors=True)
        if remove_data:
            remove_volumes(volumes(state.project))
            shutil.rmtree(self.secrets, ignore_errors=True)
            self.state_file.unlink(missing_ok=True)
        else:
            remove_copies(self.secrets)
            write_state(replace(state, build=None), self.state_file)

    def parts(self) -> tuple[Part, ...]:
        """See `Engine.parts`. Raises EngineError if the Docker engine does not say."""
        with _as_engine_errors():
            state = self.state()
            found = {each.part: each for each in self.containers(state.project)}
            names = (state.parts or tuple(found)) if found else ()
            return tuple(part_of(name, state, found.get(name)) for name in names)

    @contextmanager
    def _alone(self, verb: str) -> Iterator[None]:
        try:
            with exclusive(self.state_dir, verb), private_folder(self.folder):
                yield
        finally:
            if self.state_dir.parent.name == ".reliary":
                with suppress(OSError):  # other stacks may live in it
                    self.state_dir.parent.rmdir()

    @property
    def folder(self) -> Path:
        return self.state_dir.resolve() / "docker"

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


def _require_commands() -> None:
    local = "run the stack as local processes (--engine local)"
    if not engine_answers():
        raise EngineError("docker", "no Docker engine answers", f"Start Docker, or {local}.")
    if Compose.command_here() is None:
        raise EngineError("docker", "Compose is not installed", f"Install Docker's compose plugin, or {local}.")


@contextmanager
def _as_engine_errors() -> Iterator[None]:
    """What can go wrong beneath, with a next step."""
    try:
        with explained("docker", "a command failed", "Does `docker version` show a server? Then try again."):
            yield
    except Busy as busy:
        raise EngineError("reliary", str(busy), "Try again when it is done.") from busy
    except OSError as error:
        raise EngineError("reliary", str(error), "Correct it, then try again.") from error
