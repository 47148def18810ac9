"""What `reliary up` has to remember of a stack in containers, and the folder for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["HOST", "State", "private_folder", "project_of", "read_state", "write_state"]

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class State:
    """A Compose project: the name of its build (None: it is down), its parts, and the ports of those that have one."""

    project: str
    build: str | None = None
    parts: tuple[str, ...] = ()
    ports: Mapping[str, int] | None = None

    def url(self, part: str) -> str:
        """Where people reach a part on this machine; the empty text if nowhere."""
        port = (self.ports or {}).get(part)
        return f"http://{HOST}:{port}" if port else ""


def project_of(stack_name: str) -> str:
    """The name of a stack's Compose project."""
    return f"reliary-{stack_name}"


def read_state(path: Path, project: str) -> State:
    """The state that was written last; a project of that name that is down if there is none that can be read."""
    try:
        row = json.loads(path.read_text("utf-8"))
        ports = {str(part): int(port) for part, port in row["ports"].items()}
        return State(row["project"], row["build"], tuple(row["parts"]), ports)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # The Docker engine knows what runs. This file only spares people another port and us some questions.
        return State(project)


def write_state(state: State, path: Path) -> None:
    """Replaces the file at once. Raises OSError."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({**asdict(state), "ports": dict(state.ports or {})}, indent=2) + "\n", "utf-8")
    fresh.replace(path)


@contextmanager
def private_folder(folder: Path) -> Iterator[None]:
    """A folder that only this user can enter and that git overlooks; removed again if nothing is in it afterwards."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)  # the secrets in it can be read by all who get this far
    (folder / ".gitignore").write_text("*\n")
    try:
        yield
    finally:
        if [path.name for path in folder.iterdir()] == [".gitignore"]:
            shutil.rmtree(folder)
