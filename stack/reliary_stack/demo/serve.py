"""What the demo's container runs: `python -m reliary_stack.demo.serve demo.json HOST:PORT`.

The container gets the compiled rates, not the definitions: it has no use for the rest of them, nor for the secrets
that lie beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from reliary.demofile import from_text
from reliary_stack.demo import service as demo
from reliary_stack.demo.service import DemoTenant


def main(path: str, listen: str) -> None:
    """Serves the demo of that file until SIGTERM. Raises OSError and DemoFileError."""
    config = from_text(Path(path).read_text("utf-8"))
    tenants = [DemoTenant(tenant, float(rate)) for tenant, rate in config.requests_per_second]
    host, _, port = listen.rpartition(":")
    demo.serve(tenants, (host, int(port)), seed=config.seed)


if __name__ == "__main__":
    main(*sys.argv[1:])
