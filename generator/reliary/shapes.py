"""The shapes that definitions may have: each reads a node into a value with its place, or says what is wrong.

The same shapes publish the JSON Schema that editors complete and validate with, so the two cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Generic, Protocol, TypeVar

from reliary.problems import Place, Problem
from reliary.yamltree import Mapping, Node, Scalar, Sequence

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
JsonSchema = dict[str, Any]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(?:\d{1,6}[smhdw])+")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
_WHAT = {Scalar: "a single value", Sequence: "a list", Mapping: "a set of keys"}


@dataclass(frozen=True, slots=True)
class Located(Generic[T_co]):
    value: T_co
    place: Place


@dataclass(frozen=True, slots=True)
class Entry(Generic[T_co]):
    """One `key: value` of a map whose keys are names that the user chose."""

    key: str
    key_place: Place
    value: T_co


class Faults:
    """Collects problems while a file is read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def add(self, code: str, place: Place, message: str, advice: str) -> None:
        self.problems.append(Problem(code, message, advice, place))


class Shape(Protocol[T_co]):
    def read(self, node: Node, faults: Faults) -> Located[T_co] | None:
        """The value, or None after a problem was added."""
        ...

    def schema(self) -> JsonSchema: ...


def _scalar(node: Node, faults: Faults, wanted: str) -> Scalar | None:
    if isinstance(node, Scalar) and not node.is_null:
        return node
    found = "nothing" if isinstance(node, Scalar) else _WHAT[type(node)]
    faults.add("B111", node.place, f"{wanted} is expected here, {found} is given.", f"Write {wanted}.")
    return None


@dataclass(frozen=True, slots=True)
class Text:
    """Text that matches `pattern`; `what` names it in messages, `rule` says what is allowed."""

    what: str = "text"
    pattern: str = r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*"
    rule: str = "printable characters on one line"
    maximum: int = 300
    code: str = "B117"

    def read(self, node: Node, faults: Faults) -> Located[str] | None:
        scalar = _scalar(node, faults, self.what)
        if scalar is None:
            return None
        if self.problem(scalar.text, scalar.place, faults):
            return None
        return Located(scalar.text, scalar.place)

    def problem(self, text: str, place: Place, faults: Faults) -> bool:
        if len(text) > self.maximum:
            faults.add(
                self.code, place, f"{self.what} has {len(text)} characters.", f"At most {self.maximum} are allowed."
            )
        elif not text.strip():
            faults.add(self.code, place, f"{self.what} is empty.", f"Write {self.rule}.")
        elif not re.fullmatch(self.pattern, text):
            faults.add(self.code, place, f"`{text}` is not {self.what}.", f"Allowed: {self.rule}.")
        else:
            return False
        return True

    def schema(self) -> JsonSchema:
        shape: JsonSchema = {"type": ["string", "number", "boolean"], "maxLength": self.maximum, "minLength": 1}
        return shape if self.pattern.startswith("[^") else {**shape, "pattern": f"^(?:{self.pattern})$"}


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal number strictly between or at the bounds; `advice` overrides the general next step."""

    what: str
    minimum: Decimal
    maximum: Decimal
    inclusive: bool = True
    code: str = "B113"
    reason: str = ""
    advice: str = ""

    def read(self, node: Node, faults: Faults) -> Located[Decimal] | None:
        scalar = _scalar(node, faults, self.what)
        if scalar is None:
            return None
        if not _NUMBER.fullmatch(scalar.text):
            faults.add(
                "B111", scalar.place, f"`{scalar.text}` is not a number.", f"Write {self.what}, such as 5 or 99.9."
            )
            return None
        value = Decimal(scalar.text)
        inside = self.minimum <= value <= self.maximum if self.inclusive else self.minimum < value < self.maximum
        if not inside:
            reason = self.reason or f"is not {self.what} from {self.minimum} to {self.maximum}"
            faults.add(
                self.code,
                scalar.place,
                f"{scalar.text} {reason}.",
                self.advice or f"Choose {self.what} within the range.",
            )
            return None
        return Located(value, scalar.place)

    def schema(self) -> JsonSchema:
        low, high = ("minimum", "maximum") if self.inclusive else ("exclusiveMinimum", "exclusiveMaximum")
        return {"type": "number", low: float(self.minimum), high: float(self.maximum)}


@dataclass(frozen=True, slots=True)
class Duration:
    """A span such as `15s`, `1h30m` or `30d`, in seconds."""

    minimum_seconds: int = 1
    maximum_seconds: int = 5 * 366 * 86400

    def read(self, node: Node, faults: Faults) -> Located[int] | None:
        scalar = _scalar(node, faults, "a duration")
        if scalar is None:
            return None
        if not _DURATION.fullmatch(scalar.text):
            faults.add(
                "B111",
                scalar.place,
                f"`{scalar.text}` is not a duration.",
                "Write a number and a unit: 15s, 5m, 1h, 30d.",
            )
            return None
        seconds = sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", scalar.text))
        if not self.minimum_seconds <= seconds <= self.maximum_seconds:
            faults.add(
                "B113",
                scalar.place,
                f"`{scalar.text}` is out of range.",
                f"Between {self.minimum_seconds} seconds and {self.maximum_seconds // 86400} days are allowed.",
            )
            return None
        return Located(seconds, scalar.place)

    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": "^(?:[0-9]{1,6}[smhdw])+$"}


@dataclass(frozen=True, slots=True)
class Flag:
    def read(self, node: Node, faults: Faults) -> Located[bool] | None:
        scalar = _scalar(node, faults, "true or false")
        if scalar is None:
            return None
        if scalar.text not in ("true", "false"):
            faults.add("B111", scalar.place, f"`{scalar.text}` is neither true nor false.", "Write true or false.")
            return None
        return Located(scalar.text == "true", scalar.place)

    def schema(self) -> JsonSchema:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words. `code` and `advice` are for choices whose wrong answers teach something."""

    values: tuple[str, ...]
    code: str = "B113"
    advice: str = ""

    def read(self, node: Node, faults: Faults) -> Located[str] | None:
        scalar = _scalar(node, faults, f"one of {', '.join(self.values)}")
        if scalar is None:
            return None
        if scalar.text not in self.values:
            nearest = get_close_matches(scalar.text, self.values, n=1)
            advice = self.advice or (f"Did you mean `{nearest[0]}`?" if nearest else "Choose one of these.")
            faults.add(self.code, scalar.place, f"`{scalar.text}` is not one of {', '.join(self.values)}.", advice)
            return None
        return Located(scalar.text, scalar.place)

    def schema(self) -> JsonSchema:
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class List(Generic[T]):
    """A list; a single value counts as a list of one. Faulty items are reported and left out."""

    item: Shape[T]

    def read(self, node: Node, faults: Faults) -> Located[tuple[Located[T], ...]] | None:
        nodes = node.items if isinstance(node, Sequence) else (node,)
        if not nodes:
            faults.add("B111", node.place, "the list is empty.", "Give at least one item, or remove the key.")
            return None
        read = tuple(self.item.read(child, faults) for child in nodes)
        return Located(tuple(value for value in read if value is not None), node.place)

    def schema(self) -> JsonSchema:
        return {"type": "array", "items": self.item.schema(), "minItems": 1}


