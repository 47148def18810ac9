"""Two stacks, and what changed between them in meaning: never in text, order or files.

Prose (descriptions, summaries, first steps) is not compared. Objectives, bounds and budgets are compared as they hold
for each tenant, so that a tenant who moves to another tier shows up with what that changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

from reliary.comparing.changes import Change
from reliary.comparing.slos import CLASSES
from reliary.comparing.tenants import PROMISES, TENANTS
from reliary.comparing.wiring import WIRING
from reliary.model import Stack

Section: TypeAlias = Callable[[Stack, Stack], Iterator[Change]]

SECTIONS: tuple[Section, ...] = (*PROMISES, *CLASSES, *TENANTS, *WIRING)
"""What is compared, in the order in which it is told."""


def changes(old: Stack, new: Stack) -> tuple[Change, ...]:
    """All that means something else in the new stack; empty when they say the same."""
    return tuple(change for section in SECTIONS for change in section(old, new))
