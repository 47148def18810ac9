"""Text from definitions stays text: it never becomes YAML, JSON, a template, HTML or a path in what is generated."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reliary.artifacts import File, Site
from reliary.compile import compile_stack
from reliary.definitions.scalars import Text
from reliary.definitions.schema import LINE
from reliary.definitions.shapes import Faults
from reliary.definitions.source import Source
from reliary.definitions.spec import read_definitions
from reliary.definitions.yamltree import Scalar
from reliary.emit import write_build
from reliary.model import Stack
from reliary.runbooks import markdown

BASE = Path(__file__).parents[1] / "cases" / "base"

PIECES = st.sampled_from(
    [
        *"{}[]()<>\"'`\\#:,-&*!|%@~$=+?/ aé🚀\u00a0",
        *(
            "{{",
            "}}",
            "{{-",
            "-}}",
            '{{ "',
            "{{ $value }}",
            "{{ $labels.tenant_id }}",
            "{{/*",
            "{{{{",
            "$tenant",
            "${x}",
        ),
        *(
            "[[x]]",
            "$$",
            "<b>",
            "</h1>",
            "<script>",
            "<!--",
            "]]>",
            "&lt;",
            "](javascript:x)",
            "![x](y)",
            "```",
            "| - |",
        ),
        *(
            "---",
            "# ",
            "- ",
            "1. ",
            "null",
            "yes",
            "!!x",
            "&a",
            "*a",
            "\\n",
            "\\u0000",
            "../",
            "C:\\",
            "%s",
            "%(a)s",
            "{0}",
        ),
    ]
)
WHOLE = st.sampled_from(
    [
        *("_a_", "**a**", "`a`", "~~~", "# a", "- a", "1. a", "---", "a | b", "[a](b)", "![a](b)", "<b>a</b>", "<https://a>"),
        *("&lt;", "a\\", "{{ $value }}", "{{", '{{ "{{" }}', "{{{{ 1 }}}}", "a: b", "- a: b", "'", '"', "$tenant"),
        *("null", "true", "1e3", "!!x y", "&a b", "*a", "?", "@a", "%a", "|", ">", "\u00a0a", "a\u0301", "👨‍👩‍👧"),
    ]
)  # fmt: skip
TEXT = WHOLE | st.lists(PIECES, min_size=1, max_size=12).map("".join) | st.text(min_size=1, max_size=40)
FIELDS = ("tier", "tenant", "indicator", "slo", "summary", "step", "board", "title", "panel")


def accepted(text: str, shape: Text = LINE) -> bool:
    place = Source("f", text, [text]).place(0, 0)
    return shape.read(Scalar(text, False, place), Faults()) is not None


SLO = {"bad": "e_total", "total": "f_total", "objective": 99, "window": "30d"}


def definitions(texts: Mapping[str, str]) -> dict[str, Any]:
    """Definitions with each of these texts in a field that takes free text."""
    threshold = {"when": "cache_hits < 0.3", "for": "15m", "severity": "general"}
    return {
        "tiers": {"pro": {"description": texts["tier"]}},
        "tenants": [{"id": "acme", "tier": "pro", "name": texts["tenant"]}],
        "indicators": {
            "hits": {"bad": "a_total", "total": "b_total", "over": "5m", "description": texts["indicator"]},
            "cache_hits": {"good": "c_total", "total": "d_total", "over": "5m"},
        },
        "slos": {"uptime": {**SLO, "description": texts["slo"]}},
        "thresholds": {
            "CacheDrop": {**threshold, "summary": texts["summary"], "first_steps": [texts["step"], "Last step"]},
            "Hits": {**threshold, "when": "hits > 0.3", "summary": "Plain"},
        },
        "boards": {
            "ops": {
                "title": texts["board"],
                "panels": [{"title": texts["title"], "shows": "hits", "description": texts["panel"], "levels": [1, 2]}],
            }
        },
    }  # fmt: skip


def stack_of(folder: Path, texts: Mapping[str, str]) -> Stack:
    shutil.copytree(BASE, folder)
    for name in ("tenants", "slos", "indicators"):
        (folder / f"{name}.yml").unlink()
    (folder / "texts.yml").write_text(yaml.safe_dump(definitions(texts)))
    reading = read_definitions(folder)
    assert reading.problems == ()
    assert reading.stack is not None
    return reading.stack


# -- readers of what is generated


def printed(template: str) -> str:
    """What a Go template prints, for the few actions that our templates have; any other is a text that broke out."""
    actions = {
        '"{{"': "{{",
        "$labels.tenant_id": "<tenant>",
        "$labels.tenant_id | urlquery": "<tenant>",
        "$value | humanizePercentage": "<value>",
        'printf "%.1f" $value': "<value>",
    }
    return "".join(part if number % 2 == 0 else actions[part.strip()] for number, part in enumerate(_split(template)))


def _split(template: str) -> list[str]:
    """Text and actions in turn, as Go's lexer finds them: a string inside of an action may hold braces."""
    parts, rest = [], template
    while "{{" in rest:
        text, _, rest = rest.partition("{{")
        action = re.match(r'(?:"(?:\\.|[^"\\])*"|`[^`]*`|[^"`}]|\}(?!\}))*', rest)
        assert action is not None
        assert rest[action.end() :].startswith("}}"), template
        parts += [text, action[0]]
        rest = rest[action.end() + 2 :]
    return [*parts, rest]


