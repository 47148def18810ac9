"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.definitions.spec import read_definitions
from reliary.problems import as_text
from support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def _definitions(folder: Path, change: tuple[str, str] = ("", "")) -> Path:
    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    path = folder / "my-definitions"
    path.mkdir()
    (path / "stack.yml").write_text(block.replace(*change), encoding="utf-8")
    return path


def test_the_definitions_of_the_readme_are_complete(tmp_path: Path) -> None:
    reading = read_definitions(_definitions(tmp_path))
    assert reading.problems == ()
    assert reading.stack is not None
    paths = {file.path for file in compile_stack(reading.stack, Site(), reading.digest)}
    assert {
        "prometheus.yml",
        "alertmanager.yml",
        "rules/slo-availability.yml",
        "tests/slo-availability-1h.yml",
    } <= paths


def test_the_problem_of_the_readme_is_shown_like_that(tmp_path: Path) -> None:
    objective = "objective: {default: 99.5, paid: 99.9}"
    reading = read_definitions(_definitions(tmp_path, (objective, "objective: 100")))
    (example,) = re.findall(r"```\n(my-definitions.*?)```", README, flags=re.DOTALL)
    assert as_text(reading.problems).split("my-definitions/")[-1] == example.split("my-definitions/")[-1]
