"""Text of a foreign file -> its YAML documents, read with places and without anchors, tags or bombs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reliary.definitions.source import Refused, Source, decoded
from reliary.definitions.yamltree import Mapping, Node, Scalar, Sequence, read_yaml
from reliary.problems import Place, Problem

MAX_DOCUMENTS = 5000

_MARKER = re.compile(r"---(?:[ \t]|$)")
"""YAML forbids this at the start of a line within any value, so a line that has it starts a document."""

_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a document: a value, or the lack of one. Keys and items of what is not there are not there either."""

    node: Node | None
    place: Place

    def __getitem__(self, key: str) -> Cursor:
        return next((child for name, child in self.entries() if name == key), Cursor(None, self.place))

    def __bool__(self) -> bool:
        """True when something is written here."""
        return self.node is not None and not (isinstance(self.node, Scalar) and self.node.is_null)

    @property
    def text(self) -> str:
        """The value as it is written, empty where there is none."""
        return self.node.text.strip() if isinstance(self.node, Scalar) and not self.node.is_null else ""

    @property
    def flag(self) -> bool | None:
        """True or false, None where it says neither."""
        return _FLAGS.get(self.text)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of what is written in here, in order."""
        return tuple(name for name, child in self.entries() if child)

    def entries(self) -> Iterator[tuple[str, Cursor]]:
        """Keys and values of a mapping, nothing of anything else."""
        for key, child in self.node.entries if isinstance(self.node, Mapping) else ():
            empty = isinstance(child, Scalar) and child.is_null
            yield key.text, Cursor(child, key.place if empty else child.place)

    def items(self) -> tuple[Cursor, ...]:
        """The items of a list, none of anything else."""
        return tuple(Cursor(item, item.place) for item in self.node.items) if isinstance(self.node, Sequence) else ()

    def texts(self) -> dict[str, str]:
        """The single values of a mapping, by key; those of a list of values joined by commas."""
        found = {name: child.text or ", ".join(item.text for item in child.items()) for name, child in self.entries()}
        return {name: text for name, text in found.items() if text}


@dataclass(frozen=True, slots=True)
class _Part(Source):
    """A document of a file. Its lines are its own, so that all that reads it counts alike; places are in the file."""

    skipped: int = 0

    def place(self, line: int, column: int, width: int = 1) -> Place:
        # Named in full: a dataclass with slots is made anew, and `super()` would look in the old one.
        place = Source.place(self, line, column, width)
        return replace(place, line=place.line + self.skipped)


def documents(file: str, raw: bytes) -> tuple[list[Cursor], list[Problem]]:
    """The objects of a file, and what could not be read of it. A list of objects gives each of them."""
    try:
        source = decoded(file, raw)
    except Refused as refused:
        return [], [refused.problem]
    found: list[Cursor] = []
    problems: list[Problem] = []
    parts = list(_parts(source))
    if len(parts) > MAX_DOCUMENTS:
        message = f"the file holds {len(parts):,} documents; {MAX_DOCUMENTS:,} can be imported at once."
        return [], [Problem("B105", message, "Split it.", Place(file))]
    for part in parts:
        tree = read_yaml(part)
        problems += (_foreign(problem) for problem in tree.problems)
        if tree.root is not None and not tree.problems:
            found += _objects(Cursor(tree.root, tree.root.place))
    return found, problems


def _parts(source: Source) -> Iterator[_Part]:
    starts = [0] + [at for at, line in enumerate(source.lines) if at and _MARKER.match(line)]
    for start, end in zip(starts, [*starts[1:], len(source.lines)], strict=True):
        lines = source.lines[start:end]
        yield _Part(source.file, "\n".join(lines) + "\n", lines, skipped=start)


def _objects(root: Cursor) -> Iterator[Cursor]:
    """What a document holds: itself, the items of a list, or those of a Kubernetes list of any kind."""
    if isinstance(root.node, Sequence):
        yield from root.items()
    elif root["items"].items() and root["kind"].text.endswith("List"):
        yield from root["items"].items()
    else:
        yield root


def _foreign(problem: Problem) -> Problem:
    """The same problem with a next step for a file that is not one of our definitions."""
    if problem.code == "B106" and "anchors" in problem.message:
        advice = "Write the values out (`yq 'explode(.)' FILE` does that), then import the result."
        return replace(problem, advice=advice)
    if problem.code == "B107":
        return replace(problem, advice="No format that can be imported needs as many; is a bracket too much?")
    return problem
