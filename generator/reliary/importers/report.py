"""The report on an import: for people on the terminal, as a file to keep, for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from reliary.artifacts import File
from reliary.importers.classes import Class, Composite
from reliary.importers.found import Change, one_line
from reliary.importers.sources import series_of
from reliary.importers.writing import FILL_IN, tenant_ids
from reliary.problems import Problem, as_text, visible

REPORT = "IMPORT.md"


@dataclass(frozen=True, slots=True)
class Report:
    """What was imported, what changed in meaning, what was refused; `general` holds for every objective."""

    tool: str
    files: tuple[str, ...]
    label: str
    classes: tuple[Class, ...]
    composites: tuple[Composite, ...]
    general: tuple[Change, ...]
    notes: tuple[str, ...]
    offer: str
    problems: tuple[Problem, ...]
    skeleton: bool

    @property
    def summary(self) -> str:
        """One sentence."""
        objectives = sum(len(one.group.members) for one in self.classes)
        if not self.classes:
            return f"nothing of {_many(len(self.files), 'file')} could be imported; {len(self.problems)} refused."
        text = f"{_many(objectives, 'objective')} of {_many(len(self.files), 'file')} became "
        text += _many(len(self.classes), "class", "classes")
        tenants = tenant_ids(self.classes, self.label)
        text += f" with {_many(len(tenants), 'tenant')}" if tenants else ""
        text += f" and {_many(len(self.composites), 'composite')}" if self.composites else ""
        return f"{text}; {len(self.problems)} refused."


def _many(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


# -- for people, on the terminal


def to_text(report: Report) -> str:
    """A line for each class, then what was refused with a next step."""
    lines = [report.summary]
    lines += [visible(f"  {one.name}: {_kind(one)}, {_from(one)}", 200) for one in report.classes]
    lines += [f"  {composite.name}: {', '.join(composite.of)} read as one" for composite in report.composites]
    lines += [visible(note, 400) for note in (report.offer, *report.notes) if note]
    return "\n".join(lines) + "\n" + (f"\n{as_text(report.problems)}" if report.problems else "")


def _kind(one: Class) -> str:
    what = next(kind for key, kind in _KINDS.items() if key in one.keys)
    window = one.first.window
    return f"{what}, {one.group.default} % in {'a ' if window.unit else ''}{window.text}"


_KINDS = {
    "histogram": "latency",
    "probe": "probe",
    "bad_ratio": "share",
    "good_ratio": "share",
    "total": "ratio",
}


def _from(one: Class) -> str:
    rest = len(one.group.members) - 1
    return f"from {one.first.origin}" + (f" and {rest:,} more" if rest else "")


# -- for machines


def to_json(report: Report, files: Iterable[File]) -> str:
    """Classes with their changes, what was refused, and the text of the definitions."""
    content = {
        "tool": report.tool,
        "summary": report.summary,
        "tenant_label": report.label,
        "classes": [_class_row(one) for one in report.classes],
        "composites": [{"name": one.name, "of": list(one.of)} for one in report.composites],
        "general": [{"topic": change.topic, "text": change.text} for change in report.general],
        "notes": [note for note in (report.offer, *report.notes) if note],
        "refused": [_problem_row(problem) for problem in report.problems],
        "files": {file.path: file.text for file in files},
    }
    return json.dumps(content, indent=2) + "\n"


def _class_row(one: Class) -> dict[str, object]:
    return {
        "name": one.name,
        "from": [
            {
                "name": member.origin,
                "file": member.place.file,
                "line": member.place.line,
                "objective": str(member.objective),
            }
            for member in one.group.members
        ],
        "tenants": list(one.group.values),
        "changes": [{"topic": change.topic, "text": change.text} for change in one.changes],
    }


def _problem_row(problem: Problem) -> dict[str, object]:
    place = problem.place
    where = {"file": place.file, "line": place.line, "column": place.column}
    return {"code": problem.code, **where, "message": problem.message, "advice": problem.advice}


# -- to keep


def to_markdown(report: Report) -> str:
    """The report as a file beside the definitions."""
    parts = [[f"# Import from {report.tool}", "", report.summary]]
    parts.append(_fill_in(report))
    parts.append(_section("What is different for all of them", map(_change, report.general if report.classes else ())))
    parts.append(_each(report))
    parts.append(_section("Refused", [_problem(problem) for problem in report.problems]))
    parts.append(_section("Left out, and offers", [_md(note) for note in (*report.notes, report.offer) if note]))
    parts.append(_metrics(report))
    return "\n".join("\n".join(part) + "\n" for part in parts if part)


def _section(title: str, items: Iterable[str]) -> list[str]:
    lines = [f"- {item}" for item in items]
    return [f"## {title}", "", *lines] if lines else []


def _fill_in(report: Report) -> list[str]:
    if not report.skeleton or not report.classes:
        text = f"Set `tenant_label: {report.label}` in your definitions." if report.label != "tenant_id" else ""
        return ["## To do", "", text] if text and report.classes else []
    known = tenant_ids(report.classes, report.label)
    left = [f"`{key}`" for key in FILL_IN if not (key == "tenants" and known)]
    text = f"`stack.yml` has placeholders for what no {report.tool} file says: {', '.join(left)}."
    return ["## To fill in", "", text, "Then `reliary check` proves the rest."]


def _each(report: Report) -> list[str]:
    if not report.classes:
        return []
    lines = ["## What became of each", ""]
    for one in report.classes:
        lines += [f"### {one.name}", "", _md(f"{_kind(one)}; {_where(one)}"), ""]
        lines += [f"- {_change(change)}" for change in one.changes]
        lines += ["", *_members(one)] if len(one.group.members) > 1 else [""]
    for composite in report.composites:
        text = f"{', '.join(composite.of)} read as one. Theirs weighs the parts alike; here a part weighs as much as "
        text += "it has events, and the budget is that of all parts, added up."
        lines += [f"### {composite.name}", "", text, ""]
    return lines[:-1]


def _where(one: Class) -> str:
    place = one.first.place
    return f"{_from(one)} ({place.file}:{place.line})"


def _members(one: Class) -> list[str]:
    values = one.group.values or ("",) * len(one.group.members)
    pairs = zip(values, one.group.members, strict=True)
    cells = [
        (value, f"{each.objective} %", each.origin, f"{each.place.file}:{each.place.line}") for value, each in pairs
    ]
    rows = [f"| {' | '.join(map(_cell, row))} |" for row in cells]
    return ["| tenant | objective | was | place |", "|---|---|---|---|", *rows, ""]


def _metrics(report: Report) -> list[str]:
    """Series whose tenant label must be there, else nothing is recorded."""
    members = (member for one in report.classes for member in one.group.members)
    names = sorted({name for member in members for name in series_of(member.source)})
    if not names:
        return []
    text = f"Every one of these must carry `{report.label}`; `count by ({report.label}) ({names[0]})` tells:"
    return ["## Series that must name the tenant", "", text, "", *(f"- `{_code(name)}`" for name in names)]


def _change(change: Change) -> str:
    return f"**{change.topic}**: {_md(change.text)}"


def _problem(problem: Problem) -> str:
    return f"**{problem.code}** `{_code(str(problem.place))}`: {_md(problem.message)} {_md(problem.advice)}"


def _cell(text: str) -> str:
    return _md(text).replace("|", "\\|")


def _code(text: str) -> str:
    return one_line(text).replace("`", "'")


def _md(text: str) -> str:
    """Text of strangers in Markdown: what stands in backticks is code, the rest makes no links and no HTML."""
    parts = one_line(text, 1000).split("`")
    closed = len(parts) - (len(parts) % 2 == 0)
    shown = [part if at % 2 and at < closed else _escaped(part) for at, part in enumerate(parts)]
    return "`".join(shown)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("[", "\\[")
