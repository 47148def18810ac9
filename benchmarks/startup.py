"""How long `reliary --help` and `reliary compile examples/aether` take, and how much memory, beside an empty Python.

Whole processes, medians of 10, taken in turns so that noise hits all alike. Times are wall clock, memory is the peak
resident set. Prints figures; asserts nothing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = 10
TARGETS = {"reliary --help": (0.120, None), "reliary compile examples/aether": (0.400, 80)}


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak MiB of one process."""
    started = time.perf_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=ROOT, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with status {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    reliary = str(Path(sys.executable).with_name("reliary"))
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "reliary --help": [reliary, "--help"],
            "reliary compile examples/aether": [reliary, "compile", "examples/aether", "-o", f"{folder}/build"],
        }
        for command in commands.values():
            run(command)  # caches, bytecode
        rounds = [{name: run(command) for name, command in commands.items()} for _ in range(RUNS)]
    base = statistics.median(row["python -c pass"][0] for row in rounds)
    print(f"medians of {RUNS} whole-process runs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    for name in commands:
        seconds = statistics.median(row[name][0] for row in rounds)
        memory = max(row[name][1] for row in rounds)
        limit, most = TARGETS.get(name, (None, None))
        target = f"  (target {limit * 1000:.0f} ms{f', {most} MiB' if most else ''})" if limit else ""
        print(f"{name:34} {seconds * 1000:6.0f} ms  {seconds / base:5.1f} x python  {memory:5.1f} MiB{target}")


if __name__ == "__main__":
    main()
