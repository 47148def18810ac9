"""The commands as a user meets them: output, exit status, and what is left on disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import AETHER, ROOT, changed_copy

FAULTY = {"slos.yml": {"objective: 99\n": "objective: 100\n"}}


def reliary(*words: str | Path, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ) if path is None else {**os.environ, "PATH": path, "RELIARY_CACHE": "/nonexistent"}
    command = [sys.executable, "-m", "reliary_stack", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def test_compile_writes_a_build_and_says_so(tmp_path: Path) -> None:
    done = reliary("compile", AETHER, "-o", tmp_path / "out")
    assert done.returncode == 0
    assert "files, release" in done.stdout
    assert (tmp_path / "out" / "prometheus.yml").is_file()


def test_faulty_definitions_write_nothing_and_leave_the_earlier_build_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    reliary("compile", AETHER, "-o", out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    done = reliary("compile", changed_copy(tmp_path, FAULTY), "-o", out)
    assert done.returncode == 1
    assert "B114" in done.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_compile_does_not_replace_a_folder_that_holds_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = reliary("compile", AETHER, "-o", tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_check_runs_the_real_tools_and_passes_on_the_example() -> None:
    reliary("tools")
    done = reliary("check", AETHER)
    assert done.returncode == 0, done.stdout + done.stderr
    for check in ("promtool check config", "promtool check rules", "promtool test rules", "amtool check-config"):
        assert any(line.split("  ")[0] == check and line.endswith("pass") for line in done.stdout.splitlines())


def test_check_warns_of_an_indicator_without_a_proof(tmp_path: Path) -> None:
    query = "'sum by (tenant_id) (increase(aether_rerank_calls_total[{window}]))'"
    definitions = changed_copy(tmp_path, {"slos.yml": {"bad:   aether_rerank_calls_total": f"bad: {query}"}})
    done = reliary("check", definitions)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "B204  warning: alerts on `rerank_utilization_pct` have no generated proof" in done.stderr


def test_a_missing_tool_is_a_check_that_was_not_run_and_no_pass() -> None:
    done = reliary("check", AETHER, path="/nonexistent")
    assert done.returncode == 1
    assert done.stdout.count("not-run") == 4
    assert "pass" not in done.stdout
    assert "reliary tools" in done.stderr


@pytest.mark.parametrize("form", ["json", "github"])
def test_check_speaks_to_machines_on_standard_output(form: str, tmp_path: Path) -> None:
    done = reliary("check", changed_copy(tmp_path, FAULTY), "--format", form)
    assert done.returncode == 1
    if form == "json":
        (problem,) = json.loads(done.stdout)["problems"]
        assert (problem["code"], problem["severity"]) == ("B114", "error")
        assert problem["file"].endswith("aether/slos.yml")
    else:
        assert done.stdout.startswith("::error file=")
        assert "aether/slos.yml,line=34," in done.stdout


@pytest.mark.parametrize("words", [("compile",), ("check", AETHER, "--format", "xml"), ("chekc", AETHER)])
def test_wrong_usage_is_exit_status_2(words: tuple[str | Path, ...]) -> None:
    assert reliary(*words).returncode == 2


def test_compile_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    probe = (
        "import sys; sys.argv = ['reliary', 'compile', sys.argv[1], '-o', sys.argv[2]]\n"
        "from reliary_stack.cli import cli\n"
        "try: cli()\n"
        "except SystemExit: pass\n"
        "print(sorted({'requests', 'docker', 'prophet', 'rich', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, str(AETHER), str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_help_names_every_command() -> None:
    done = reliary("--help")
    for command in ("check", "compile", "demo", "down", "exporter", "schema", "status", "tools", "up"):
        assert f"\n  {command} " in done.stdout


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = {line.split()[1] for line in text.splitlines() if line.strip().startswith("reliary ")}
    assert commands
    for command in commands:
        assert reliary(command, "--help").returncode == 0, command
