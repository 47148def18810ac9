"""How long `reliary compile` takes for thousands of tenants: the first time, and again after one edit.

Whole processes, Python's start included, beside an empty Python and the example. Each round takes all of them in turn,
so that noise hits all alike; shown are medians of wall and CPU time. Each round has a cache of texts and a build of its
own, both empty for the cold run. The edits are one of a tenant and one of an SLO. Prints figures; asserts nothing.

    python benchmarks/compile_speed.py [--tenants 10000] [--classes 5] [--style braces|lines|quoted] [--rounds 7]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RELIARY = str(Path(sys.executable).with_name("reliary"))
TARGETS = {
    "cold": "target 1.5 s, 250 MB",
    "again, a tenant edited": "target 0.4 s",
    "again, an SLO edited": "target 0.4 s",
}


class Figures(NamedTuple):
    """Wall and CPU seconds, peak resident set."""

    seconds: float
    cpu_seconds: float
    megabytes: float


SLO = """\
  class_{number}:
    description: Requests of part {number} that are answered without a server error
    bad:   http_requests_total{{code=~"5..",part="{number}"}}
    total: http_requests_total{{part="{number}"}}
    objective: {{default: 99.5, pro: 99.9, enterprise: 99.95}}
    window: 30d
    owner: platform
"""


def tenant(number: int) -> Iterator[tuple[str, str]]:
    """Every second has a name, every hundredth is a VIP, every fiftieth has an objective of its own."""
    yield "id", f"t-{number:05}"
    if number % 2 == 0:
        yield "name", f"Customer {number}"
    yield "tier", ("free", "pro", "enterprise")[number % 3]
    if number % 100 == 0:
        yield "vip", "true"
    if number % 50 == 7:
        yield "objectives", "{availability: 99.97}"


def item(number: int, style: str) -> str:
    """A tenant in YAML; `quoted` is what the quick way of reading does not take."""
    if style == "quoted":
        pairs = [f"{key}: '{value}'" if key == "id" else f"{key}: {value}" for key, value in tenant(number)]
    else:
        pairs = [f"{key}: {value}" for key, value in tenant(number)]
    return "  - " + "\n    ".join(pairs) if style == "lines" else f"  - {{{', '.join(pairs)}}}"


def lay_out(folder: Path, tenants: int, classes: int, style: str) -> None:
    """The example with other tenants and more classes of objectives."""
    shutil.copytree(ROOT / "examples" / "aether", folder)
    slos, people = folder / "slos.yml", folder / "tenants.yml"
    more = "".join(SLO.format(number=number) for number in range(classes - 2))
    slos.write_text(slos.read_text().replace("\nslos:\n", f"\nslos:\n{more}"))
    head = people.read_text().split("\ntenants:\n")[0]
    rows = "\n".join(item(number, style) for number in range(tenants))
    people.write_text(f"{head}\ntenants:\n{rows}\n")


def replace_once(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"{path.name} does not hold {old!r}"
    path.write_text(text.replace(old, new, 1))


def run(command: list[str], cache: Path) -> Figures:
    """What one process took."""
    environment = {**os.environ, "RELIARY_CACHE": str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with status {process.returncode}")
    return Figures(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def measure(work: Path, number: int) -> dict[str, Figures]:
    """One round, with a cache and builds of its own."""
    big = [RELIARY, "compile", str(work / "big"), "-o", str(work / f"build-{number}")]
    small = [RELIARY, "compile", "examples/aether", "-o", str(work / f"small-{number}")]
    cache = work / f"cache-{number}"
    found = {"python -c pass": run([sys.executable, "-c", "pass"], cache)}
    found["cold"] = run(big, cache)
    replace_once(work / "big" / "tenants.yml", "t-00042", "t-00042-moved")
    found["again, a tenant edited"] = run(big, cache)
    replace_once(work / "big" / "slos.yml", "enterprise: 99.95", "enterprise: 99.96")
    found["again, an SLO edited"] = run(big, cache)
    replace_once(work / "big" / "tenants.yml", "t-00042-moved", "t-00042")
    replace_once(work / "big" / "slos.yml", "enterprise: 99.96", "enterprise: 99.95")
    found["the example, cold"] = run(small, work / f"cache-{number}-small")
    found["the example, again"] = run(small, work / f"cache-{number}-small")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--style", choices=["braces", "lines", "quoted"], default="braces")
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lay_out(work / "big", chosen.tenants, chosen.classes, chosen.style)
        run([RELIARY, "compile", "examples/aether", "-o", f"{work}/first"], work / "first-cache")
        rounds = [measure(work, number) for number in range(chosen.rounds)]
    show(rounds, f"{chosen.tenants:,} tenants x {chosen.classes} classes, {chosen.style}")


def show(rounds: list[dict[str, Figures]], what: str) -> None:
    print(f"{what}; medians of {len(rounds)}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in rounds[0]:
        seconds, cpu, memory = zip(*(row[name] for row in rounds), strict=True)
        target = f"  ({TARGETS[name]})" if name in TARGETS else ""
        wall = f"{statistics.median(seconds):6.3f} s (least {min(seconds):.3f})"
        print(f"{name:24} {wall}  CPU {statistics.median(cpu):.3f} s  {max(memory):4.0f} MB{target}")


if __name__ == "__main__":
    main()
