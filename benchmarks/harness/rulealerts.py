"""The emitted burn-rate alerts over past traffic: their expressions, asked of a real Prometheus at each evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np

from harness import report
from harness.burnsim import GUARDS, Flags, Guard, Traffic
from harness.remotewrite import write
from harness.replay import STORAGE, Span, evaluate, phase, replay
from harness.server import Server, prometheus, seconds_of
from harness.stacks import COUNTER, compiled, stack
from reliary import names
from reliary.artifacts import Alert, RuleFile, RuleGroup
from reliary.guards import Bound, NotTraffic
from reliary.model import Slo
from reliary.promql import series, sum_over_time

START = 1_735_689_600
MINUTE = 60


def conditions(traffic: Traffic, objective: str, window: str) -> Iterator[tuple[Guard, str, Flags]]:
    """(guard, long window, tenants x evaluations): where the compiled alerts give a result, with three guards.

    Minute 0 has no events: it is the instant at which the counters start from zero.
    """
    ids = [f"t{at:04d}" for at in range(len(traffic.total))]
    of = stack(ids, [("availability", objective, window)], scrape_seconds=MINUTE, evaluation_seconds=MINUTE)
    groups = _groups(compiled(of), of.slos[0])
    span = Span(START, START + (traffic.total.shape[1] - 1) * MINUTE)
    with prometheus(*STORAGE) as server:
        _scrape(server, ids, traffic)
        for _ in replay(server, groups, span, report.progress):
            pass
        for at, group in enumerate(groups):
            for rule in group.rules:
                if isinstance(rule, Alert):
                    yield from _alert(server, rule, of.slos[0], group, at, span, ids)


def _groups(files: Sequence[RuleFile], slo: Slo) -> tuple[RuleGroup, ...]:
    path = names.rule_file(f"slo-{slo.name}")
    return next(file.groups for file in files if file.path == path)


def _scrape(server: Server, ids: Sequence[str], traffic: Traffic) -> None:
    times = (START + MINUTE * np.arange(traffic.total.shape[1])) * 1000
    counters = (("200", np.cumsum(traffic.total - traffic.bad, axis=1)), ("500", np.cumsum(traffic.bad, axis=1)))
    write(
        server,
        (
            ({"__name__": COUNTER, "tenant_id": name, "code": code}, times, values[at])
            for code, values in counters
            for at, name in enumerate(ids)
        ),
    )


def _alert(
    server: Server, alert: Alert, slo: Slo, group: RuleGroup, at: int, span: Span, ids: Sequence[str]
) -> Iterator[tuple[Guard, str, Flags]]:
    long = dict(alert.labels)["burn"]
    times = np.arange(span.start + phase(group, at), span.end + 1, group.interval_seconds)
    for guard in GUARDS:
        report.progress(f"alert over {long}, guard {guard}")
        result = evaluate(server, _with(alert, slo, guard).expr, times)
        by_tenant = {dict(key)["tenant_id"]: there for key, (there, _) in result.items()}
        nowhere = np.zeros(len(times), bool)
        yield guard, long, np.stack([by_tenant.get(name, nowhere) for name in ids])


def _with(alert: Alert, slo: Slo, guard: Guard) -> Alert:
    """The same alert behind another guard."""
    if guard == "none":
        return dataclasses.replace(alert, guard=NotTraffic("to compare with"))
    if guard == "> 0":
        rate = series(names.SLO_TOTAL_RATE, (names.SLO_LABEL, slo.name))
        seen = sum_over_time(rate, seconds_of(dict(alert.labels)["burn"]))
        return dataclasses.replace(alert, guard=Bound(seen, ">", Decimal(0)))
    return alert
