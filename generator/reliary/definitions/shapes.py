"""The shapes that definitions may have: each reads a node into a value with its place, or says what is wrong.

Here are those that hold others (lists, maps, records); single values are in `scalars.py`. The same shapes publish
the JSON Schema that editors complete and validate with, so the two cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Generic, Protocol, TypeVar

from reliary.definitions.yamltree import Hole, Mapping, Node, Row, Scalar, Sequence
from reliary.problems import Place, Problem, Severity

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
JsonSchema = dict[str, Any]

# Comparing words is slow. Where hundreds are wrong, a suggestion for each helps nobody.
MAX_GUESSES, MAX_GUESSED_LENGTH, MAX_CANDIDATES = 200, 100, 2000


@dataclass(frozen=True, slots=True)
class Located(Generic[T_co]):
    """A value, and where it stands."""

    value: T_co
    place: Place


@dataclass(frozen=True, slots=True)
class Entry(Generic[T_co]):
    """One `key: value` of a map whose keys are names that the user chose."""

    key: str
    key_place: Place
    value: T_co


class Faults:
    """Collects problems while definitions are read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._silent = 0
        self._guesses = 0

    def add(self, code: str, place: Place, message: str, advice: str) -> None:
        self.problems.append(Problem(code, message, advice, place))

    def warn(self, code: str, place: Place, message: str, advice: str) -> None:
        self.problems.append(Problem(code, message, advice, place, Severity.WARNING))

    def pass_over(self) -> None:
        """A value is left out because of a problem that was reported elsewhere."""
        self._silent += 1

    @property
    def count(self) -> int:
        """Grows whenever something could not be read: what was read in between is incomplete."""
        return len(self.problems) + self._silent

    def guess(self, word: str, known: Collection[str]) -> str | None:
        """The known word that was probably meant."""
        if self._guesses >= MAX_GUESSES or len(word) > MAX_GUESSED_LENGTH or len(known) > MAX_CANDIDATES:
            return None
        self._guesses += 1
        return next(iter(get_close_matches(word, known, n=1)), None)


def listed(words: Iterable[str], most: int = 12) -> str:
    """A few words for a message: `a, b, c and 7 more`."""
    all_ = list(words)
    more = f" and {len(all_) - most:,} more" if len(all_) > most else ""
    return ", ".join(all_[:most]) + more


def given(node: Node) -> str:
    """What a node is, for messages that say what else was expected."""
    if isinstance(node, Scalar):
        if not node.is_null:
            return "a single value"
        return f"`{node.text}`, which YAML reads as nothing," if node.text else "nothing"
    return "a list" if isinstance(node, Sequence) else "a set of keys"


class Shape(Protocol[T_co]):
    """What a value may look like. One thing that reads it, and tells editors about it."""

    def read(self, node: Node, faults: Faults) -> Located[T_co] | None:
        """The value, or None after a problem was added."""
        ...

    def schema(self) -> JsonSchema: ...


class WordShape(Protocol[T_co]):
    """A shape that most words satisfy, of which a table of ten thousand tenants has many."""

    def of_word(self, text: str) -> T_co | None:
        """The value of a word without quotes, None when there is a problem, which `read` then tells."""
        ...


class Word(Protocol):
    """The shape of the keys of a map."""

    def problem(self, text: str, place: Place, faults: Faults) -> bool: ...

    def key_schema(self) -> JsonSchema: ...


@dataclass(frozen=True, slots=True)
class List(Generic[T]):
    """A list; a single value counts as a list of one. Faulty items are reported and left out."""

    item: Shape[T]

    def read(self, node: Node, faults: Faults) -> Located[tuple[Located[T], ...]] | None:
        nodes = self._items(node, faults)
        if nodes is None:
            return None
        read = tuple(self.item.read(child, faults) for child in nodes)
        return Located(tuple(value for value in read if value is not None), node.place)

    def _items(self, node: Node, faults: Faults) -> tuple[Node, ...] | None:
        if isinstance(node, Hole):
            faults.pass_over()
        elif isinstance(node, Sequence):
            if node.items:
                return node.items
            faults.add("B111", node.place, "the list is empty.", "Give at least one item, or remove the key.")
        elif isinstance(node, Scalar) and not node.is_null and not isinstance(self.item, Record):
            return (node,)
        else:
            message = f"a list is expected here, {given(node)} is given."
            faults.add("B111", node.place, message, "Write each item on a line of its own, after `- `.")
        return None

    def schema(self) -> JsonSchema:
        items = self.item.schema()
        many: JsonSchema = {"type": "array", "items": items, "minItems": 1}
        return many if isinstance(self.item, Record) else {"anyOf": [many, items]}


