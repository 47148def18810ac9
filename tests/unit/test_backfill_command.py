"""`reliary backfill` as a user meets it, against a server that answers like Prometheus and a promtool of ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import pytest
from click.testing import CliRunner, Result

from reliary_stack import backfill as running
from reliary_stack.binaries import Tool, ToolMissing
from reliary_stack.commands.backfill import backfill
from support import AETHER

DAY = 86400
NOW = int(time.time())
SCRAPED = ("http_requests_total", "http_request_duration_seconds_count", "http_request_duration_seconds_bucket")

PROMTOOL = """#!{python}
import json, pathlib, sys
words = dict(word[2:].split("=", 1) for word in sys.argv if word.startswith("--") and "=" in word)
start, end = int(words["start"]), int(words["end"])
print('level=info backfiller="processing rule" id=0 name=of_promtool')
middle = (start + end) // 2
for number, (low, high) in enumerate([(start, middle), (middle, end)]):
    block = pathlib.Path(words["output-dir"], "01" + pathlib.Path.cwd().name + str(number) + str(end))
    block.mkdir(parents=True)
    (block / "meta.json").write_text(json.dumps({{"minTime": low * 1000, "maxTime": high * 1000}}))
    (block / "rules.yml").write_text(pathlib.Path("rules.yml").read_text())
