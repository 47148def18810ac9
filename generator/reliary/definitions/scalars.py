"""Shapes of single values: text, numbers, durations, flags and choices."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from reliary.definitions.shapes import Faults, JsonSchema, Located, given, listed
from reliary.definitions.yamltree import NULLS, Hole, Node, Scalar
from reliary.names import duration
from reliary.problems import Place

# Control characters, line and paragraph separators, and the marks that turn the direction of writing (with those,
# a text can look like another one).
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff"
PRINTABLE = f"[^{_UNSEEN}]*"
PRINTABLE_LINES = f"(?:[^{_UNSEEN}]|[\\t\\n])*"

_MILLISECONDS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_FLAGS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_MEANT = dict.fromkeys(("yes", "y", "on", "1"), "true") | dict.fromkeys(("no", "n", "off", "0"), "false")


@cache
def _compiled(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(pattern).fullmatch


def _scalar(node: Node, faults: Faults, wanted: str, advice: str) -> Scalar | None:
    if isinstance(node, Scalar) and not node.is_null:
        return node
    if isinstance(node, Hole):
        faults.pass_over()
        return None
    if isinstance(node, Scalar) and node.text:
        advice += f' For the word itself write "{node.text}", in quotes.'
    faults.add("B111", node.place, f"{wanted} is expected here, {given(node)} is given.", advice)
    return None


@dataclass(frozen=True, slots=True)
class Text:
    """Text that matches `pattern`; `what` names it in messages, `rule` says what is allowed.

    What matches `secret` is never repeated: reports end up in the logs of builds.
    """

    what: str
    pattern: str = PRINTABLE
    rule: str = "letters, digits and signs on one line, without control characters"
    maximum: int = 300
    code: str = "B117"
    secret: str = ""

    def read(self, node: Node, faults: Faults) -> Located[str] | None:
        scalar = _scalar(node, faults, self.what, f"Write {self.rule}.")
        if scalar is None:
            return None
        if self._is_secret(scalar.text):
            place = scalar.place.cut(scalar.place.column - 1)
            faults.add("B127", place, f"this is not {self.what}.", f"Allowed: {self.rule}.")
            return None
        if self.problem(scalar.text, scalar.place, faults):
            return None
        return Located(scalar.text, scalar.place)

    def of_word(self, text: str) -> str | None:
        fine = text not in NULLS and len(text) <= self.maximum and _compiled(self.pattern)(text)
        return text if fine and text.strip() else None

    def _is_secret(self, text: str) -> bool:
        return bool(self.secret and re.match(self.secret, text) and not re.fullmatch(self.pattern, text))

    def problem(self, text: str, place: Place, faults: Faults) -> bool:
        """True after a problem was added."""
        message = self._fault(text)
        if message is None:
            return False
        faults.add(self.code, place, message, f"Allowed: {self.rule}.")
        return True

    def _fault(self, text: str) -> str | None:
        if not text.strip():
            return f"{self.what} is empty."
        if len(text) > self.maximum:
            return f"{self.what} has {len(text):,} characters; at most {self.maximum} are allowed."
        if re.fullmatch(self.pattern, text):
            return None
        if unseen := re.search(f"[{_UNSEEN}]", text):
            return f"{self.what} holds the character U+{ord(unseen[0]):04X}, which cannot be seen."
        return f"`{text}` is not {self.what}."

    def schema(self) -> JsonSchema:
        shape: JsonSchema = {"type": ["string", "number", "boolean"], "maxLength": self.maximum, "minLength": 1}
        return shape if self.pattern in (PRINTABLE, PRINTABLE_LINES) else {**shape, "pattern": f"^(?:{self.pattern})$"}

    def key_schema(self) -> JsonSchema:
        """The schema of a key; keys are text whatever they look like."""
        return {"pattern": f"^(?:{self.pattern})$", "maxLength": self.maximum}


@dataclass(frozen=True, slots=True)
class Number:
    """A decimal number at the bounds or between them; `advice` and `reason` say more where a wrong one teaches."""

    what: str
    minimum: Decimal
    maximum: Decimal
    inclusive: bool = True
    whole: bool = False
    example: str = "5"
    code: str = "B113"
    reason: str = ""
    advice: str = ""

    def read(self, node: Node, faults: Faults) -> Located[Decimal] | None:
        scalar = _scalar(node, faults, self.what, f"Write a number, such as {self.example}.")
        if scalar is None:
            return None
        if not _NUMBER.fullmatch(scalar.text):
            kind = "whole number" if self.whole else "number"
            advice = f"Write {self.what} in digits, such as {self.example}; no unit, no sign of percent or currency."
            faults.add("B111", scalar.place, f"`{scalar.text}` is not a {kind}.", advice)
            return None
        value = Decimal(scalar.text)
        if self.whole and value % 1:
            faults.add("B111", scalar.place, f"`{scalar.text}` is not a whole number.", "Write it without a fraction.")
            return None
        if not self._inside(value):
            advice = self.advice or f"Choose {self.what} from {self.minimum:,} to {self.maximum:,}."
            faults.add(self.code, scalar.place, f"{scalar.text} {self.reason or 'is out of range'}.", advice)
            return None
        return Located(value, scalar.place)

    def _inside(self, value: Decimal) -> bool:
        return self.minimum <= value <= self.maximum if self.inclusive else self.minimum < value < self.maximum

    def schema(self) -> JsonSchema:
        low, high = ("minimum", "maximum") if self.inclusive else ("exclusiveMinimum", "exclusiveMaximum")
        return {"type": "integer" if self.whole else "number", low: float(self.minimum), high: float(self.maximum)}


@dataclass(frozen=True, slots=True)
class Duration:
    """A span of whole seconds, such as `15s`, `1h30m` or `30d`."""

    minimum_seconds: int = 1
    maximum_seconds: int = 5 * 366 * 86400

    def read(self, node: Node, faults: Faults) -> Located[int] | None:
        span = _span(node, faults, "smhdw", "15s, 5m, 1h or 30d", self.minimum_seconds, self.maximum_seconds)
        return None if span is None else Located(span.value // 1000, span.place)

    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": "^(?:[0-9]{1,6}[smhdw])+$"}


@dataclass(frozen=True, slots=True)
class FineDuration:
    """A span in seconds and parts of a second, such as `500ms` or `2s`: how long one request takes."""

    maximum_seconds: int = 3600

    def read(self, node: Node, faults: Faults) -> Located[Decimal] | None:
        span = _span(node, faults, "ms|[smh]", "500ms or 2s", 0, self.maximum_seconds)
        return None if span is None else Located((Decimal(span.value) / 1000).normalize() + 0, span.place)

    def schema(self) -> JsonSchema:
        return {"type": "string", "pattern": "^(?:[0-9]{1,6}(?:ms|[smh]))+$"}


def _span(node: Node, faults: Faults, units: str, examples: str, low: int, high: int) -> Located[int] | None:
    """Milliseconds. `low` and `high` are seconds; 0 is never a span."""
    scalar = _scalar(node, faults, "a duration", f"Write a number and a unit: {examples}.")
    if scalar is None:
        return None
    unit = units if "|" in units else f"[{units}]"
    if len(scalar.text) > 60 or not re.fullmatch(f"(?:[0-9]{{1,6}}(?:{unit}))+", scalar.text):
        advice = f"Write a whole number and a unit, such as {examples}."
        faults.add("B111", scalar.place, f"`{scalar.text}` is not a duration.", advice)
        return None
    parts = re.findall("([0-9]+)(ms|[a-z])", scalar.text)
    span = sum(int(number) * _MILLISECONDS[name] for number, name in parts)
    if not max(1, 1000 * low) <= span <= 1000 * high:
        bounds = f"from {duration(low) if low else '1ms'} to {duration(high)}"
        faults.add("B113", scalar.place, f"`{scalar.text}` is out of range.", f"Choose a duration {bounds}.")
        return None
    return Located(span, scalar.place)


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false, and no other word."""

    def read(self, node: Node, faults: Faults) -> Located[bool] | None:
        scalar = _scalar(node, faults, "true or false", "Write true or false.")
        if scalar is None:
            return None
        if scalar.text not in _FLAGS:
            meant = _MEANT.get(scalar.text.lower())
            advice = f"Did you mean `{meant}`?" if meant else "Write true or false."
            faults.add("B111", scalar.place, f"`{scalar.text}` is neither true nor false.", advice)
            return None
        return Located(_FLAGS[scalar.text], scalar.place)

    def of_word(self, text: str) -> bool | None:
        return _FLAGS.get(text)

    def schema(self) -> JsonSchema:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words. `code` and `advice` are for choices whose wrong answers teach something."""

    values: tuple[str, ...]
    code: str = "B113"
    advice: str = ""

    def read(self, node: Node, faults: Faults) -> Located[str] | None:
        words = listed(self.values)
        scalar = _scalar(node, faults, f"one word ({words})", self.advice or "Choose one of these.")
        if scalar is None:
            return None
        if scalar.text not in self.values:
            nearest = faults.guess(scalar.text, self.values)
            advice = self.advice or (f"Did you mean `{nearest}`?" if nearest else "Choose one of these.")
            faults.add(self.code, scalar.place, f"`{scalar.text}` is none of: {words}.", advice)
            return None
        return Located(scalar.text, scalar.place)

    def schema(self) -> JsonSchema:
        return {"enum": list(self.values)}