@dataclass(frozen=True, slots=True)
class Map(Generic[T]):
    """Keys that the user chose, each with a value of one shape. An entry that is faulty has its name and no value."""

    key: Word
    value: Shape[T]

    def read(self, node: Node, faults: Faults) -> Located[tuple[Entry[Located[T] | None], ...]] | None:
        if not isinstance(node, Mapping):
            _no_keys(node, faults, "Write a line `<name>: …` for each.")
            return None
        return Located(tuple(self._entry(key, child, faults) for key, child in node.entries), node.place)

    def _entry(self, key: Scalar, child: Node, faults: Faults) -> Entry[Located[T] | None]:
        fine = isinstance(child, Hole) or not self.key.problem(key.text, key.place, faults)
        value = self.value.read(child, faults)
        return Entry(key.text, key.place, value if fine else None)

    def schema(self) -> JsonSchema:
        return {
            "type": "object",
            "additionalProperties": self.value.schema(),
            "propertyNames": self.key.key_schema(),
        }


@dataclass(frozen=True, slots=True)
class Either:
    """One shape for a single value, another for a set of keys."""

    single: Shape[Any]
    keyed: Shape[Any]

    def read(self, node: Node, faults: Faults) -> Located[Any] | None:
        return (self.keyed if isinstance(node, Mapping) else self.single).read(node, faults)

    def schema(self) -> JsonSchema:
        return {"anyOf": [self.single.schema(), self.keyed.schema()]}


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a record; `help` completes the sentence "add it: …" and shows in editors."""

    shape: Shape[Any]
    help: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The problem of a key that people try: what to show, and the key that they should have used."""

    code: str
    message: str
    advice: str
    instead: str


@dataclass(frozen=True, slots=True)
class Fields:
    """What a record said. `places` has every key that was given or meant, `values` those that could be read.

    `whole` is False when anything in it was faulty or missing; then it is not built upon. `faulty` are those keys.
    """

    place: Place
    values: MappingOf[str, Located[Any]]
    places: MappingOf[str, Place]
    faulty: frozenset[str]
    whole: bool

    def has(self, key: str) -> bool:
        """True when the key was given, even if its value could not be read."""
        return key in self.places

    def at(self, key: str) -> Place:
        """Where the value of a key stands; where the record stands if it has no such key."""
        return self.values[key].place if key in self.values else self.places.get(key, self.place)

    def get(self, key: str, kind: type[T]) -> T:
        """The value of a key that the shape requires."""
        value = self.values[key].value
        assert isinstance(value, kind)
        return value

    def maybe(self, key: str, kind: type[T]) -> T | None:
        return self.get(key, kind) if key in self.values else None

    def items(self, key: str, kind: type[T]) -> tuple[Located[T], ...]:
        """The items of a list, none when the key is not there."""
        return self.values[key].value if key in self.values else ()

    def entries(self, key: str, kind: type[T]) -> tuple[Entry[Located[T] | None], ...]:
        """The entries of a map, none when the key is not there. A faulty entry has its name and no value."""
        return self.values[key].value if key in self.values else ()


_set = object.__setattr__
"""How a frozen value is filled."""


class RowFields(Fields):
    """The fields of a row without a fault. Its values are known; where they stand is read when somebody asks."""

    __slots__ = ("_known", "_record", "_row")

    _known: MappingOf[str, Any]
    _record: Record
    _row: Row

    whole = True
    faulty = frozenset()

    def __init__(self, known: MappingOf[str, Any], record: Record, row: Row) -> None:
        _set(self, "_known", known)
        _set(self, "_record", record)
        _set(self, "_row", row)

    @property
    def place(self) -> Place:
        return self._row.place

    @property
    def values(self) -> MappingOf[str, Located[Any]]:
        return self._read().values

    @property
    def places(self) -> MappingOf[str, Place]:
        return self._read().places

    def _read(self) -> Fields:
        return self._record.read_keys(self._row.mapping(), Faults()).value

    def has(self, key: str) -> bool:
        return key in self._known

    def get(self, key: str, kind: type[T]) -> T:
        value = self._known[key]
        assert isinstance(value, kind)
        return value

    def maybe(self, key: str, kind: type[T]) -> T | None:
        value = self._known.get(key)
        assert value is None or isinstance(value, kind)
        return value

    def items(self, key: str, kind: type[T]) -> tuple[Located[T], ...]:
        return super().items(key, kind) if key in self._known else ()

    def entries(self, key: str, kind: type[T]) -> tuple[Entry[Located[T] | None], ...]:
        return super().entries(key, kind) if key in self._known else ()


