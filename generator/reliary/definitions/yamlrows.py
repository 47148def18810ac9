"""Runs of list items that are all words: what ten thousand tenants look like.

libyaml needs an eighth of the time that it takes to turn its events into values with places, so a list of tenants is
not given to it item by item. A run of such items is replaced by one placeholder and empty lines. libyaml then says
whether an item of a list begins there (or a line of a quoted text, or anything else); only if one does, the run is
taken as what it looks like. At any other outcome the whole file is read event by event.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

PLACEHOLDER = "0"

_KEY, _PART = r"[a-z_]{1,60}+", r"[\w.@+&'()/-]"
_WORDS = rf"\w{_PART}*+(?: {_PART}++)*+"
_PAIR = f"{_KEY}: {_WORDS}"
_BRACES = rf"\{{{_PAIR}(?:, *{_PAIR})*+\}} *\n"
_LINES = rf"{_PAIR} *\n(?:\1  {_PAIR} *\n)*+"
_ITEM = re.compile(rf"^( *)- (?:{_BRACES}|{_LINES})(?: *\n)*+", re.MULTILINE)
_EACH = re.compile(f"({_KEY}): ({_WORDS})")

_NEXT = re.compile(r" *(?=[^ \t])")
_BREAKS_KEPT = re.compile("[\u2028\u2029]")
"""Ends of lines that YAML keeps in a text as they are; it reads all others as `\\n`."""


Item: TypeAlias = tuple[int, int, Mapping[str, str]]
"""The first line of a list item (from 0), how many lines it has, and its keys with their words."""


@dataclass(frozen=True, slots=True)
class Runs:
    """`text` has one placeholder for each run of items; `items` has them by the line and column of the placeholder."""

    text: str
    items: Mapping[tuple[int, int], Sequence[Item]]


def find_runs(text: str, lines: Sequence[str]) -> Runs:
    """The text of a file with its runs of plain items replaced; line numbers stay."""
    if _BREAKS_KEPT.search(text):
        return Runs(text, {})
    whole = "\n".join(lines) + "\n"
    items: dict[tuple[int, int], list[Item]] = {}
    left: list[str] = []
    run: list[Item] = []
    line, after, column = 0, 0, -1
    for start, end, indent, words in _items(whole):
        if start != after or indent != column:
            left += ["\n" * sum(item[1] for item in run), whole[after:start], " " * indent, "- ", PLACEHOLDER]
            line, column = line + whole.count("\n", after, start), indent
            run = items[line, indent + 2] = []
        count = whole.count("\n", start, end)
        run.append((line, count, words))
        line, after = line + count, end
    left += ["\n" * sum(item[1] for item in run), whole[after:]]
    replaced = "".join(left)
    return Runs(replaced if text[-1:] in "\n\r\x85" else replaced[:-1], items)


def _items(whole: str) -> Iterator[tuple[int, int, int, Mapping[str, str]]]:
    """Start, end, indentation and words of each item. None has a key twice, and none goes on behind its end."""
    indent, following = 0, "- "
    for found in _ITEM.finditer(whole):
        start, end = found.span()
        if found.end(1) - start != indent:
            indent = found.end(1) - start
            following = " " * indent + "- "
        pairs = _EACH.findall(found[0])
        words = dict(pairs)
        if len(words) == len(pairs) and (whole.startswith(following, end) or _ends(whole, end, indent)):
            yield start, end, indent, words


def _ends(whole: str, end: int, indent: int) -> bool:
    """True when an item cannot go on: what follows is indented less than what it holds, and not by a tab."""
    following = _NEXT.match(whole, end)
    return end == len(whole) or (following is not None and following.end() - end <= indent)
