"""A folder of definition files -> one set of fields, each with its place; two files may not define one thing."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reliary.definitions.schema import DEFINITIONS, TOP
from reliary.definitions.shapes import Entry, Faults, Fields, List, Located, Map
from reliary.definitions.source import MAX_BYTES, Refused, Source, decoded
from reliary.definitions.tables import read_csv, read_jsonl
from reliary.definitions.yamltree import Tree, read_yaml
from reliary.problems import Place, Problem

READERS: dict[str, Callable[[Source], Tree]] = {
    ".yml": read_yaml,
    ".yaml": read_yaml,
    ".csv": read_csv,
    ".jsonl": read_jsonl,
}


@dataclass(frozen=True, slots=True)
class Folder:
    """What all files said together. `digest` is a sha256 over their names and bytes.

    `complete` is False when a file could not be read: what seems to be missing may stand in that one.
    """

    fields: Fields
    digest: str
    problems: tuple[Problem, ...]
    complete: bool


def read_folder(folder: Path) -> Folder:
    """The merged definitions of all files of a folder, in the order of their names; dot files are not read.

    `*.yml` and `*.yaml` hold definitions, `*.csv` and `*.jsonl` lists of tenants.
    """
    faults = Faults()
    sha = hashlib.sha256()
    files = list(_files(folder, faults))
    parts = [fields for path in files if (fields := _read_file(path, sha, faults)) is not None]
    complete = bool(files) and len(parts) == len(files)
    return Folder(_merged(folder, parts, faults), sha.hexdigest(), tuple(faults.problems), complete)


def _files(folder: Path, faults: Faults) -> Iterator[Path]:
    shown = Place(folder.as_posix() + "/")
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix in READERS and not path.name.startswith("."))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no such name"
        faults.add("B101", shown, f"the folder cannot be read: {why}.", "Give the folder that holds your definitions.")
        return
    if not found:
        faults.add("B102", shown, "the folder holds no *.yml file.", "Start from a copy of examples/aether.")
    yield from found


def _read_file(path: Path, sha: Any, faults: Faults) -> Fields | None:
    name = path.as_posix()
    try:
        raw, size = _bytes(path)
        sha.update(os.fsencode(path.name) + b"\0%d\0" % len(raw) + raw)
        tree = READERS[path.suffix](decoded(name, raw, size))
    except OSError as error:
        faults.add("B103", Place(name), f"the file cannot be read: {error.strerror}.", "Check it, or remove it.")
        return None
    except Refused as refused:
        faults.problems.append(refused.problem)
        return None
    faults.problems += tree.problems
    if tree.root is None:
        if not tree.problems:
            faults.add("B102", Place(name), "the file holds no definition.", "Write one into it, or remove the file.")
        return None
    read = DEFINITIONS.read(tree.root, faults)
    return None if read is None else read.value


def _bytes(path: Path) -> tuple[bytes, int]:
    """A file's first bytes and its size. Raises OSError, also for a pipe, on which reading would wait forever."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise OSError(0, "it is a folder" if stat.S_ISDIR(about.st_mode) else "it is not a regular file")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1), about.st_size


# -- merging


def _merged(folder: Path, parts: list[Fields], faults: Faults) -> Fields:
    before = faults.count
    values = {key: merged for key in TOP if (merged := _merge(key, parts, faults)) is not None}
    places: dict[str, Place] = {}
    for part in reversed(parts):
        places.update(part.places)
    faulty = frozenset(key for part in parts for key in part.faulty)
    whole = faults.count == before and all(part.whole for part in parts)
    return Fields(Place(folder.as_posix() + "/"), values, places, faulty, whole)


def _merge(key: str, parts: list[Fields], faults: Faults) -> Located[Any] | None:
    given = [fields.values[key] for fields in parts if key in fields.values]
    if not given:
        return None
    shape = TOP[key].shape
    if isinstance(shape, Map):
        return Located(tuple(_entries(key, given, faults)), given[0].place)
    if isinstance(shape, List) and key == "tenants":
        return Located(tuple(item for part in given for item in part.value), given[0].place)
    for again in given[1:]:
        message = f"`{key}` is defined twice; the first is at {given[0].place}."
        faults.add("B115", again.place, message, "Keep one of the two.")
    return given[0]


def _entries(key: str, given: list[Located[Any]], faults: Faults) -> Iterator[Entry[Any]]:
    first: dict[str, Place] = {}
    for part in given:
        for entry in part.value:
            if entry.key in first:
                message = f"`{entry.key}` is defined twice in `{key}`; the first is at {first[entry.key]}."
                faults.add("B115", entry.key_place, message, "Keep one of the two.")
            else:
                first[entry.key] = entry.key_place
                yield entry
