"""Rules in the shape of Sloth 0.16, to compare with: for each tenant and SLO 17 rules in three groups of their own.

Eight error ratios (seven windows from the raw counters, the period as the mean of the recorded 5m ratios), seven
series of metadata, and two alerts without a guard. The shape follows the rules that Sloth prints for a service with
an events SLI; one service stands for one tenant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.stacks import COUNTER
from reliary.artifacts import Alert, Recording, RuleFile, RuleGroup
from reliary.guards import NotTraffic

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
INTERVAL_SECONDS = 30
_RATIO = "slo:sli_error:ratio_rate"


def period_series(days: int) -> str:
    """The error ratio over the whole SLO window."""
    return f"{_RATIO}{days}d"


def window_series(window: str) -> str:
    """The error ratio over a window."""
    return f"{_RATIO}{window}"


def sloth_file(
    tenants: Sequence[str], slo: str, objective: float, days: int, interval_seconds: int = INTERVAL_SECONDS
) -> RuleFile:
    """All rules of one SLO for these tenants."""
    groups = tuple(group for tenant in tenants for group in _groups(tenant, slo, objective, days, interval_seconds))
    return RuleFile(f"rules/sloth-{slo}.yml", "In the shape of Sloth", groups)


def _groups(tenant: str, slo: str, objective: float, days: int, interval: int) -> Iterator[RuleGroup]:
    identity = {"sloth_id": f"{tenant}-{slo}", "sloth_service": tenant, "sloth_slo": slo}
    of = "{" + ", ".join(f'{name}="{value}"' for name, value in identity.items()) + "}"
    name = f"{tenant}-{slo}"
    yield RuleGroup(f"sloth-slo-sli-recordings-{name}", interval, tuple(_ratios(tenant, identity, of, days)))
    yield RuleGroup(f"sloth-slo-meta-recordings-{name}", interval, tuple(_meta(identity, of, objective, days)))
    yield RuleGroup(f"sloth-slo-alerts-{name}", interval, tuple(_alerts(of, objective)))


def _ratios(tenant: str, identity: dict[str, str], of: str, days: int) -> Iterator[Recording]:
    total = f'{COUNTER}{{tenant_id="{tenant}"'
    for window in WINDOWS:
        labels = tuple({**identity, "sloth_window": window}.items())
        bad_rate, rate = f'sum(rate({total}, code=~"5.."}}[{window}]))', f"sum(rate({total}}}[{window}]))"
        yield Recording(window_series(window), f"({bad_rate})\n/\n({rate})", labels)
    short = f"{window_series('5m')}{of}[{days}d]"
    mean = f"sum_over_time({short})\n/ ignoring (sloth_window)\ncount_over_time({short})"
    yield Recording(period_series(days), mean, tuple({**identity, "sloth_window": f"{days}d"}.items()))


def _meta(identity: dict[str, str], of: str, objective: float, days: int) -> Iterator[Recording]:
    labels = tuple(identity.items())
    budget = f"/ on(sloth_id, sloth_slo, sloth_service) group_left\nslo:error_budget:ratio{of}"
    for name, expr in (
        ("slo:objective:ratio", f"vector({objective})"),
        ("slo:error_budget:ratio", f"vector(1-{objective})"),
        ("slo:time_period:days", f"vector({days})"),
        ("slo:current_burn_rate:ratio", f"{window_series('5m')}{of}\n{budget}"),
        ("slo:period_burn_rate:ratio", f"{period_series(days)}{of}\n{budget}"),
        ("slo:period_error_budget_remaining:ratio", f"1 - slo:period_burn_rate:ratio{of}"),
    ):
        yield Recording(name, expr, labels)
    info = {**identity, "sloth_mode": "cli-gen-prom", "sloth_objective": f"{objective * 100:g}", "sloth_version": "-"}
    yield Recording("sloth_slo_info", "vector(1)", tuple(info.items()))


def _alerts(of: str, objective: float) -> Iterator[Alert]:
    budget = 1 - objective
    page = f"{_both(of, '5m', '1h', 14.4, budget)}\nor\n{_both(of, '30m', '6h', 6, budget)}"
    ticket = f"{_both(of, '2h', '1d', 3, budget)}\nor\n{_both(of, '6h', '3d', 1, budget)}"
    for severity, condition in (("page", page), ("ticket", ticket)):
        title = f"({severity}) {{{{$labels.sloth_service}}}} {{{{$labels.sloth_slo}}}} burns its error budget too fast."
        yield Alert(
            alert="SlothBudgetBurn",
            condition=condition,
            guard=NotTraffic("Sloth has none"),
            on=(),
            for_seconds=0,
            labels=(("sloth_severity", severity),),
            annotations=(("title", title),),
        )


def _both(of: str, short: str, long: str, factor: float, budget: float) -> str:
    sides = (
        f"max({window_series(window)}{of} > ({factor} * {budget})) without (sloth_window)" for window in (short, long)
    )
    return f"(\n    {' and '.join(sides)}\n)"
