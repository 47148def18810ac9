"""The image of the exporter and the demo, built on this machine from the packages that are installed here."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from reliary.assets import asset
from reliary.composefile import exporter_image
from reliary_stack.engines.dockercli import CommandFailed, docker

__all__ = ["ensure_exporter_image", "has_image", "readable_by_all", "stage"]

PACKAGES = ("reliary", "reliary_exporter", "reliary_stack")
LABEL = "reliary.context"


def ensure_exporter_image(base: str, say: Callable[[str], None]) -> str:
    """Builds the image on `base` unless the engine has it with the same content; returns the content's digest.

    Raises CommandFailed.
    """
    with tempfile.TemporaryDirectory(prefix="reliary-image-") as scratch:
        context = Path(scratch)
        stage(context)
        digest = _digest(context, base)
        if _present_digest() != digest:
            say("its image is built, which takes a minute the first time")
            build = ("build", "--build-arg", f"BASE={base}", "--label", f"{LABEL}={digest}")
            docker(*build, "-t", exporter_image(), str(context))
    return digest


def has_image(reference: str) -> bool:
    """Whether the engine has an image of that name."""
    try:
        docker("image", "inspect", "--format", "{{.Id}}", reference)
    except CommandFailed:
        return False
    return True


def stage(context: Path) -> None:
    """Fills an empty folder with what the Dockerfile copies: our code, and the pinned list of what it needs."""
    shutil.copyfile(asset("compose", "Dockerfile.exporter"), context / "Dockerfile")
    shutil.copyfile(asset("compose", "requirements.txt"), context / "requirements.txt")
    for package in PACKAGES:
        for path in _sources(package):
            target = context / "src" / package / path.relative_to(_folder(package))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    _stage_metadata(context / "src")
    readable_by_all(context)


def readable_by_all(folder: Path) -> None:
    """Lets the users in containers read a folder, whatever umask its files were written with."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _stage_metadata(source_root: Path) -> None:
    """Without it, nothing in the image could tell its own version."""
    folder = source_root / f"reliary-{version('reliary')}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: reliary\nVersion: {version('reliary')}\n", "utf-8")


def _sources(package: str) -> Iterator[Path]:
    return (path for path in sorted(_folder(package).rglob("*.py")) if "_assets" not in path.parts)


def _folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or ())))


def _digest(context: Path, base: str) -> str:
    digest = hashlib.sha256(base.encode())
    for path in sorted(path for path in context.rglob("*") if path.is_file()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"\n{path.relative_to(context).as_posix()} {content}".encode())
    return digest.hexdigest()


def _present_digest() -> str | None:
    """The digest that the engine's image was built from; None if it has no such image."""
    try:
        return docker(
            "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', exporter_image()
        ).strip()
    except CommandFailed:
        return None