@dataclass(frozen=True, slots=True)
class Map(Generic[T]):
    """Keys that the user chose, each with a value of one shape. Faulty entries keep their name out of the map."""

    key: Text
    value: Shape[T]

    def read(self, node: Node, faults: Faults) -> Located[tuple[Entry[Located[T] | None], ...]] | None:
        if not isinstance(node, Mapping):
            faults.add(
                "B111",
                node.place,
                f"a set of keys is expected here, {_WHAT[type(node)]} is given.",
                f"Write `{self.key.what}: …` lines.",
            )
            return None
        entries = []
        for key, child in node.entries:
            fine = not self.key.problem(key.text, key.place, faults)
            value = self.value.read(child, faults)
            if fine:
                entries.append(Entry(key.text, key.place, value))
        return Located(tuple(entries), node.place)

    def schema(self) -> JsonSchema:
        return {
            "type": "object",
            "additionalProperties": self.value.schema(),
            "propertyNames": {"pattern": f"^(?:{self.key.pattern})$"},
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
    shape: Shape[Any]
    help: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Fields:
    """What a record said. `whole` is False when a key was faulty or missing; then it is not built upon."""

    place: Place
    values: MappingOf[str, Located[Any]]
    whole: bool

    def has(self, key: str) -> bool:
        return key in self.values

    def at(self, key: str) -> Place:
        """Where the value of a key stands; where the record stands if it has no such key."""
        return self.values[key].place if key in self.values else self.place

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


@dataclass(frozen=True, slots=True)
class Record:
    """A fixed set of keys. `refused` maps keys that people try to the problem (code, message, advice) to show."""

    keys: MappingOf[str, Key]
    refused: MappingOf[str, tuple[str, str, str]] = field(default_factory=dict)

    def read(self, node: Node, faults: Faults) -> Located[Fields] | None:
        if not isinstance(node, Mapping):
            found = "nothing" if isinstance(node, Scalar) and node.is_null else _WHAT[type(node)]
            faults.add(
                "B111",
                node.place,
                f"a set of keys is expected here, {found} is given.",
                f"Keys are: {', '.join(self.keys)}.",
            )
            return None
        before = len(faults.problems)
        values = {
            key.text: value for key, child in node.entries if (value := self._value(key, child, faults)) is not None
        }
        given = {key.text for key, _ in node.entries}
        for name, key in self.keys.items():
            if key.required and name not in given:
                faults.add("B112", node.place, f"`{name}` is missing.", f"Add `{name}`: {key.help}.")
        return Located(Fields(node.place, values, len(faults.problems) == before), node.place)

    def _value(self, key: Scalar, child: Node, faults: Faults) -> Located[Any] | None:
        if key.text in self.keys:
            return self.keys[key.text].shape.read(child, faults)
        if key.text in self.refused:
            code, message, advice = self.refused[key.text]
            faults.add(code, key.place, message, advice)
        else:
            nearest = get_close_matches(key.text, self.keys, n=1)
            advice = f"Did you mean `{nearest[0]}`?" if nearest else f"Keys are: {', '.join(self.keys)}."
            faults.add("B110", key.place, f"`{key.text}` is not a key that is known here.", advice)
        return None

    def schema(self) -> JsonSchema:
        required = [name for name, key in self.keys.items() if key.required]
        properties = {name: {"description": key.help, **key.shape.schema()} for name, key in self.keys.items()}
        shape: JsonSchema = {"type": "object", "additionalProperties": False, "properties": properties}
        return {**shape, "required": required} if required else shape


@dataclass(frozen=True, slots=True)
class Parsed(Generic[T]):
    """Text that `parse` turns into a value; it raises ValueError with the sentence to show."""

    what: str
    parse: Callable[[str], T]
    code: str
    advice: str

    def read(self, node: Node, faults: Faults) -> Located[T] | None:
        scalar = _scalar(node, faults, self.what)
        if scalar is None:
            return None
        try:
            return Located(self.parse(scalar.text), scalar.place)
        except ValueError as error:
            faults.add(self.code, scalar.place, str(error), self.advice)
            return None

    def schema(self) -> JsonSchema:
        return {"type": "string"}
