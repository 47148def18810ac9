"""Detached processes: ours are recognised and ended, and nobody else's ever are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reliary_stack.engines.processes import (
    Launch,
    Ledger,
    LedgerDamaged,
    Process,
    Record,
    is_alive,
    last_lines,
    read_ledger,
    start,
    stop,
    termination_unwinds,
    uninterrupted,
    write_ledger,
)

Begin = Callable[..., Record]

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts Python code as a part, waits for its first line (unless told not to), and ends it after the test."""
    started: list[Record] = []

    def begin(code: str = SLEEP, *, wait: bool = True) -> Record:
        log = tmp_path / "part.log"
        record = start(Launch("part", 1, (sys.executable, "-c", code), str(tmp_path)), log)
        started.append(record)
        if wait:
            eventually(lambda: bool(last_lines(log, 1)), "the process says something")
        return record

    yield begin
    stop([record.process for record in started], grace_seconds=0)


class TestStart:
    def test_leaves_our_session_and_terminal(self, begin: Begin) -> None:
        process = begin().process
        assert os.getsid(process.pid) == process.pid
        assert Path(f"/proc/{process.pid}/fd/0").readlink() == Path("/dev/null")

    def test_passes_no_secrets_on(self, begin: Begin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SLACK_TOKEN", "xoxb-1")
        begin("import os; print(sorted(os.environ))")
        [said] = last_lines(tmp_path / "part.log", 5)
        assert "PATH" in said
        assert "TOKEN" not in said

    def test_logs_both_outputs(self, begin: Begin, tmp_path: Path) -> None:
        begin("import sys; print('out', flush=True); print('err', file=sys.stderr)")
        eventually(lambda: last_lines(tmp_path / "part.log", 5) == ("out", "err"), "both lines are there")

    def test_keeps_the_log_of_the_run_before(self, begin: Begin, tmp_path: Path) -> None:
        begin("print('first')")
        begin("print('second')")
        assert last_lines(tmp_path / "part.log.before", 5) == ("first",)
        assert last_lines(tmp_path / "part.log", 5) == ("second",)

    def test_raises_when_there_is_no_such_program(self, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="nowhere"):
            start(Launch("part", 1, ("/nowhere",), str(tmp_path)), tmp_path / "part.log")


class TestIsAlive:
    def test_tells_running_from_ended(self, begin: Begin) -> None:
        process = begin().process
        assert is_alive(process)
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: not is_alive(process), "it is found dead")

    def test_takes_no_recycled_pid_for_ours(self, begin: Begin) -> None:
        process = begin().process
        assert not is_alive(replace(process, start_ticks=process.start_ticks - 1))

    def test_takes_no_pid_of_another_boot_for_ours(self, begin: Begin) -> None:
        assert not is_alive(replace(begin().process, boot_id="another"))

    def test_reads_names_that_look_like_more_fields(self, begin: Begin) -> None:
        name = "from pathlib import Path; Path('/proc/self/comm').write_text(') Z 1 2 (')"
        assert is_alive(begin(f"{name}; {SLEEP}").process)

    def test_a_zombie_is_dead(self, tmp_path: Path) -> None:
        child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.DEVNULL)
        stat = Path(f"/proc/{child.pid}/stat")
        ticks = int(stat.read_text().rsplit(")", 1)[1].split()[19])
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        eventually(lambda: ") Z " in stat.read_text(), "it has ended and is not reaped")
        assert not is_alive(Process(child.pid, ticks, boot_id))
        child.wait()


class TestStop:
    def test_ends_a_process_that_complies(self, begin: Begin) -> None:
        process = begin().process
        stop([process])
        assert not is_alive(process)

    def test_kills_one_that_does_not(self, begin: Begin) -> None:
        process = begin(STUBBORN).process
        stop([process], grace_seconds=0.1)
        assert not is_alive(process)

    def test_ends_what_the_process_has_started_too(self, begin: Begin, tmp_path: Path) -> None:
        spawn = f"child = subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])"
        process = begin(f"import subprocess, sys; {spawn}; print(child.pid, flush=True); child.wait()").process
        eventually(lambda: len(last_lines(tmp_path / "part.log", 5)) == 2, "parent and child are up")
        [pid] = [int(line) for line in last_lines(tmp_path / "part.log", 5) if line.isdigit()]
        stop([process])
        eventually(lambda: not _runs(pid), "the child is gone")

    def test_kills_nobody_who_has_got_the_pid_since(self, begin: Begin) -> None:
        process = begin().process
        stop([replace(process, start_ticks=process.start_ticks - 1), replace(process, boot_id="another")])
        assert is_alive(process)

    def test_passes_over_who_is_gone(self, begin: Begin) -> None:
        gone = begin("print('done')").process
        eventually(lambda: not is_alive(gone), "it ends by itself")
        stop([gone, gone])

    def test_ends_all_within_one_grace(self, begin: Begin) -> None:
        processes = [begin(STUBBORN).process for _ in range(5)]
        before = time.monotonic()
        stop(processes, grace_seconds=2)
        assert not any(is_alive(process) for process in processes)
        assert time.monotonic() - before < 9, "five times the grace would be 10 seconds"


