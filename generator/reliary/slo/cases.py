"""The tenants of a proof: what traffic each one has, and the scraped series that this would leave."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from reliary import names, promql
from reliary.model import Latency, Probe, Ratio, Slo, Stack
from reliary.promtool import ALMOST, Stretch, constant, counter
from reliary.samples import NoSample, histogram, one_series, pair
from reliary.slo import shards

STEP_SECONDS = 30
SCRAPE_SECONDS = 300
"""The longest step between two samples of a counter: a 5m rate needs two."""
VOLUME = Decimal(10**9)
"""Events in a step: so many that a share of them is whole, whatever the objective."""
ZERO = Decimal(0)
HOUR, DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class Phase:
    """Traffic of a tenant for so many steps: bad events and all events in each; total None: no series at all."""

    steps: int
    bad: Decimal
    total: Decimal | None
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A tenant of a proof. `late_errors`: the series of bad events appears with the second phase; or it never does."""

    phases: tuple[Phase, ...]
    tier: str = "listed"
    objective: Decimal | None = None
    fires: bool = False
    late_errors: bool = False
    no_errors_series: bool = False


Cases = dict[str, Case]


def reason(stack: Stack, slo: Slo) -> str:
    """Why no traffic can be made up for a class; empty when it can."""
    try:
        _series(stack, slo, "a", Case((Phase(2, ZERO, ZERO),)))
    except NoSample as error:
        return str(error)
    return ""


def topics(stack: Stack, slo: Slo) -> tuple[str, ...]:
    """The rule files of a class."""
    parts = shards.count(stack, slo)
    return (f"slo-{slo.name}",) if parts == 1 else tuple(f"slo-{slo.name}-{part}" for part in range(parts))


def groups(stack: Stack, slo: Slo) -> tuple[str, ...]:
    """The rule groups of a class in the order in which they read each other, and the one of all classes."""
    parts = range(shards.count(stack, slo))
    endings = [f"-{number}" for number in parts] if len(parts) > 1 else [""]
    own = (f"{stack.name}-slo-{slo.name}-{kind}{end}" for end in endings for kind in ("fast", "tile", "slow"))
    return (f"{stack.name}-calendar", *own, f"{stack.name}-slo-budgets")


def few(slo: Slo) -> bool:
    """True when events cannot be made up in any number: a probe has one a sample."""
    return isinstance(slo.source, Probe)


def tenant(stack: Stack, name: str) -> str:
    """The labels of a tenant, as expectations want them."""
    return promql.series("", (stack.tenant_label, name))


def input_series(stack: Stack, slo: Slo, cases: Cases, steps: int) -> tuple[tuple[str, str], ...]:
    """Names and values of all that is scraped from these tenants, and of the facts about them."""
    rows: list[tuple[str, str]] = []
    for name, case in cases.items():
        first, *phases = case.phases
        # One sample more: the one that the first step grows from.
        longer = replace(case, phases=(replace(first, steps=first.steps + 1), *phases))
        rows += _series(stack, slo, name, longer)
        labels = ((stack.tenant_label, name), ("tier", case.tier), ("vip", "false"))
        rows.append((promql.series(names.TENANT_INFO, *labels), constant("1", steps)))
        if case.objective is not None:
            which = ((names.SLO_LABEL, slo.name), (stack.tenant_label, name))
            share = promql.number(case.objective / 100)
            rows.append((promql.series(names.OBJECTIVE, *which), constant(share, steps)))
    return tuple(rows)


def _series(stack: Stack, slo: Slo, name: str, case: Case) -> list[tuple[str, str]]:
    """The scraped series of a tenant. Raises `NoSample` for a class whose series cannot be made up."""
    who, source = (stack.tenant_label, name), slo.source
    if isinstance(source, Probe):
        values = " ".join(_gauge(phase) for phase in case.phases)
        return [(one_series(source.gauge, who), values)]
    if isinstance(source, Ratio):
        pair_ = pair(source, who)
        counted = _counter(case, bad=source.part == "bad", good=source.part == "good")
        if case.late_errors:
            first, *rest = case.phases
            late = (Stretch(first.steps, None), *(Stretch(phase.steps, phase.bad) for phase in rest))
            counted = counter(*late)
        others = _counter(
            case, bad=pair_.rest_is_total or source.part == "good", good=pair_.rest_is_total or source.part == "bad"
        )
        all_others = (pair_.rest, others)
        bare = case.no_errors_series and source.part == "bad"
        return [all_others] if bare else [(pair_.counted, counted), all_others]
    if isinstance(source, Latency) and not source.native:
        bound = dict(source.by_tier).get(case.tier, source.within_seconds)
        good, every = _counter(case, bad=False, good=True), _counter(case, bad=True, good=True)
        series = histogram(source.histogram, promql.number(bound), who)
        return [(series.good, good), (series.infinite, every), (series.count, every)]
    raise NoSample(
        "promtool of this Prometheus knows no native histograms"
        if isinstance(source, Latency)
        else "a share has no counters"
    )


def _counter(case: Case, *, bad: bool, good: bool) -> str:
    """A counter of bad events, of good ones or of both."""
    only = case.phases[0]
    if len(case.phases) == 1 and only.total is not None and only.total % 1:
        return _sparse(only.steps, only.bad, only.total, bad, good)
    return counter(*(Stretch(phase.steps, _growth(phase, bad, good), phase.restart) for phase in case.phases))


def _sparse(steps: int, bad_growth: Decimal, growth: Decimal, bad: bool, good: bool) -> str:
    """Less than an event a step: whole events now and then, so that good and bad ones always add up to all."""

    def whole(each: Decimal, step: int) -> int:
        return int(each * step + ALMOST)

    every = ((whole(bad_growth, step), whole(growth, step)) for step in range(steps))
    return " ".join(str((lost if bad else 0) + (all_ - lost if good else 0)) for lost, all_ in every)


def _growth(phase: Phase, bad: bool, good: bool) -> Decimal | None:
    if phase.total is None:
        return None
    return (phase.bad if bad else ZERO) + (phase.total - phase.bad if good else ZERO)


def _gauge(phase: Phase) -> str:
    if phase.total is None:
        return f"_x{phase.steps}"
    return constant(promql.number(round(1 - phase.bad / phase.total, 9) if phase.total else 1), phase.steps - 1)
