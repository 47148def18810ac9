"""What changed in SLO classes: sources, windows, burn tiers, guards; and in composites and planned windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from reliary import windows
from reliary.comparing.changes import Change, Word, differs, listing, longer, paired, rising, same_query
from reliary.explaining.words import guard_words, maintenance_words, window_words
from reliary.model import BurnTier, Composite, Latency, Maintenance, Probe, Ratio, RawRatio, Slo, Source, Stack
from reliary.names import duration
from reliary.promql import number

Pairs: TypeAlias = dict[str, tuple[Slo, Slo]]


def pairs_of(old: Stack, new: Stack) -> Pairs:
    """The classes of both by their new name. One that is gone and one that came count alike: it was renamed."""
    before, after = {slo.name: slo for slo in old.slos}, {slo.name: slo for slo in new.slos}
    pairs = {name: (before[name], slo) for name, slo in after.items() if name in before}
    gone = [slo for name, slo in before.items() if name not in after]
    for name, slo in after.items():
        if name not in before:
            twin = next((each for each in gone if _alike(each, slo)), None)
            if twin is not None:
                gone.remove(twin)
                pairs[name] = (twin, slo)
    return pairs


def _alike(one: Slo, other: Slo) -> bool:
    return same_source(one.source, other.source) and window_words(one) == window_words(other)


def _slos(old: Stack, new: Stack) -> Iterator[Change]:
    pairs = pairs_of(old, new)
    kept = {before.name for before, _ in pairs.values()}
    for slo in old.slos:
        if slo.name not in kept:
            effect = "its budget is no longer recorded, and nobody is called for it"
            yield Change("slo", slo.name, _promise_words(slo), None, "removed", effect)
    for slo in new.slos:
        if slo.name in pairs:
            yield from _slo(*pairs[slo.name])
        else:
            effect = "its budget begins with what is recorded from now on"
            yield Change("slo", slo.name, None, _promise_words(slo), "added", effect)


def _promise_words(slo: Slo) -> str:
    return f"{number(slo.default)} % over {window_words(slo)}"


def _slo(old: Slo, new: Slo) -> Iterator[Change]:
    anew = "renamed: the budget starts anew, since history stays under the old name"
    yield from differs("slo", f"{new.name}: name", old.name, new.name, "changed", anew)
    yield from _window(old, new)
    yield from _source(old, new)
    yield from _burn(old, new)
    if old.guard != new.guard:
        yield Change("guard", new.name, guard_words(old), guard_words(new), _guard_word(old, new))
    yield from differs("source", f"{new.name}: exact", old.exact, new.exact)
    yield from differs("owner", new.name, old.owner, new.owner)


def _window(old: Slo, new: Slo) -> Iterator[Change]:
    if old.calendar == new.calendar:
        effect = "the recorded past is read over the new window at once"
        yield from differs("window", new.name, window_words(old), window_words(new), "changed", effect)
        return
    if old.calendar is None or new.calendar is None:
        effect = "the budget starts anew: what was recorded knows nothing of the other kind of window"
    elif old.calendar.unit != new.calendar.unit:
        effect = f"what was recorded was sorted by {old.calendar.unit}: the first {new.calendar.unit} counts in part"
    else:
        effect = "events near the turn of the period count where the old zone put them"
    yield Change("window", new.name, window_words(old), window_words(new), "changed", effect)


def _source(old: Slo, new: Slo) -> Iterator[Change]:
    if not same_source(old.source, new.source):
        effect = f"the source changed: the recorded past of {duration(windows.reach(old))} was counted differently"
        yield Change("source", new.name, source_words(old.source), source_words(new.source), "changed", effect)


def same_source(one: Source, other: Source) -> bool:
    """True when the same events are counted, whatever the bounds of latency."""
    match one, other:
        case Ratio(), Ratio():
            same = one.part == other.part and type(one.counted) is type(other.counted)
            total = type(one.total) is type(other.total) and same_query(one.total.text, other.total.text)
            return same and total and same_query(one.counted.text, other.counted.text)
        case Latency(), Latency():
            return one.native == other.native and same_query(one.histogram.text, other.histogram.text)
        case Probe(), Probe():
            return same_query(one.gauge.text, other.gauge.text)
        case RawRatio(), RawRatio():
            return one.part == other.part and same_query(one.query.text, other.query.text)
    return False


def source_words(source: Source) -> str:
    """What is counted, on one line."""
    match source:
        case Ratio(counted, part, total):
            text = f"{part}: {counted.text} of {total.text}"
        case Latency(histogram, _, _, native):
            text = f"{'native ' if native else ''}histogram: {histogram.text}"
        case Probe(gauge):
            text = f"probe: {gauge.text}"
        case RawRatio(query, part):
            text = f"{part} share: {query.text}"
    return " ".join(text.split())


# -- burn-rate alerts


def _burn(old: Slo, new: Slo) -> Iterator[Change]:
    before, after = ({duration(tier.long_seconds): tier for tier in slo.burn} for slo in (old, new))

    for long in dict.fromkeys((*before, *after)):
        one, other = before.get(long), after.get(long)
        what = f"{new.name}: {long}"
        if one is not None and other is not None:
            yield from _tier(what, (old, one), (new, other))
        else:
            word: Word = "louder" if one is None else "quieter"
            yield Change("burn tier", what, _tier_words(old, one), _tier_words(new, other), word)


def _tier_words(slo: Slo, tier: BurnTier | None) -> str | None:
    return None if tier is None else f"{tier.severity} at {_factor(slo, tier)}x"


def _factor(slo: Slo, tier: BurnTier) -> str:
    return number(round(windows.factor(tier, slo.window_seconds), 4))


def _tier(what: str, old: tuple[Slo, BurnTier], new: tuple[Slo, BurnTier]) -> Iterator[Change]:
    (_, before), (_, after) = old, new
    word: Word = "quieter" if after.severity == "ticket" else "louder"
    yield from differs("burn tier", f"{what}: severity", before.severity, after.severity, word)
    one, other = (windows.factor(tier, slo.window_seconds) for slo, tier in (old, new))
    word = rising(one, other, "quieter", "louder")
    yield from differs("burn tier", f"{what}: factor", _factor(*old), _factor(*new), word)
    short = before.short_seconds, after.short_seconds
    yield from longer("burn tier", f"{what}: short window", *short, ("changed", "changed"))
    pending = before.for_seconds, after.for_seconds
    yield from longer("burn tier", f"{what}: for", *pending, ("quieter", "louder"))
    kept = before.keep_firing_for_seconds, after.keep_firing_for_seconds
    yield from longer("burn tier", f"{what}: keep_firing_for", *kept, ("louder", "quieter"))


def _guard_word(old: Slo, new: Slo) -> Word:
    kinds = (old.guard.kind, new.guard.kind)
    if "none" in kinds:
        return "louder" if new.guard.kind == "none" else "quieter"
    least = [(slo.guard.bad, slo.guard.total) for slo in (old, new)]
    if kinds == ("counts", "counts") and (least[0][0] - least[1][0]) * (least[0][1] - least[1][1]) >= 0:
        return rising(least[0], least[1], "quieter", "louder")
    return "changed"


# -- composites and planned windows


def _composites(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({each.name: each for each in stack.composites} for stack in (old, new))

    def compared(name: str, one: Composite, other: Composite) -> Iterator[Change]:
        effect = "the window is counted with the new parts at once"
        yield from differs("composite", f"{name}: of", frozenset(one.of), frozenset(other.of), effect=effect)
        yield from differs("owner", name, one.owner, other.owner)

    yield from paired("composite", before, after, lambda each: listing(sorted(each.of)), compared)


def _maintenance(old: Stack, new: Stack) -> Iterator[Change]:
    before, after = ({each.name: each for each in stack.maintenance} for stack in (old, new))
    for name in dict.fromkeys((*before, *after)):
        yield from _planned(name, before.get(name), after.get(name))


def _planned(name: str, old: Maintenance | None, new: Maintenance | None) -> Iterator[Change]:
    """A window that is left out of budgets makes these looser; one that is only announced changes nothing in them."""
    if old is not None and new is not None and _planned_key(old) == _planned_key(new):
        return
    excludes = [window is not None and window.excluded for window in (old, new)]
    word: Word = "added" if old is None else "removed" if new is None else "changed"
    if excludes[0] != excludes[1]:
        word = "looser" if excludes[1] else "stricter"
    effect = "what was recorded stays as it was counted" if any(excludes) else ""
    yield Change("maintenance", name, _planned_words(old), _planned_words(new), word, effect)


def _planned_key(window: Maintenance) -> tuple[object, ...]:
    return window.when, frozenset(window.tenants), frozenset(window.slos), window.excluded


def _planned_words(window: Maintenance | None) -> str | None:
    if window is None:
        return None
    return maintenance_words(window) + (", left out of budgets" if window.excluded else ", counts against the SLA")


CLASSES = (_slos, _composites, _maintenance)
