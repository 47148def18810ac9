"""YAML text -> a small tree that keeps the place of each value.

Built from the events of libyaml instead of its loader: values stay text (so 99.90 stays 99.90 and `no` stays a
word) until the shape that expects them reads them; anchors and tags are refused, which leaves no way to write a
bomb; nesting and the number of values have a limit, and nothing recurses.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence as SequenceOf
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from reliary.definitions.source import Refused, Source, decoded
from reliary.definitions.yamlrows import PLACEHOLDER, Item, Runs, find_runs
from reliary.definitions.yamlsyntax import syntax_problem
from reliary.problems import Place, Problem

MAX_DEPTH = 20
MAX_VALUES = 500_000

NULLS = frozenset({"", "~", "null", "Null", "NULL"})
"""What YAML reads as nothing, unless it is in quotes."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value, as the text that was written; `plain` without quotes."""

    text: str
    plain: bool
    place: Place

    @property
    def is_null(self) -> bool:
        return self.plain and self.text in NULLS


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    """`place` is that of the key that names it, unless the mapping is written in braces."""

    entries: tuple[tuple[Scalar, Node], ...]
    place: Place


_set = object.__setattr__


class Row(Mapping):
    """A list item that is all words: the words are known, keys and values with their places are read when asked for."""

    __slots__ = ("_item", "_source")

    _item: Item
    _source: Source

    def __init__(self, source: Source, item: Item) -> None:
        _set(self, "_source", source)
        _set(self, "_item", item)

    @property
    def words(self) -> MappingOf[str, str]:
        return self._item[2]

    @property
    def entries(self) -> tuple[tuple[Scalar, Node], ...]:
        return self.mapping().entries

    @property
    def place(self) -> Place:
        return self.mapping().place

    def mapping(self) -> Mapping:
        """The same mapping, read event by event."""
        builder = _Builder(self._source.part(self._item[0], self._item[1]))
        builder.take()
        assert isinstance(builder.root, Sequence)
        (mapping,) = builder.root.items
        assert isinstance(mapping, Mapping)
        return mapping


@dataclass(frozen=True, slots=True)
class Hole:
    """Where a value stood that cannot be read. The problem was reported, so shapes pass over it in silence."""

    place: Place


Node: TypeAlias = Scalar | Sequence | Mapping | Hole


@dataclass(frozen=True, slots=True)
class Tree:
    """A file's values, `root` is None when it holds none. `whole` is False when reading had to stop."""

    root: Node | None
    problems: tuple[Problem, ...]
    whole: bool = True


def parse(file: str, raw: bytes) -> Node | None:
    """The tree of a YAML file of ours, None when it holds no value. Raises `Refused` at any problem."""
    tree = read_yaml(decoded(file, raw))
    for problem in tree.problems:
        raise Refused(problem)
    return tree.root


def read_yaml(source: Source) -> Tree:
    """The tree of a YAML text with its problems. Never raises."""
    runs = find_runs(source.text, source.lines)
    if runs.items:
        builder = _Builder(source, runs)
        with suppress(Refused, _Doubt, yaml.MarkedYAMLError):
            builder.take()
            return builder.tree()
    return _read_events(source)


def _read_events(source: Source) -> Tree:
    builder = _Builder(source)
    try:
        builder.take()
    except Refused as refused:
        return Tree(None, (*builder.problems, refused.problem), whole=False)
    except yaml.MarkedYAMLError as error:
        return Tree(None, (*builder.problems, syntax_problem(source, error)), whole=False)
    return builder.tree()


class _Doubt(Exception):
    """A run of items may not be what it looks like."""


class _Open:
    """A mapping or sequence whose end has not come yet."""

    __slots__ = ("children", "is_mapping", "place", "tagged")

    def __init__(self, place: Place, is_mapping: bool, tagged: bool) -> None:
        self.place = place
        self.is_mapping = is_mapping
        self.tagged = tagged
        self.children: list[Node] = []

    def place_of(self, event: yaml.CollectionStartEvent, own: Place) -> Place:
        """The key that names a block: people look for a name, not for the first line under it."""
        if self.is_mapping and not event.flow_style and len(self.children) % 2:
            return self.children[-1].place
        return own


