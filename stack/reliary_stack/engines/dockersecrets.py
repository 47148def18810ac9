"""The secrets as containers get them: copies in a folder that only this user can enter.

The users in the containers are not ours, so the copies themselves can be read by all: what protects them is the
folder around them, through which nobody else gets, and that each container sees only its own. No root is needed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path

from reliary.composefile import ADMIN_PASSWORD

__all__ = ["copy_secrets", "remove_copies"]

PASSWORD_BYTES = 24


def copy_secrets(names: Iterable[str], source: Path, folder: Path) -> Path:
    """Copies these secrets to `folder`, and nothing else; returns the file with Grafana's password.

    One that is missing becomes an empty file: Compose needs it, and Alertmanager then fails to reach that receiver
    only. The password is the one in `source`, else the one of the last time, else a new one. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    wanted = {name: _content(source / name) for name in names}
    password = folder / ADMIN_PASSWORD
    wanted[ADMIN_PASSWORD] = _content(source / ADMIN_PASSWORD) or _content(password) or _new_password()
    for stale in set(folder.iterdir()) - {folder / name for name in wanted}:
        stale.unlink()
    for name, content in wanted.items():
        _write(folder / name, content)
    return password


def remove_copies(folder: Path) -> None:
    """Removes all but Grafana's password, which its data still knows."""
    for path in folder.glob("*"):
        if path.name != ADMIN_PASSWORD:
            path.unlink()


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _new_password() -> bytes:
    return secrets.token_urlsafe(PASSWORD_BYTES).encode()


def _write(path: Path, content: bytes) -> None:
    # In place: a container that runs has mounted this very file, and would not see another one of that name.
    path.touch(mode=0o600)
    path.chmod(0o600)
    if path.read_bytes() != content:
        path.write_bytes(content)
    path.chmod(0o444)
