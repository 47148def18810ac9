"""Definitions -> `Stack`: what the shapes cannot see is checked, and everything is resolved to typed values.

Reading never stops at the first fault. A record that its shape refused is left out, but its name still counts as
defined, so that one mistake gives one problem. The topics are in `spec_*.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from reliary.definitions.alerts import health_score, thresholds
from reliary.definitions.boards import boards
from reliary.definitions.counts import indicators
from reliary.definitions.folder import read_folder
from reliary.definitions.maintenance import maintenance
from reliary.definitions.receivers import mail_server, receivers, routes
from reliary.definitions.root import NEEDED, Root, root_of, tenant_label_problem
from reliary.definitions.services import demo, services
from reliary.definitions.shapes import listed
from reliary.definitions.slos import composites, slos
from reliary.definitions.tenants import costs, tenants, tiers
from reliary.model import Stack
from reliary.problems import Problem, Severity, ordered
from reliary.slo.shards import evenness

MOST_UNEVEN = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The outcome: a stack if there is no error, every problem in order, and the definitions' sha256."""

    stack: Stack | None
    problems: tuple[Problem, ...]
    digest: str


def read_definitions(folder: Path) -> Reading:
    """The stack that a folder of definitions describes, with all problems found in it. Never raises."""
    read = read_folder(folder)
    root = root_of(read)
    stack = _stack(root) if read.fields.places else None
    root.report_unknown()
    problems = ordered((*read.problems, *root.faults.problems))
    faulty = any(problem.severity is Severity.ERROR for problem in problems)
    return Reading(None if faulty else stack, problems, read.digest)


def _stack(root: Root) -> Stack:
    _complete(root)
    tenant_label_problem(root)
    fields = root.fields
    name = fields.maybe("stack", str) or "unnamed"
    classes = slos(root)
    stack = Stack(
        name=name,
        namespace=fields.maybe("namespace", str) or name.replace("-", "_"),
        tenant_label=root.tenant_label,
        scrape_interval_seconds=root.scrape_seconds,
        evaluation_interval_seconds=fields.maybe("evaluation_interval", int) or 30,
        retention_seconds=root.retention_seconds,
        pins=fields.maybe("pins", str) or "seed",
        runbook_base_url=fields.maybe("runbook_base_url", str),
        services=services(root),
        tiers=tiers(root),
        tenants=tenants(root),
        indicators=indicators(root),
        slos=classes,
        composites=composites(root, classes),
        maintenance=maintenance(root),
        shards=int(fields.maybe("shards", Decimal) or 1),
        thresholds=thresholds(root),
        health=health_score(root),
        costs=costs(root),
        receivers=receivers(root),
        routes=routes(root),
        smtp=mail_server(root),
        boards=boards(root),
        demo=demo(root),
    )
    _even(root, stack)
    return stack


def _even(root: Root, stack: Stack) -> None:
    """Shards are there to be evaluated side by side: one that has most of the tenants takes as long as none."""
    if stack.shards > 1 and (uneven := evenness(stack)) > MOST_UNEVEN:
        message = f"the largest of {stack.shards} shards has {uneven:.1f} times the mean: ids end alike."
        advice = "Use fewer shards; tenants are told apart by the last character of their id."
        root.faults.warn("B135", root.fields.at("shards"), message, advice)


def _complete(root: Root) -> None:
    """What every stack needs. Where a file could not be read, it may stand in that one."""
    if not root.complete:
        return
    fields, faults = root.fields, root.faults
    missing = [key for key in NEEDED if not fields.has(key)]
    if missing:
        names = listed(f"`{key}`" for key in missing)
        message = f"{names} {'are' if len(missing) > 1 else 'is'} missing."
        faults.add("B112", fields.place, message, f"Write `{missing[0]}:` in one of the files.")
    if root.names("indicators") == root.names("slos") == frozenset():
        message = "there is nothing to watch: no indicators and no slos."
        advice = "Define an indicator or an SLO; examples/aether/slos.yml shows both."
        faults.add("B129", fields.place, message, advice)
