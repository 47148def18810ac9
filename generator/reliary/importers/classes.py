"""Groups of objectives -> classes of our definitions, with names and with all that changed in meaning."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from reliary import windows
from reliary.importers import figures
from reliary.importers.found import Change, Found, Harvest, google, one_line, window_seconds
from reliary.importers.merging import Group, Plan, value_of
from reliary.importers.promqltext import MAX_CHARACTERS, Unprovable
from reliary.importers.sources import Share
from reliary.model import BurnTier
from reliary.names import duration

TheirAlerts = Callable[[int], str]
"""Says the factors of the other tool's alerts for a window of so many seconds; empty where they are ours."""


@dataclass(frozen=True, slots=True)
class Class:
    """One class of objectives, as it is written. `keys` say what it counts."""

    name: str
    group: Group
    keys: dict[str, object]
    alerts: object
    description: str
    owner: str
    changes: tuple[Change, ...]

    @property
    def first(self) -> Found:
        return self.group.members[0]


@dataclass(frozen=True, slots=True)
class Composite:
    """Classes that are read as one."""

    name: str
    of: tuple[str, ...]
    description: str


def classes(harvest: Harvest, plan: Plan, their_alerts: TheirAlerts) -> tuple[Class, ...]:
    """The classes of a plan, in its order. What cannot be said per tenant is refused."""
    names = _names(plan.groups)
    made = (
        _class(harvest, group, name, plan.label, their_alerts) for group, name in zip(plan.groups, names, strict=True)
    )
    return tuple(one for one in made if one is not None)


def composites(harvest: Harvest, made: Sequence[Class]) -> tuple[Composite, ...]:
    """What is read as one, by the names of classes; where merging made two the same, it is kept once."""
    of = {member.origin: one.name for one in made for member in one.group.members}
    taken = {one.name for one in made}
    found: dict[tuple[str, ...], Composite] = {}
    for each in harvest.together:
        parts = tuple(dict.fromkeys(of[origin] for origin in each.of if origin in of))
        if len(parts) < 2:
            message = f"{each.title}: fewer than two of its parts are classes of their own."
            harvest.refuse("I112", each.place, message, "The parts that could be read are imported.")
        elif parts not in found:
            name = _free(slug(each.title), taken)
            taken.add(name)
            found[parts] = Composite(name, parts, each.description)
    return tuple(found.values())


def _class(harvest: Harvest, group: Group, name: str, label: str, their_alerts: TheirAlerts) -> Class | None:
    try:
        keys = group.source(label).keys(label)
        _short_enough(keys)
    except Unprovable as why:
        for member in group.members:
            harvest.unprovable(member.place, member.title, why)
        return None
    alerts, of_alerts = _alerts(group, their_alerts)
    changes = [*_common(group), *_merged(group, label), *of_alerts]
    owner = _same([member.owner for member in group.members])
    return Class(name, group, keys, alerts, _description(group), owner, tuple(changes))


def _short_enough(keys: dict[str, object]) -> None:
    for key, text in keys.items():
        if isinstance(text, str) and len(text) > MAX_CHARACTERS:
            message = f"`{key}` would have {len(text):,} characters; a definition may have {MAX_CHARACTERS:,}"
            raise Unprovable(message, "Record a part of it with a rule of its own, and use that.")


def _common(group: Group) -> list[Change]:
    """Changes of the members, each once."""
    return list(dict.fromkeys(change for member in group.members for change in member.changes))


def _merged(group: Group, label: str) -> list[Change]:
    if not group.values:
        alone = value_of(group.members[0].source, label)
        text = f"holds for the tenant {alone} alone, as it did: its queries name it."
        return [Change("tenants", text)] if alone is not None else []
    count = len(group.members)
    objectives = len({member.objective for member in group.members})
    what = f"{count} objectives that differ only in" if count > 1 else "an objective of one"
    text = f"{what} `{label}` became a class: the value is a tenant now, and every other tenant has the objective too "
    text += "(--no-merge keeps them apart)."
    if objectives > 1:
        own = len(group.own_objectives)
        kept = "keep theirs" if own > 1 else "keeps its own"
        text += f" The default is {group.default} %, which most have; {own} {kept}."
    return [Change("tenants", text)]


# -- alerts