"""


class Times(NamedTuple):
    first: int
    last: int


def blocks(folder: Path) -> list[Path]:
    """What Prometheus takes for blocks: a name that is a ULID and nothing more."""
    return [path for path in folder.glob("01*") if not path.suffix]


@dataclass
class Server:
    """Series and the times of their samples; of blocks in `data`, what their rule files record."""

    data: Path
    scraped: dict[str, Times] = field(default_factory=lambda: dict.fromkeys(SCRAPED, Times(NOW - 40 * DAY, NOW)))
    recorded: dict[str, Times] = field(default_factory=dict)
    open_since: int = NOW - 600
    retention: str = "5w"
    blind: bool = False
    answer: Callable[[str], bytes] | None = None
    url: str = ""

    def times(self, name: str) -> list[Times]:
        found = [each[name] for each in (self.scraped, self.recorded) if name in each]
        for block in [] if self.blind else blocks(self.data):
            if re.search(rf"record: {name}$", (block / "rules.yml").read_text(), re.MULTILINE):
                meta = json.loads((block / "meta.json").read_text())
                found.append(Times(meta["minTime"] // 1000, meta["maxTime"] // 1000))
        return found

    def value(self, query: str, at: int) -> int | None:
        if found := re.fullmatch(r"count\(last_over_time\(([a-z0-9_:]+)(?:\{.*\})?\[(\d+)s\]\)\)", query):
            begin = at - int(found[2])
            return 3 if any(each.first <= at and each.last >= begin for each in self.times(found[1])) else None
        return 3

    def reply(self, path: str, asked: dict[str, str]) -> Any:
        match path:
            case "/api/v1/status/tsdb":
                return {"headStats": {"minTime": self.open_since * 1000}}
            case "/api/v1/status/runtimeinfo":
                return {"storageRetention": self.retention}
            case "/api/v1/query":
                value = self.value(asked["query"], int(asked["time"]))
                return {"result": [{"metric": {}, "value": [0, str(value)]}] if value else []}
        instants = range(int(asked["start"]), int(asked["end"]) + 1, int(asked["step"]))
        values = [[at, "3"] for at in instants if self.value(asked["query"], at)]
        return {"result": [{"metric": {}, "values": values}] if values else []}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    state = Server(tmp_path / "data")
    for folder in ("wal", "chunks_head"):
        (state.data / folder).mkdir(parents=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            asked = {key: found[0] for key, found in parse_qs(self.rfile.read(length).decode()).items()}
            body = json.dumps({"status": "success", "data": state.reply(self.path, asked)}).encode()
            body = state.answer(self.path) if state.answer else body
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
    state.url = f"http://127.0.0.1:{listening.server_port}"
    yield state
    listening.shutdown()
    listening.server_close()


@pytest.fixture(autouse=True)
def promtool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "promtool"
    path.write_text(PROMTOOL.format(python=sys.executable))
    path.chmod(0o755)
    monkeypatch.setattr("reliary_stack.binaries.find_tool", lambda name, **_: Tool(path))
    return path


def run(server: Server, tmp_path: Path, *words: str, data: bool = True) -> Result:
    fixed = [str(AETHER), "--slo", "availability", "--run", "--url", server.url, "-o", str(tmp_path / "out")]
    return CliRunner().invoke(backfill, [*fixed, *(["--data-dir", str(server.data)] if data else []), *words])


def refused(result: Result) -> str:
    """What is said to the user; the test fails when it is a success or a traceback."""
    assert result.exit_code in (1, 2), result.output
    assert isinstance(result.exception, SystemExit), result.exception
    return " ".join(result.output.split())


def placed(server: Server) -> list[str]:
    return sorted(path.name for path in blocks(server.data))


# -- the plan


def plan(*words: str) -> Result:
    return CliRunner().invoke(backfill, [str(AETHER), *words])


def test_without_run_the_plan_is_printed_as_commands_and_its_files_are_there(tmp_path: Path) -> None:
    out = tmp_path / "plan"
    result = plan("--slo", "availability", "-o", str(out), "--start", "1700000000", "--end", "2023-11-16T00:00:00Z")
    assert result.exit_code == 0, result.output
    commands = [line for line in result.output.splitlines() if line.startswith("(cd ")]
    assert len(commands) == 3
    assert "--start=1700000000 --end=1700092800" in commands[0]
    assert "promtool tsdb create-blocks-from" in commands[0]
    assert [(out / f"stage-{number}" / "rules.yml").is_file() for number in (1, 2, 3)] == [True] * 3
    assert "tenant_slo:errors:sum5m, every 5m" in result.output
    assert "ALERTS, which only a running Prometheus writes" in result.output


def test_the_plan_as_json_has_stages_in_order(tmp_path: Path) -> None:
    result = plan("--slo", "availability", "--history", "-o", str(tmp_path), "--format", "json")
    found = json.loads(result.output)
    assert found["scraped"] == ["http_requests_total", 'http_requests_total{code=~"5.."}']
    written = [row for stage in found["stages"] for row in stage["writes"]]
    intervals = {row["record"]: row["interval_seconds"] for row in written}
    assert intervals["tenant_slo:errors:rate5m"] == 30
    assert intervals["tenant_slo:errors:sum5m"] == 300
    assert intervals["tenant_slo:error_budget_consumed:ratio"] == 120
    assert found["end"] - found["start"] == 30 * DAY
    assert {"rule": "SloBudgetBurn", "reason": "alerts have no past: `for` begins when the rule is loaded"} in found[
        "left_out"
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--slo", "uptime"), "there is no SLO 'uptime'"),
        (("--start", "yesterday"), "neither Unix seconds nor a time such as"),
        (("--start", "1700000000", "--end", "1600000000"), "--start is not before --end"),
        (("--data-dir", "."), "--data-dir goes with --run"),
    ],
)
def test_wrong_words_are_refused(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in refused(plan(*words, "-o", str(tmp_path)))


def test_faulty_definitions_are_reported(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("nonsense: 1")
    result = CliRunner().invoke(backfill, [str(tmp_path)])
    assert result.exit_code == 1
    assert "x.yml:1:1" in result.output


# -- a run


def test_a_run_places_the_blocks_of_each_stage_before_the_next_begins(server: Server, tmp_path: Path) -> None:
    result = run(server, tmp_path)
    assert result.exit_code == 0, result.output
    assert re.findall(r"stage \d of \d", result.output) == ["stage 1 of 3", "stage 2 of 3", "stage 3 of 3"]
    assert len(placed(server)) == 6
    assert not list(server.data.glob("*tmp*"))
    first = json.loads((server.data / placed(server)[0] / "meta.json").read_text())["minTime"] // 1000
    assert first == server.open_since - 30 * DAY
    assert f"--start {running.instant(server.open_since)}" in result.output


def test_a_second_run_finds_everything_there_and_does_nothing(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path)
    before = placed(server)
    again = run(server, tmp_path)
    assert again.exit_code == 0, again.output
    assert again.output.count("there already") == 3
    assert placed(server) == before


def test_only_the_span_before_the_first_recorded_sample_is_filled(server: Server, tmp_path: Path) -> None:
    live = NOW - 5 * DAY - 17
    server.recorded = {"tenant_slo:total:rate5m": Times(live, NOW)}
    assert run(server, tmp_path).exit_code == 0
    ends = {name[2:9]: [] for name in placed(server)}  # type: ignore[var-annotated]
    for name in placed(server):
        ends[name[2:9]].append(json.loads((server.data / name / "meta.json").read_text())["maxTime"] // 1000)
    assert live - 32 <= max(ends["stage-1"]) <= live - 30
    assert max(ends["stage-2"]) == server.open_since


def test_a_stage_is_placed_as_a_whole_or_not_at_all(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[str] = []
    move = shutil.move

    def fails_at_the_fourth(source: Path, target: Path) -> None:
        moves.append(str(target))
        if len(moves) == 4:
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr("shutil.move", fails_at_the_fourth)
    assert "does not take blocks: No space left on device. Nothing of this stage" in refused(run(server, tmp_path))
    assert [name[2:9] for name in placed(server)] == ["stage-1", "stage-1"]
    assert not list(server.data.glob("*tmp*"))
    again = run(server, tmp_path)
    assert again.exit_code == 0, again.output
    assert "stage 1 of 3: tenant_slo:total:rate5m: there already" in again.output
    assert len(placed(server)) == 6


def test_what_a_killed_run_has_left_half_placed_is_completed_without_gap_or_overlap(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, renamed = Path.rename, []

    def killed_at_the_second(path: Path, target: Path) -> Path:
        renamed.append(target)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed_at_the_second)
    assert run(server, tmp_path).exit_code == 1
    assert len(placed(server)) == 1
    monkeypatch.undo()
    monkeypatch.setattr("reliary_stack.binaries.find_tool", lambda name, **_: Tool(tmp_path / "promtool"))
    assert run(server, tmp_path).exit_code == 0
    metas = [json.loads((server.data / name / "meta.json").read_text()) for name in placed(server) if "stage-1" in name]
    covered = sorted((each["minTime"] // 1000, each["maxTime"] // 1000) for each in metas)
    assert covered[0][0] == server.open_since - 30 * DAY
    assert covered[-1][1] == server.open_since
    assert all(0 <= later[0] - earlier[1] <= 31 for earlier, later in pairwise(covered))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_blocks_that_root_makes_belong_to_the_owner_of_the_data(server: Server, tmp_path: Path) -> None:
    os.chown(server.data, 12345, 23456)
    assert run(server, tmp_path).exit_code == 0
    found = [path.stat() for name in placed(server) for path in ((server.data / name), *(server.data / name).iterdir())]
    assert {(each.st_uid, each.st_gid) for each in found} == {(12345, 23456)}


def test_without_a_data_folder_it_says_what_to_move_and_goes_on_when_that_is_done(
    server: Server, tmp_path: Path
) -> None:
    for stage in (1, 2, 3):
        result = run(server, tmp_path, data=False)
        assert result.exit_code == 0, result.output
        assert f"mv {tmp_path}/out/stage-{stage}/blocks-" in result.output
        assert "filled in" not in result.output
        for block in (tmp_path / "out").glob(f"stage-{stage}/blocks-*/*"):
            shutil.move(block, server.data / block.name)
    assert "filled in up to" in run(server, tmp_path, data=False).output


def test_a_rule_that_gives_nothing_is_no_failure(server: Server, tmp_path: Path, promtool: Path) -> None:
    promtool.write_text("#!/bin/sh\nexit 0\n")
    result = run(server, tmp_path)
    assert result.exit_code == 0
    assert result.output.count("gives nothing over this span") == 3


# -- what can go wrong


def test_a_prometheus_that_is_down(server: Server, tmp_path: Path) -> None:
    server.url = "http://user:secret@127.0.0.1:1"
    said = refused(run(server, tmp_path))
    assert "no Prometheus answers at 127.0.0.1:1: ConnectionError" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "body", [b"<html>log in</html>", b"[]", b'{"status": "error", "error": "not \\u001b[31m now"}']
)
def test_something_else_that_answers(body: bytes, server: Server, tmp_path: Path) -> None:
    server.answer = lambda path: body
    said = refused(run(server, tmp_path))
    assert "is not Prometheus" in said or "refuses /api/v1/status/tsdb" in said
    assert "\x1b" not in said


def test_no_promtool(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str, **_: object) -> Tool:
        raise ToolMissing(name, ("PATH",), "Install it.")

    monkeypatch.setattr("reliary_stack.binaries.find_tool", missing)
    assert "promtool was not found: PATH. Install it." in refused(run(server, tmp_path))


def test_a_promtool_that_cannot_be_started(server: Server, tmp_path: Path, promtool: Path) -> None:
    promtool.chmod(0o644)
    assert "did not start: Permission denied" in refused(run(server, tmp_path))


def test_a_promtool_that_gives_up_places_nothing(server: Server, tmp_path: Path, promtool: Path) -> None:
    promtool.write_text("#!/bin/sh\necho 'level=info hello'\necho 'rule importer error: query timed out' >&2\nexit 1\n")
    said = refused(run(server, tmp_path))
    assert "promtool gave up: rule importer error: query timed out." in said
    assert "hello" not in said
    assert placed(server) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--start", str(NOW)), "is not before the end"),
        (("--end", str(NOW)), "lies in the block that Prometheus still writes"),
        (("--start", str(NOW - 36 * DAY)), "Prometheus keeps 35 days"),
    ],
)
def test_a_span_that_cannot_be_filled(words: tuple[str, ...], said: str, server: Server, tmp_path: Path) -> None:
    assert said in refused(run(server, tmp_path, *words))
    assert placed(server) == []


@pytest.mark.parametrize(("shown", "days"), [("5w", 35), ("36d", 36), ("1d12h", 1.5), ("15d or 10GiB", 15), ("", 0)])
def test_how_long_prometheus_keeps_samples(shown: str, days: float, server: Server) -> None:
    server.retention = shown
    assert running._kept_seconds(server.url) == days * DAY


def test_scraped_series_that_do_not_reach_back(server: Server, tmp_path: Path) -> None:
    begins = NOW - 12 * DAY - 345
    server.scraped = {"http_requests_total": Times(begins, NOW)}
    said = refused(run(server, tmp_path))
    assert f"begins at {running.instant(begins)}" in said or f"begins at {running.instant(begins - 1)}" in said
    (start,) = re.findall(r"Say --start (\S+)", said)
    assert placed(server) == []
    assert run(server, tmp_path, "--start", start).exit_code == 0


def test_no_scraped_series_at_all(server: Server, tmp_path: Path) -> None:
    server.scraped = {}
    assert "has no sample of http_requests_total" in refused(run(server, tmp_path))


def test_a_data_folder_of_something_else(server: Server, tmp_path: Path) -> None:
    (server.data / "wal").rmdir()
    assert "is not the data folder of a Prometheus" in refused(run(server, tmp_path))


def test_not_enough_room_on_the_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = type(shutil.disk_usage("/"))(1, 1, 100_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: small)
    said = refused(run(server, tmp_path))
    assert "has 0 MB left" in said
    assert "259,200 samples" in said, "three series, thirty days, every 30 s"
    assert placed(server) == []


def test_blocks_that_the_server_never_shows(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.blind = True
    monkeypatch.setattr(running, "SEEN_SECONDS", 0)
    assert "Prometheus does not show tenant_slo:total:rate5m" in refused(run(server, tmp_path))


# -- finding the first sample


@pytest.mark.parametrize("ago", [29 * DAY + 11, 7 * DAY, 3601, 59, 2, 1])
def test_the_first_sample_is_found_to_the_second(ago: int, server: Server) -> None:
    server.recorded = {"x": Times(NOW - ago, NOW)}
    found = running.first_sample(server.url, "x", running.Span(NOW - 30 * DAY, NOW))
    assert found is not None
    assert -1 <= found - (NOW - ago) <= 0


def test_samples_before_and_after_the_span_do_not_count(server: Server) -> None:
    span = running.Span(NOW - 30 * DAY, NOW - DAY - 777)  # not a whole number of steps
    server.recorded = {"x": Times(NOW - 40 * DAY, span.start - 1)}
    assert running.first_sample(server.url, "x", span) is None
    server.recorded = {"x": Times(span.end + 1, NOW)}
    assert running.first_sample(server.url, "x", span) is None
