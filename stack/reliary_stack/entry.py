"""Where the command starts: the collector is told before the first import that there is nothing to collect."""

from __future__ import annotations

import gc


def main() -> None:
    """Runs the command line."""
    gc.disable()  # a command lives for a fraction of a second; servers enable it again
    from reliary_stack.cli import cli

    try:
        cli()
    finally:
        gc.freeze()  # the interpreter collects once more when it ends, which a large stack would notice
