"""What an importer found in foreign files: objectives with their place and all that changed in meaning."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal, TypeAlias

from reliary import windows
from reliary.definitions.slos import NOMINAL_SECONDS
from reliary.importers.documents import Cursor
from reliary.importers.promqltext import Unprovable
from reliary.importers.sources import Source
from reliary.model import BurnTier
from reliary.names import duration
from reliary.problems import Place, Problem

Topic: TypeAlias = Literal["counting", "budget", "alerts", "labels", "tenants", "window", "objective", "name"]

DAY = 86400
SHORTEST_SECONDS, LONGEST_SECONDS = 7 * DAY, 90 * DAY
LOWEST, HIGHEST = Decimal(1), Decimal("99.9999")

_UNITS = {"ms": 0, "s": 1, "m": 60, "h": 3600, "d": DAY, "w": 7 * DAY, "y": 365 * DAY}


@dataclass(frozen=True, slots=True)
class Change:
    """Something that does not mean what it meant before, or is left out."""

    topic: Topic
    text: str


@dataclass(frozen=True, slots=True)
class Window:
    """A rolling window, or a month or quarter of a zone."""

    seconds: int
    unit: str = ""
    zone: str = ""

    @property
    def text(self) -> str:
        return self.unit or duration(self.seconds)


@dataclass(frozen=True, slots=True)
class Alerts:
    """Burn-rate alerts: rows of its own or our table; `without` are tiers that are off, `off` is all of them."""

    rows: tuple[BurnTier, ...] = ()
    without: tuple[str, ...] = ()
    off: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """One objective. `group` is what the other tool files it under, `title` the name it has there."""

    group: str
    title: str
    place: Place
    source: Source
    objective: Decimal
    window: Window
    alerts: Alerts = Alerts()
    description: str = ""
    owner: str = ""
    changes: tuple[Change, ...] = ()

    @property
    def origin(self) -> str:
        """How the other tool names it."""
        return f"{self.group} / {self.title}" if self.group else self.title


@dataclass(frozen=True, slots=True)
class Together:
    """Objectives that the other tool reads as one. `of` are their origins."""

    group: str
    title: str
    place: Place
    of: tuple[str, ...]
    description: str = ""


@dataclass(slots=True)
class Harvest:
    """What is gathered from all files: nothing raises at the first fault."""

    found: list[Found] = field(default_factory=list)
    together: list[Together] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, code: str, place: Place, message: str, advice: str) -> None:
        """Adds what cannot be imported, with its name and a next step."""
        self.problems.append(Problem(code, message, advice, place))

    def unprovable(self, place: Place, name: str, why: Unprovable) -> None:
        """Adds a query that is not imported."""
        self.refuse("I106", place, f"{name}: {why.message}.", why.advice)


def objective(harvest: Harvest, at: Cursor, name: str, text: str, times: int = 1) -> Decimal | None:
    """A percentage from `text`, multiplied where it is a share; None after a problem."""
    try:
        value = Decimal(text.replace("_", "").removesuffix("%")) * times
    except InvalidOperation:
        harvest.refuse("I103", at.place, f"{name}: `{text[:40]}` is no objective.", "Write a number.")
        return None
    if not (value.is_finite() and LOWEST <= value <= HIGHEST):
        message = (
            f"{name}: an objective of {text[:40]}{'' if times == 1 else ' (a share)'} leaves no error budget that "
        )
        message += f"could be watched; {LOWEST} to {HIGHEST} % can be imported."
        advice = "Choose a percentage such as 99.9. For what may never fail, write a threshold alert on an indicator."
        harvest.refuse("I104", at.place, message, advice)
        return None
    return value.quantize(Decimal("0.000001")).normalize() + 0


def decimal(text: str) -> Decimal | None:
    """A number, None where the text is none."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def seconds_of(text: str) -> int | None:
    """Seconds of a Prometheus duration such as 4w or 1w3d, None when it is none."""
    if not re.fullmatch(r"(?:[0-9]{1,6}(?:ms|[smhdwy]))+", text):
        return None
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|[a-z])", text))


def rolling(harvest: Harvest, place: Place, name: str, text: str) -> Window | None:
    """A rolling window, None after a problem."""
    span = seconds_of(text)
    if span is None:
        harvest.refuse("I103", place, f"{name}: `{text[:40]}` is no window.", "Write a duration such as 28d.")
        return None
    if not SHORTEST_SECONDS <= span <= LONGEST_SECONDS:
        why = (
            "its alerts would look at windows of a few scrapes" if span < SHORTEST_SECONDS else "data is kept for less"
        )
        message = f"{name}: a window of {text} is refused: {why}; 7d to 90d can be imported."
        harvest.refuse("I105", place, message, "Choose 7d or more, 28d or 30d are usual: the same objective then.")
        return None
    return Window(span)


def one_line(text: str, limit: int = 300) -> str:
    """Text for one line of a definition: without line ends and what cannot be printed, cut at `limit`."""
    line = " ".join("".join(char if char.isprintable() or char.isspace() else "" for char in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def owner_of(labels: dict[str, str], prefixes: Iterable[str] = ("",)) -> str:
    """The team that labels name, if it can be the name of an owner."""
    for key in ("owner", "team", "squad"):
        for prefix in prefixes:
            name = labels.get(prefix + key, "").lower().replace(" ", "-")
            if re.fullmatch(r"[a-z][a-z0-9_-]{0,59}", name):
                return name
    return ""


def dropped_labels(labels: dict[str, str], owner: str, of: str) -> list[Change]:
    """What to say of labels that no rule of ours will carry."""
    left = [f"{key}={value}" for key, value in labels.items() if not owner or value.lower().replace(" ", "-") != owner]
    if not left:
        return []
    shown = one_line(", ".join(left), 200)
    text = f"{of} are not carried over ({shown}): a label that is edited would break the history of every series."
    return [Change("labels", text)]


def is_there(harvest: Harvest, at: Cursor, name: str, key: str) -> bool:
    """True when something is written here. Else a problem is added."""
    if not at:
        harvest.refuse("I103", at.place, f"{name}: `{key}` is missing.", f"Add `{key}`, then import again.")
    return bool(at)


def google(window: Window) -> tuple[BurnTier, ...]:
    """Our table of burn rates; tiers that look further back than the window itself are left out."""
    return tuple(tier for tier in windows.burn_tables()["google"] if tier.long_seconds <= window_seconds(window))


def window_seconds(window: Window) -> int:
    """The length that factors are computed with."""
    return NOMINAL_SECONDS[window.unit] if window.unit else window.seconds
