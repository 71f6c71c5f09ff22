"""Who holds a piece of work, and whether that process is still there."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

LEASE_SECONDS = 120.0


@dataclass(frozen=True)
class Lease:
    """A process and until when it has promised to show itself again.

    host: machine, boot and process namespace, within which a process id means something. started: when the
    process began, in the kernel's own ticks ("" where the system does not say), because ids are used again.
    until: seconds since 1970. until_ticks: the same on the machine's monotonic clock, which stands still
    while the machine sleeps: nobody loses work by closing the lid.
    """

    host: str
    pid: int
    started: str
    until: float
    until_ticks: float

    @classmethod
    def of(cls, pid: int, seconds: float) -> Lease:
        """The lease of process ``pid`` on this machine for the next ``seconds``."""
        return cls(
            this_host(), pid, _state_and_start(pid)[1], time.time() + seconds, time.monotonic() + seconds
        )

    def is_over(self) -> bool:
        """True when the process is gone, or has not shown itself in time.

        Of another machine only the lease can be known; this takes the machines' clocks to agree to within it.
        """
        if self.host != this_host():
            return time.time() > self.until
        return not is_running(self.pid, self.started) or time.monotonic() > self.until_ticks


def is_running(pid: int, started: str = "") -> bool:
    """Whether the process is there and able to work; ``started`` tells it from a later one of the same id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is there and belongs to somebody else
        pass
    state, now_started = _state_and_start(pid)
    return state not in ("Z", "X") and (not started or not now_started or started == now_started)


def _state_and_start(pid: int) -> tuple[str, str]:
    with suppress(OSError, IndexError):
        # The command's name stands in parentheses and may hold spaces and parentheses of its own.
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
        return fields[0], fields[19]
    return "", ""


@lru_cache(maxsize=1)
def this_host() -> str:
    """Machine, boot and process namespace in one word."""
    boot = namespace = ""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    with suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return "/".join([socket.gethostname(), boot, namespace])
