"""Files of Sloth, OpenSLO or Pyrra -> definitions and a report. The file to read first in this folder.

`documents` reads them, one module for each tool finds objectives in them (`found`), `events` and `sources` prove what
their queries count, `merging` finds tenants, `classes` names things and says what changed, `writing` and `report`
make text of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reliary import names
from reliary.artifacts import File
from reliary.importers import figures, openslo, pyrra, sloth
from reliary.importers.classes import classes, composites
from reliary.importers.documents import Cursor, documents
from reliary.importers.found import Change, Found, Harvest
from reliary.importers.merging import TENANT_LABEL, plan
from reliary.importers.report import REPORT, Report, to_markdown
from reliary.importers.writing import definition_files
from reliary.problems import Place, Problem, ordered

Tool: TypeAlias = Literal["sloth", "openslo", "pyrra"]

TITLES: dict[Tool, str] = {"sloth": "Sloth", "openslo": "OpenSLO", "pyrra": "Pyrra"}


@dataclass(frozen=True, slots=True)
class Options:
    """What the user said. None leaves a choice to what is found in the files."""

    tenant_label: str | None = None
    merge: bool | None = None
    period_seconds: int | None = None
    skeleton: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """Files to write, `IMPORT.md` among them, and the report as a value."""

    files: tuple[File, ...]
    report: Report


def import_objectives(tool: Tool, files: Sequence[tuple[str, bytes]], options: Options) -> Outcome:
    """What the files (name and bytes) of one tool are in our definitions. Never raises; faults are in the report."""
    objects: list[Cursor] = []
    unread: list[Problem] = []
    for name, raw in files:
        found, problems = documents(name, raw)
        objects += found
        unread += problems
        if not found and not problems:
            unread.append(_empty(name))
    harvest = _harvest(tool, objects, options)
    if not harvest.found and not unread and not harvest.problems:
        advice = f"Give the files that have {TITLES[tool]}'s objectives, together with those that they refer to."
        harvest.refuse("I101", Place(files[0][0] if files else ""), "there is no objective in these files.", advice)
    _once(harvest)
    planned = plan(harvest.found, options.tenant_label, options.merge)
    made = classes(harvest, planned, _THEIR_ALERTS[tool])
    together = composites(harvest, made)
    report = Report(
        tool=TITLES[tool],
        files=tuple(name for name, _ in files),
        label=planned.label,
        classes=made,
        composites=together,
        general=_general(tool, planned.label),
        notes=tuple(dict.fromkeys(harvest.notes)),
        offer=planned.offer,
        problems=ordered([*unread, *harvest.problems]),
        skeleton=options.skeleton,
    )
    written = definition_files(TITLES[tool], made, together, planned.label, options.skeleton)
    return Outcome((*written, File(REPORT, to_markdown(report))), report)


def _once(harvest: Harvest) -> None:
    """Leaves one of each objective: the other tool would have recorded both under one name."""
    first: dict[str, Found] = {}
    for each in harvest.found:
        if first.setdefault(each.origin, each) is not each:
            message = f"{each.origin} is defined twice; the first is at {first[each.origin].place}."
            harvest.refuse("I109", each.place, message, "Keep one of the two, or give one of them another name.")
    harvest.found = list(first.values())


def _empty(name: str) -> Problem:
    return Problem("B102", "the file holds no document.", "Give the file that has the objectives.", Place(name))


def _harvest(tool: Tool, objects: Sequence[Cursor], options: Options) -> Harvest:
    if tool == "sloth":
        return sloth.harvest(objects, options.period_seconds)
    if tool == "openslo":
        return openslo.harvest(objects)
    return pyrra.harvest(objects, options.tenant_label or TENANT_LABEL)


def _none(window_seconds: int) -> str:
    """OpenSLO has no alerts of its own."""
    return ""


_THEIR_ALERTS: dict[Tool, Callable[[int], str]] = {
    "sloth": sloth.their_factors,
    "openslo": _none,
    "pyrra": pyrra.their_factors,
}


# -- what holds for every objective of a tool


def _general(tool: Tool, label: str) -> tuple[Change, ...]:
    own = {"sloth": _of_sloth, "openslo": _of_openslo, "pyrra": _of_pyrra}[tool]()
    return (_per_tenant(label), *own, _guarded(), _missing())


def _per_tenant(label: str) -> Change:
    remaining = names.rolled_up(names.SLO_BUDGET_REMAINING, "slo")
    text = (
        f"theirs is one number over everybody; here every `{label}` has an indicator, a budget and alerts of its own. "
    )
    return Change("tenants", f"{text}The number over everybody is `{remaining}`: bad events of all by events of all.")


def _of_sloth() -> tuple[Change, ...]:
    mean = "their budget of the whole window is the mean of five-minute ratios, where a quiet minute weighs as much as "
    mean += f"a busy one; here it is errors by requests. {figures.unweighted_example()}."
    nan = (
        "five minutes without a request are 0/0 there, and the mean over the window stays NaN until they have left it; "
    )
    nan += "here they add nothing."
    ticket = "tickets stay for 30 minutes after the burn rate fell (`keep_firing_for`); there they end at once."
    return Change("budget", mean), Change("budget", nan), Change("alerts", ticket)


def _of_openslo() -> tuple[Change, ...]:
    text = "OpenSLO says what is promised, not how it is computed. Occurrences are read as errors by requests of the "
    return (Change("budget", text + "whole window, which is what budgets are here."),)


def _of_pyrra() -> tuple[Change, ...]:
    text = "the budget is errors by requests of the window in both. Theirs comes from one `increase` over all of it, "
    text += "which asks for every raw sample of it; here from recorded counts."
    alerts = "their factors stay 14, 7, 2 and 1 for windows of any length; ours are 2, 5, 10 and 10 % of the budget in "
    alerts += "1h, 6h, 1d and 3d, and 1 at least. Critical and warning are page and ticket here, and there is no `for`."
    return Change("budget", text), Change("alerts", alerts)


def _guarded() -> Change:
    text = (
        "theirs has no guard against little traffic. Here an alert needs bad events b and events n in its long window "
    )
    text += f"with b - 1.645 sqrt(b) > factor * budget * n: {figures.LEAST_BAD} bad ones at least."
    return Change("alerts", text)


def _missing() -> Change:
    text = "a tenant with requests and no error series has no errors; one without any series has no data, a state "
    return Change("counting", text + "of its own and neither 100 % nor 0 %.")
