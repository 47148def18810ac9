"""A small stack of SLOs under promtool: give traffic, read what the rules make of it. And a bare Prometheus."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import requests
import yaml

from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.definitions.spec import read_definitions
from reliary.model import Stack
from reliary_stack.binaries import find_tool
from support import ROOT, until

BASE = ROOT / "tests" / "cases" / "base"
SAMPLE = re.compile(r'\{((?:[^"}]|"(?:\\.|[^"\\])*")*)\} (\S+?)(?=, \{|$)')
LABEL = re.compile(r'(\w+)="((?:\\.|[^"\\])*)"')

Labels = frozenset[tuple[str, str]]
Answer = dict[Labels, float]


def labels(**of: str) -> Labels:
    """Labels of a series, to find it in an answer."""
    return frozenset(of.items())


def define(folder: Path, **texts: str) -> Path:
    """Definitions: the base of the cases with these files over it."""
    definitions = folder / "definitions"
    shutil.copytree(BASE, definitions)
    for name, text in texts.items():
        (definitions / f"{name}.yml").write_text(text, encoding="utf-8")
    return definitions


def stack_from(folder: Path, **texts: str) -> Stack:
    """The stack of such definitions, which must be valid."""
    reading = read_definitions(define(folder, **texts))
    assert reading.stack is not None, reading.problems
    return reading.stack


@dataclass(frozen=True)
class Lab:
    """Compiled rules in a folder, and the intervals at which promtool scrapes and evaluates."""

    build: Path
    step: str = "1m"
    evaluation: str = "1m"

    def observe(self, series: Mapping[str, str], at: str, *queries: str, rules: Sequence[str] = ()) -> list[Answer]:
        """What each query gives at an instant; promtool tells the values when it expected others."""
        paths = [self.build / "rules" / f"{name}.yml" for name in rules] or sorted(self.build.glob("rules/*.yml"))
        content = {
            "rule_files": [str(path) for path in paths],
            "evaluation_interval": self.evaluation,
            "group_eval_order": self._order(paths),
            "tests": [
                {
                    "interval": self.step,
                    "input_series": [{"series": name, "values": values} for name, values in series.items()],
                    "promql_expr_test": [
                        {"expr": query, "eval_time": at, "exp_samples": [{"labels": "never_seen", "value": 0}]}
                        for query in queries
                    ],
                }
            ],
        }
        test = self.build / "observation.yml"
        test.write_text(json.dumps(content), encoding="utf-8")
        done = subprocess.run(
            [find_tool("promtool").path, "test", "rules", str(test)], capture_output=True, text=True, check=False
        )
        return [answer_of(text) for text in seen(done.stderr, len(queries))]

    def value(self, series: Mapping[str, str], at: str, query: str, rules: Sequence[str] = ()) -> float | None:
        """The one value that a query gives at an instant; None for nothing."""
        (answer,) = self.observe(series, at, query, rules=rules)
        assert len(answer) < 2, answer
        return next(iter(answer.values()), None)

    def _order(self, paths: Sequence[Path]) -> list[str]:
        """Facts and calendars before the classes that read them; budgets after these."""
        ranks = ("tenants", "calendar", "support", "recording", "slo-budgets", "meta", "alerts", "costs")
        rank = {name: number if number < 4 else number + 10 for number, name in enumerate(ranks)}
        ordered = sorted(paths, key=lambda path: rank.get(path.stem, 9))
        return [group["name"] for path in ordered for group in yaml.safe_load(path.read_text())["groups"]]


def seen(report: str, count: int) -> list[str]:
    """The `got:` of each expectation in promtool's report."""
    found = re.findall(r"^ +got: ?(.*)$", report, flags=re.MULTILINE)
    assert len(found) == count, report
    return [str(text) for text in found]


def answer_of(text: str) -> Answer:
    """`{a="b"} 1E+00, {…} 2E+00` as values by labels."""
    if text == "nil":
        return {}
    samples = SAMPLE.findall(text)
    assert samples, text
    return {
        frozenset((name, of) for name, of in LABEL.findall(inside) if name != "__name__"): float(value)
        for inside, value in samples
    }


def lab(folder: Path, step: str = "1m", evaluation: str = "1m", **texts: str) -> Lab:
    """The rules of the base's stack with these files over it, evaluated every minute unless said."""
    texts.setdefault(
        "stack",
        f"stack: shop\nretention: 100d\nevaluation_interval: {evaluation}\nservices: {{api: {{scrape: [a:1]}}}}\n",
    )
    stack = stack_from(folder, **texts)
    build = folder / "build"
    for file in compile_stack(stack, Site(), "test"):
        path = build / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
    return Lab(build, step, evaluation)


@cache
def zone(name: str) -> ZoneInfo:
    """Python's own reading of the same data, whatever the machine has installed."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as data:
        return ZoneInfo.from_file(data, key=name)


class Prometheus:
    """A real server without rules or targets that answers queries at any instant."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def at(self, query: str, instant: float) -> Answer:
        """What a query gives at a Unix time."""
        found = self._get("query", query=query, time=f"{instant:.3f}")
        if found["resultType"] == "scalar":
            return {frozenset(): float(found["result"][1])}
        return {_named(row): float(row["value"][1]) for row in found["result"]}

    def over(self, query: str, start: int, end: int, step: int) -> dict[int, float]:
        """The one series that a query gives over a span, by Unix second; it may have gaps."""
        found = self._get("query_range", query=query, start=str(start), end=str(end), step=str(step))["result"]
        assert len(found) < 2, query
        return {int(at): float(value) for row in found for at, value in row["values"]}

    def _get(self, what: str, **asked: str) -> Any:
        answer = self._session.post(f"{self.url}/api/v1/{what}", data=asked, timeout=60).json()
        assert answer["status"] == "success", answer
        return answer["data"]


def _named(row: Any) -> Labels:
    return frozenset((name, value) for name, value in row["metric"].items() if name != "__name__")


@contextmanager
def prometheus(folder: Path, *flags: str, config: str = "{}") -> Iterator[Prometheus]:
    """A server of our own on a free port of loopback, with an empty database."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    command = [
        str(find_tool("prometheus").path),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *flags,
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    server = Prometheus(f"http://127.0.0.1:{port}")
    try:
        until("Prometheus answers", lambda: process.poll() is not None or _ready(server.url))
        assert process.poll() is None, (folder / "log").read_text()
        yield server
    finally:
        process.terminate()
        process.wait(timeout=30)


def _ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/-/ready", timeout=1).ok
    except requests.RequestException:
        return False
