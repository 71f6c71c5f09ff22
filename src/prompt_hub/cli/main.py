"""The ``prompt-hub`` command: its parts, and what becomes of errors."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
import warnings
from contextlib import suppress
from typing import Annotated, Any

import typer

from prompt_hub.cli import (
    configs,
    data,
    evaluate,
    indicators,
    matrix,
    neurons,
    predict,
    project,
    prompts,
    quickstart,
    rank,
    report,
    reproduce,
    tasks,
    train,
    warm_start,
)
from prompt_hub.cli.output import say, warn
from prompt_hub.errors import UserError, first_line

_LONGEST = 200

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train a soft prompt once on a frozen language model, then reuse it.",
)
app.command("train")(train.train)
app.command("configs")(configs.configs)
app.command("eval")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("warm-start")(warm_start.warm_start)
app.command("rank")(rank.rank)
app.command("report")(report.report)
app.command("quickstart")(quickstart.quickstart)
app.command("reproduce")(reproduce.reproduce)
app.add_typer(matrix.app, name="matrix")
app.add_typer(tasks.app, name="tasks")
app.add_typer(data.app, name="data")
app.add_typer(prompts.app, name="prompts")
app.add_typer(neurons.app, name="neurons")
app.add_typer(indicators.app, name="indicators")
app.add_typer(project.app, name="project")


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(version("prompt-hub"))
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Runs before every command."""
    # Libraries' own bars and notes would drown ours; their errors still come through.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


_show_library_warning = warnings.showwarning


def _show_warning(message: Any, category: Any, filename: str, lineno: int, *rest: Any) -> None:
    """Our own warnings as a line for people; those of libraries as they are."""
    if category is UserWarning and f"{os.sep}prompt_hub{os.sep}" in filename:
        warn(str(message))
    else:
        _show_library_warning(message, category, filename, lineno, *rest)


def run() -> None:
    """Entry point. Bad input, and what the system refuses: one message and exit code 2, no traceback."""
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    _open_closed_streams()
    try:
        try:
            _check_nothing_empty(sys.argv[1:])
            app()
        finally:
            sys.stdout.flush()
    except UserError as error:
        say(f"Error: {error}", style="red")
        sys.exit(2)
    except OSError as error:
        _drop_unwritten()
        if error.errno == errno.EPIPE:  # whoever read has seen enough
            sys.exit(1)
        say(f"Error: {_refusal(error)}", style="red")
        sys.exit(2)
    except SystemExit as ended:
        if ended.code == 130:
            _say_interrupted()
        raise
    except KeyboardInterrupt:
        # Before or after the part that typer looks after.
        _say_interrupted()
        sys.exit(130)


def _check_nothing_empty(arguments: list[str]) -> None:
    """An empty value is mostly a shell's variable that was not set; as a path it would be this folder."""
    for place, given in enumerate(arguments):
        option = arguments[place - 1] if place else ""
        if re.fullmatch("--[^=]+=", given):
            option = given[:-1]
        elif given:
            continue
        which = f"The value of {option}" if option.startswith("-") else f"Argument {place + 1}"
        raise UserError(f"{which} is empty. Name something (this folder is .), or leave it out.")


def _open_closed_streams() -> None:
    """A stream that the shell closed (``>&-``) reads and writes nothing, rather than being none."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _drop_unwritten() -> None:
    """What could not be written to stdout would be tried again, and fail again, when Python ends."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _refusal(error: OSError) -> str:
    """What the system says, and of which file; of a name that is too long its start."""
    what = error.strerror or first_line(error)
    if error.filename is None:
        return f"{what}. What was finished is kept."
    name = os.fsdecode(error.filename)
    return f"{what}: {name if len(name) <= _LONGEST else f'{name[:_LONGEST]}...'}. Name another place."


def _say_interrupted() -> None:
    # Whoever presses Ctrl-C twice wants it to end, not to see where.
    with suppress(ValueError):  # not the main thread
        signal.signal(signal.SIGINT, lambda *_: None)
    say("Interrupted. What was finished is kept. To go on: train --resume, others as they were.")


if __name__ == "__main__":
    run()
