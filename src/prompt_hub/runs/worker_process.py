"""``python -m prompt_hub.runs.worker_process``: a worker on this machine, started by an executor.

The first line of stdin says how to work, each further one which items to do, the last one that there are no
more; where stdin ends before that, the executor is gone. stdout holds one line of JSON if the worker cannot
work. An own interpreter instead of ``multiprocessing``: nothing is inherited from a process that has threads,
and a caller's script is not run again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from queue import Queue
from types import FrameType
from typing import Any, TextIO

from prompt_hub.errors import UserError
from prompt_hub.progress import set_quiet
from prompt_hub.runs.grid import Grid
from prompt_hub.runs.work import Maker, describe, work_on, worker_name

SECONDS_TO_STOP = 10.0


class Stopped(BaseException):
    """Raised in the main thread when the worker has to end; not an ``Exception``, so no item is blamed for
    it.
    """


def main() -> int:
    report = _take_stdout()
    signal.signal(signal.SIGTERM, _stop)
    # The executor answers Ctrl-C, for all of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_quiet(True)
    orders: Queue[dict[str, Any]] = Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    try:
        setting = orders.get()
        maker = Maker(setting["factory"], setting["context"])
        with Grid.open(Path(setting["folder"])) as grid:
            while "end" not in (order := orders.get()):
                work_on(grid, maker, worker_name(), order["only"])
    except Stopped:
        return 128 + signal.SIGTERM
    except Exception as error:
        told = {
            "error": describe(error),
            "details": traceback.format_exc(),
            "user": isinstance(error, UserError),
        }
        report.write(json.dumps(told) + "\n")
        report.flush()
        return 1
    return 0


def _take_stdout() -> TextIO:
    """The pipe to the executor; whatever else is printed goes to stderr."""
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return report


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _listen(orders: Queue[dict[str, Any]]) -> None:
    """Passes orders on, and ends the process with its executor."""
    for line in sys.stdin:
        orders.put(json.loads(line))
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_STOP)
    os._exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    # The interpreter's own clean-up may raise once more when a second signal comes.
    code = main()
    sys.stderr.flush()
    os._exit(code)
