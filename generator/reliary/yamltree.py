"""YAML text -> a small tree that keeps the place of each value.

Built from the events of libyaml instead of its loader: values stay text (so 99.90 stays 99.90 and `no` stays a
word) until the shape that expects them reads them; anchors and tags are refused, which leaves no way to write a
bomb; nesting has a limit and nothing recurses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from reliary.problems import Place, Problem

MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 20

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    text: str
    plain: bool
    place: Place

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in ("", "~", "null")


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    entries: tuple[tuple[Scalar, Node], ...]
    place: Place


Node: TypeAlias = Scalar | Sequence | Mapping


class Refused(Exception):
    """The file cannot be read as definitions. `problem` says why and where."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def parse(file: str, raw: bytes, size: int | None = None) -> Node | None:
    """The tree of a YAML file, None when it holds no value. Raises `Refused`.

    `size` is the file's size in bytes where `raw` was cut off just past `MAX_BYTES`.
    """
    text = _decode(file, raw, size or len(raw))
    lines = text.splitlines()
    try:
        return _tree(_Places(file, lines), yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        raise Refused(_syntax(file, lines, error)) from None
    except yaml.YAMLError:
        raise Refused(
            Problem(
                "B104",
                "the file holds characters that YAML does not allow.",
                "Remove the control characters; an editor shows them.",
                Place(file),
            )
        ) from None


def _decode(file: str, raw: bytes, size: int) -> str:
    if size > MAX_BYTES:
        raise Refused(
            Problem(
                "B105",
                f"the file has {size:,} bytes; definitions may have {MAX_BYTES:,}.",
                "Split it, or keep long tenant lists in files of their own.",
                Place(file),
            )
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(
            Problem("B103", f"the file is not UTF-8 (byte {error.start}).", "Save it as UTF-8.", Place(file))
        ) from None


@dataclass(frozen=True, slots=True)
class _Places:
    file: str
    lines: list[str]

    def at(self, event: yaml.Event) -> Place:
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        width = end.column - start.column if end.line == start.line else 1
        return self.point(start.line, start.column, width)

    def point(self, line: int, column: int, width: int = 1) -> Place:
        text = self.lines[line] if line < len(self.lines) else ""
        return Place(self.file, line + 1, column + 1, text, max(1, width))


class _Open:
    """A mapping or sequence whose end has not come yet."""

    __slots__ = ("children", "is_mapping", "place")

    def __init__(self, place: Place, is_mapping: bool) -> None:
        self.place = place
        self.is_mapping = is_mapping
        self.children: list[Node] = []

    def close(self) -> Node:
        if not self.is_mapping:
            return Sequence(tuple(self.children), self.place)
        return Mapping(tuple(_pairs(self.children)), self.place)


def _pairs(children: list[Node]) -> Iterator[tuple[Scalar, Node]]:
    first: dict[str, Scalar] = {}
    for key, value in zip(children[::2], children[1::2], strict=True):
        if not isinstance(key, Scalar):
            raise Refused(Problem("B104", "a key must be a word.", "Write `key: value`.", key.place))
        if key.text in first:
            raise Refused(
                Problem(
                    "B108",
                    f"`{key.text}` stands a second time; the first is at line {first[key.text].place.line}.",
                    "Keep one of the two.",
                    key.place,
                )
            )
        first[key.text] = key
        yield key, value


def _tree(places: _Places, events: Iterator[yaml.Event]) -> Node | None:
    stack: list[_Open] = []
    root: Node | None = None
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            _one_document(documents, places, event)
        done = _step(event, places, stack)
        if done is None:
            continue
        if stack:
            stack[-1].children.append(done)
        else:
            root = done
    return None if isinstance(root, Scalar) and root.is_null else root


def _one_document(count: int, places: _Places, event: yaml.Event) -> None:
    if count > 1:
        raise Refused(
            Problem("B104", "a second document starts here.", "Put it into a file of its own.", places.at(event))
        )


def _step(event: yaml.Event, places: _Places, stack: list[_Open]) -> Node | None:
    """Takes one event; gives the node that is now complete, if one is."""
    if isinstance(event, yaml.NodeEvent):
        _refuse_extras(event, places)
    if isinstance(event, yaml.ScalarEvent):
        return Scalar(event.value, event.style is None, places.at(event))
    if isinstance(event, yaml.CollectionStartEvent):
        if len(stack) >= MAX_DEPTH:
            raise Refused(
                Problem(
                    "B107",
                    f"values are nested more than {MAX_DEPTH} deep.",
                    "Definitions need four or five levels.",
                    places.at(event),
                )
            )
        stack.append(_Open(places.at(event), isinstance(event, yaml.MappingStartEvent)))
    elif isinstance(event, yaml.CollectionEndEvent):
        return stack.pop().close()
    return None


def _refuse_extras(event: yaml.NodeEvent, places: _Places) -> None:
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise Refused(
            Problem(
                "B106",
                "anchors and aliases are not read.",
                "Write the value out; what tenants share belongs into a tier.",
                places.at(event),
            )
        )
    tag = getattr(event, "tag", None)
    if tag is not None and tag != "!":
        raise Refused(Problem("B106", "tags are not read.", "Remove the word that starts with `!`.", places.at(event)))


def _syntax(file: str, lines: list[str], error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    places = _Places(file, lines)
    place = places.point(mark.line, mark.column) if mark else Place(file)
    if "\t" in place.text:
        return Problem("B109", "a tab stands where YAML wants spaces.", "Indent with spaces.", place)
    return Problem(
        "B104", f"not valid YAML: {error.problem}.", "Check the quotes, colons and indentation near here.", place
    )
