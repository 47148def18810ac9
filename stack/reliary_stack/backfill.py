"""Runs a backfill plan against a running Prometheus: stage by stage, each seen by the server before the next begins.

Safe to repeat. Of each rule only the span before its first sample is filled, so what a live rule or an earlier run
has recorded is never counted twice; and a stage writes its samples at the same instants every time.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from reliary.artifacts import File, Recording
from reliary.backfill import Plan, Stage, block_seconds
from reliary.problems import visible
from reliary.promql import series
from reliary_exporter.prometheus import plain_session
from reliary_stack.binaries import Tool

CONNECT_SECONDS, ANSWER_SECONDS = 5, 300
SEEN_SECONDS = 180
"""Prometheus looks for new blocks once a minute; a busy one is late."""
UNSEEN_SECONDS = 75
"""How long to wait for blocks of which we know no instant to ask for."""
SETTLING_SECONDS = 600
"""How long after the start the first value of a rule may come: rates need two samples."""
REACH_SECONDS = 3600
"""Scraped series that begin so much later than asked for are good enough."""
SAMPLE_BYTES = 16
"""Disk for a sample: 8 where values are noise, and as much again while Prometheus merges blocks. Steady traffic was
measured at 1.4."""
UNFINISHED = ".tmp-for-creation"
"""How Prometheus names folders that are no blocks yet; it removes them when it starts."""

Say = Callable[[str], None]


class BackfillError(Exception):
    """A backfill cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Span:
    """From one instant to another, in Unix seconds."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"{instant(self.start)} to {instant(self.end)}"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run works with: the server, the span, the folder of its files, and where blocks go (None: people move)."""

    url: str
    span: Span
    folder: Path
    promtool: Tool
    data: Path | None
    say: Say


