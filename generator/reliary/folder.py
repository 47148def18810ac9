"""A folder of definition files -> one set of fields, each with its place; two files may not define one thing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reliary.problems import Place, Problem
from reliary.schema import DEFINITIONS, TOP
from reliary.shapes import Entry, Faults, Fields, List, Located, Map
from reliary.yamltree import MAX_BYTES, Refused, parse


@dataclass(frozen=True, slots=True)
class Folder:
    """What all files said together. `digest` is a sha256 over their names and bytes."""

    fields: Fields
    digest: str
    problems: tuple[Problem, ...]


def read_folder(folder: Path) -> Folder:
    """The merged definitions of all `*.yml` and `*.yaml` files of a folder, in the order of their names."""
    faults = Faults()
    sha = hashlib.sha256()
    parts = [fields for path in _files(folder, faults) if (fields := _read_file(path, folder, sha, faults)) is not None]
    values = {key: merged for key in TOP if (merged := _merge(key, parts, faults)) is not None}
    place = Place(folder.name + "/")
    return Folder(Fields(place, values, not faults.problems), sha.hexdigest(), tuple(faults.problems))


def _files(folder: Path, faults: Faults) -> Iterator[Path]:
    place = Place(f"{folder}/" if not folder.is_dir() else f"{folder.name}/")
    if not folder.is_dir():
        faults.add("B101", place, "there is no such folder.", "Give the folder that holds your definitions.")
        return
    found = sorted(path for path in folder.iterdir() if path.suffix in (".yml", ".yaml") and path.is_file())
    if not found:
        faults.add("B102", place, "the folder holds no *.yml file.", "Start from a copy of examples/aether.")
    yield from found


def _read_file(path: Path, folder: Path, sha: Any, faults: Faults) -> Fields | None:
    name = f"{folder.name}/{path.name}"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        sha.update(f"{path.name}\0{len(raw)}\0".encode() + raw)
        size = path.stat().st_size
        tree = parse(name, raw, size)
    except OSError as error:
        faults.add("B103", Place(name), f"the file cannot be read: {error.strerror}.", "Check its permissions.")
        return None
    except Refused as refused:
        faults.problems.append(refused.problem)
        return None
    if tree is None:
        faults.add("B102", Place(name), "the file is empty.", "Remove it, or write a definition into it.")
        return None
    read = DEFINITIONS.read(tree, faults)
    return read.value if read is not None and isinstance(read.value, Fields) else None


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
        faults.add(
            "B115", again.place, f"`{key}` is defined twice; the first is at {given[0].place}.", "Keep one of the two."
        )
    return given[0]


def _entries(key: str, given: list[Located[Any]], faults: Faults) -> Iterator[Entry[Any]]:
    first: dict[str, Place] = {}
    for part in given:
        for entry in part.value:
            if entry.key in first:
                faults.add(
                    "B115",
                    entry.key_place,
                    f"`{entry.key}` is defined twice in `{key}`; the first is at {first[entry.key]}.",
                    "Keep one of the two.",
                )
            else:
                first[entry.key] = entry.key_place
                yield entry
