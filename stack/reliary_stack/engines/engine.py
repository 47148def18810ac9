"""What an engine is: something that brings a stack up and down, and says how its parts are.

There are two: containers behind a Docker engine, and local processes (`local.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from reliary.model import Stack

__all__ = ["Change", "Engine", "EngineError", "Part", "PartState", "Report", "Running"]

PartState: TypeAlias = Literal["starting", "healthy", "failed", "stopped"]
Change: TypeAlias = Literal["started", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Part:
    """A server of the stack: `url` is where people reach it, `detail` is a few words on its state, or nothing."""

    name: str
    url: str
    state: PartState
    detail: str = ""


Report: TypeAlias = Callable[[Part], None]


@dataclass(frozen=True, slots=True)
class Running:
    """A stack whose parts are all healthy, and what had to be done to get there."""

    prometheus_url: str
    parts: tuple[Part, ...]
    change: Change


class EngineError(Exception):
    """An engine could not do what it was asked to. What it had begun is undone.

    `part` is the name of the part that failed, `log_lines` the last it wrote (from other programs: print with care).
    """

    def __init__(self, part: str, reason: str, next_step: str, log_lines: tuple[str, ...] = ()) -> None:
        super().__init__(f"{part}: {reason}")
        self.part, self.reason, self.next_step, self.log_lines = part, reason, next_step, log_lines


class Engine(Protocol):
    """Brings one stack up and down. Every method may be called in any state, and twice."""

    def up(self, stack: Stack, definitions: Path, report: Report, *, release: str, history: bool = True) -> Running:
        """A running stack that matches the definitions; `report` hears of every change of a part on the way.

        `definitions` is the folder that the stack was read from, `release` its digest. With `history`, a demo that
        starts for the first time gets past data. Raises EngineError; then, as after Ctrl-C, nothing of this call
        is left.
        """
        ...

    def down(self, report: Report, *, remove_data: bool = False) -> tuple[Part, ...]:
        """The parts that were stopped; data stays unless it is to be removed. Raises EngineError."""
        ...

    def parts(self) -> tuple[Part, ...]:
        """The parts that should run, and how they are now; none if the stack is down."""
        ...
