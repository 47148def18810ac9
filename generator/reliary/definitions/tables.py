"""Tenants in bulk: a CSV or JSON Lines file -> the same tree that YAML would give, so the same shapes check it.

One line is one tenant, so a fault has its line number, and a broken line does not hide the others.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from reliary.definitions.source import Source
from reliary.definitions.yamltree import MAX_DEPTH, MAX_VALUES, Hole, Mapping, Node, Scalar, Sequence, Tree, twice
from reliary.problems import Place, Problem

COLUMNS = ("id", "tier", "name", "vip")
GROUPS = {"objective": "objectives", "budget": "budget"}
"""Columns such as `objective.availability` and `budget.warn`, and the key that they fill."""

MAX_SEARCHED = 10_000
"""Characters of a line in which the place of a key is looked for."""


def _too_many(source: Source) -> Problem | None:
    text = source.text
    if text.count(",") + text.count(":") + len(source.lines) <= MAX_VALUES:
        return None
    return Problem("B105", f"the file holds more than {MAX_VALUES:,} values.", "Split it.", Place(source.file))


def _tree(source: Source, rows: Iterable[Node | Problem], problems: list[Problem]) -> Tree:
    """The tenants of all rows; a row that is a problem leaves a hole. `problems` may grow while rows are made."""
    nodes: list[Node] = []
    for row in rows:
        if isinstance(row, Problem):
            problems.append(row)
        nodes.append(Hole(row.place) if isinstance(row, Problem) else row)
    if not nodes:
        return Tree(None, tuple(problems))
    place = source.place(0, 0, len(source.lines[0]))
    tenants = (Scalar("tenants", False, place), Sequence(tuple(nodes), place))
    return Tree(Mapping((tenants,), place), tuple(problems))


def _lines(source: Source) -> list[tuple[int, str]]:
    return [(number, text) for number, text in enumerate(source.lines) if text.strip()]


# -- CSV


@dataclass(frozen=True, slots=True)
class _Column:
    """Where a cell goes: `key`, or `key` within `group`."""

    key: Scalar
    group: Scalar | None


def read_csv(source: Source) -> Tree:
    """Tenants from lines of `id,tier,name,vip,objective.<slo>,budget.warn,budget.critical`; the first names columns."""
    if (fault := _too_many(source)) is not None:
        return Tree(None, (fault,), whole=False)
    lines = _lines(source)
    if not lines:
        return Tree(None, ())
    head = _head(source, *lines[0])
    if isinstance(head, Problem):
        return Tree(None, (head,), whole=False)
    problems: list[Problem] = []
    columns = [_column(cell, problems) for cell in head]
    return _tree(source, (_csv_row(source, *line, columns) for line in lines[1:]), problems)


def _cells(source: Source, number: int, text: str) -> list[Scalar] | Problem:
    try:
        values = next(csv.reader([text], strict=True))
    except csv.Error as error:
        place = source.place(number, 0, len(text))
        return Problem("B104", f"not valid CSV: {error}.", "One line is one tenant; close each quote on it.", place)
    starts = _starts(text)
    return [
        Scalar(value.strip(), False, source.place(number, start, end - start - 1))
        for value, start, end in zip(values, starts, [*starts[1:], len(text) + 1], strict=False)
    ]


def _starts(text: str) -> list[int]:
    """Where each cell of a line starts; a comma in quotes does not start one."""
    outside = text if '"' not in text else re.sub(r'"[^"]*"', lambda quoted: "x" * len(quoted[0]), text)
    return [0, *(comma.end() for comma in re.finditer(",", outside))]


def _head(source: Source, number: int, text: str) -> list[Scalar] | Problem:
    """The names of the columns, with their places."""
    cells = _cells(source, number, text)
    if isinstance(cells, Problem):
        return cells
    first: dict[str, Scalar] = {}
    for cell in cells:
        if cell.text in first:
            return twice(cell, first[cell.text])
        first[cell.text] = cell
    missing = " and ".join(f"`{name}`" for name in COLUMNS[:2] if name not in first)
    if not missing:
        return cells
    separated = ";" in cells[0].text or "\t" in cells[0].text
    advice = "Separate the columns by commas." if separated else f"Start the file with: {','.join(COLUMNS)}"
    return Problem("B112", f"the first line names no column {missing}.", advice, cells[0].place)


def _column(cell: Scalar, problems: list[Problem]) -> _Column | None:
    group, dot, key = cell.text.partition(".")
    if dot and group in GROUPS:
        return _Column(Scalar(key, False, cell.place), Scalar(GROUPS[group], False, cell.place))
    if cell.text in COLUMNS:
        return _Column(cell, None)
    advice = f"Columns are: {', '.join(COLUMNS)}, objective.<slo>, budget.warn and budget.critical."
    problems.append(Problem("B110", f"`{cell.text}` is not a column that is known.", advice, cell.place))
    return None


def _csv_row(source: Source, number: int, text: str, columns: list[_Column | None]) -> Node | Problem:
    cells = _cells(source, number, text)
    if isinstance(cells, Problem):
        return cells
    place = source.place(number, 0, len(text))
    if len(cells) > len(columns):
        message = f"the line has {len(cells)} cells, and the first line names {len(columns)} columns."
        return Problem("B104", message, "Put a name that holds a comma in double quotes.", place)
    return _row(zip(columns, cells, strict=False), place)


def _row(cells: Iterable[tuple[_Column | None, Scalar]], place: Place) -> Mapping:
    """An empty cell is a key that is not given."""
    entries: list[tuple[Scalar, Node]] = []
    groups: dict[str, tuple[Scalar, list[tuple[Scalar, Node]]]] = {}
    for column, cell in cells:
        if column is None or not cell.text:
            continue
        if column.group is None:
            entries.append((column.key, cell))
        else:
            groups.setdefault(column.group.text, (column.group, []))[1].append((column.key, cell))
    nested = ((key, Mapping(tuple(inner), inner[0][1].place)) for key, inner in groups.values())
    return Mapping((*entries, *nested), place)


# -- JSON Lines


def read_jsonl(source: Source) -> Tree:
    """Tenants from lines that are JSON objects with the keys of a tenant in YAML."""
    if (fault := _too_many(source)) is not None:
        return Tree(None, (fault,), whole=False)
    problems: list[Problem] = []
    rows = (_json_row(text, source.place(number, 0, len(text)), problems) for number, text in _lines(source))
    return _tree(source, rows, problems)


def _json_row(text: str, place: Place, problems: list[Problem]) -> Node | Problem:
    try:
        value = json.loads(text, object_pairs_hook=tuple, parse_float=str, parse_int=str, parse_constant=str)
        return _node(value, _Line(text, place, problems), place)
    except json.JSONDecodeError as error:
        at = Place(place.file, place.line, error.colno, text)
        return Problem("B104", f"not valid JSON: {error.msg.lower()}.", "One line is one tenant: {…}", at)
    except RecursionError:
        message = f"values are nested more than {MAX_DEPTH} deep."
        return Problem("B107", message, "A tenant needs two levels; is a bracket too much?", place)


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    place: Place
    problems: list[Problem]

    def key(self, name: str) -> Scalar:
        """A key with its place. Where escapes hide it, and in a line that nobody reads, the line is its place."""
        pattern = re.escape(json.dumps(name, ensure_ascii=False)) + r"(?=\s*:)"
        found = re.search(pattern, self.text) if len(self.text) <= MAX_SEARCHED else None
        if found is None:
            return Scalar(name, False, self.place)
        width = found.end() - found.start()
        return Scalar(name, False, Place(self.place.file, self.place.line, found.start() + 1, self.text, width))


def _node(value: Any, line: _Line, place: Place) -> Node:
    if isinstance(value, tuple):
        return Mapping(tuple(_members(value, line)), place)
    if isinstance(value, list):
        return Sequence(tuple(_node(item, line, place) for item in value), place)
    if value is None:
        return Scalar("null", True, place)
    return Scalar(str(value).lower() if isinstance(value, bool) else value, False, place)


def _members(pairs: tuple[tuple[str, Any], ...], line: _Line) -> Iterator[tuple[Scalar, Node]]:
    """The keys and values of an object; null is how exports write a key that is not given."""
    first: dict[str, Scalar] = {}
    for name, value in pairs:
        key = line.key(name)
        if name in first:
            line.problems.append(twice(key, first[name]))
            continue
        first[name] = key
        if value is not None:
            yield key, _node(value, line, key.place)
