"""Finds the data folders `rules/`, `dashboards/` and `compose/`, in an installed wheel as in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def asset(*parts: str) -> Path:
    """The path of a data file: `asset("rules", "windows.yml")`. Raises FileNotFoundError when it is not shipped."""
    for root in (_PACKAGE / "_assets", _PACKAGE.parent.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError("/".join(parts))
