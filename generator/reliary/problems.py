"""Problems are values: a code, a severity, a place, a sentence and a next step. All are collected, then shown."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
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


@dataclass(frozen=True, slots=True)
class Problem:
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


def as_text(problems: Iterable[Problem]) -> str:
    """For people: place, code and sentence, the line with its fault underlined, the next step."""
    return "\n".join(_paragraph(problem) for problem in problems)


def as_json(problems: Iterable[Problem]) -> str:
    """For machines: `{"problems": [{code, severity, file, line, column, message, advice}]}`."""
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
    return json.dumps({"problems": rows}, indent=2, ensure_ascii=False) + "\n"


def as_github(problems: Iterable[Problem]) -> str:
    """For GitHub Actions: one workflow command per problem, which the pull request shows at its line."""
    return "".join(_annotation(problem) for problem in problems)


def visible(text: str, limit: int = 160) -> str:
    """Text for a terminal: control characters as escapes, so that a definition cannot steer it; cut at `limit`."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _paragraph(problem: Problem) -> str:
    mark = {Severity.ERROR: "", Severity.WARNING: "warning: ", Severity.NOT_RUN: "not run: "}[problem.severity]
    lines = [f"{visible(str(problem.place), 300)}  {problem.code}  {mark}{visible(problem.message, 600)}"]
    lines += _excerpt(problem.place)
    lines.append(f"    {visible(problem.advice, 600)}")
    return "\n".join(lines) + "\n"


def _excerpt(place: Place) -> list[str]:
    if not place.text.strip():
        return []
    number = str(place.line).rjust(6)
    start = place.column - 1
    if len(place.text) > 160 or not place.text.isprintable():
        return [f"{number} | {visible(place.text)}"]
    carets = "^" * max(1, min(place.width, len(place.text) - start))
    return [f"{number} | {place.text}", f"{' ' * 6} | {' ' * start}{carets}"]


def _annotation(problem: Problem) -> str:
    level = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOT_RUN: "error"}[problem.severity]
    at = f"file={_property(problem.place.file)}"
    if problem.place.line:
        at += f",line={problem.place.line},col={problem.place.column}"
    body = _data(f"{problem.message} {problem.advice}")
    return f"::{level} {at},title={_property(problem.code)}::{body}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
