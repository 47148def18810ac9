"""What the builders give back: rule groups and files. Only `emit.py` turns them into bytes on a disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from reliary.guards import Guard

Labels: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule: a new series, or one more label set of a series."""

    record: str
    expr: str
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule. It has a guard or it does not exist; `on` are the labels that tie the two together."""

    alert: str
    condition: str
    guard: Guard
    on: tuple[str, ...]
    for_seconds: int
    labels: Labels
    annotations: Labels
    keep_firing_for_seconds: int = 0

    @property
    def expr(self) -> str:
        """The whole condition: what is wrong, and the guard's word that it surely is."""
        guard = self.guard.expr()
        return f"{self.condition}\nand on ({', '.join(self.on)})\n({guard})" if guard else self.condition


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated in order, at one instant, every `interval_seconds`."""

    name: str
    interval_seconds: int
    rules: tuple[Recording | Alert, ...]


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One file in `rules/`. `about` becomes the comment at its head."""

    path: str
    about: str
    groups: tuple[RuleGroup, ...]


@dataclass(frozen=True, slots=True)
class File:
    """A finished file: a path inside the build, with forward slashes, and its text."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where the parts of a stack find each other and are seen by people.

    The defaults are the names inside the compose network; local processes pass loopback addresses. `targets`
    replaces a declared scrape address (or the host and port of a probe) by the one that holds on this site.
    """

    prometheus: str = "prometheus:9090"
    alertmanager: str = "alertmanager:9093"
    exporter: str = "exporter:9808"
    blackbox: str | None = "blackbox:9115"
    secrets_dir: str = "/run/secrets"
    prometheus_url: str = "http://localhost:9090"
    alertmanager_url: str = "http://localhost:9093"
    grafana_url: str = "http://localhost:3000"
    targets: tuple[tuple[str, str], ...] = field(default=())

    def address(self, declared: str) -> str:
        """The address that a declared `host:port` has on this site."""
        return dict(self.targets).get(declared, declared)
