"""Images that stand in for the pinned ones where no registry can be reached.

Debian's servers on a bare root, under the paths, users and names of the images that their makers publish; this
Python for the image `python`; and for Grafana, which Debian does not have, a server that only checks what it was given.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pip
import promql_parser

from reliary.assets import asset
from reliary.pins import Pin
from reliary_stack.binaries import find_tool

NOBODY, GRAFANA = 65534, 472
TEMPLATES = Path("/usr/share/prometheus/alertmanager")

PIP = """#!/bin/sh
exec /usr/local/bin/python /opt/pip "$@"
"""
PIP_CONF = "[global]\nno-index = true\nfind-links = /opt/wheels\nroot-user-action = ignore\n"

GRAFANA_SERVER = '''"""Not Grafana: refuses to start without what Grafana would need, then says that it is healthy."""
import os
import signal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

assert Path(os.environ["GF_SECURITY_ADMIN_PASSWORD__FILE"]).read_text().strip(), "no password"
provisioning = sorted(Path("/etc/grafana/provisioning").rglob("*.yml"))
assert provisioning and all(path.read_text() for path in provisioning), "nothing is provisioned"
assert [path.read_text() for path in Path("/etc/grafana/dashboards").glob("*.json")], "no boards"
Path("/var/lib/grafana/grafana.db").touch()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        fine = self.path == "/api/health"
        self.send_response(200 if fine else 404)
        self.end_headers()
        self.wfile.write(b'{"database": "ok"}')


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
HTTPServer(("", 3000), Handler).serve_forever()
'''


@dataclass(frozen=True)
class Root:
    """A root file system that is filled before an engine runs."""

    folder: Path

    def program(self, source: Path, target: str) -> None:
        """A binary and the libraries that it is linked with."""
        self.file(source, target)
        for library in _libraries(source):
            self.file(library, str(library))

    def file(self, source: Path, target: str) -> None:
        path = self.path(target)
        if not path.exists():
            shutil.copy(source, path)

    def text(self, target: str, text: str, mode: int = 0o644) -> None:
        self.path(target).write_text(text)
        self.path(target).chmod(mode)

    def owned(self, target: str, user: int) -> None:
        path = self.path(target)
        path.mkdir(parents=True)
        os.chown(path, user, 0 if user == GRAFANA else user)

    def path(self, target: str) -> Path:
        path = self.folder / target.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def stage_roots(folder: Path, busybox: Path) -> None:
    """Fills a root for each image. This needs the network, or full caches."""
    for name in ("prometheus", "alertmanager", "blackbox", "python", "grafana"):
        _base(Root(folder / name), busybox)
    prometheus, alertmanager = Root(folder / "prometheus"), Root(folder / "alertmanager")
    prometheus.program(find_tool("prometheus").path, "/bin/prometheus")
    prometheus.program(find_tool("promtool").path, "/bin/promtool")
    prometheus.owned("/prometheus", NOBODY)
    tool = find_tool("alertmanager")
    alertmanager.program(tool.path, "/bin/alertmanager")
    alertmanager.owned("/alertmanager", NOBODY)
    # Debian's binary reads templates when it starts, ours from the cache those in its working directory.
    shutil.copytree(tool.cwd or TEMPLATES, alertmanager.path(str(TEMPLATES)), symlinks=False)
    Root(folder / "blackbox").program(find_tool("blackbox_exporter").path, "/bin/blackbox_exporter")
    for name in ("python", "grafana"):
        _python(Root(folder / name))
    _wheels(Root(folder / "python"))
    Root(folder / "grafana").text("/opt/grafana.py", GRAFANA_SERVER)
    Root(folder / "grafana").owned("/var/lib/grafana", GRAFANA)


def _base(root: Root, busybox: Path) -> None:
    root.folder.mkdir()
    root.program(busybox, "/bin/busybox")
    for name in ("sh", "wget", "cat", "ls"):
        root.path(f"/bin/{name}").symlink_to("busybox")
    root.text("/etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\ngrafana:x:472:0::/:/bin/sh\n")
    root.text("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
    root.path("/tmp").mkdir(mode=0o1777)
    root.path("/tmp").chmod(0o1777)


def _python(root: Root) -> None:
    """The interpreter that runs the tests, its standard library and pip, at the paths where they know each other."""
    program = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix}))
    left_out = shutil.ignore_patterns(
        "test",
        "idlelib",
        "site-packages",
        "dist-packages",
        "ensurepip",
        "config-*",
        "__pycache__",
        "EXTERNALLY-MANAGED",
    )
    root.program(program, str(program))
    root.path("/usr/local/bin/python").symlink_to(program)
    shutil.copytree(library, root.path(str(library)), ignore=left_out)
    for module in (*library.glob("lib-dynload/*.so"), Path(promql_parser.promql_parser.__file__)):
        for linked in _libraries(module):  # also what wheels expect to find
            root.file(linked, str(linked))
    shutil.copytree(Path(pip.__file__).parent, root.path("/opt/pip"), ignore=left_out)
    root.text("/usr/local/bin/pip", PIP, 0o755)
    root.text("/etc/pip.conf", PIP_CONF)


def _wheels(root: Root) -> None:
    """What the exporter's Dockerfile installs, with the hashes checked here and there."""
    words = ("--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--require-hashes")
    target, requirements = root.path("/opt/wheels"), asset("compose", "requirements.txt")
    subprocess.run([sys.executable, "-m", "pip", "download", *words, "-d", target, "-r", requirements], check=True)


def _libraries(program: Path) -> Iterable[Path]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [Path(path) for path in re.findall(r"/[^ )\n]+", listed) if Path(path).is_file()]


def import_images(folder: Path, pinned: dict[str, Pin]) -> None:
    """Gives the staged roots to the engine as images with the pinned names."""
    changes = {
        "prometheus": ("USER nobody", "VOLUME /prometheus", 'ENTRYPOINT ["/bin/prometheus"]'),
        "alertmanager": (
            "USER nobody",
            "VOLUME /alertmanager",
            'ENTRYPOINT ["/bin/alertmanager"]',
            f"WORKDIR {TEMPLATES}",
        ),
        "blackbox": ('ENTRYPOINT ["/bin/blackbox_exporter"]',),
        "grafana": ("USER 472", 'ENTRYPOINT ["/usr/local/bin/python", "/opt/grafana.py"]'),
        "python": ('CMD ["python"]',),
    }
    for name, pin in pinned.items():
        path = "ENV PATH=/usr/local/bin:/usr/bin:/bin"
        options = [word for change in (path, *changes[name]) for word in ("-c", change)]
        tar = subprocess.Popen(["tar", "-C", folder / name, "--numeric-owner", "-c", "."], stdout=subprocess.PIPE)
        command = ["docker", "import", *options, "-", f"{pin.image}:{pin.tag}"]
        subprocess.run(command, stdin=tar.stdout, check=True, capture_output=True)
        assert tar.wait() == 0
