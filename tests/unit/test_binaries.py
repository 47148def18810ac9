"""Where the servers come from: PATH, then the cache, then Debian's packages; never half a tool, never a mystery."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from reliary_stack.binaries import Tool, ToolMissing, cache_folder, find_tool

COMPILED_IN = "/usr/share/prometheus/alertmanager"

# What each fake package holds in usr/bin.
PACKAGES = {
    "prometheus": "prometheus promtool",
    "prometheus-alertmanager": "prometheus-alertmanager amtool",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
}

APT_GET = """#!/bin/sh
echo "apt-get $*" >> {calls}
last= private=
for word; do
    case "$word" in *Dir::State=*) private=yes;; esac
    before=$last; last=$word
done
if [ "$last" = update ]; then echo yes > {calls}.updated; exit 0; fi
if [ ! -e {calls}.lists ] && [ -z "$private" ]; then
    echo "W: this is only a warning" >&2; echo "E: Unable to locate package $last" >&2; echo "W: and another" >&2
    exit 100
fi
if [ -n "$private" ] && [ ! -e {calls}.updated ]; then echo "E: no lists" >&2; exit 100; fi
echo archive > "${{last}}_2%3a1.0+ds-1_amd64.deb"
"""

DPKG_DEB = """#!/bin/sh
package=${{2##*/}}; package=${{package%%_*}}
case $package in
{cases}
esac
/bin/mkdir -p "$3/usr/bin" "$3/usr/share/prometheus/alertmanager"
for name in $names; do
    /bin/cat > "$3/usr/bin/$name" <<'END'
#!/bin/sh
# templates in /usr/share/prometheus/alertmanager/default.tmpl
{version}
END
    /bin/chmod +x "$3/usr/bin/$name"
done
"""


@dataclass(frozen=True)
class Machine:
    """A PATH with fake programs on it and an empty cache."""

    bin: Path
    cache: Path
    calls: Path

    def put(self, name: str, script: str = "#!/bin/sh\n") -> Path:
        program = self.bin / name
        program.write_text(script)
        program.chmod(0o755)
        return program

    def put_apt(self, *, lists: bool = True, version: str = "exit 0") -> None:
        """Debian's programs; without `lists` the machine's own package lists are empty."""
        if lists:
            self.calls.with_name("calls.lists").touch()
        cases = "\n".join(f"{package}) names='{names}';;" for package, names in PACKAGES.items())
        self.put("apt-get", APT_GET.format(calls=self.calls))
        self.put("dpkg-deb", DPKG_DEB.format(cases=cases, version=version))
        self.put("dpkg", "#!/bin/sh\necho amd64\n")

    @property
    def downloads(self) -> list[str]:
        calls = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [call.rsplit(maxsplit=1)[-1] for call in calls if " download " in call]

    @property
    def unpacked(self) -> list[str]:
        folder = self.cache / "debian"
        return sorted(path.name for path in folder.iterdir() if path.name != ".lock") if folder.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("RELIARY_CACHE", str(tmp_path / "cache"))
    return Machine(folder, tmp_path / "cache", tmp_path / "calls")


class TestOnPath:
    def test_upstreams_name_is_found(self, machine: Machine) -> None:
        program = machine.put("alertmanager")
        assert find_tool("alertmanager", download=False) == Tool(program)

    def test_debians_name_is_found(self, machine: Machine) -> None:
        program = machine.put("prometheus-alertmanager")
        assert find_tool("alertmanager", download=False) == Tool(program)

    def test_upstreams_name_goes_first(self, machine: Machine) -> None:
        machine.put("prometheus-blackbox-exporter")
        program = machine.put("blackbox_exporter")
        assert find_tool("blackbox_exporter").path == program

    def test_it_outdoes_the_cache(self, machine: Machine) -> None:
        machine.put_apt()
        find_tool("prometheus")
        program = machine.put("prometheus")
        assert find_tool("prometheus").path == program


class TestDownload:
    def test_unpacks_a_package_into_a_folder_of_its_own(self, machine: Machine) -> None:
        machine.put_apt()
        tool = find_tool("promtool")
        assert tool.path == machine.cache / "debian/prometheus_2%3a1.0+ds-1_amd64/usr/bin/promtool"
        assert machine.unpacked == ["prometheus_2%3a1.0+ds-1_amd64"]

    def test_one_package_serves_all_its_tools(self, machine: Machine) -> None:
        machine.put_apt()
        assert find_tool("prometheus").path.parent == find_tool("promtool").path.parent
        assert machine.downloads == ["prometheus"]

    def test_the_cache_needs_no_network(self, machine: Machine) -> None:
        machine.put_apt()
        fetched = find_tool("amtool")
        machine.put("apt-get", "#!/bin/sh\nexit 1\n")
        assert find_tool("amtool", download=False) == fetched

    def test_says_what_takes_long(self, machine: Machine) -> None:
        machine.put_apt()
        said: list[str] = []
        find_tool("prometheus", say=said.append)
        find_tool("prometheus", say=said.append)
        assert said == ["downloading Debian's prometheus"]

    def test_fetches_lists_of_its_own_where_the_machine_has_none(self, machine: Machine) -> None:
        machine.put_apt(lists=False)
        find_tool("prometheus")
        assert machine.downloads == ["prometheus", "prometheus"]
        assert machine.unpacked == ["prometheus_2%3a1.0+ds-1_amd64"], "the lists are not kept"

    def test_two_at_once_fetch_once(self, machine: Machine) -> None:
        machine.put_apt()
        threads = [threading.Thread(target=find_tool, args=("prometheus",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert machine.downloads == ["prometheus"]

    def test_a_package_that_has_lost_its_tool_is_fetched_again(self, machine: Machine) -> None:
        machine.put_apt()
        find_tool("prometheus").path.unlink()
        assert find_tool("prometheus").path.exists()


class TestAlertmanagersTemplates:
    """Debian's binary has their absolute path compiled in, and exits when they are not there."""

    def test_are_looked_for_in_the_working_folder(self, machine: Machine) -> None:
        machine.put_apt()
        tool = find_tool("alertmanager")
        text = tool.path.read_text()
        assert COMPILED_IN not in text
        assert "/proc/self/cwd/././././././././././default.tmpl" in text

    def test_the_working_folder_comes_with_the_tool(self, machine: Machine) -> None:
        machine.put_apt()
        tool = find_tool("alertmanager")
        assert tool.cwd is not None
        assert tool.cwd.is_dir()
        assert tool.cwd == tool.path.parents[1] / "share/prometheus/alertmanager"

    def test_matter_to_no_other_tool(self, machine: Machine) -> None:
        machine.put_apt()
        assert find_tool("amtool").cwd is None
        assert COMPILED_IN in find_tool("prometheus").path.read_text()

    def test_an_installed_alertmanager_is_left_alone(self, machine: Machine) -> None:
        installed = machine.put("prometheus-alertmanager", f"#!/bin/sh\n# {COMPILED_IN}\n")
        assert find_tool("alertmanager").cwd is None
        assert COMPILED_IN in installed.read_text()


class TestMissing:
    def test_without_a_download_it_says_what_to_do(self, machine: Machine) -> None:
        machine.put_apt()
        with pytest.raises(ToolMissing) as missing:
            find_tool("amtool", download=False)
        assert missing.value.tried == ("amtool on PATH", f"the cache {machine.cache}")
        assert "allow the download" in missing.value.next_step
        assert machine.downloads == []

    def test_without_debian_it_says_so(self, machine: Machine) -> None:
        with pytest.raises(ToolMissing, match="there is no apt-get and no dpkg-deb here"):
            find_tool("prometheus")

    def test_quotes_apts_error_and_not_its_warnings(self, machine: Machine) -> None:
        machine.put_apt()
        machine.put("apt-get", '#!/bin/sh\necho "E: Unable to locate it"; echo "W: beware"; exit 100\n')
        with pytest.raises(ToolMissing) as missing:
            find_tool("prometheus")
        assert "E: Unable to locate it" in missing.value.tried[-1]
        assert "beware" not in str(missing.value)

    def test_keeps_nothing_of_a_download_that_failed(self, machine: Machine) -> None:
        machine.put_apt()
        machine.put("dpkg-deb", '#!/bin/sh\n/bin/mkdir -p "$3/usr/bin"; echo "broken archive" >&2; exit 2\n')
        with pytest.raises(ToolMissing, match="broken archive"):
            find_tool("prometheus")
        assert machine.unpacked == []

    def test_keeps_nothing_that_does_not_run(self, machine: Machine) -> None:
        machine.put_apt(version='echo "exec format error" >&2; exit 126')
        with pytest.raises(ToolMissing, match="exec format error"):
            find_tool("blackbox_exporter")
        assert machine.unpacked == []

    def test_a_cache_that_cannot_be_written_is_no_traceback(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.put_apt()
        (blocked := machine.cache.with_name("file")).touch()
        monkeypatch.setenv("RELIARY_CACHE", str(blocked))
        with pytest.raises(ToolMissing, match=r"Not a directory|File exists"):
            find_tool("prometheus")


class TestCacheFolder:
    def test_is_the_one_that_was_chosen(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("RELIARY_CACHE", str(tmp_path))
        monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
        assert cache_folder() == tmp_path

    def test_else_follows_the_desktop_standard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RELIARY_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
        assert cache_folder() == Path("/elsewhere/reliary")
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", "/home/me")
        assert cache_folder() == Path("/home/me/.cache/reliary")
