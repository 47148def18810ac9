"""Texts that took long to make, kept from one run to the next in a folder of the user's own.

A text is found by a digest of everything that it is made of: its inputs, the code of this package and of the libraries
that make it, and Python. So it is the text that would be made again, and a build has the same bytes with and without
such a folder. Nothing in the folder is executed, a text that does not match its own digest is made anew, and a folder
that others can write to, or that is not ours, is not used at all.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MOST_TEXTS = 2000
"""Where there are more, half of them are removed, the oldest first."""

LONGEST = 1_000_000
"""Characters of a text that is still kept."""

_LIBRARIES = ("reliary", "grafanalib", "jinja2", "yaml")
_DIGEST_LENGTH = 64


def folder_of(environment: Mapping[str, str]) -> Path | None:
    """The folder of a user with this environment: in $RELIARY_CACHE, $XDG_CACHE_HOME or ~/.cache."""
    if chosen := environment.get("RELIARY_CACHE"):
        return Path(chosen).absolute() / "texts"
    home = environment.get("HOME")
    caches = environment.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home else "")
    return Path(caches).absolute() / "reliary" / "texts" if caches else None


class Texts:
    """The texts in a folder. Whatever is wrong with the folder, texts are only made again; nothing is raised."""

    def __init__(self, folder: Path) -> None:
        self._folder = _opened(folder)
        self._tidy = False

    def get(self, name: str) -> str | None:
        """A text that was put there, None when there is none or it is damaged."""
        if self._folder is None:
            return None
        with suppress(OSError, UnicodeDecodeError):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._folder)
            with os.fdopen(descriptor, "rb") as file:
                digest, raw = file.read(_DIGEST_LENGTH), file.read()
            if digest == _digest(raw):
                return raw.decode()
        return None

    def put(self, name: str, text: str) -> None:
        """Keeps a text. Readers see the whole of it or nothing."""
        if self._folder is None or len(text) > LONGEST:
            return
        with suppress(OSError, UnicodeEncodeError):
            raw, fresh = text.encode(), f".{name}.{os.getpid()}"
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(_digest(raw) + raw)
                os.rename(fresh, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            except OSError:
                os.unlink(fresh, dir_fd=self._folder)
            self._remove_old()

    def _remove_old(self) -> None:
        """Once a run, and only in a run that added a text."""
        if self._tidy or self._folder is None:
            return
        self._tidy = True
        names = os.listdir(self._folder)  # noqa: PTH208 - of a descriptor
        if len(names) > MOST_TEXTS:
            ages = {name: os.stat(name, dir_fd=self._folder, follow_symlinks=False).st_mtime_ns for name in names}
            for name in sorted(names, key=lambda name: (ages[name], name))[: len(names) // 2]:
                os.unlink(name, dir_fd=self._folder)


_texts: Texts | None = None


def use(folder: Path | None) -> None:
    """From now on `kept` looks into this folder; with None it makes every text."""
    global _texts
    _texts = Texts(folder) if folder is not None else None


def kept(what: str, inputs: object, make: Callable[[], str]) -> str:
    """What `make` gives. It is not called when a text of that kind was made of the same inputs before.

    The text must depend on nothing but the inputs, and their `repr` must tell all of them apart.
    """
    if _texts is None:
        return make()
    name = hashlib.sha256(repr((what, inputs, _code())).encode(errors="surrogatepass")).hexdigest()
    text = _texts.get(name)
    if text is None:
        text = make()
        _texts.put(name, text)
    return text


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).hexdigest().encode()


def _opened(folder: Path) -> int | None:
    """A descriptor of the folder, None when it cannot be had or when somebody else may write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        about = os.fstat(descriptor)
        if about.st_uid == os.geteuid() and not stat.S_IMODE(about.st_mode) & 0o077:
            return descriptor
        os.close(descriptor)
    except (OSError, AttributeError, ValueError):  # systems without owners of files have no such folder
        return None
    return None


@cache
def _code() -> tuple[object, ...]:
    """What tells one state of the code from another, without reading it."""
    return (sys.version, *(row for library in _LIBRARIES for row in _files(library)))


def _files(library: str) -> Iterator[tuple[str, int, int]]:
    found = find_spec(library)
    for folder in found.submodule_search_locations or () if found else ():
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                about = entry.stat()
                yield entry.path, about.st_size, about.st_mtime_ns