class Page(HTMLParser):
    """The elements of a page and the text of each paragraph, list item and heading."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(MarkdownIt("commonmark").enable("table").render(source))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("p", "li", "h1", "h2"):
            self.texts.append((tag, ""))

    def handle_data(self, data: str) -> None:
        if self.texts:
            tag, text = self.texts.pop()
            self.texts.append((tag, text + data))


def strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from strings(item)
        case dict():
            for key, item in value.items():
                yield from strings(key)
                yield from strings(item)


def alert(files: Mapping[str, str], name: str) -> dict[str, Any]:
    rules = yaml.safe_load(files["rules/alerts.yml"])["groups"][0]["rules"]
    return next(rule for rule in rules if rule["alert"] == name)


# -- the property

PLAIN = dict.fromkeys(FIELDS, "Plain text")
EXPECTED_PATHS = re.compile(r"[a-zA-Z0-9_-]+(?:/[a-zA-Z0-9_-]+)*\.(?:yml|json|md)")


# To shrink a failing example, each step compiles: that would take minutes, and the example is short anyway.
@settings(max_examples=60, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.fixed_dictionaries(dict.fromkeys(FIELDS, TEXT.filter(accepted))))
def test_any_text_in_any_field_stays_text(tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str]) -> None:
    folder = tmp_path_factory.mktemp("texts")
    stack = stack_of(folder / "definitions", texts)
    built = compile_stack(stack, Site(), "release")
    files = {file.path: file.text for file in built}
    rules(files, texts)
    boards(files, texts)
    runbooks(files, texts)
    structure(files, compiled_plain(tmp_path_factory))
    write_build(built, "release", folder / "build")
    on_disk = {
        path.relative_to(folder / "build").as_posix() for path in (folder / "build").rglob("*") if path.is_file()
    }
    assert on_disk == {*files, "manifest.json"}
    assert sorted(path.name for path in folder.iterdir()) == ["build", "definitions"]
    shutil.rmtree(folder)


def rules(files: Mapping[str, str], texts: Mapping[str, str]) -> None:
    summary = alert(files, "CacheDrop")["annotations"]["summary"]
    assert printed(summary) == f"<tenant>: {texts['summary']}"
    description = alert(files, "Hits")["annotations"]["description"]
    assert printed(description).endswith(f" {texts['indicator'].rstrip('.')}.")
    for path in files:
        if path.startswith("rules/"):
            head, body = files[path].split("\n", 1)
            assert head.startswith("# ")
            assert body.startswith("# Generated by reliary")


def boards(files: Mapping[str, str], texts: Mapping[str, str]) -> None:
    board = json.loads(files["dashboards/ops.json"])
    assert board["title"] == texts["board"]
    (panel,) = board["panels"]
    assert panel["title"] == texts["title"]
    assert panel["description"].startswith(f"{texts['panel']}\n\n")


def runbooks(files: Mapping[str, str], texts: Mapping[str, str]) -> None:
    source = files["runbooks/CacheDrop.md"]
    prose = re.sub(r"^```.*?^```|^Fires when .*?$", "", source, flags=re.MULTILINE | re.DOTALL)
    assert "<" not in prose
    page = Page(source)
    assert set(page.tags) <= {"h1", "h2", "p", "ol", "li", "code", "pre", "table", "thead", "tbody", "tr", "th", "td"}
    assert ("p", f"{_seen(texts['summary'])}.") in [(tag, _seen(text)) for tag, text in page.texts]
    assert [_seen(text) for tag, text in page.texts if tag == "li"] == [_seen(texts["step"]), "Last step"]


def _seen(text: str) -> str:
    """Markdown shows a run of blanks as one, and none at the ends."""
    return " ".join(text.split())


def structure(files: Mapping[str, str], plain: Mapping[str, str]) -> None:
    """Each file says as many things as with plain text, in the same places: nothing was added and nothing hidden."""
    assert files.keys() == plain.keys()
    for path, text in files.items():
        assert EXPECTED_PATHS.fullmatch(path), path
        if path.endswith((".yml", ".json")):
            parse = yaml.safe_load if path.endswith(".yml") else json.loads
            assert shape(parse(text)) == shape(parse(plain[path])), path
        elif path.endswith(".md"):
            assert Page(text).tags == Page(plain[path]).tags, path


def shape(value: object) -> object:
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value]
    return type(value).__name__


_PLAIN_FILES: dict[str, str] = {}


def compiled_plain(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    if not _PLAIN_FILES:
        stack = stack_of(tmp_path_factory.mktemp("plain") / "definitions", PLAIN)
        _PLAIN_FILES.update((file.path, file.text) for file in compile_stack(stack, Site(), "release"))
    return _PLAIN_FILES


@pytest.mark.parametrize("text", ["~~~", "- first", "+ first", "1. first", "2) first", "    four blanks", "42"])
def test_a_runbook_says_what_was_written(text: str) -> None:
    assert Page(f"# Name\n\n{markdown(text)}.\n\n## Next\n").tags == ["h1", "p", "h2"]


# -- names that become part of an expression, a path or a regular expression: see test_promql.py for tenant ids

IDS = ["acme", "a.b", "a+b", "a@b", "A-1_2", "007", "null", "x" * 128]


def test_tenant_ids_come_through_as_they_are(tmp_path: Path) -> None:
    shutil.copytree(BASE, tmp_path / "definitions")
    rows = [{"id": id_, "tier": "pro", "vip": True} for id_ in IDS]
    (tmp_path / "definitions/tenants.yml").write_text(yaml.safe_dump({"tiers": {"pro": {}}, "tenants": rows}))
    routes = {
        "receivers": {"ops": {"webhook": "http://a/"}},
        "routes": [{"tenants": "vip", "to": "ops"}, {"to": "ops"}],
    }
    (tmp_path / "definitions/notify.yml").write_text(yaml.safe_dump(routes))
    reading = read_definitions(tmp_path / "definitions")
    assert reading.problems == ()
    assert reading.stack is not None
    files = {file.path: file.text for file in compile_stack(reading.stack, Site(), "r")}
    facts = yaml.safe_load(files["rules/tenants.yml"])["groups"][0]["rules"]
    assert [rule["labels"]["tenant_id"] for rule in facts if rule["record"] == "tenant_info"] == IDS
    branch = yaml.safe_load(files["alertmanager.yml"])["route"]["routes"][1]
    (matcher,) = branch["matchers"]
    label, _, quoted = matcher.partition("=~")
    pattern = json.loads(quoted)
    assert label == "tenant_id"
    assert [id_ for id_ in [*IDS, "aXb", "acm", "acmee", "aab", ""] if re.fullmatch(pattern, id_)] == IDS


def test_dollars_are_not_expanded_by_grafana_or_compose(tmp_path: Path) -> None:
    """Both replace $NAME and ${NAME} in their files; only variables of ours, with a default, may stand there."""
    stack = stack_of(tmp_path / "definitions", dict.fromkeys(FIELDS, "US$HOME ${PATH}"))
    files = {file.path: file.text for file in compile_stack(stack, Site(), "release")}
    for path in ("docker-compose.yml", "grafana/provisioning/dashboards/reliary.yml"):
        for text in strings(yaml.safe_load(files[path])):
            unescaped = text.replace("$$", "")
            assert set(re.findall(r"\$.{0,9}", unescaped)) <= {"${RELIARY_"}, path


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".."])
def test_a_build_refuses_to_leave_its_folder(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="would leave the build"):
        write_build((File(path, "x"),), "release", tmp_path / "build")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("template", "text"),
    [("a", "a"), ('{{ "{{" }} x }}', "{{ x }}"), ("{{ $labels.tenant_id }}: {", "<tenant>: {"), ('{{ "{{" }}{', "{{{")],
)
def test_the_reader_of_templates_reads_them(template: str, text: str) -> None:
    assert printed(template) == text


@pytest.mark.parametrize("template", ["{{ $value }}", "{{ x", "{{{{ $x }}", '{{ "a }}'])
def test_the_reader_of_templates_takes_no_other(template: str) -> None:
    with pytest.raises((KeyError, AssertionError)):
        printed(template)
