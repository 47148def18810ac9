"""`reliary import` as people use it: what it writes, what it leaves alone, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reliary.definitions.spec import read_definitions
from reliary_stack.commands.importing import import_

SERVICE = """version: prometheus/v1
service: api
slos:
"""


def objective(name: str, matcher: str = "", target: str = "99.9", metric: str = "http_requests_total") -> str:
    comma = "," if matcher else ""
    return f"""  - name: {name}
    objective: {target}
    sli:
      events:
        error_query: sum(rate({metric}{{{matcher}{comma}code=~"5.."}}[{{{{.window}}}}]))
        total_query: sum(rate({metric}{{{matcher}}}[{{{{.window}}}}]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, **files: str) -> Result:
    for name, text in files.items():
        Path(f"{name}.yml").write_text(text, encoding="utf-8")
    return CliRunner().invoke(import_, ["sloth", *(f"{name}.yml" for name in files), *words], catch_exceptions=False)


def test_nothing_is_written_without_a_folder(folder: Path) -> None:
    result = run(a=SERVICE + objective("errors"))
    assert result.exit_code == 0
    assert "1 objective of 1 file became 1 class; 0 refused." in result.output
    assert [path.name for path in folder.iterdir()] == ["a.yml"]


def test_what_is_there_is_left_alone_unless_told(folder: Path) -> None:
    assert run("-o", "out", a=SERVICE + objective("errors")).exit_code == 0
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    again = run("-o", "out", a=SERVICE + objective("others"))
    assert again.exit_code == 2
    assert "out has slos.yml" in again.output
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert run("-o", "out", "--force", a=SERVICE + objective("others")).exit_code == 0
    assert "others:" in Path("out/slos.yml").read_text()


def test_a_filled_in_stack_survives_the_next_import(folder: Path) -> None:
    run("-o", "out", a=SERVICE + objective("errors"))
    Path("out/stack.yml").write_text("stack: mine\n")
    assert run("-o", "out", "--force", a=SERVICE + objective("errors")).exit_code == 0
    assert Path("out/stack.yml").read_text() == "stack: mine\n"


def test_a_folder_with_definitions_gets_no_skeleton(folder: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notify.yml").write_text("routes: []\n")
    assert run("-o", "mine", a=SERVICE + objective("errors")).exit_code == 0
    assert sorted(path.name for path in Path("mine").iterdir()) == ["IMPORT.md", "notify.yml", "slos.yml"]


def test_a_disk_that_fails_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("-o", "out", a=SERVICE + objective("errors"))
    before = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    replace, calls = Path.replace, iter(range(100))

    def full(self: Path, target: Path) -> Path:
        if next(calls) == 1:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    result = run("-o", "out", "--force", a=SERVICE + objective("others"))
    assert result.exit_code == 1
    assert "out was not written: No space left on device. What was there is unchanged." in result.output
    assert {path.name: path.read_bytes() for path in Path("out").iterdir()} == before
    assert sorted(path.name for path in folder.iterdir()) == ["a.yml", "out"]


def test_the_rest_is_written_when_something_is_refused(folder: Path) -> None:
    result = run("-o", "out", a=SERVICE + objective("errors") + objective("all", target="100"))
    assert result.exit_code == 1
    assert "I104" in result.output
    assert "errors:" in Path("out/slos.yml").read_text()
    assert "**I104** `a.yml:" in Path("out/IMPORT.md").read_text()


def test_nothing_is_written_when_all_is_refused(folder: Path) -> None:
    result = run("-o", "out", a=SERVICE + objective("all", target="100"))
    assert result.exit_code == 1
    assert "nothing of 1 file could be imported; 1 refused." in result.output
    assert not Path("out").exists()


def test_machines_get_everything_as_json(folder: Path) -> None:
    result = run("--format", "json", a=SERVICE + objective("errors") + objective("all", target="100"))
    said = json.loads(result.output)
    assert [one["name"] for one in said["classes"]] == ["errors"]
    assert said["classes"][0]["from"] == [{"name": "api / errors", "file": "a.yml", "line": 4, "objective": "99.9"}]
    assert [problem["code"] for problem in said["refused"]] == ["I104"]
    assert "slos:" in said["files"]["slos.yml"]


@pytest.mark.parametrize(
    "words",
    [["--window", "1d"], ["--window", "soon"], ["--tenant-label", "a-b"], ["--format", "xml"], ["missing.yml"]],
    ids=" ".join,
)
def test_wrong_usage_is_told_before_anything_is_read(folder: Path, words: list[str]) -> None:
    assert run("-o", "out", *words, a=SERVICE + objective("errors")).exit_code == 2
    assert not Path("out").exists()


def test_the_window_is_for_sloth_alone(folder: Path) -> None:
    Path("a.yml").write_text("x: 1\n")
    result = CliRunner().invoke(import_, ["pyrra", "a.yml", "--window", "28d"])
    assert result.exit_code == 2


def test_the_window_that_sloth_was_told(folder: Path) -> None:
    run("-o", "out", "--window", "28d", a=SERVICE + objective("errors"))
    assert "window: 28d" in Path("out/slos.yml").read_text()
    report = Path("out/IMPORT.md").read_text()
    assert "factors are 13.44 over 1h and 5m, 5.6 over 6h and 30m, 2.8 over 1d and 2h, 1 over 3d and 6h" in report
    assert "theirs 13.44 over 1h, 5.6 over 6h, 2.8 over 1d, 0.9333 over 3d: below 1 an alert fires while" in report


def test_at_30_days_the_factors_are_theirs(folder: Path) -> None:
    run("-o", "out", a=SERVICE + objective("errors"))
    assert "theirs 1" not in Path("out/IMPORT.md").read_text()


def test_the_same_files_give_the_same_bytes(folder: Path) -> None:
    text = SERVICE + "".join(objective(f"o{n}", f'customer="c{n}"') for n in range(20))
    run("-o", "one", a=text)
    run("-o", "two", a=text)
    for path in Path("one").iterdir():
        assert path.read_bytes() == (Path("two") / path.name).read_bytes()


# -- tenants


def test_objectives_of_tenants_become_one_class(folder: Path) -> None:
    three = objective("errors-acme", 'customer="acme"') + objective("errors-globex", 'customer="globex"', "99")
    run("-o", "out", a=SERVICE + three + objective("errors-initech", 'customer="initech"'))
    stack = read_definitions(Path("out")).stack
    assert stack is not None
    assert stack.tenant_label == "customer"
    assert [slo.name for slo in stack.slos] == ["errors"]
    found = {tenant.id: str(stack.objective(stack.slos[0], tenant)) for tenant in stack.tenants}
    assert found == {"acme": "99.9", "globex": "99", "initech": "99.9"}


def test_they_stay_apart_when_told_so(folder: Path) -> None:
    two = objective("errors-acme", 'customer="acme"') + objective("errors-globex", 'customer="globex"')
    result = run("-o", "out", "--no-merge", a=SERVICE + two)
    assert "2 of 2 objectives differ only in the value of `customer`" in result.output
    assert "errors_acme:" in Path("out/slos.yml").read_text()


def test_some_are_merged_only_when_told_so(folder: Path) -> None:
    text = (
        SERVICE + objective("a", 'customer="a"') + objective("b", 'customer="b"') + objective("all", metric="x_total")
    )
    offered = run(a=text)
    assert "3 objectives of 1 file became 3 classes" in offered.output
    assert "2 of 3 objectives differ only in the value of `customer`" in offered.output
    assert "3 objectives of 1 file became 2 classes with 2 tenants" in run("--merge", a=text).output


@pytest.mark.parametrize("label", ["job", "method", "code", "resource", "instance"])
def test_what_is_no_tenant_is_not_taken_for_one(folder: Path, label: str) -> None:
    text = SERVICE + objective("a", f'{label}="a"') + objective("b", f'{label}="b"')
    assert "became 2 classes;" in run(a=text).output


def test_a_value_that_is_no_tenant_id_stays_a_class(folder: Path) -> None:
    text = SERVICE + objective("a", 'customer="a b"') + objective("b", 'customer="c/d"')
    assert "became 2 classes;" in run("--tenant-label", "customer", "-o", "out", a=text).output
    assert read_definitions(Path("out")).problems == ()


def test_one_tenant_with_two_objectives_has_two_classes(folder: Path) -> None:
    text = "".join(objective(f"{kind}-{who}", f'customer="{who}"', target) for who in "ab" for kind, target in KINDS)
    run("-o", "out", a=SERVICE + text)
    stack = read_definitions(Path("out")).stack
    assert stack is not None
    assert [(slo.name, str(slo.default)) for slo in stack.slos] == [("strict", "99.9"), ("relaxed", "99")]


KINDS = (("strict", "99.9"), ("relaxed", "99"))


def test_text_of_strangers_makes_no_links_and_steers_no_terminal(folder: Path) -> None:
    text = SERVICE.replace("api", '"[x](http://evil)<b>\\u0007"') + objective('"a|b `c`"')
    result = run("-o", "out", a=text)
    report = Path("out/IMPORT.md").read_text()
    assert "](http" not in report.replace("\\[x](http", "")
    assert "<b>" not in report
    assert "\x07" not in result.output + report
    assert read_definitions(Path("out")).problems == ()


def test_a_thousand_objectives_are_imported_at_once(folder: Path) -> None:
    text = "---\n".join(SERVICE + objective(f"o{n}", f'customer="c{n}"') for n in range(1000))
    assert "1,000 objectives of 1 file became 1 class with 1,000 tenants" in run(a=text).output


def test_what_the_reader_says_is_shown(folder: Path) -> None:
    result = run("-o", "out", "--tenant-label", "job", a=SERVICE + objective("errors"))
    assert result.exit_code == 1
    assert "out/stack.yml:3:" in result.output
    assert "B117" in result.output


def test_more_than_can_be_read_is_refused(folder: Path) -> None:
    result = run(a="x: " + "y" * (17 * 1024 * 1024))
    assert result.exit_code == 1
    assert "B105" in result.output


def test_other_alerts_are_another_class(folder: Path) -> None:
    quiet = objective("errors-b", 'customer="b"') + "    alerting: {page_alert: {disable: true}}\n"
    text = SERVICE + objective("errors-a", 'customer="a"') + quiet + objective("errors-c", 'customer="c"')
    assert "3 objectives of 1 file became 2 classes with 3 tenants" in run("--tenant-label", "customer", a=text).output


@pytest.mark.parametrize("targets", [("90",), ("99.9", "99.9", "90")])
def test_alerts_that_could_never_fire_are_switched_off(folder: Path, targets: tuple[str, ...]) -> None:
    text = "".join(objective(f"errors-c{n}", f'customer="c{n}"', target) for n, target in enumerate(targets))
    run("-o", "out", "--tenant-label", "customer", a=SERVICE + text)
    assert "alerts: {without: [1h]}" in Path("out/slos.yml").read_text()
    assert "the page over 1h is off: at 90 % it would need 144 % errors" in Path("out/IMPORT.md").read_text()
    assert read_definitions(Path("out")).problems == ()


@pytest.mark.parametrize("word", ["yes", "no", "007", "1e5", "null", "12.5"])
def test_words_that_other_readers_take_for_something_else_are_quoted(folder: Path, word: str) -> None:
    text = SERVICE + objective("errors", f'customer="{word}"') + f"    description: '{word}'\n"
    run("-o", "out", "--tenant-label", "customer", a=text)
    assert f"id: '{word}'" in Path("out/tenants.yml").read_text()
    assert f"description: '{word}'" in Path("out/slos.yml").read_text()
    assert read_definitions(Path("out")).problems == ()


def test_one_objective_in_two_files_is_imported_once(folder: Path) -> None:
    result = run(a=SERVICE + objective("errors"), b=SERVICE + objective("errors", target="99"))
    assert result.exit_code == 1
    assert "b.yml:4:5  I109  api / errors is defined twice; the first is at a.yml:4:5." in result.output
    assert "1 objective of 2 files became 1 class; 1 refused." in result.output


def test_a_name_that_is_left_without_the_tenant_is_still_a_name(folder: Path) -> None:
    text = SERVICE + objective("acme-5xx", 'customer="acme"') + objective("globex-5xx", 'customer="globex"')
    run("-o", "out", a=text)
    assert "  slo_5xx:" in Path("out/slos.yml").read_text()
    assert read_definitions(Path("out")).problems == ()
