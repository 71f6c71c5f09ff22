"""Files that are either the old version or the new one, never half of either."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prompt_hub.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


_UNFINISHED = ".part"
_ALONE = ".at-work"
_TRIES = 1000
"""To lock a file that other processes take away, or whose folder they do."""


def write_file(path: Path, data: bytes) -> None:
    """Writes beside ``path`` and moves the finished file into place."""
    temporary = _temporary(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_folder(folder: Path, files: dict[str, bytes], stale: tuple[str, ...] = ()) -> None:
    """Puts ``files`` into ``folder``, the last one last; removes what of ``stale`` is not in ``files``.

    A new folder appears complete, by one rename. In an existing folder every file is replaced by itself, and
    unrelated files stay; whoever writes must let the last file say what the others have to look like.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists() and _publish(folder, files):
            return
        folder.mkdir(exist_ok=True)
        with locked(folder):
            for name, data in files.items():
                write_file(folder / name, data)
            for name in stale:
                if name not in files:
                    (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"Cannot write to {folder}: {error.strerror or error}.") from error


def contents(folder: Path) -> set[str]:
    """Names in a folder, without what a killed process left of a start; none where there is no folder.

    That is: files that were not written to their end, the mark of work in the folder, and empty folders.
    """
    there = folder.iterdir() if folder.exists() else ()
    return {item.name for item in there if not _is_left_over(item)}


def check_own_folder(folder: Path, markers: set[str], what: str) -> None:
    """Raises ``UserError`` unless the folder is new or empty or holds one of the files ``markers``."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file. Name a folder.")
    there = contents(folder)
    if there and not there & markers:
        raise UserError(
            f"--output {folder} holds other files than those of {what}. Name a new or an empty folder."
        )


def _is_left_over(item: Path) -> bool:
    if item.suffix == _UNFINISHED or item.name == _ALONE:
        return True
    try:
        return item.is_dir() and not item.is_symlink() and not any(item.iterdir())
    except OSError:  # a folder that may not be read
        return False


def _publish(folder: Path, files: dict[str, bytes]) -> bool:
    temporary = _temporary(folder)
    try:
        temporary.mkdir()
        for name, data in files.items():
            write_file(temporary / name, data)
        try:
            temporary.rename(folder)
        except OSError:
            if folder.is_dir():  # another process was first
                return False
            raise
        return True
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """Inside the block no other process replaces the folder's files; with ``shared`` others may read too.

    The lock is the operating system's and ends with its process. Where there is none (Windows, some network
    file systems) the block runs without, and the hashes in ``prompt_hub.json`` still tell a mixture.
    """
    descriptor = None
    if fcntl is not None:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def alone_in(folder: Path, what: str) -> Iterator[None]:
    """Inside the block no other process does ``what`` in ``folder``; ``UserError`` where one is at it.

    Unlike under ``locked`` others may read and replace files. The lock is the operating system's, on a
    hidden file that is gone afterwards, and so is a new folder with nothing else in it; without one, or a
    place for the file, the block runs all the same.
    """
    path, descriptor, is_new = folder / _ALONE, None, not folder.exists()
    if fcntl is not None:
        descriptor = _held(
            path, f"Another process {what} in {folder}. Wait for it, or choose another folder."
        )
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)  # while it is locked: whoever waits for it sees that it is gone
                if is_new and not any(folder.iterdir()):
                    folder.rmdir()
            os.close(descriptor)


def _held(path: Path, otherwise: str) -> int | None:
    for _ in range(_TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process has just taken its empty folder away
            continue
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(otherwise) from None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(descriptor)
            return None
        os.close(descriptor)
    return None


def _temporary(path: Path) -> Path:
    return path.parent / f".{path.name[:40]}.{secrets.token_hex(8)}{_UNFINISHED}"
