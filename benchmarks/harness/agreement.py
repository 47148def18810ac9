"""The emitted rules in a real Prometheus beside the simulation of the same events: do they agree?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness import report, rulealerts
from harness.burnsim import (
    GUARDS,
    Array,
    Flags,
    Guard,
    Recorded,
    Tier,
    Traffic,
    condition,
    first_alert,
    joined_episodes,
    tiers,
)
from harness.requests_model import DAY_MINUTES, MODELS
from harness.stacks import stack
from reliary import names, windows

OBJECTIVE, WINDOW = "99.9", "30d"
BEFORE_MINUTES = 3 * DAY_MINUTES
DETECT_MINUTES = 720
TOLERANCE = 0.001
TOLERANCE_MINUTES = 2
SAMPLE_MODELS = ("poisson", "batches")
SAMPLE_RATES = (10, 100, 1_000, 10_000)
SAMPLE_KINDS = {
    "half the budget": (0.5, 0.5),
    "the budget": (1, 1),
    "2x": (0.25, 2),
    "10 %": (0.25, 100),
    "100 %": (0.25, 1000),
}
"""Bad share in budgets of 99.9 %, in the first three days and after them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An alert: where the rules give a result, and where the simulation does (tenants x evaluations)."""

    tier: Tier
    real: Flags
    simulated: Flags


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far the rules and the simulation are apart."""

    evaluations: int
    differing: float
    minutes: float


def run(tenants: int, days: int, seed: int) -> Agreement:
    """Prints how the compiled rules and the simulation answer to the same events."""
    slo = stack(["t"], [("availability", OBJECTIVE, WINDOW)]).slos[0]
    budget = float(windows.budget(slo.default))
    kinds, traffic = _sample(tenants, days, seed, budget)
    report.heading(
        "the emitted rules in a real Prometheus beside the simulation, on the same events",
        {
            "objective": f"{OBJECTIVE} %",
            "tenants": len(traffic.total),
            "days": days,
            "traffic": " and ".join(SAMPLE_MODELS),
            "requests an hour": ", ".join(f"{rate:,}" for rate in SAMPLE_RATES),
            "of each": f"{tenants} at {', '.join(dict.fromkeys(kind for kind in kinds))}",
            "scrape and evaluation": "1m",
            "seed": seed,
        },
    )
    recorded, by_long = Recorded(traffic), {names.duration(tier.long * 60): tier for tier in tiers(slo)}
    pairs: dict[Guard, list[Pair]] = {guard: [] for guard in GUARDS}
    for guard, long, real in rulealerts.conditions(traffic, OBJECTIVE, WINDOW):
        tier = by_long[long]
        simulated = condition(recorded, tier, budget, guard, float(windows.CONFIDENCE_Z))[:, : real.shape[1]]
        pairs[guard].append(Pair(tier, real, simulated))
    report.table(
        ("guard", "evaluations", "differing", "pages", "simulated", "tickets", "simulated", "100 % seen after", "10 %"),
        (_compared(guard, found, kinds) for guard, found in pairs.items()),
    )
    return _agreement([pair for found in pairs.values() for pair in found], kinds)


def _sample(tenants: int, days: int, seed: int, budget: float) -> tuple[list[str], Traffic]:
    """The kind of each tenant, and events that begin with a minute without any."""
    random, parts, kinds = np.random.default_rng([seed, 1]), [], []
    for model, rate, kind in itertools.product(SAMPLE_MODELS, SAMPLE_RATES, SAMPLE_KINDS):
        before, after = SAMPLE_KINDS[kind]
        shares = np.full((tenants, days * DAY_MINUTES + 1), before * budget)
        shares[:, BEFORE_MINUTES + 1 :] = min(1.0, after * budget)
        parts.append(MODELS[model](random, rate, shares))
        kinds += [kind] * tenants
    total, bad = (np.concatenate([getattr(part, name) for part in parts]) for name in ("total", "bad"))
    total[:, 0] = bad[:, 0] = 0
    return kinds, Traffic(total, bad)


def _compared(guard: str, pairs: Sequence[Pair], kinds: Sequence[str]) -> tuple[object, ...]:
    agreement = _agreement(pairs, kinds)
    cells: list[object] = [guard, f"{agreement.evaluations:,}", f"{agreement.differing:.4%}"]
    for severity in ("page", "ticket"):
        chosen = [pair for pair in pairs if pair.tier.severity == severity]
        of = [pair.tier for pair in chosen]
        cells += [_count([pair.real for pair in chosen], of), _count([pair.simulated for pair in chosen], of)]
    for kind in ("100 %", "10 %"):
        real, simulated = _seen(pairs, kinds, kind)
        cells.append(f"{spoken(real)} / {spoken(simulated)}")
    return tuple(cells)


def _count(over: Sequence[Flags], of: Sequence[Tier]) -> int:
    """Episodes of one severity over all tenants."""
    return sum(len(joined_episodes([flags[at] for flags in over], of, keep=True)) for at in range(len(over[0])))


def _seen(pairs: Sequence[Pair], kinds: Sequence[str], kind: str) -> tuple[Array, Array]:
    """Minutes to the page of the tenants with such a failure: of the rules, and simulated."""
    chosen = np.array([each == kind for each in kinds])
    pages = [pair for pair in pairs if pair.tier.severity == "page"]
    of = [pair.tier for pair in pages]
    return (
        first_alert([pair.real[chosen] for pair in pages], of, BEFORE_MINUTES),
        first_alert([pair.simulated[chosen] for pair in pages], of, BEFORE_MINUTES),
    )


def spoken(minutes: Array) -> str:
    """`33` or `230 (2%)`: the median, and the share that was not seen in 12 hours."""
    median, unseen = np.median(minutes), np.mean(minutes > DETECT_MINUTES)
    text = "never" if np.isinf(median) else f"{median:.0f}"
    return f"{text} ({unseen:.0%})" if unseen else text


def _agreement(pairs: Sequence[Pair], kinds: Sequence[str]) -> Agreement:
    evaluations = sum(pair.real.size for pair in pairs)
    differing = sum(int((pair.real != pair.simulated).sum()) for pair in pairs)
    minutes = 0.0
    for kind in ("100 %", "10 %"):
        real, simulated = _seen(pairs, kinds, kind)
        both = np.isfinite(real) & np.isfinite(simulated)
        minutes = max([minutes, *np.abs(real[both] - simulated[both])])
    return Agreement(evaluations, differing / evaluations, minutes)


def verdict(agreed: Agreement) -> None:
    """One line on whether the two agree well enough for the simulation to speak for the rules."""
    report.verdict(
        f"rules and simulation differ at no more than {TOLERANCE:.1%} of evaluations, and by {TOLERANCE_MINUTES} "
        "minutes in detection",
        agreed.differing <= TOLERANCE and agreed.minutes <= TOLERANCE_MINUTES,
        f"{agreed.differing:.4%} of {agreed.evaluations:,}, {agreed.minutes:.0f} minutes at most",
    )