def instant(seconds: float) -> str:
    """An instant for people and for promtool: `2026-11-21T14:00:00Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# -- the plan on disk and as commands


def command(url: str, span: Span, block: int, tool: str = "promtool", output: str = "blocks") -> list[str]:
    """The words that run a stage, in the folder of its rule file."""
    return [
        tool, "tsdb", "create-blocks-from", f"--max-block-duration={block // 3600}h", "rules",
        f"--url={url}", f"--start={span.start}", f"--end={span.end}", f"--output-dir={output}", "rules.yml",
    ]  # fmt: skip


def write_file(folder: Path, file: File) -> Path:
    """Writes a file of the plan; gives the folder in which it lies."""
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.text, encoding="utf-8")
    return path.parent


# -- running it


def span_of(plan: Plan, url: str, start: int | None, end: int | None, now: float) -> Span:
    """The span to fill: by default up to where Prometheus's newest, still open block begins, as far as rules look back.

    Blocks that reach into the open one would make Prometheus forget, at its next start, what it has scraped since.
    Raises BackfillError.
    """
    open_since = _open_since(url)
    latest = math.floor(min(open_since, now))
    last = latest if end is None else end
    if last > latest:
        raise BackfillError(
            f"--end {instant(last)} lies in the block that Prometheus still writes, open since {instant(open_since)}. "
            f"Fill up to --end {instant(latest)} now, and the rest in three hours."
        )
    first = last - plan.back_seconds if start is None else start
    if first >= last:
        raise BackfillError(
            f"--start {instant(first)} is not before the end, {instant(last)}. Choose an earlier start."
        )
    kept = _kept_seconds(url)
    if kept and first < now - kept:
        raise BackfillError(
            f"Prometheus keeps {kept / 86400:g} days and would delete what lies before {instant(now - kept)}. "
            f"Start with --start {instant(now - kept + 7200)}, or give it a longer --storage.tsdb.retention.time."
        )
    return Span(first, last)


def check(plan: Plan, run: Run) -> None:
    """Raises BackfillError when the run cannot succeed: scraped series that begin too late, a strange data folder."""
    if run.data is not None and not ((run.data / "wal").is_dir() and (run.data / "chunks_head").is_dir()):
        raise BackfillError(
            f"{run.data} is not the data folder of a Prometheus: it has no wal and chunks_head. "
            "Give the folder of its --storage.tsdb.path."
        )
    if not plan.raw:
        return
    near = Span(run.span.start, min(run.span.start + REACH_SECONDS, run.span.end))
    if any(_has(run.url, read.selector, near) for read in plan.raw):
        return
    begins = [found for read in plan.raw if (found := first_sample(run.url, read.selector, run.span)) is not None]
    names = ", ".join(sorted({read.name for read in plan.raw}))
    if not begins:
        raise BackfillError(
            f"Prometheus has no sample of {names} between {run.span}. "
            "Without what was scraped nothing can be computed: is --url the right server?"
        )
    raise BackfillError(
        f"what was scraped ({names}) begins at {instant(min(begins))}, after the start {instant(run.span.start)}. "
        f"Say --start {instant(min(begins))} to fill in what there is."
    )


def execute(plan: Plan, run: Run) -> bool:
    """Runs the stages in order. False when it stopped because somebody has to move blocks; then run it again.

    Raises BackfillError.
    """
    for stage in plan.stages:
        began = time.monotonic()
        title = f"stage {stage.number} of {len(plan.stages)}: {', '.join(stage.writes)}"
        tasks = list(_tasks(stage, run))
        if not tasks:
            run.say(f"{title}: there already")
            continue
        run.say(title)
        blocks = [block for task in tasks for block in _blocks(stage, task, run)]
        if not blocks:
            run.say("  gives nothing over this span")
            continue
        if run.data is None:
            _ask_to_move(run, blocks)
            return False
        took = time.monotonic() - began
        _place(blocks, run.data)
        seen = _until_seen(tasks, run)
        run.say(f"  blocks: {len(blocks)}, made in {took:.1f} s, seen by Prometheus after {seen:.0f} s")
    return True


@dataclass(frozen=True, slots=True)
class _Series:
    """A rule to be run: how many series it gives, at an instant at which it gives the most."""

    rule: Recording
    interval: int
    count: int
    at: int


@dataclass(frozen=True, slots=True)
class _Task:
    """One run of promtool: rules of a stage that all miss the same span."""

    span: Span
    rules: tuple[_Series, ...]


def _tasks(stage: Stage, run: Run) -> Iterator[_Task]:
    """Of each rule the span that is still empty: up to its first sample."""
    spans: dict[Span, list[_Series]] = {}
    for rule, interval in stage.rules:
        first = first_sample(run.url, _selector(rule), run.span)
        end = run.span.end if first is None else first - interval
        # What a run before this one has filled begins within an evaluation and a rate's window of the start.
        if end - run.span.start > interval + SETTLING_SECONDS:
            span = Span(run.span.start, end)
            spans.setdefault(span, []).append(_measured(run.url, rule, interval, span))
    yield from (_Task(span, tuple(rules)) for span, rules in spans.items())


def _measured(url: str, rule: Recording, interval: int, span: Span) -> _Series:
    instants = [span.end - quarter * (span.end - span.start) // 4 for quarter in range(4)]
    count, at = max((int(_value(url, f"count({rule.expr})", at) or 0), at) for at in instants)
    return _Series(rule, interval, count, at)


def _blocks(stage: Stage, task: _Task, run: Run) -> list[Path]:
    """The blocks of a task, made by promtool and not yet placed."""
    kept = {each.rule for each in task.rules}
    work = write_file(run.folder, stage.file(rule for rule, _ in stage.rules if rule not in kept))
    made = work / f"blocks-{task.span.end}"
    shutil.rmtree(made, ignore_errors=True)  # of a run that was interrupted
    _enough_room(run, sum(each.count * (task.span.end - task.span.start) // each.interval for each in task.rules))
    block = block_seconds(max(each.count for each in task.rules), min(each.interval for each in task.rules))
    words = command(run.url, task.span, block, tool=str(run.promtool.path), output=made.name)
    _promtool(words, work, run.say)
    return sorted(path for path in made.glob("*") if (path / "meta.json").is_file())


def _promtool(words: Sequence[str], folder: Path, say: Say) -> None:
    said: list[str] = []
    try:
        with subprocess.Popen(
            words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
        ) as process:
            for line in process.stdout or ():
                if rule := _RULE.search(line):
                    say(f"  {rule[1]}")
                elif not line.startswith("level=info"):
                    said.append(line.strip())
    except OSError as error:
        raise BackfillError(f"{words[0]} did not start: {error.strerror}. Run `reliary tools`.") from None
    if process.returncode:
        raise BackfillError(
            f"promtool gave up: {visible(' / '.join(filter(None, said[-3:])) or 'it said no reason', 500)}. "
            "Nothing of this stage was placed; run it again when the cause is mended."
        )


_RULE = re.compile(r'"processing rule" id=\d+ name=(\S+)')


def _enough_room(run: Run, samples: int) -> None:
    needed = samples * SAMPLE_BYTES
    for folder in filter(None, (run.folder, run.data)):
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise BackfillError(
                f"{folder} has {free / 1e6:,.0f} MB left; this stage writes {samples:,} samples and needs about "
                f"{needed / 1e6:,.0f} MB. Make room, or fill a shorter span with --start."
            )


def _ask_to_move(run: Run, blocks: Sequence[Path]) -> None:
    folders = sorted({str(block.parent) for block in blocks})
    moves = "\n".join(f"  mv {folder}/* DATA/" for folder in folders)
    run.say(
        f"  {len(blocks)} blocks. Move them to Prometheus's data folder (its --storage.tsdb.path), as its user:\n"
        f"{moves}\n"
        "  Prometheus sees them within a minute or two. Then run the same command again: the next stage follows."
    )


def _place(blocks: Sequence[Path], data: Path) -> None:
    """Moves blocks into the data folder: all of them under names that Prometheus passes by, then renames them.

    The newest is renamed first, so that after an interruption what is missing lies before what is there.
    """
    targets = [data / block.name for block in sorted(blocks, key=_ends_at, reverse=True)]
    waiting = [target.with_name(target.name + UNFINISHED) for target in targets]
    try:
        for block, place in zip(sorted(blocks, key=_ends_at, reverse=True), waiting, strict=True):
            shutil.rmtree(place, ignore_errors=True)  # of a run that was interrupted
            shutil.move(block, place)
            _give_to_owner(place, data)
        for place, target in zip(waiting, targets, strict=True):
            place.rename(target)
    except OSError as error:
        for place in waiting:
            shutil.rmtree(place, ignore_errors=True)
        raise BackfillError(
            f"{data} does not take blocks: {error.strerror}. Nothing of this stage was placed; run this again as the "
            "user who owns the folder."
        ) from None


def _give_to_owner(block: Path, data: Path) -> None:
    """Prometheus has to be able to compact and delete what root has made for it."""
    owner = data.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in (block, *block.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid)


def _ends_at(block: Path) -> int:
    return int(json.loads((block / "meta.json").read_text(encoding="utf-8"))["maxTime"])


def _until_seen(tasks: Sequence[_Task], run: Run) -> float:
    """Waits until Prometheus answers with the new samples. The seconds that it took."""
    began = time.monotonic()
    waiting = [each for task in tasks for each in task.rules if each.count]
    if not waiting:  # samples somewhere else than where we looked: all blocks of a stage are seen at once
        time.sleep(UNSEEN_SECONDS)
    while waiting := [each for each in waiting if not _seen(each, run.url)]:
        if time.monotonic() - began > SEEN_SECONDS:
            names = ", ".join(sorted({each.rule.record for each in waiting}))
            raise BackfillError(
                f"Prometheus does not show {names} {SEEN_SECONDS} s after the blocks were placed in {run.data}. Is it "
                "the data folder of the server at --url, and may that server read them? Its log says more."
            )
        time.sleep(1)
    return time.monotonic() - began


def _seen(each: _Series, url: str) -> bool:
    back = 2 * each.interval + SETTLING_SECONDS
    return _has(url, _selector(each.rule), Span(each.at - back, each.at))


# -- questions to Prometheus


def first_sample(url: str, selector: str, span: Span) -> int | None:
    """When a series, or any of several, has its first sample within a span, to the second; None without one."""
    step = max(1, math.ceil((span.end - span.start) / 100))
    for at in _instants(url, f"count(last_over_time({selector}[{step}s]))", span, step):
        if step == 1:
            return at - 1
        found = first_sample(url, selector, Span(at - step, min(at, span.end)))
        if found is not None:
            return found
    return None


def _instants(url: str, query: str, span: Span, step: int) -> list[int]:
    """Ends of the steps within a span at which a query has a value."""
    if span.end <= span.start:
        return []
    last = span.start + step * math.ceil((span.end - span.start) / step)
    parameters = {"query": query, "start": str(span.start + step), "end": str(last), "step": str(step)}
    result = _get(url, "/api/v1/query_range", parameters).get("result") or []
    return [int(value[0]) for value in result[0]["values"]] if result else []


def _has(url: str, selector: str, span: Span) -> bool:
    return bool(_value(url, f"count(last_over_time({selector}[{max(1, span.end - span.start)}s]))", span.end))


def _selector(rule: Recording) -> str:
    return series(rule.record, *rule.labels)


def _value(url: str, query: str, at: int) -> float | None:
    """The one value of a query at an instant; None when there is none. Raises BackfillError."""
    result = _get(url, "/api/v1/query", {"query": query, "time": str(at)}).get("result") or []
    return float(result[0]["value"][1]) if result else None


def _open_since(url: str) -> float:
    """When the newest block begins, which Prometheus still writes."""
    lowest = _get(url, "/api/v1/status/tsdb", {}).get("headStats", {}).get("minTime", 0) / 1000
    return float(lowest) if 0 < lowest < 2**40 else time.time()


def _kept_seconds(url: str) -> int:
    """How long Prometheus keeps samples; 0 when it does not say."""
    units = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
    kept = str(_get(url, "/api/v1/status/runtimeinfo", {}).get("storageRetention", "")).partition(" ")[0]
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([ywdhms])", kept))


def _get(url: str, path: str, parameters: Mapping[str, str]) -> Mapping[str, Any]:
    shown = visible(url.rpartition("@")[2])
    try:
        with plain_session() as session:
            method = "POST" if parameters else "GET"
            timeout = (CONNECT_SECONDS, ANSWER_SECONDS)
            answer = session.request(method, url.rstrip("/") + path, data=parameters, timeout=timeout)
            body = json.loads(answer.content)
    except requests.RequestException as error:
        raise BackfillError(
            f"no Prometheus answers at {shown}: {type(error).__name__}. Is it running, and is --url its address?"
        ) from None
    except ValueError:
        raise BackfillError(f"what answers at {shown} is not Prometheus. Is --url its address?") from None
    if not isinstance(body, dict) or body.get("status") != "success" or not isinstance(body.get("data"), dict):
        said = visible(str(body.get("error", body)) if isinstance(body, dict) else str(body), 300)
        raise BackfillError(f"Prometheus at {shown} refuses {path}: {said}. Fill a shorter span, or look at its log.")
    data: Mapping[str, Any] = body["data"]
    return data
