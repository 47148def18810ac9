"""Debian's packages, really fetched: they run from a cache of ours, and the system stays as it was."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from reliary_stack.binaries import Tool, ToolMissing, ToolName, find_tool
from reliary_stack.engines.processes import Launch, is_alive, last_lines, start, stop

pytestmark = pytest.mark.e2e

ALERTMANAGER = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def fetch(name: ToolName, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """The tool as on a machine that has none; skips where no mirror can be reached, but not on a CI machine."""
    monkeypatch.setenv("RELIARY_CACHE", str(cache))
    monkeypatch.setattr("reliary_stack.binaries.shutil.which", _not_a_server)
    try:
        return find_tool(name)
    except ToolMissing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))


def _not_a_server(name: str) -> str | None:
    found = Path("/usr/bin", name)
    return str(found) if name in ("apt-get", "dpkg", "dpkg-deb") and found.exists() else None


def test_alertmanager_runs_from_the_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would exit at once if it did not find its templates, for they are not where Debian puts them."""
    tool = fetch("alertmanager", cache, monkeypatch)
    assert tool.cwd is not None
    (tmp_path / "alertmanager.yml").write_text(ALERTMANAGER)
    flags = (f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/data")
    listen = ("--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
    record = start(Launch("am", 0, (str(tool.path), *flags, *listen), str(tool.cwd)), tmp_path / "log")
    try:
        deadline = time.monotonic() + 60
        while "Listening on" not in (said := "\n".join(last_lines(tmp_path / "log", 50))):
            assert is_alive(record.process), said
            assert time.monotonic() < deadline, said
            time.sleep(0.05)
    finally:
        stop([record.process])


def test_the_tools_of_a_package_come_together(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch("alertmanager", cache, monkeypatch)
    amtool = find_tool("amtool", download=False)
    done = subprocess.run([amtool.path, "--version"], capture_output=True, check=True, text=True)
    assert done.stdout.startswith("amtool, version")


def test_lists_of_our_own_do_where_the_machine_has_none(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (config := tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/empty";\n')
    monkeypatch.setenv("APT_CONFIG", str(config))
    tool = fetch("blackbox_exporter", tmp_path / "cache", monkeypatch)
    subprocess.run([tool.path, "--version"], capture_output=True, check=True)
    assert sorted(path.name for path in (tmp_path / "cache/debian").iterdir())[0] == ".lock"
    assert len(list((tmp_path / "cache/debian").iterdir())) == 2, "the package and the lock, no lists"
