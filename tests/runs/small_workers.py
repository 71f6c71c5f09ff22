"""Worker factories for the tests of the executors; other processes import this file by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from prompt_hub.errors import UserError


def squares(context):
    """Notes each process that was set up; squares ``n``, and fails or dies at the numbers that it is told."""
    (Path(context["folder"]) / f"made-{os.getpid()}-{time.time_ns()}").touch()

    def work(item):
        n = item.work["n"]
        (Path(context["folder"]) / f"did-{n}-{os.getpid()}-{time.time_ns()}").touch()
        time.sleep(context.get("seconds", 0))
        if n in context.get("fails_at", ()):
            raise ValueError(f"{n} is not wanted")
        if n in context.get("refuses", ()):
            raise UserError(f"{n} is refused")
        if n in context.get("dies_at", ()):
            once = Path(context["folder"]) / f"died-{n}"
            if not context.get("once") or not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if n in context.get("not_json_at", ()):
            return {"square": object()}
        return {"square": n * n, "pid": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS")}

    return work


def unable(context):
    raise UserError("Backbone 'x' is not there.")


def broken(context):
    raise KeyError("model")


def dead(context):
    os.kill(os.getpid(), signal.SIGKILL)
