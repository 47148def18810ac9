"""Problems are values: a code, a severity, a place, a sentence and a next step. All are collected, then shown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from unicodedata import combining, east_asian_width

TEXT_LIMIT = 50
"""A report for people stops after so many problems: nobody reads on, and the first ones are the cause of many."""

BEFORE, MARKED, EXCERPT = 60, 80, 150
"""Characters of a line that an excerpt shows: before the fault, of the fault, altogether."""


class Severity(StrEnum):
    """What a problem does to the outcome: errors and checks that were not run fail it, warnings do not."""

    ERROR = "error"
    WARNING = "warning"
    NOT_RUN = "not-run"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a definition: line and column count from 1; `text` is that line, `width` what to underline."""

    file: str
    line: int = 0
    column: int = 0
    text: str = ""
    width: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def cut(self, end: int) -> Place:
        """The same place with its line only up to `end`: what follows there is a secret."""
        return replace(self, text=self.text[:end] + "…", width=max(1, end + 1 - self.column))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where, and what to do next. `code` is stable and explained in docs/checks.md."""

    code: str
    message: str
    advice: str
    place: Place
    severity: Severity = Severity.ERROR

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        return (self.place.file, self.place.line, self.place.column, self.code, self.message)


def ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems by file, line, column and code, each once."""
    return tuple(sorted(set(problems), key=lambda problem: problem.order))


def exit_code(problems: Iterable[Problem]) -> int:
    """0 when only warnings are left, else 1. A check that was not run is not a pass."""
    return int(any(problem.severity is not Severity.WARNING for problem in problems))


def as_text(problems: Iterable[Problem], limit: int = TEXT_LIMIT) -> str:
    """For people: place, code and sentence, the line with its fault underlined, the next step.

    After `limit` problems only their number is told; errors are shown before warnings then.
    """
    problems = tuple(problems)
    if len(problems) <= limit:
        return "\n".join(_paragraph(problem) for problem in problems)
    worst_first = sorted(problems, key=lambda problem: problem.severity is Severity.WARNING)
    shown = "\n".join(_paragraph(problem) for problem in worst_first[:limit])
    return f"{shown}\n{_rest(worst_first[limit:])}"


def as_json(problems: Iterable[Problem]) -> str:
    """For machines: `{"problems": [{code, severity, file, line, column, message, advice}]}`, in ASCII."""
    rows = [
        {
            "code": problem.code,
            "severity": problem.severity.value,
            "file": problem.place.file,
            "line": problem.place.line,
            "column": problem.place.column,
            "message": problem.message,
            "advice": problem.advice,
        }
        for problem in problems
    ]
    return json.dumps({"problems": rows}, indent=2) + "\n"


def as_github(problems: Iterable[Problem]) -> str:
    """For GitHub Actions: one workflow command per problem, which the pull request shows at its line."""
    return "".join(_annotation(problem) for problem in problems)


def visible(text: str, limit: int = 160) -> str:
    """Text for a terminal: control characters as escapes, so that a definition cannot steer it; cut at `limit`."""
    shown = _escaped(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _rest(problems: list[Problem]) -> str:
    counts = Counter(problem.code for problem in problems)
    codes = ", ".join(f"{count:,} of {code}" for code, count in counts.most_common(5))
    number = f"{len(problems):,} more problem" + ("s" if len(problems) > 1 else "")
    return f"… and {number} ({codes}).\n    Fix the first ones, then look again; --format json lists all.\n"


def _paragraph(problem: Problem) -> str:
    mark = {Severity.ERROR: "", Severity.WARNING: "warning: ", Severity.NOT_RUN: "not run: "}[problem.severity]
    lines = [f"{visible(str(problem.place), 300)}  {problem.code}  {mark}{visible(problem.message, 600)}"]
    lines += _excerpt(problem.place)
    lines.append(f"    {visible(problem.advice, 600)}")
    return "\n".join(lines) + "\n"


def _excerpt(place: Place) -> list[str]:
    """The line and carets under what is meant; of a long line the part around it."""
    if not place.text.strip():
        return []
    start, end = place.column - 1, place.column - 1 + min(place.width, MARKED)
    first = max(0, start - BEFORE) if len(place.text) > EXCERPT else 0
    before = ("…" if first else "") + _escaped(place.text[first:start])
    marked = _escaped(place.text[start:end])
    after = _escaped(place.text[end : first + EXCERPT]) + ("…" if len(place.text) > first + EXCERPT else "")
    return [
        f"{place.line:>6} | {before}{marked}{after}",
        f"       | {' ' * _cells(before)}{'^' * max(1, _cells(marked))}",
    ]


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese and emoji take two, accents none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def _annotation(problem: Problem) -> str:
    level = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOT_RUN: "error"}[problem.severity]
    at = f"file={_property(problem.place.file)}"
    if problem.place.line:
        at += f",line={problem.place.line},col={problem.place.column}"
    body = _data(f"{problem.message} {problem.advice}")
    return f"::{level} {at},title={_property(problem.code)}::{body}\n"


def _data(text: str) -> str:
    return visible(text, 1200).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
