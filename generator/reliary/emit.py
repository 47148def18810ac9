"""Files -> a folder, all of them or none: written beside the old build, then exchanged with it.

A file that has not changed is the old one under a second name (a hard link), in a tenth of the time of a new one.
Nothing is forced to the disk: a build can be written again from its definitions, and its manifest tells if it is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from reliary import __version__
from reliary.artifacts import File

MANIFEST = "manifest.json"


class NotABuild(Exception):
    """The target folder holds things that no build put there; replacing it would lose them."""


def manifest(files: Iterable[File], release: str) -> File:
    """`manifest.json`: version, digest of the definitions, and size and sha256 of each file."""
    rows = {
        file.path: {"bytes": len(raw := file.text.encode()), "sha256": hashlib.sha256(raw).hexdigest()}
        for file in sorted(files, key=lambda file: file.path)
    }
    content = {"reliary": __version__, "definitions_sha256": release, "files": rows}
    return File(MANIFEST, json.dumps(content, indent=2) + "\n")


def write_build(files: tuple[File, ...], release: str, folder: Path) -> None:
    """Replaces `folder` by a build of these files and their manifest. Until the exchange the old one is untouched.

    Raises `NotABuild` when the folder has content but no manifest, OSError when the disk refuses.
    """
    paths = [file.path for file in files] + [MANIFEST]
    if twice := {path for path in paths if paths.count(path) > 1}:
        raise ValueError(f"{', '.join(sorted(twice))}: written twice in one build")
    folder = folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise NotABuild(f"{folder} is not empty and holds no {MANIFEST}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        _write(fresh / MANIFEST, manifest(files, release))
        _fill(fresh, files, folder)
        fresh.chmod(0o755)
        _exchange(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _fill(fresh: Path, files: tuple[File, ...], old: Path) -> None:
    """Writes the files, or links those that the old build has already. The manifest is there by now."""
    folders, usual = {fresh}, _access((fresh / MANIFEST).stat())
    for file in files:
        path = _path(fresh, file, folders)
        if not _linked(old / file.path, path, file, usual):
            _write(path, file)


def _path(folder: Path, file: File, folders: set[Path]) -> Path:
    """Where a file goes; `folders` are those that were made for the files before it."""
    inside = PurePosixPath(file.path)
    if inside.is_absolute() or ".." in inside.parts:
        raise ValueError(f"{file.path} would leave the build")
    path = folder / inside
    if path.parent not in folders:
        path.parent.mkdir(parents=True, exist_ok=True)
        folders.add(path.parent)
    return path


def _write(path: Path, file: File) -> None:
    path.write_bytes(file.text.encode())


def _access(about: os.stat_result) -> tuple[int, int, int]:
    return about.st_uid, about.st_gid, about.st_mode


def _linked(old: Path, path: Path, file: File, usual: tuple[int, int, int]) -> bool:
    """True when `path` is the old file now: it holds the bytes of the new one, and as many may read and write it."""
    try:
        if _access(old.lstat()) != usual or old.read_bytes() != file.text.encode():
            return False
        path.hardlink_to(old)
    except OSError:  # there is none, or the file system has no links
        return False
    return True


def _exchange(fresh: Path, folder: Path) -> None:
    """Puts `fresh` where `folder` is. If the second step fails, the first is undone."""
    old = fresh.with_name(fresh.name + ".old")
    if folder.exists():
        folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
