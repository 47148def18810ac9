"""Plain text on stdout: parameters, tables and verdicts. Progress goes to stderr, and only where a person looks."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence

_STARTED = time.monotonic()


def progress(text: str) -> None:
    """One line for a person who waits; nothing when stderr is a file or a pipe."""
    if sys.stderr.isatty():
        print(f"[{time.monotonic() - _STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


def heading(title: str, parameters: dict[str, object]) -> None:
    """The name of a measurement and everything that it depends on, with the machine."""
    machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
    pairs = ", ".join(f"{name} {value}" for name, value in parameters.items())
    print(f"\n== {title}\n{pairs}\n({machine})\n", flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns; the first to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(columns), *cells]) for at in range(len(columns))]
    for row in (columns, ["-" * width for width in widths], *cells):
        first, *rest = (
            cell.ljust(w) if at == 0 else cell.rjust(w) for at, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join([first, *rest]).rstrip())
    print(flush=True)


def verdict(target: str, met: bool, measured: str) -> None:
    """One line a target: was it met, and by what figure."""
    print(f"target: {target}: {'met' if met else 'NOT met'} ({measured})", flush=True)


def elapsed() -> None:
    """How long the whole benchmark took."""
    print(f"\ntook {time.monotonic() - _STARTED:.0f} s")
