"""One run at a time on a folder; the second one learns who is first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["Busy", "exclusive"]


class Busy(Exception):
    """Another run holds the folder; the message says which."""


@contextmanager
def exclusive(folder: Path, verb: str) -> Iterator[None]:
    """Keeps other runs away from `folder`, which is made and, if nothing is in it afterwards, removed.

    The lock ends with its process, however that ends. Raises Busy.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Busy(f"{file.read(100).strip() or 'another run'} is at work in {folder}") from None
        if not _is_still(file, path):
            raise Busy(f"another run has just removed {folder}")
        file.truncate(0)
        file.write(f"`reliary {verb}` (pid {os.getpid()})")
        file.flush()
        try:
            yield
        finally:
            if list(folder.iterdir()) == [path]:
                path.unlink()
                folder.rmdir()


def _is_still(file: IO[str], path: Path) -> bool:
    """A run that removes its folder leaves those who have the lock open with a file that nobody else sees."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
