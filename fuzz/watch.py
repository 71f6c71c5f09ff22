"""What a reader must not do while it reads a stranger's file, and how that is noticed."""

from __future__ import annotations

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError

SECONDS_AT_MOST = 20
"""Of a core, of one input; ten times as many by the clock, since other readers may run beside."""
BYTES_AT_MOST = 1 << 30
"""More main memory than before, of one input."""

_NEVER = {
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen",
    "socket.connect", "socket.getaddrinfo", "urllib.Request", "pty.spawn", "ctypes.dlopen",
}  # fmt: skip
_CHANGES = {
    "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
    "shutil.rmtree", "shutil.move",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Breach(Exception):
    """A reader did something else than to give a value or a ``UserError``."""


class _Watched:
    """One hook for the process, since a hook cannot be taken off; ``folder`` None: it looks away."""

    folder: Path | None = None
    seen: str | None = None
    installed = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is None or self.seen is not None:
            return
        if event in _NEVER or (event in _CHANGES and not all(map(self._inside, _changed(event, arguments)))):
            self.seen = f"{event} {arguments!r:.200}"
        elif event == "open" and not self._inside(arguments[0]):
            mode, flags = arguments[1], arguments[2]
            if (isinstance(mode, str) and set(mode) & set("wax+")) or (
                isinstance(flags, int) and flags & _WRITING
            ):
                self.seen = f"open for writing: {arguments!r:.200}"

    def _inside(self, path: Any) -> bool:
        assert self.folder is not None
        if isinstance(path, int) or path is None:
            return True
        given = os.path.abspath(os.fsdecode(path))
        return given.startswith((f"{self.folder}{os.sep}", "/dev/")) or given == str(self.folder)


_WATCHED = _Watched()


def _changed(event: str, arguments: tuple[Any, ...]) -> list[Any]:
    """The places that a call changes; where one is relative to an open folder, that folder."""
    places = {"os.link": (1, 3), "os.symlink": (1, 2), "os.rename": (0, 2), "os.remove": (0, 1),
              "os.rmdir": (0, 1), "os.mkdir": (0, 2)}  # fmt: skip
    path, within = places.get(event, (0, None))
    if within is not None and arguments[within] != -1:
        return [os.readlink(f"/proc/self/fd/{arguments[within]}")]
    return [arguments[path], *(arguments[1:2] if event in ("os.rename", "shutil.move") else [])]


def check(read: Callable[[], Any]) -> None:
    """Calls a reader. ``Breach`` for anything but a value or a ``UserError``, in time, within bounds."""
    if not _WATCHED.installed:
        sys.addaudithook(_WATCHED)
        _WATCHED.installed = True
    before = _peak()
    with _alarm() as rung:
        try:
            read()
        except UserError as error:
            if not str(error).strip():
                raise Breach("a UserError without words") from error
    if rung:  # a reader may have taken the alarm for a damaged file
        raise Breach(f"it took more than {SECONDS_AT_MOST} s")
    if _peak() - before > BYTES_AT_MOST:
        raise Breach(f"it took {(_peak() - before) >> 20} MB")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Within the block nothing may be started, asked of the network, or written outside of ``folder``."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder.resolve())
    _WATCHED.folder, _WATCHED.seen = folder.resolve(), None
    try:
        yield
    finally:
        _WATCHED.folder = None
        tempfile.tempdir = before
    if _WATCHED.seen:
        raise Breach(_WATCHED.seen)


@contextmanager
def _alarm() -> Iterator[list[int]]:
    rung: list[int] = []

    def ring(number: int, frame: Any) -> None:
        rung.append(number)
        raise Breach(f"it took more than {SECONDS_AT_MOST} s")

    of_core = (signal.ITIMER_PROF, signal.SIGPROF, SECONDS_AT_MOST)
    by_clock = (signal.ITIMER_REAL, signal.SIGALRM, 10 * SECONDS_AT_MOST)
    with ExitStack() as undo:
        for kind, number, seconds in (of_core, by_clock):
            undo.callback(signal.signal, number, signal.signal(number, ring))
            undo.callback(signal.setitimer, kind, 0)
            signal.setitimer(kind, seconds)
        yield rung


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