class _RowLocated(Located[Fields]):
    """The fields of a row, which know their place."""

    __slots__ = ()

    def __init__(self, value: RowFields) -> None:
        _set(self, "value", value)

    @property
    def place(self) -> Place:
        return self.value.place


@dataclass(frozen=True, slots=True)
class Record:
    """A fixed set of keys. `refused` has keys that people try, with the problem to show."""

    keys: MappingOf[str, Key]
    refused: MappingOf[str, Refusal] = field(default_factory=dict)
    _required: frozenset[str] = field(init=False, repr=False)
    _of_word: MappingOf[str, Callable[[str], Any]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        required = frozenset(name for name, key in self.keys.items() if key.required)
        readers = {name: getattr(key.shape, "of_word", None) for name, key in self.keys.items()}
        object.__setattr__(self, "_required", required)
        object.__setattr__(self, "_of_word", {name: reader for name, reader in readers.items() if reader})

    def read(self, node: Node, faults: Faults) -> Located[Fields] | None:
        if isinstance(node, Row) and (known := self._known(node)) is not None:
            return _RowLocated(RowFields(known, self, node))
        if not isinstance(node, Mapping):
            optional = "" if any(key.required for key in self.keys.values()) else " `{}` will do if it has none."
            _no_keys(node, faults, f"Keys are: {', '.join(self.keys)}.{optional}")
            return None
        return self.read_keys(node, faults)

    def _known(self, row: Row) -> MappingOf[str, Any] | None:
        """The values of a row, None when there is anything to say about it."""
        known = {}
        for name, text in row.words.items():
            of_word = self._of_word.get(name)
            if of_word is None or (value := of_word(text)) is None:
                return None
            known[name] = value
        return known if self._required <= known.keys() else None

    def read_keys(self, node: Mapping, faults: Faults) -> Located[Fields]:
        """What a set of keys says."""
        before = faults.count
        values: dict[str, Located[Any]] = {}
        places: dict[str, Place] = {}
        faulty = set()
        for key, child in node.entries:
            mark = faults.count
            meant, value = self._value(key, child, faults)
            places.setdefault(meant, key.place)
            if value is not None:
                values[meant] = value
            if faults.count > mark:
                faulty.add(meant)
        if all(key.text in self.keys for key, child in node.entries if isinstance(child, Hole)):
            self._complete(node, places, faults)
        whole = faults.count == before
        return Located(Fields(node.place, values, places, frozenset(faulty), whole), node.place)

    def _value(self, key: Scalar, child: Node, faults: Faults) -> tuple[str, Located[Any] | None]:
        """The key that was meant, so that a misspelt one is not missing as well, and the value if it can be read."""
        name = key.text
        if name in self.keys:
            return name, self.keys[name].shape.read(child, faults)
        if isinstance(child, Hole):
            faults.pass_over()
        elif name in self.refused:
            refusal = self.refused[name]
            secret = key.place.cut(key.place.column - 1 + key.place.width)
            faults.add(refusal.code, secret, refusal.message, refusal.advice)
            return refusal.instead, None
        else:
            nearest = faults.guess(name, self.keys)
            advice = f"Did you mean `{nearest}`?" if nearest else f"Keys are: {', '.join(self.keys)}."
            faults.add("B110", key.place, f"`{name}` is not a key that is known here.", advice)
            return nearest or name, None
        return name, None

    def _complete(self, node: Mapping, places: MappingOf[str, Place], faults: Faults) -> None:
        missing = {name: key.help for name, key in self.keys.items() if key.required and name not in places}
        if missing:
            names = " and ".join(f"`{name}`" for name in missing)
            advice = "; ".join(f"`{name}`: {help_}" for name, help_ in missing.items())
            message = f"{names} {'are' if len(missing) > 1 else 'is'} missing."
            faults.add("B112", node.place, message, f"Add {advice}.")

    def schema(self) -> JsonSchema:
        required = [name for name, key in self.keys.items() if key.required]
        properties = {name: {"description": key.help, **key.shape.schema()} for name, key in self.keys.items()}
        shape: JsonSchema = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**shape, "required": required} if required else shape


def _no_keys(node: Node, faults: Faults, advice: str) -> None:
    if isinstance(node, Hole):
        faults.pass_over()
    else:
        faults.add("B111", node.place, f"a set of keys is expected here, {given(node)} is given.", advice)
