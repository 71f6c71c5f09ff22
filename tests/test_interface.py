"""What a released version took and printed is still taken and printed, or was renamed in time."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import pytest
import typer
from packaging.version import Version
from typer.testing import CliRunner

from interface import STORED, callables, interface, missing, renamed_in, walk
from prompt_hub.cli.config_file import ConfigOption
from prompt_hub.cli.main import app
from prompt_hub.cli.old_names import old_options
from prompt_hub.deprecation import Renamed, RenamedWarning, renamed_keywords

RELEASED = sorted(STORED.glob("*.json"))


@pytest.mark.parametrize("released", RELEASED, ids=[path.stem for path in RELEASED])
def test_what_a_release_took_is_taken(released: Path) -> None:
    before = json.loads(released.read_text(encoding="utf-8"))
    assert "--task" in before["commands"]["prompt-hub train"] and "PromptHub.train_prompt" in before["python"]
    assert "table[].score" in before["json"]["prompt-hub matrix"]
    # An older one had its minor version of warnings.
    age = Version(version("prompt-hub")).minor - Version(released.stem).minor
    if age <= 1:
        assert missing(before) == [], "rename with old_options or renamed_keywords (CONTRIBUTING, a new name)"


def test_old_names_go_in_time() -> None:
    assert RELEASED
    changes = [
        *(change for _, _, normalise in walk(app) for change in renamed_in(normalise)),
        *(change for _, found in callables() for change in renamed_in(found)),
    ]
    late = [each for each in changes if Version(version("prompt-hub")) >= Version(each.gone_in)]
    assert late == [], "remove these old names"


def train(
    steps: Annotated[int, typer.Option("--steps")] = 1, kind: str = "some", config: ConfigOption = None
) -> None:
    typer.echo(f"{steps} {kind}")


def train_before(steps: Annotated[int, typer.Option("--max-steps")] = 1, kind: str = "some") -> None:
    typer.echo(f"{steps} {kind}")


def make_app(*changes: Renamed, command: Callable[..., None] = train) -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    made.command("train", context_settings=old_options(*changes))(command)
    return made


STEPS = Renamed("--max-steps", "--steps", "0.2")


def test_an_old_option_works_and_says_so() -> None:
    result = CliRunner().invoke(make_app(STEPS), ["train", "--max-steps", "7", "--kind", "max-steps"])
    assert (result.exit_code, result.stdout) == (0, "7 max-steps\n")
    assert "--max-steps is called --steps since 0.2; the old name goes with 0.3." in result.stderr
    assert "--max-steps" not in CliRunner().invoke(make_app(STEPS), ["train", "--help"]).stdout


def test_a_new_option_says_nothing() -> None:
    result = CliRunner().invoke(make_app(STEPS), ["train", "--steps", "7"])
    assert (result.stdout, result.stderr) == ("7 some\n", "")


def test_an_old_option_works_in_a_file_of_options(tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text("max_steps: 7\n")
    result = CliRunner().invoke(make_app(STEPS), ["train", "--config", str(tmp_path / "options.yaml")])
    assert result.stdout == "7 some\n" and "since 0.2" in result.stderr


def test_an_option_that_is_gone_is_found_missing() -> None:
    before = interface(make_app(command=train_before))
    before["python"] = {}
    assert missing(before, make_app()) == ["prompt-hub train --max-steps"]
    assert missing(before, make_app(STEPS)) == []


def test_a_key_that_is_no_longer_printed_is_found_missing() -> None:
    before = interface()
    before["json"]["prompt-hub train"].append("accuracy")
    assert missing(before) == ["prompt-hub train --json: accuracy"]


def test_a_command_that_is_gone_is_found_missing() -> None:
    before = interface(make_app())
    assert "prompt-hub train" in missing(before, typer_with("learn"))
    renamed = typer_with("learn", Renamed("train", "learn", "0.2"))
    assert "prompt-hub train" not in missing(before, renamed)


def typer_with(name: str, *changes: Renamed) -> typer.Typer:
    made = typer.Typer(context_settings=old_options(*changes))
    made.callback()(lambda: None)
    made.command(name)(lambda: typer.echo(name))
    return made


def test_an_old_command_works() -> None:
    renamed = typer_with("learn", Renamed("train", "learn", "0.2"))
    result = CliRunner().invoke(renamed, ["train"])
    assert result.stdout == "learn\n" and "train is called learn since 0.2" in result.stderr


def test_an_old_keyword_works_and_warns() -> None:
    @renamed_keywords(Renamed("model", "backbone", "0.2"))
    def load(backbone: str, seed: int = 0) -> tuple[str, int]:
        return backbone, seed

    with pytest.warns(RenamedWarning, match=r"model is called backbone since 0\.2.*0\.3"):
        assert load(model="bert", seed=3) == ("bert", 3)
    assert load("bert") == ("bert", 0)
    with pytest.raises(TypeError, match="both 'model' and 'backbone'"):
        load(model="bert", backbone="roberta")


def test_a_name_is_gone_one_minor_version_later() -> None:
    assert [Renamed("a", "b", since).gone_in for since in ("0.2", "0.9.1", "1.0")] == ["0.3", "0.10", "1.1"]
