"""Rules over the past: every rule evaluated by a real Prometheus at the times at which it would have run.

A live ruler would need as many days as the data has. Here each recording rule is a range query at its group's
interval, and its result is written back before the rules that read it are asked. What differs from a live run: all
evaluations happen (none is missed), and a series that ends gets its stale marker from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.remotewrite import STALE, Floats, write
from harness.server import Server
from reliary.artifacts import Recording, RuleGroup
from reliary.dependencies import reads

STORAGE = ("--storage.tsdb.min-block-duration=100d", "--storage.tsdb.max-block-duration=100d")
"""Options of a server that takes series about the past in any order: everything stays in one block in memory."""

POINTS = 10_000
"""Points of a series that Prometheus gives in one answer, less than its limit of 11,000."""

PHASE_SECONDS = 7
"""Prometheus spreads groups over their interval. Here each group runs this much later than the one before it."""

Key: TypeAlias = tuple[tuple[str, str], ...]
Result: TypeAlias = dict[Key, tuple[NDArray[np.bool_], Floats]]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in epoch seconds.

    With `sparse_seconds`, recordings that nobody reads over a range are only evaluated so often.
    """

    start: int
    end: int
    sparse_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A rule, and when it is evaluated: every `seconds` at `phase`, counted from the start of the span."""

    rule: Recording
    seconds: int
    phase: int

    def times(self, span: Span) -> NDArray[np.int64]:
        """All its evaluations in a span, in epoch seconds."""
        return np.arange(span.start + self.phase, span.end + 1, self.seconds)


def plan(groups: Sequence[RuleGroup], sparse_seconds: int) -> tuple[Step, ...]:
    """The recordings in an order in which each comes after what it reads; dense where it must be."""
    rules = [(rule, group, at) for at, group in enumerate(groups) for rule in group.rules]
    recordings = [(rule, group, at) for rule, group, at in rules if isinstance(rule, Recording)]
    dense = _dense([rule for rule, *_ in recordings])
    steps = {
        id(rule): Step(
            rule,
            group.interval_seconds if rule.record in dense or not sparse_seconds else sparse_seconds,
            phase(group, at),
        )
        for rule, group, at in recordings
    }
    return tuple(steps[id(rule)] for rule in _ordered([rule for rule, *_ in recordings]))


def phase(group: RuleGroup, at: int) -> int:
    """Seconds by which a group runs after the start of its interval, from its place among the groups."""
    return PHASE_SECONDS * at % group.interval_seconds


def _dense(rules: Sequence[Recording]) -> set[str]:
    """Names that some rule reads over a range, and what these are made of."""
    known = {rule.record for rule in rules}
    dense = {name for rule in rules for name in ranges(rule.expr)} & known
    while more := {name for rule in rules if rule.record in dense for name in instants(rule.expr)} & known - dense:
        dense |= more
    return dense


def _ordered(rules: Sequence[Recording]) -> Iterator[Recording]:
    waiting = list(rules)
    while waiting:
        pending = {rule.record for rule in waiting}
        ready = [rule for rule in waiting if not ({read.name for read in reads(rule.expr)} & pending - {rule.record})]
        if not ready:
            raise RuntimeError(f"rules read each other in a circle: {sorted(pending)}")
        yield from ready
        waiting = [rule for rule in waiting if rule not in ready]


def ranges(expr: str) -> set[str]:
    """Names of series that an expression reads over a range of time."""
    return {read.name for read in reads(expr) if read.back_seconds}


def instants(expr: str) -> set[str]:
    """Names of series of which an expression reads the value of the moment."""
    return {read.name for read in reads(expr) if not read.back_seconds}


def replay(
    server: Server, groups: Sequence[RuleGroup], span: Span, say: Callable[[str], None] = lambda _: None
) -> Iterator[tuple[Recording, NDArray[np.int64], Result]]:
    """Records what the groups would have recorded in the span, and gives each rule with its times and results."""
    for step in plan(groups, span.sparse_seconds):
        say(f"{step.rule.record} every {step.seconds} s")
        times = step.times(span)
        labels = {"__name__": step.rule.record, **dict(step.rule.labels)}
        result = evaluate(server, step.rule.expr, times)
        write(server, (_recorded(dict(key) | labels, times, *found) for key, found in result.items()))
        yield step.rule, times, result


def evaluate(server: Server, expr: str, times: NDArray[np.int64]) -> Result:
    """For each series (labels without its name) of a query: at which of the evenly spaced times it is there, values."""
    out: Result = {}
    seconds = int(times[1] - times[0]) if len(times) > 1 else 1
    for at in range(0, len(times), POINTS):
        part = times[at : at + POINTS]
        for series in server.get("query_range", query=expr, start=part[0], end=part[-1], step=seconds)["result"]:
            key = tuple(sorted((k, v) for k, v in series["metric"].items() if k != "__name__"))
            there, values = out.setdefault(key, (np.zeros(len(times), bool), np.full(len(times), np.nan)))
            stamps, texts = zip(*series["values"], strict=True)
            where = (np.array(stamps, dtype=np.float64).astype(np.int64) - times[0]) // seconds
            there[where], values[where] = True, np.array(texts).astype(np.float64)
    return out


def _recorded(
    labels: Mapping[str, str], times: NDArray[np.int64], there: NDArray[np.bool_], values: Floats
) -> tuple[Mapping[str, str], NDArray[np.int64], Floats]:
    """The samples of a series, with a stale marker wherever it stops."""
    stops = np.zeros_like(there)
    stops[1:] = there[:-1] & ~there[1:]
    values = np.where(stops, STALE, values)
    kept = there | stops
    return labels, times[kept] * 1000, values[kept]
