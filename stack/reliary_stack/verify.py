"""The real tools on a compiled build: promtool and amtool say whether Prometheus and Alertmanager would take it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from reliary import proofs
from reliary.model import Stack
from reliary.problems import Place, Problem, Severity, visible
from reliary.slo import proofs as slo_proofs
from reliary_stack.binaries import ToolMissing, ToolName, find_tool

TIMEOUT_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Check:
    """One run of a tool on some files of a build."""

    code: str
    name: str
    tool: ToolName
    words: tuple[str, ...]
    files: str

    apart: bool = False
    """True when files can be checked by themselves, and so beside each other."""

    def commands(self, build: Path) -> list[list[str]]:
        """The arguments of each run: one for every processor, or one in all."""
        paths = [str(path.relative_to(build)) for path in sorted(build.glob(self.files))]
        runs = min(len(paths), os.cpu_count() or 1) if self.apart else 1
        return [[*self.words, *paths[first::runs]] for first in range(runs)]


CHECKS = (
    Check("B201", "promtool check config", "promtool", ("check", "config"), "prometheus.yml"),
    Check("B202", "promtool check rules", "promtool", ("check", "rules"), "rules/*.yml"),
    Check("B203", "promtool test rules", "promtool", ("test", "rules"), "tests/*.yml", apart=True),
    Check("B301", "amtool check-config", "amtool", ("check-config",), "alertmanager.yml"),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A check, and what it found: nothing when it passed."""

    check: Check
    problems: tuple[Problem, ...]


def verify(build: Path) -> Iterator[Verdict]:
    """Runs every check on a build, in order. A tool that is not here gives a problem of its own, never a pass."""
    for check in CHECKS:
        yield Verdict(check, _run(check, build))


def unproven(stack: Stack) -> Iterator[Problem]:
    """A warning for each indicator and each SLO for which no proof could be generated."""
    for name, reason in (*proofs.unproven(stack), *slo_proofs.unproven(stack)):
        yield Problem(
            "B204",
            f"alerts on `{name}` have no generated proof: {reason}.",
            "Write a promtool test of your own for it, or count with plain counters.",
            Place("tests/"),
            Severity.WARNING,
        )


def _run(check: Check, build: Path) -> tuple[Problem, ...]:
    if not list(build.glob(check.files)):
        return ()
    try:
        tool = find_tool(check.tool, download=False)
    except ToolMissing:
        return (_not_run(check, f"{check.tool} was not found on this machine"),)
    commands = [[str(tool.path), *arguments] for arguments in check.commands(build)]
    try:
        with ThreadPoolExecutor(len(commands)) as pool:
            done = list(pool.map(lambda command: _completed(command, build), commands))
    except (OSError, subprocess.TimeoutExpired) as error:
        return (_not_run(check, f"{check.tool} did not finish: {error}"),)
    refused = "".join(run.stdout + run.stderr for run in done if run.returncode)
    return (_failed(check, refused),) if any(run.returncode for run in done) else ()


def _completed(command: list[str], build: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=build, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, stdin=subprocess.DEVNULL
    )


def _not_run(check: Check, reason: str) -> Problem:
    return Problem(
        check.code,
        f"{check.name} was not run: {reason}.",
        "Run `reliary tools`, which fetches Prometheus's and Alertmanager's tools into a cache of ours.",
        Place(check.files),
        Severity.NOT_RUN,
    )


def _failed(check: Check, output: str) -> Problem:
    """The tool's own words, without what it says of files that are fine."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "SUCCESS" not in line and not line.startswith(("Checking", "Unit Testing"))]
    return Problem(
        check.code,
        f"{check.name} refuses the build: {visible(' / '.join(telling[:6]) or 'no reason given', 500)}",
        "If your own PromQL is at fault, mend it; otherwise this is a fault of reliary, please report it.",
        Place(check.files),
    )
