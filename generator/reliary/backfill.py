"""The past of recorded series: which rules to run over it, in which order, so that a new SLO has a budget at once.

`promtool tsdb create-blocks-from rules` asks a running Prometheus for each rule over a span and writes blocks; rules
in one run do not see each other's output. So the rules are sorted into stages: each needs only what is scraped and
what earlier stages have written. Who reads what is found in the expressions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from reliary import names
from reliary.artifacts import Alert, File, Recording, RuleFile, RuleGroup
from reliary.dependencies import ALERT_SERIES, Read, Writers, constant, reads
from reliary.names import duration
from reliary.rulefile import rule_file
from reliary.targets.folding import folded

STEPS = 11_000
"""Prometheus answers a range query of at most so many steps."""
POINTS = 2_000_000
"""Values that one answer should hold at most: promtool keeps them in memory, as JSON and then as samples."""
BLOCK_SECONDS = 7200
"""The smallest block of Prometheus; larger ones are three times the one before."""
LARGEST_BLOCK_SECONDS = 27 * BLOCK_SECONDS
"""Retention deletes whole blocks: one of weeks would stay for weeks too long."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Rules that can be run over the past in one go, once all earlier stages are in the database."""

    number: int
    groups: tuple[RuleGroup, ...]
    reads: tuple[str, ...]

    @property
    def rules(self) -> tuple[tuple[Recording, int], ...]:
        """Each rule with its evaluation interval in seconds."""
        return tuple(
            (rule, group.interval_seconds)
            for group in self.groups
            for rule in group.rules
            if isinstance(rule, Recording)
        )

    @property
    def writes(self) -> tuple[str, ...]:
        """The names of the series that it records."""
        return tuple(dict.fromkeys(rule.record for rule, _ in self.rules))

    def file(self, leave_out: Iterable[Recording] = ()) -> File:
        """Its rule file, in a folder of its own; without the rules whose past is there already.

        File and groups have the same name in every stage, because Prometheus derives the instants of evaluation from
        both: so stages meet at the same instants, and a repeated run writes the same samples again.
        """
        without = set(leave_out)
        groups = (
            RuleGroup(group.name, group.interval_seconds, tuple(rule for rule in group.rules if rule not in without))
            for group in self.groups
        )
        kept = tuple(group for group in groups if group.rules)
        about = f"Stage {self.number} of a backfill, for promtool tsdb create-blocks-from rules"
        return File(f"stage-{self.number}/rules.yml", rule_file(RuleFile("rules.yml", about, kept)).text)


@dataclass(frozen=True, slots=True)
class Plan:
    """Stages in order; `raw` is what the first ones read of scraped series, `back_seconds` how long a past is of use.

    `left_out` names what gets no past, and why.
    """

    stages: tuple[Stage, ...]
    raw: tuple[Read, ...]
    back_seconds: int
    left_out: tuple[tuple[str, str], ...]


def plan(files: Sequence[RuleFile], slo: str | None = None, *, history: bool = False) -> Plan:
    """How to give recorded series a past: those of one SLO, or all.

    Without `history` only what rules look back over: a budget is right as soon as the next evaluation has read it.
    With it all others too, so that graphs reach back; it costs a multiple.
    """
    work = _Work(files)
    wanted = {place for place in work.recordings if slo is None or _is_of(work.rules[place], slo)}
    if not history:
        wanted &= work.looked_back_on()
    chosen = work.with_sources(wanted) - set(work.impossible)
    stages = tuple(_stages(work, chosen))
    raw = dict.fromkeys(
        read for place in sorted(chosen) for read in reads(work.rules[place].expr) if not work.writers.of(read)
    )
    return Plan(stages, tuple(raw), _back(work, chosen), tuple(_left_out(work, chosen, wanted)))