def _alerts(group: Group, their_alerts: TheirAlerts) -> tuple[object, list[Change]]:
    """What `alerts` says (None: nothing needs to be said) and what changed."""
    first, said = group.members[0], group.members[0].alerts
    span = window_seconds(first.window)
    table = said.rows or google(first.window)
    wanted = tuple(tier for tier in table if tier.severity not in said.without)
    never = figures.unreachable(wanted, span, group.lowest)
    on = tuple(tier for tier in wanted if tier not in never)
    if said.off or not on:
        return "none", _never(never, span, group.lowest)
    changes = _never(never, span, group.lowest)
    if not isinstance(first.source, Share):
        changes.append(Change("alerts", figures.guard_change(on, span, group.default)))
    changes += _factors(on, span, "" if said.rows else their_alerts(span))
    if said.rows:
        return {"rows": [_row(tier) for tier in on]}, changes
    without = [*said.without, *(duration(tier.long_seconds) for tier in never)]
    return ({"without": without} if without else None), changes


def _never(never: Sequence[BurnTier], span: int, objective: Decimal) -> list[Change]:
    return [
        Change(
            "alerts",
            f"the {tier.severity} over {duration(tier.long_seconds)} is off: at {objective} % it would need "
            f"{figures.percent(windows.factor(tier, span) * windows.budget(objective))} errors and could never fire.",
        )
        for tier in never
    ]


def _factors(on: Sequence[BurnTier], span: int, theirs: str) -> list[Change]:
    changes = []
    if theirs:
        text = f"factors are {figures.factors(on, span)}; theirs {theirs}."
        changes.append(Change("alerts", text))
    slow = [tier for tier in on if windows.factor(tier, span) < 1]
    if slow:
        factor = figures.short(windows.factor(slow[0], span))
        text = f"a factor of {factor} over {duration(slow[0].long_seconds)} can fire while the objective is still met."
        changes.append(Change("alerts", text))
    return changes


def _row(tier: BurnTier) -> dict[str, object]:
    row: dict[str, object] = {
        "severity": tier.severity,
        "long": duration(tier.long_seconds),
        "short": duration(tier.short_seconds),
        "factor": tier.own_factor,
    }
    return {**row, "for": duration(tier.for_seconds)} if tier.for_seconds else row


# -- names


def slug(text: str) -> str:
    """A series name from any text: `Requests: Availability` -> `requests_availability`."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    name = name if re.match("[a-z]", name) else f"slo_{name}".rstrip("_")
    return name[:60].rstrip("_")


def _names(groups: Sequence[Group]) -> list[str]:
    """A name for each class: what its objectives are called; with their service where that is not enough."""
    plain = [_plain_name(group) for group in groups]
    often = Counter(plain)
    taken: set[str] = set()
    names = []
    for group, name in zip(groups, plain, strict=True):
        longer = slug(f"{group.members[0].group} {name}") if often[name] > 1 and group.members[0].group else name
        names.append(_free(longer, taken))
        taken.add(names[-1])
    return names


def _free(name: str, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free, number = f"{name[:55]}_{number}", number + 1
    return free


def _plain_name(group: Group) -> str:
    titles = [slug(member.title) for member in group.members]
    for names in ([_cut(title, value) for title, value in zip(titles, group.values, strict=False)], titles):
        if names and len(set(names)) == 1 and names[0]:
            return names[0]
    shared = _shared(titles)
    return shared if len(shared) > 2 else titles[0]


def _shared(titles: Sequence[str]) -> str:
    """The start that all titles share, in whole words."""
    first, *others = [title.split("_") for title in titles]
    words = [word for at, word in enumerate(first) if all(other[: at + 1] == first[: at + 1] for other in others)]
    return "_".join(words)


def _cut(title: str, value: str) -> str:
    """A title without the tenant that it names."""
    word = re.sub(r"[^a-z0-9]+", "_", value.lower()).strip("_")
    left = f"_{title}_".replace(f"_{word}_", "_").strip("_")
    return slug(left) if left else ""


def _description(group: Group) -> str:
    texts = [member.description for member in group.members]
    if len(set(texts)) == 1:
        return texts[0]
    cut = {text.replace(value, "each tenant") for text, value in zip(texts, group.values, strict=False)}
    return one_line(cut.pop()) if len(cut) == 1 else ""


def _same(values: Sequence[str]) -> str:
    return values[0] if len(set(values)) == 1 else ""
