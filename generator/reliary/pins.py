"""Which image each part of the stack runs: the rows of compose/pins.yml, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

from reliary.assets import asset

PARTS = ("prometheus", "alertmanager", "grafana", "blackbox", "python")
"""What every set pins. `python` is the base of the exporter's image."""

_IMAGE = re.compile(r"[a-z0-9]+(?:[._/-][a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class PinsFault(ValueError):
    """The table of pins cannot be used; the message says which row and why."""


@dataclass(frozen=True, slots=True)
class Pin:
    """An image as one row of the table names it."""

    image: str
    tag: str
    digest: str | None

    @property
    def reference(self) -> str:
        """`image:tag`, with the digest appended if there is one; then the engine goes by the digest alone."""
        return f"{self.image}:{self.tag}" + (f"@{self.digest}" if self.digest else "")


def pins(name: str) -> Mapping[str, Pin]:
    """The images of the set of that name, by part. Raises PinsFault when there is no such set or a row is faulty."""
    sets = _shipped()
    if name not in sets:
        raise PinsFault(f"there is no set of pins {name!r}, only {', '.join(sets)}")
    return sets[name]


@cache
def _shipped() -> Mapping[str, Mapping[str, Pin]]:
    return read_pins(asset("compose", "pins.yml"))


def read_pins(path: Path) -> Mapping[str, Mapping[str, Pin]]:
    """Every set of a table of pins, by name. Raises PinsFault, or OSError when it cannot be read."""
    try:
        table = yaml.load(path.read_text("utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PinsFault(f"{path.name} is not YAML: {error}") from error
    if not isinstance(table, dict) or not table:
        raise PinsFault(f"{path.name} holds no sets")
    return MappingProxyType({str(name): _set(str(name), rows) for name, rows in table.items()})


def _set(name: str, rows: object) -> Mapping[str, Pin]:
    if not isinstance(rows, dict) or set(rows) != set(PARTS):
        raise PinsFault(f"{name} must pin exactly {', '.join(PARTS)}")
    return MappingProxyType({part: _pin(f"{name}.{part}", rows[part]) for part in PARTS})


def _pin(place: str, row: object) -> Pin:
    match row:
        case {"image": str(image), "tag": str(tag), **rest} if not set(rest) - {"digest"}:
            digest = rest.get("digest")
        case _:
            raise PinsFault(f"{place} must have image and tag as texts, may have digest, and nothing else")
    if not _IMAGE.fullmatch(image) or not _TAG.fullmatch(tag):
        raise PinsFault(f"{place} names no image: {image}:{tag}")
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise PinsFault(f"{place} has a digest that is not sha256: and 64 hexadecimal digits: {digest}")
    return Pin(image, tag, digest)
