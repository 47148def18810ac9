"""The emitted promtool tests: they pass on what is compiled, and each kind of mistake in a rule fails them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from reliary.artifacts import Site
from reliary.compile import compile_stack
from reliary.definitions.spec import read_definitions
from reliary.emit import write_build
from reliary_stack.binaries import find_tool
from support import AETHER, changed_copy

MISTAKES = {
    "the VIP limit is 0.1": ("alerts", r"hit_ratio:5m < 0\.2$", "hit_ratio:5m < 0.1"),
    "the limit of low confidence is 40": ("alerts", r"pct:15m > 30$", "pct:15m > 40"),
    "the guard has no margin": ("alerts", r"1\.645 \* sqrt", "0 * sqrt"),
    "the guard is a bare > 0": ("alerts", r"> 0\.7 \*", "> 0 *"),
    "the guard has the wrong limit": ("alerts", r"> 0\.3 \*", "> 0.1 *"),
    "the guard of the score is the score": ("alerts", r"score:15m:upper < 60", "score:15m < 60"),
    "everybody is a VIP": ("alerts", r'vip="true"', 'vip=~".*"'),
    "the alert does not wait": ("alerts", r"for: 15m", "for: 1m"),
    "the alerts of two tenants are mixed": ("alerts", r"and on \(tenant_id\)\n", "and on ()\n"),
    "the score has no floor": ("recording", r"point, 59\)", "point, 100)"),
    "the value over all tenants is a mean of ratios": (
        "recording",
        r"clamp_max\(sum\((\S+)\) / \(sum\((\S+)\) > 0\), 1\)",
        r"avg(\1 / \2)",
    ),
    "0/0 is recorded": ("recording", r"increase15m\s+> 0\)", "increase15m)"),
    "missing errors are not zero": ("support", r"0 \* aether", "1 * aether"),
    "the burn-rate guard has no margin": ("slo-availability", r"1\.645 \* sqrt", "0 * sqrt"),
    "the factor is too low": ("slo-availability", r" > 14\.4", " > 10"),
    "seconds are counted as events": ("slo-availability", r"30 \* tenant", "3000 * tenant"),
    "a burn rate without traffic is recorded": ("slo-availability", r'(rate5m\{slo="availability"\}) > 0\)', r"\1)"),
    "slow requests are good": ("slo-latency", r'le=~"1\(\?:\[\.\]0\)\?"', 'le="+Inf"'),
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("proofs") / "build"
    reading = read_definitions(AETHER)
    assert reading.stack is not None
    write_build(compile_stack(reading.stack, Site(), reading.digest), reading.digest, folder)
    return folder


def promtool_test(build: Path, *topics: str) -> subprocess.CompletedProcess[str]:
    tool = find_tool("promtool")
    files = [f"tests/{topic}.yml" for topic in topics] or [str(path) for path in sorted(build.glob("tests/*.yml"))]
    return subprocess.run([tool.path, "test", "rules", *files], cwd=build, capture_output=True, text=True, check=False)


def test_the_emitted_proofs_pass(build: Path) -> None:
    done = promtool_test(build)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == 4


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_emitted_proofs_notice_that(mistake: str, build: Path, tmp_path: Path) -> None:
    topic, right, wrong = MISTAKES[mistake]
    broken = tmp_path / "build"
    (broken / "rules").mkdir(parents=True)
    (broken / "tests").symlink_to(build / "tests")
    for path in build.glob("rules/*.yml"):
        (broken / "rules" / path.name).write_text(path.read_text())
    rule = broken / "rules" / f"{topic}.yml"
    text, changed = re.subn(right, wrong, rule.read_text(), flags=re.MULTILINE)
    assert changed, "the rule no longer has what the mistake changes"
    rule.write_text(text)
    proofs = [topic] if topic.startswith("slo") else ["recording", "alerts"]
    done = promtool_test(broken, *proofs)
    assert done.returncode == 1
    assert "exp:" in done.stderr, done.stderr  # it failed for what it saw, not for a rule that does not load


@pytest.mark.parametrize(
    ("interval", "low", "high"), [("15s", "0.02", "97"), ("45s", "0.05", "95"), ("2m", "0.5", "50")]
)
def test_the_proofs_hold_at_other_intervals_and_near_the_ends(
    interval: str, low: str, high: str, tmp_path: Path
) -> None:
    definitions = changed_copy(
        tmp_path,
        {
            "stack.yml": {"evaluation_interval: 30s": f"evaluation_interval: {interval}"},
            "slos.yml": {"cache_hit_ratio < 0.30": f"cache_hit_ratio < {low}", "pct > 30": f"pct > {high}"},
        },
    )
    reading = read_definitions(definitions)
    assert reading.stack is not None
    write_build(compile_stack(reading.stack, Site(), reading.digest), reading.digest, tmp_path / "build")
    done = promtool_test(tmp_path / "build")
    assert done.returncode == 0, done.stderr
