"""Putting a directory under an overlay back to what it was laid over, for the next run.

The upper layer must not be changed behind the overlay's back: what it shows then is undefined. So
everything is done through the overlay: what is new is removed, and what was changed or removed is
written anew from the layer below. What is left in the upper layer then equals that.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
import stat

from lab.kernel.ipc_tables import remove_tree

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def put_back(changes: int, path: str, original: int) -> None:
    """Undo what was done under a path.

    Args:
        changes: descriptor of the overlay's upper layer.
        path: the directory, as the overlay shows it.
        original: descriptor of the layer below.
    """
    _put_back(f"/proc/self/fd/{changes}", path, f"/proc/self/fd/{original}")


def _put_back(upper: str, merged: str, lower: str) -> None:
    for name in os.listdir(upper):
        changed, shown, before = (f"{place}/{name}" for place in (upper, merged, lower))
        if not os.path.lexists(before):
            _remove(shown)
        elif _is_folder(changed) and _is_folder(before) and not _is_opaque(changed):
            _same_rights(before, shown)
            _put_back(changed, shown, before)
        elif not _is_same(before, shown):
            _remove(shown)
            _copy(before, shown)


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def _is_opaque(folder: str) -> bool:
    """The folder was removed and made again: nothing of the one below shows through."""
    for attribute in _OPAQUE:
        with contextlib.suppress(OSError):
            return os.getxattr(folder, attribute) == b"y"
    return False


def _is_same(before: str, shown: str) -> bool:
    try:
        one, other = os.lstat(before), os.lstat(shown)
    except FileNotFoundError:
        return False  # it was removed: a whiteout hides the one below
    if (one.st_mode, one.st_uid, one.st_gid, one.st_size) != (
        other.st_mode,
        other.st_uid,
        other.st_gid,
        other.st_size,
    ):
        return False
    if stat.S_ISLNK(one.st_mode):
        return os.readlink(before) == os.readlink(shown)
    return not stat.S_ISREG(one.st_mode) or filecmp.cmp(before, shown, shallow=False)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if _is_folder(path):
            remove_tree(path)
        else:
            os.unlink(path)


def _copy(source: str, target: str) -> None:
    if _is_folder(source):
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)
    _same_rights(source, target)


def _same_rights(source: str, target: str) -> None:
    status, now = os.lstat(source), os.lstat(target)
    if (status.st_uid, status.st_gid) != (now.st_uid, now.st_gid):
        with contextlib.suppress(PermissionError):  # no ordinary user could have changed that
            os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    if status.st_mode != now.st_mode and not stat.S_ISLNK(status.st_mode):
        os.chmod(target, stat.S_IMODE(status.st_mode))