def _runs(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


class TestLedger:
    RECORD = Record(Launch("prometheus", 9090, ("prometheus", "--flag"), "/data", "digest"), Process(42, 7, "boot"))

    def test_reads_what_was_written(self, tmp_path: Path) -> None:
        file = tmp_path / "state.json"
        write_ledger(Ledger("abc", (self.RECORD,)), file)
        assert read_ledger(file) == Ledger("abc", (self.RECORD,))
        assert [path.name for path in tmp_path.iterdir()] == ["state.json"]

    def test_is_empty_where_there_is_none(self, tmp_path: Path) -> None:
        assert read_ledger(tmp_path / "state.json") == Ledger()

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda data: [], id="a list"),
            pytest.param(lambda data: {**data, "format": 2}, id="another format"),
            pytest.param(lambda data: {**data, "records": None}, id="no records"),
            pytest.param(lambda data: {**data, "records": [{}]}, id="an empty record"),
            pytest.param(lambda data: _with_pid(data, 0), id="a pid that means our group"),
            pytest.param(lambda data: _with_pid(data, -1), id="a pid that means everybody"),
            pytest.param(lambda data: _with_pid(data, "42"), id="a pid that is text"),
            pytest.param(lambda data: _with_pid(data, True), id="a pid that is a truth value"),
        ],
    )
    def test_refuses_what_it_did_not_write(self, tmp_path: Path, change: Callable[[object], object]) -> None:
        file = tmp_path / "state.json"
        write_ledger(Ledger("abc", (self.RECORD,)), file)
        file.write_text(json.dumps(change(json.loads(file.read_text()))))
        with pytest.raises(LedgerDamaged, match=r"state\.json"):
            read_ledger(file)

    def test_refuses_half_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "state.json").write_bytes(b'{"format": 1, "bui\xff')
        with pytest.raises(LedgerDamaged, match="damaged"):
            read_ledger(tmp_path / "state.json")


def _with_pid(data: dict[str, list[dict[str, dict[str, object]]]], pid: object) -> object:
    data["records"][0]["process"]["pid"] = pid
    return data


class TestLastLines:
    def test_are_the_last_that_say_something(self, tmp_path: Path) -> None:
        (log := tmp_path / "log").write_text("one\n\ntwo  \n   \nthree\n\n")
        assert last_lines(log, 2) == ("two", "three")

    def test_survive_binary_rubbish(self, tmp_path: Path) -> None:
        (log := tmp_path / "log").write_bytes(b"caf\xe9\n")
        assert last_lines(log, 5) == ("caf�",)

    def test_of_a_huge_log_are_read_from_its_end(self, tmp_path: Path) -> None:
        (log := tmp_path / "log").write_text("x" * 1_000_000 + "\nend\n")
        assert last_lines(log, 1) == ("end",)

    def test_are_none_without_a_log(self, tmp_path: Path) -> None:
        assert last_lines(tmp_path / "log", 5) == ()


class TestSignals:
    def test_ctrl_c_waits_for_what_must_not_be_interrupted(self) -> None:
        done = []
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            with uninterrupted():
                signal.raise_signal(signal.SIGINT)
                done.append("first")
                done.append("second")
            done.append("after")
        assert done == ["first", "second"]

    def test_ctrl_c_works_again_afterwards(self) -> None:
        with uninterrupted():
            pass
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    def test_termination_unwinds_like_an_exception(self) -> None:
        with pytest.raises(SystemExit) as ended, termination_unwinds():
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 128 + signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def test_who_ignores_hangups_goes_on_ignoring_them(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with termination_unwinds():
                signal.raise_signal(signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)
