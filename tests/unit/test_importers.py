"""What becomes of files of other tools: `tests/importers/README.md` says how a case is laid out."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reliary.definitions.spec import read_definitions
from reliary_stack.commands.importing import import_

CASES = Path(__file__).parents[1] / "importers"
FOLDERS = sorted(folder for folder in CASES.iterdir() if (folder / "command.txt").is_file())
UPDATE = os.environ.get("RELIARY_UPDATE_GOLDEN") == "1"


def imported(case: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Result, dict[str, str]]:
    """The command's result and the files that it wrote, with names that do not depend on where it runs."""
    shutil.copytree(case / "in", folder / "in")
    monkeypatch.chdir(folder / "in")
    words = shlex.split((case / "command.txt").read_text(encoding="utf-8"))
    result = CliRunner().invoke(import_, [*words, "-o", "../out"], catch_exceptions=False)
    out = folder / "out"
    return result, {path.name: path.read_text(encoding="utf-8") for path in out.iterdir()} if out.is_dir() else {}


@pytest.mark.parametrize("case", FOLDERS, ids=lambda folder: folder.name)
def test_becomes_what_is_expected(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, files = imported(case, tmp_path, monkeypatch)
    found = {**files, "report.txt": result.output}
    expected = case / "expect"
    if UPDATE:
        shutil.rmtree(expected, ignore_errors=True)
        expected.mkdir()
        for name, text in found.items():
            (expected / name).write_text(text, encoding="utf-8")
    assert found == {path.name: path.read_text(encoding="utf-8") for path in expected.iterdir()}


@pytest.mark.parametrize("case", FOLDERS, ids=lambda folder: folder.name)
def test_is_read_without_an_error(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, files = imported(case, tmp_path, monkeypatch)
    if not files:
        assert "refused" in case.name
        return
    reading = read_definitions(tmp_path / "out")
    assert reading.problems == ()
    assert reading.stack is not None


@pytest.mark.parametrize("case", FOLDERS, ids=lambda folder: folder.name)
def test_exit_status_tells_whether_something_was_refused(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = imported(case, tmp_path, monkeypatch)
    assert result.exit_code == (0 if "; 0 refused." in result.output else 1)
