"""A Docker engine of our own for tests: Debian's packages, unpacked into a cache and run in a network of their own.

Nothing is installed and no service is started, and a Docker engine that runs already is left alone. It has to be
root on Linux with cgroups, and the packages have to be in the cache or a Debian mirror within reach.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reliary_stack.binaries import cache_folder

ENGINE = ("docker.io", "containerd", "runc", "libdevmapper1.02.1", "libseccomp2", "busybox-static")
# Even without rules on the host, the engine needs iptables: names are resolved by a rule in each container.
IPTABLES = ("iptables", "libip4tc2", "libip6tc2", "libmnl0", "libnetfilter-conntrack3", "libnfnetlink0", "libnftnl11")
COMPOSE = (
    *("docker-compose", "python3-attr", "python3-cached-property", "python3-certifi", "python3-chardet"),
    *("python3-charset-normalizer", "python3-distro", "python3-distutils", "python3-docker", "python3-dockerpty"),
    *("python3-docopt", "python3-dotenv", "python3-idna", "python3-importlib-metadata", "python3-jsonschema"),
    *("python3-lib2to3", "python3-more-itertools", "python3-pkg-resources", "python3-pyrsistent"),
    *("python3-requests", "python3-six", "python3-texttable", "python3-typing-extensions", "python3-urllib3"),
    *("python3-websocket", "python3-yaml", "python3-zipp"),
)
PACKAGES = (*ENGINE, *IPTABLES, "libxtables12", *COMPOSE)

COMPOSE_1 = """#!/bin/sh
PYTHONPATH={root}/usr/lib/python3/dist-packages exec /usr/bin/python3 {root}/usr/bin/docker-compose "$@"
"""

START_SECONDS = 30
STOP_SECONDS = 60
CLONE_NEWNET = 0x40000000


def require_docker() -> Path:
    """The folder with the unpacked packages. Else the tests are skipped, or fail if RELIARY_REQUIRE_DOCKER is 1."""
    missing = _missing()
    if missing is None:
        try:
            return unpacked_packages()
        except (OSError, subprocess.CalledProcessError) as error:
            missing = f"Debian's Docker packages are not to be had: {getattr(error, 'stderr', '') or error}"
    if os.environ.get("RELIARY_REQUIRE_DOCKER") == "1":
        pytest.fail(f"a Docker engine is required here, but {missing}")
    pytest.skip(f"no Docker engine: {missing}")


def _missing() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "an engine can only be started by root on Linux"
    needed = ("apt-get", "dpkg-deb", "unshare", "ldd", "/usr/bin/python3")
    absent = [each for each in needed if not shutil.which(each)]
    if absent:
        return f"there is no {' and no '.join(absent)}"
    return None if Path("/sys/fs/cgroup").is_mount() else "cgroups are not mounted"


def unpacked_packages() -> Path:
    """A folder like the root of a file system, with `bin/docker-compose` added; fetched once, then from the cache."""
    final = cache_folder() / "docker-for-tests"
    if not (final / "bin").is_dir():
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".docker-", dir=final.parent) as scratch:
            _unpack(Path(scratch))
            _add_commands(Path(scratch, "root/bin"), final)
            Path(scratch, "root").rename(final)
    return final


def _add_commands(folder: Path, final: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "docker-compose").write_text(COMPOSE_1.format(root=final))
    (folder / "docker-compose").chmod(0o755)
    (folder / "iptables").symlink_to(final / "usr/sbin/iptables-nft")


def _unpack(scratch: Path) -> None:
    scratch.chmod(0o755)
    options = ("-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2")
    try:
        _run("apt-get", *options, "download", *PACKAGES, cwd=scratch)
    except subprocess.CalledProcessError:  # no lists, or old ones
        _run("apt-get", *options, "update")
        _run("apt-get", *options, "download", *PACKAGES, cwd=scratch)
    for package in scratch.glob("*.deb"):
        _run("dpkg-deb", "-x", package, scratch / "root")


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600)


@contextmanager
def running_engine(packages: Path, folder: Path) -> Iterator[None]:
    """An engine for the length of the block, in whose network this thread then is; all its data is in `folder`.

    The commands `docker` and `docker-compose` find it. Nothing outside the machine can be reached meanwhile.
    """
    socket = folder / "sock"
    library = packages / "usr/lib" / f"{os.uname().machine}-linux-gnu"
    with pytest.MonkeyPatch.context() as environment:
        path = f"{packages / 'bin'}:{packages / 'usr/sbin'}:{packages / 'usr/bin'}:{os.environ['PATH']}"
        environment.setenv("PATH", path)
        environment.setenv("DOCKER_HOST", f"unix://{socket}")
        environment.setenv("DOCKER_CONFIG", str(folder / "config"))  # nobody's proxies and credential helpers
        for name in ("DOCKER_CONTEXT", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME"):
            environment.delenv(name, raising=False)
        _install_compose_2(folder / "config/cli-plugins")
        process = _start(packages / "bin/busybox", folder, library)
        try:
            _await(process, folder / "log")
            with _network_of(process.pid):
                yield
        finally:
            _stop(process)


def _install_compose_2(plugins: Path) -> None:
    """Debian 12 has Compose 1.29. With RELIARY_COMPOSE_2 set to the plugin's path, that one is tested instead."""
    if plugin := os.environ.get("RELIARY_COMPOSE_2"):
        plugins.mkdir(parents=True)
        shutil.copy(plugin, plugins / "docker-compose")


def _start(busybox: Path, folder: Path, library: Path) -> subprocess.Popen[bytes]:
    dockerd = (
        f"exec dockerd --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/pid"
        f" --host unix://{folder}/sock --group root --iptables=false --ip6tables=false --log-level warn"
    )
    with (folder / "log").open("wb") as log:
        # Its mounts and bridges are in namespaces that end with it.
        return subprocess.Popen(
            ["unshare", "-n", "-m", "--propagation", "private", "sh", "-c", f"{busybox} ip link set lo up; {dockerd}"],
            env={**os.environ, "LD_LIBRARY_PATH": str(library), "XTABLES_LIBDIR": str(library / "xtables")},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(["docker", "version"], capture_output=True, check=False).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"dockerd does not answer: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    left = subprocess.run(["docker", "ps", "-aq"], capture_output=True, text=True, check=False).stdout.split()
    if left:
        subprocess.run(["docker", "rm", "-f", *left], capture_output=True, check=False)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _network_of(pid: int) -> Iterator[None]:
    """Puts this thread, and what it starts, into the network of a process."""
    with Path("/proc/self/ns/net").open() as home, Path(f"/proc/{pid}/ns/net").open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(home.fileno())


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
