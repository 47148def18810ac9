"""Texts that are kept between runs: the same bytes with and without, and nothing trusted that others could have put."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reliary import kept
from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.kept import Texts
from support import AETHER, aether


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    kept.use(tmp_path / "cache" / "texts")
    yield tmp_path / "cache" / "texts"
    kept.use(None)


class Maker:
    """Counts how often it is asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, 0

    def __call__(self) -> str:
        self.asked += 1
        return self.text


def once(text: str, inputs: object = "inputs", what: str = "kind") -> int:
    """How often a text had to be made."""
    maker = Maker(text)
    assert kept.kept(what, inputs, maker) == text
    return maker.asked


def test_without_a_folder_each_text_is_made() -> None:
    assert [once("a"), once("a")] == [1, 1]


def test_a_text_is_made_once_for_the_same_inputs(folder: Path) -> None:
    assert [once("é\r\n"), once("é\r\n"), once("b", "other"), once("c", what="another kind")] == [1, 0, 1, 1]


def test_other_code_makes_it_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert once("a") == 1
    monkeypatch.setattr(kept, "_code", lambda: ("changed",))
    assert [once("b"), once("b")] == [1, 0]


@pytest.mark.parametrize("left", [b"", b"x", b"0" * 64 + b"a", b"\xff" * 100])
def test_a_damaged_text_is_made_again(folder: Path, left: bytes) -> None:
    once("a")
    (path,) = folder.iterdir()
    path.write_bytes(left)
    assert [once("a"), once("a")] == [1, 0]


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    once("a")
    (path,) = folder.iterdir()
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert once("a") == 1


def test_nobody_else_may_look_into_it(folder: Path) -> None:
    once("a")
    (path,) = folder.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o755])
def test_a_folder_that_is_open_to_others_is_not_used(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    texts = Texts(tmp_path)
    texts.put("a", "a")
    assert texts.get("a") is None
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    Texts(tmp_path).put("a", "a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_had_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path / "file", tmp_path / "file" / "texts", tmp_path / "link", Path("/proc/texts"), Path("\0")):
        texts = Texts(folder)
        texts.put("a", "a")
        assert texts.get("a") is None


def test_a_text_without_bytes_is_not_kept(folder: Path) -> None:
    assert [once("\ud800"), once("\ud800"), once("a", "\ud800")] == [1, 1, 1]


def test_the_folder_does_not_grow_without_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_TEXTS", 10)
    monkeypatch.setattr(kept, "LONGEST", 100)
    for number in range(30):
        kept.use(folder)  # each a run of its own
        once("a", number)
        once("a" * 101, ("long", number))
    assert 5 <= len(list(folder.iterdir())) <= 10
    assert once("a", 29) == 0


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"RELIARY_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a/texts"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/reliary/texts"),
        ({"HOME": "/c"}, "/c/.cache/reliary/texts"),
    ],
)
def test_the_folder_is_the_users(environment: dict[str, str], expected: str) -> None:
    assert kept.folder_of(environment) == Path(expected)


def test_who_has_no_home_has_no_folder() -> None:
    assert kept.folder_of({}) is None


def test_a_build_has_the_same_bytes_with_and_without(folder: Path) -> None:
    cold, warm = (compile_stack(aether(), Site(), "r") for _ in range(2))
    kept.use(None)
    assert cold == warm == compile_stack(aether(), Site(), "r")
    assert len(list(folder.iterdir())) > 20


WARM = """
import sys
from pathlib import Path
from reliary import kept
from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.definitions.spec import read_definitions
kept.use(Path(sys.argv[2]))
compile_stack(read_definitions(Path(sys.argv[1])).stack, Site(), "r")
print(sorted({"grafanalib", "jinja2", "attr"} & sys.modules.keys()))
"""


def test_what_was_made_before_is_made_without_the_libraries_for_it(folder: Path) -> None:
    command = [sys.executable, "-c", WARM, str(AETHER), str(folder)]
    printed = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert printed[0] != "[]\n"
    assert printed[1] == "[]\n"
