"""The merged definitions as the builders of `spec_*.py` ask them: settings, names that exist, records to build on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from reliary.definitions.folder import Folder
from reliary.definitions.shapes import Entry, Faults, Fields, Located, listed
from reliary.exporterfile import RESERVED_LABELS as EXPORTER_LABELS
from reliary.model import Budget
from reliary.names import RESERVED_LABELS, duration
from reliary.problems import Place

HEALTH = "health_score"
COST = "cost"
DAY = 86400
SCRAPES_IN_A_WINDOW = 4
"""Fewer, and one missed scrape leaves a rate without its two samples."""

Names: TypeAlias = frozenset[str] | None
"""Names that are defined; None when the definition could not be read, so that nothing can be said about a name."""

# Labels that rules of ours put on series: a tenant label of that name would be overwritten.
_OWN_LABELS = frozenset({"alertstate", "burn", "resource", "stack"})
_NUMBERS = ("nan", "inf")
"""Words that PromQL reads as numbers, in small letters and in capitals."""


NEEDED = ("stack", "services", "tiers", "tenants", "receivers", "routes")
"""What every stack defines."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Where a name was used that is not among those known."""

    known: frozenset[str]
    places: list[Place]


@dataclass(frozen=True, slots=True)
class Root:
    """Everything that was read. `complete` is False when a file could not be."""

    fields: Fields
    complete: bool
    faults: Faults
    scrape_seconds: int
    retention_seconds: int
    any_vip: bool
    tenant_ids: Names
    unknown: dict[tuple[str, str], Unknown]

    @property
    def tenant_label(self) -> str:
        return self.fields.maybe("tenant_label", str) or "tenant_id"

    def readable(self, *keys: str) -> bool:
        """False when one of these keys is faulty, or may stand in a file that could not be read."""
        return self.complete and not self.fields.faulty.intersection(keys)

    def names(self, section: str) -> Names:
        """The names that a section defines."""
        if self.fields.values.get(section) is None and (section in NEEDED or section in self.fields.faulty):
            return None
        return frozenset(entry.key for entry in self.fields.entries(section, Fields)) if self.complete else None

    def records(self, section: str, within: Fields | None = None) -> Iterator[tuple[str, Place, Fields]]:
        """Name, place of the name, and fields of each record of a section that can be built upon."""
        entry: Entry[Located[Fields] | None]
        for entry in (within or self.fields).entries(section, Fields):
            if entry.value is not None and entry.value.value.whole:
                yield entry.key, entry.key_place, entry.value.value

    def known(self, name: str, known: Names, what: str, place: Place) -> bool:
        """True when the name is defined. False when it is not, which `report_unknown` tells, or cannot be told."""
        if known is None:
            return False
        if name not in known:
            self.unknown.setdefault((what, name), Unknown(known, [])).places.append(place)
        return name in known

    def report_unknown(self) -> None:
        """One problem for each name that is used and not defined, however often it is used."""
        for (what, name), unknown in self.unknown.items():
            nearest = self.faults.guess(name, unknown.known)
            advice = f"Did you mean `{nearest}`?" if nearest else _defined(unknown.known)
            first, *others = sorted(set(unknown.places), key=lambda place: (place.file, place.line, place.column))
            also = f"; it is also used at {listed(map(str, others), 3)}" if others else ""
            self.faults.add("B116", first, f"there is no {what} `{name}`{also}.", advice)

    def numbers(self, row: Fields, key: str, known: Names, what: str) -> Iterator[tuple[str, Decimal, Place]]:
        """Name, number and place of the number of each entry of a map whose keys are names of something defined."""
        for entry in row.entries(key, Decimal):
            if entry.value is not None and self.known(entry.key, known, what, entry.key_place):
                yield entry.key, entry.value.value, entry.value.place

    def budget(self, row: Fields, key: str = "budget") -> Budget | None:
        """Spend limits of the row, None when it has none or they could not be read."""
        fields = row.maybe(key, Fields)
        if fields is None or not fields.whole:
            return None
        warn, critical = fields.get("warn", Decimal), fields.get("critical", Decimal)
        if warn >= critical:
            message = f"the warning at {warn} USD comes no earlier than the limit at {critical}."
            self.faults.add("B113", fields.at("warn"), message, "Set `warn` below `critical`.")
        return Budget(warn, critical)

    def long_enough(self, seconds: int, place: Place) -> None:
        least = SCRAPES_IN_A_WINDOW * self.scrape_seconds
        if seconds < least:
            message = (
                f"a window of {duration(seconds)} holds fewer than four scrapes, one every {self.scrape_seconds}s."
            )
            self.faults.add("B121", place, message, f"Use at least {duration(least)}, or scrape more often.")

    def retained(self, seconds: int, place: Place) -> None:
        if seconds > self.retention_seconds:
            kept = duration(self.retention_seconds)
            message = f"the window of {duration(seconds)} reaches past the retention of {kept}."
            advice = f"Set `retention` to {duration(seconds + 5 * DAY)}, or shorten the window: it would lack data."
            self.faults.add("B119", place, message, advice)


def root_of(folder: Folder) -> Root:
    """The root of what a folder says. A setting that cannot be read takes the value that refuses nothing."""

    def setting(key: str, default: int, lenient: int) -> int:
        unknown = not folder.complete or key in folder.fields.faulty
        return folder.fields.maybe(key, int) or (lenient if unknown else default)

    scrape, retention = setting("scrape_interval", 15, 1), setting("retention", 35 * DAY, 10_000 * DAY)
    any_vip = any(item.value.maybe("vip", bool) for item in folder.fields.items("tenants", Fields))
    ids = frozenset(id_ for item in folder.fields.items("tenants", Fields) if (id_ := item.value.maybe("id", str)))
    tenants = ids if folder.complete and "tenants" not in folder.fields.faulty else None
    return Root(folder.fields, folder.complete, Faults(), scrape, retention, any_vip, tenants, {})


def tenant_label_problem(root: Root) -> None:
    """Adds a problem when the tenant label, or the namespace, is one that the stack needs for itself."""
    label, namespace = root.tenant_label, root.fields.maybe("namespace", str)
    if label in RESERVED_LABELS | EXPORTER_LABELS | _OWN_LABELS or label.lower() in _NUMBERS:
        use = "a number in PromQL" if label.lower() in _NUMBERS else "used by the stack"
        message = f"the label `{label}` is {use}."
        root.faults.add("B117", root.fields.at("tenant_label"), message, "Use another label, such as tenant_id.")
    if namespace == "tenant_slo":
        message = "`tenant_slo` is the prefix of the series of SLOs."
        root.faults.add("B117", root.fields.at("namespace"), message, "Choose another namespace.")


def _defined(known: Collection[str]) -> str:
    return f"Defined are: {listed(sorted(known))}." if known else "None is defined."
