"""`demo.json`: what the demo's container needs to know. The compiler writes it, the container reads it back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from reliary.artifacts import File
from reliary.model import Stack

FORMAT = 1
PATH = "demo.json"


class DemoFileError(ValueError):
    """The demo's file cannot be used; the message says why and what to do."""

    def __init__(self, fault: str) -> None:
        super().__init__(f"{PATH} {fault}. It is written by `reliary compile`: compile the definitions again")


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """The seed of the random traffic, and the peak requests a second of each tenant that has any."""

    seed: int
    requests_per_second: tuple[tuple[str, Decimal], ...]


def demo_config(stack: Stack) -> DemoConfig | None:
    """The demo of a stack: its tenants with the rates of their tiers. None if the stack has no demo."""
    if stack.demo is None:
        return None
    rates = dict(stack.demo.requests_per_second)
    tenants = tuple((tenant.id, rates[tenant.tier]) for tenant in stack.tenants if tenant.tier in rates)
    return DemoConfig(stack.demo.seed, tenants)


def demo_files(stack: Stack) -> tuple[File, ...]:
    """`demo.json` for stacks with a demo."""
    config = demo_config(stack)
    return (File(PATH, to_text(config)),) if config else ()


def to_text(config: DemoConfig) -> str:
    """The file, the same bytes each time."""
    rates = {tenant: str(rate) for tenant, rate in config.requests_per_second}
    head = json.dumps({"format": FORMAT, "seed": config.seed}, indent=2).removesuffix("\n}")
    if not rates:
        return f'{head},\n  "requests_per_second": {{}}\n}}\n'
    # Without an indent the encoder is in C; ten thousand tenants are noticed.
    rows = json.dumps(rates, ensure_ascii=False, separators=(",\n    ", ": "))[1:-1]
    return f'{head},\n  "requests_per_second": {{\n    {rows}\n  }}\n}}\n'


def from_text(text: str) -> DemoConfig:
    """What `to_text` wrote. Raises DemoFileError."""
    try:
        content = json.loads(text)
        match content:
            case {"format": int(version)} if version != FORMAT:
                raise DemoFileError(f"has format {version}, this release reads {FORMAT}")
            case {"seed": int(seed), "requests_per_second": dict(rates)}:
                return DemoConfig(seed, tuple((tenant, Decimal(rate)) for tenant, rate in rates.items()))
    except (json.JSONDecodeError, InvalidOperation, TypeError) as error:
        raise DemoFileError(f"cannot be read ({error})") from error
    raise DemoFileError("has no seed and rates")