def block_seconds(series: int, interval_seconds: int) -> int:
    """The largest block for which one answer stays within Prometheus's limits: few blocks load faster than many."""
    steps = min(STEPS, POINTS // max(1, series))
    size = BLOCK_SECONDS
    while size * 3 <= min(steps * interval_seconds, LARGEST_BLOCK_SECONDS):
        size *= 3
    return size


class _Work:
    """All rules by place, and who reads whom."""

    def __init__(self, files: Sequence[RuleFile]) -> None:
        groups = [group for file in files for group in file.groups]
        self.rules = [rule for group in groups for rule in group.rules]
        self.intervals = [group.interval_seconds for group in groups for _ in group.rules]
        self.writers = Writers(self.rules)
        self.recordings = [place for place, rule in enumerate(self.rules) if isinstance(rule, Recording)]
        self.sources: Mapping[int, frozenset[int]] = {
            place: frozenset(source for read in reads(rule.expr) for source in self.writers.of(read))
            for place, rule in enumerate(self.rules)
        }
        self.impossible = self._impossible()

    def with_sources(self, places: Iterable[int]) -> set[int]:
        """The rules and all that they read, directly or not, as far as it can be recorded afterwards."""
        found: set[int] = set()
        open_ = [place for place in places if place not in self.impossible]
        while open_:
            place = open_.pop()
            if place not in found:
                found.add(place)
                open_ += [source for source in self.sources[place] if source not in self.impossible]
        return found

    def looked_back_on(self) -> set[int]:
        """Recordings that some rule reads over a range; a constant is there by then."""
        return {
            source
            for rule in self.rules
            for read in reads(rule.expr)
            if read.back_seconds
            for source in self.writers.of(read)
            if not constant(self.rules[source])
        }

    def _impossible(self) -> dict[int, str]:
        """Rules that no backfill can run, with the reason; also those that read such a one."""
        reasons: dict[int, str] = {}
        for place, rule in enumerate(self.rules):
            if isinstance(rule, Alert):
                reasons[place] = "alerts have no past: `for` begins when the rule is loaded"
            elif alerts := [read.name for read in reads(rule.expr) if read.name in ALERT_SERIES]:
                reasons[place] = f"it reads {alerts[0]}, which only a running Prometheus writes"
        reasons |= {place: "it reads its own output" for place in self._in_circles() if place not in reasons}
        return reasons | self._after(reasons)

    def _after(self, reasons: Mapping[int, str]) -> dict[int, str]:
        spoiled: dict[int, str] = {}
        while more := [
            (place, source)
            for place in self.recordings
            if place not in reasons and place not in spoiled
            for source in sorted(self.sources[place])
            if source in reasons or source in spoiled
        ]:
            for place, source in more:
                spoiled[place] = f"it reads {_name(self.rules[source])}, which is left out"
        return spoiled

    def _in_circles(self) -> set[int]:
        """Rules that cannot be put in order: what remains when all that have their sources are taken away."""
        left = set(self.recordings)
        while ready := {place for place in left if not self.sources[place] & left}:
            left -= ready
        while ends := {place for place in left if not any(place in self.sources[other] for other in left)}:
            left -= ends
        return left


def _is_of(rule: Recording | Alert, slo: str) -> bool:
    return (names.SLO_LABEL, slo) in rule.labels


def _name(rule: Recording | Alert) -> str:
    return rule.record if isinstance(rule, Recording) else rule.alert


def _stages(work: _Work, chosen: set[int]) -> Iterator[Stage]:
    levels = _levels(work, chosen)
    for number in sorted(set(levels.values())):
        places = [place for place in sorted(chosen) if levels[place] == number]
        intervals = sorted({work.intervals[place] for place in places})
        groups = tuple(
            RuleGroup(
                f"every-{duration(interval)}",
                interval,
                folded([work.rules[place] for place in places if work.intervals[place] == interval]),
            )
            for interval in intervals
        )
        read = dict.fromkeys(read.selector for place in places for read in reads(work.rules[place].expr))
        yield Stage(number, groups, tuple(read))


def _levels(work: _Work, chosen: set[int]) -> dict[int, int]:
    """The stage of each rule, from 1 on: as late as its readers allow, so that what is read together is together."""
    order = _ordered(work, chosen)
    depth: dict[int, int] = {}
    for place in order:
        depth[place] = 1 + max((depth[source] for source in work.sources[place] & chosen), default=0)
    late = dict.fromkeys(order, max(depth.values(), default=0))
    for place in reversed(order):
        for source in work.sources[place] & chosen:
            late[source] = min(late[source], late[place] - 1)
    return late


def _ordered(work: _Work, chosen: set[int]) -> list[int]:
    """Sources before their readers; rules in circles have been left out already."""
    order: list[int] = []
    left = set(chosen)
    while left:
        ready = sorted(place for place in left if not work.sources[place] & left)
        order += ready
        left -= set(ready)
    return order


def _back(work: _Work, chosen: set[int]) -> int:
    """The longest range over which any rule reads what is chosen."""
    return max(
        (read.back_seconds for rule in work.rules for read in reads(rule.expr) if chosen & work.writers.of(read)),
        default=0,
    )


def _left_out(work: _Work, chosen: set[int], wanted: set[int]) -> Iterator[tuple[str, str]]:
    """What somebody could miss: what was asked for and is impossible, and what reads the SLO's series."""
    found: dict[str, str] = {}
    for place, rule in enumerate(work.rules):
        if place in chosen:
            continue
        if place in work.impossible and (place in wanted or work.sources[place] & chosen):
            found.setdefault(_name(rule), work.impossible[place])
        elif work.sources[place] & chosen:
            found.setdefault(_name(rule), "its rule records it from now on, from what is filled in")
    yield from found.items()