class _Builder:
    """Turns events into nodes. What can be told without giving up the file is collected."""

    def __init__(self, source: Source, runs: Runs | None = None) -> None:
        self.source = source
        self.text = runs.text if runs else source.text
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self._open: list[_Open] = []
        self._values = 0
        self._anchors: set[str] = set()
        self._runs = dict(runs.items) if runs else {}

    def tree(self) -> Tree:
        """What was taken. Raises `_Doubt` when it was not all of it."""
        if self._runs:
            raise _Doubt
        root = self.root
        return Tree(None if isinstance(root, Scalar) and root.is_null else root, tuple(self.problems))

    def take(self) -> None:
        """Reads the text to its end. Raises `Refused`, `_Doubt` and what libyaml does."""
        documents = 0
        for event in yaml.parse(self.text, Loader=_Loader):
            if isinstance(event, yaml.NodeEvent):
                self._node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._put(self._closed(self._open.pop()))
            elif isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                self._one_document(documents, event)

    def _at(self, event: yaml.Event) -> Place:
        start, end = event.start_mark, event.end_mark
        assert start is not None
        assert end is not None
        width = end.column - start.column if end.line == start.line else 1
        return self.source.place(start.line, start.column, width)

    def _node(self, event: yaml.NodeEvent) -> None:
        if self._runs and (run := self._runs.pop(_start(event), None)) is not None:
            self._run(event, run)
            return
        place = self._at(event)
        self._values += 1
        if self._values > MAX_VALUES:
            raise _too_much("B105", f"the file holds more than {MAX_VALUES:,} values.", "Split it.", place)
        fine = self._plain(event, place)
        if isinstance(event, yaml.ScalarEvent):
            self._put(Scalar(event.value, not event.style, place) if fine else Hole(place))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event, place, fine)
        else:
            self._put(Hole(place))

    def _run(self, event: yaml.NodeEvent, run: SequenceOf[Item]) -> None:
        """The items of a run, if libyaml read its placeholder as an item of a list and as nothing more."""
        alone = isinstance(event, yaml.ScalarEvent) and event.value == PLACEHOLDER and not (event.style or event.tag)
        listed = bool(self._open) and not self._open[-1].is_mapping and len(self._open) < MAX_DEPTH
        self._values += sum(1 + 2 * len(item[2]) for item in run)
        if not (alone and listed and self._values <= MAX_VALUES):
            raise _Doubt
        self._open[-1].children.extend([Row(self.source, item) for item in run])

    def _start(self, event: yaml.CollectionStartEvent, place: Place, fine: bool) -> None:
        if len(self._open) >= MAX_DEPTH:
            message = f"values are nested more than {MAX_DEPTH} deep."
            raise _too_much("B107", message, "Definitions need four or five levels; is a bracket too much?", place)
        if self._open:
            place = self._open[-1].place_of(event, place)
        self._open.append(_Open(place, isinstance(event, yaml.MappingStartEvent), tagged=not fine))

    def _put(self, node: Node) -> None:
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node

    def _closed(self, done: _Open) -> Node:
        if done.tagged:
            return Hole(done.place)
        if not done.is_mapping:
            return Sequence(tuple(done.children), done.place)
        return Mapping(tuple(self._pairs(done.children)), done.place)

    def _pairs(self, children: list[Node]) -> Iterator[tuple[Scalar, Node]]:
        first: dict[str, Scalar] = {}
        for key, value in zip(children[::2], children[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._no_key(key)
            elif key.text in first:
                self.problems.append(twice(key, first[key.text]))
            else:
                first[key.text] = key
                yield key, value

    def _no_key(self, key: Node) -> None:
        if not isinstance(key, Hole):
            what = "a list" if isinstance(key, Sequence) else "a set of keys"
            message = f"a key must be a word; this is {what}."
            advice = "Write `key: value`. A text that starts with { or [ needs quotes."
            self.problems.append(Problem("B104", message, advice, key.place))

    def _plain(self, event: yaml.NodeEvent, place: Place) -> bool:
        """False when a tag would change what the value means; also tells of anchors and aliases."""
        name = event.anchor
        if name is not None and name not in self._anchors:
            self._anchors.add(name)
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            message = f"`{sign}{name}`: anchors and aliases are not read."
            advice = f"Write the value out wherever `*{name}` stands; what tenants share belongs into a tier."
            self.problems.append(Problem("B106", message, advice, place))
        tag = getattr(event, "tag", None)
        if tag in (None, "!"):
            return True
        message = f"the tag `{tag.replace('tag:yaml.org,2002:', '!!')}` is not read."
        self.problems.append(
            Problem("B106", message, "Remove the word that starts with `!`, or quote the text.", place)
        )
        return False

    def _one_document(self, count: int, event: yaml.Event) -> None:
        if count > 1:
            message, advice = "a second document starts here.", "Put it into a file of its own, or remove the `---`."
            raise _too_much("B104", message, advice, self._at(event))


def _start(event: yaml.Event) -> tuple[int, int]:
    """Line and column from 0, in the text that was parsed."""
    mark = event.start_mark
    assert mark is not None
    return mark.line, mark.column


def twice(key: Scalar, first: Scalar) -> Problem:
    """The problem of a key that stands a second time in one mapping."""
    message = f"`{key.text}` stands a second time; the first is at line {first.place.line}."
    return Problem("B108", message, "Keep one of the two.", key.place)


def _too_much(code: str, message: str, advice: str, place: Place) -> Refused:
    return Refused(Problem(code, message, advice, place))
