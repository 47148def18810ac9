"""The words of a comparison of two stacks: a change, and small functions that find changes in values and in maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeAlias, TypeVar

import promql_parser

from reliary.names import duration
from reliary.promql import WINDOW, number

Word: TypeAlias = Literal["stricter", "looser", "louder", "quieter", "added", "removed", "changed"]
T = TypeVar("T")
NAMED = 3
_ANY_WINDOW = "7919s"
"""A window that nobody writes, to stand for `{window}` where an expression is parsed."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that means something else now. None is what was, or is, not there.

    `severity` says which way: stricter or looser for what is promised, louder or quieter for who is called and when.
    `effect` is what becomes of recorded history or of somebody who may not expect it.
    """

    kind: str
    what: str
    before: str | None
    after: str | None
    severity: Word
    effect: str = ""


def differs(
    kind: str, what: str, before: object, after: object, word: Word = "changed", effect: str = ""
) -> Iterator[Change]:
    """The change from one value to another, if there is one."""
    if before != after:
        yield Change(kind, what, shown(before), shown(after), word, effect)


def paired(
    kind: str,
    old: Mapping[str, T],
    new: Mapping[str, T],
    described: Callable[[T], str],
    compared: Callable[[str, T, T], Iterable[Change]],
    words: tuple[Word, Word] = ("added", "removed"),
    effects: tuple[str, str] = ("", ""),
) -> Iterator[Change]:
    """What was removed, what is new, and what differs in those of the same name. `words` are for new and removed."""
    for name, value in old.items():
        if name not in new:
            yield Change(kind, name, described(value), None, words[1], effects[1])
    for name, value in new.items():
        if name not in old:
            yield Change(kind, name, None, described(value), words[0], effects[0])
        else:
            yield from compared(name, old[name], value)


def rising(before: Any, after: Any, up: Word, down: Word) -> Word:
    """One word where a number grew, the other where it fell."""
    return up if after > before else down


def shown(value: object) -> str | None:
    """A value as people write it."""
    match value:
        case None | str():
            return value
        case bool():
            return "yes" if value else "no"
        case Decimal():
            return number(value)
        case tuple() | list() | frozenset():
            return listing(str(shown(each)) for each in (sorted(value) if isinstance(value, frozenset) else value))
        case _:
            return str(value)


def longer(
    kind: str, what: str, before: int, after: int, words: tuple[Word, Word] = ("changed", "changed"), effect: str = ""
) -> Iterator[Change]:
    """The change of a duration in seconds; `words` are for a longer and for a shorter one."""
    yield from differs(kind, what, duration(before), duration(after), rising(before, after, *words), effect)


def listing(words: Iterable[str], limit: int = 12) -> str:
    """`a, b and 5 more`; `none` for nothing."""
    found = list(words)
    more = f" and {len(found) - limit:,} more" if len(found) > limit else ""
    return ", ".join(found[:limit]) + more if found else "none"


def whole(ids: Sequence[str]) -> str:
    """Tenants by name, or their number and the first of them."""
    return listing(ids, NAMED) if len(ids) <= NAMED else f"{len(ids):,} tenants ({listing(ids, NAMED)})"


def same_query(one: str, other: str) -> bool:
    """True when two PromQL texts mean the same: spaces, the order of matchers and `60m` for `1h` do not count."""
    return one == other or _canonical(one) == _canonical(other)


def _canonical(text: str) -> str:
    try:
        return str(promql_parser.parse(text.replace(WINDOW, _ANY_WINDOW)).prettify())
    except ValueError:
        return text
