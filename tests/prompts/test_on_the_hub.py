"""Prompts pushed to, found on and pulled from a stand-in of the Hub, of which only the address is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub_server import TOKEN, Repository, Server, serving
from prompt_hub.errors import UserError
from prompt_hub.prompts.on_the_hub import search_hub
from prompt_hub.prompts.soft_prompt import SoftPrompt

METRICS = {"validation": {"accuracy": 0.91, "interval": [0.88, 0.93], "n": 200}}


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as standin:
        yield standin


@pytest.fixture
def hub(server: Server, tmp_path: Path) -> Any:
    def run(*arguments: str, code: int = 0, **environment: str) -> Any:
        """The ``--json`` line, or the message of a command that fails."""
        known = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        known |= {"HF_ENDPOINT": server.address, "HF_HOME": str(tmp_path / "hf"), **environment}
        done = subprocess.run(
            [sys.executable, "-m", "prompt_hub", "prompts", *arguments, "--json"],
            cwd=tmp_path, env=known, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout) if code == 0 else " ".join(done.stderr.split())

    return run


def test_what_is_pushed_is_found_and_pulled(
    hub: Any, server: Server, tmp_path: Path, make_prompt: Any
) -> None:
    prompt = make_prompt(metrics=METRICS)
    prompt.save_pretrained(tmp_path / "sst2")
    pushed = hub("push", "sst2", "ann/sst2-tiny", HF_TOKEN=TOKEN)
    assert pushed == {
        "repo_id": "ann/sst2-tiny", "url": f"{server.address}/ann/sst2-tiny",
        "hash": prompt.hash, "dry_run": False,
    }  # fmt: skip
    card = server.repositories["ann/sst2-tiny"].card
    assert card["base_model"] == "tiny/gpt2"
    assert card["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.91

    found = hub("search", "sst2", "--backbone", "tiny/gpt2")["prompts"]
    assert [(one["repo_id"], one["task"], one["backbone"]) for one in found] == [
        ("ann/sst2-tiny", "sst2", "tiny/gpt2")
    ]
    assert hub("search", "--backbone", "other/model")["prompts"] == []
    make_prompt(task="mnli", metrics=METRICS).save_pretrained(tmp_path / "mnli")
    hub("push", "mnli", "ann/mnli-tiny", HF_TOKEN=TOKEN)
    for task in ("sst2", "mnli"):  # a limit counts those of the task, not those that it leaves out
        named = hub("search", "--task", task, "--limit", "1")["prompts"]
        assert [one["task"] for one in named] == [task]

    pulled = hub("pull", "ann/sst2-tiny", "-o", "got")["prompts"]
    assert pulled == [{"path": "got", "hash": prompt.hash, "task": "sst2"}]
    assert SoftPrompt.from_pretrained(tmp_path / "got").metadata.metrics == METRICS
    # A second time from the client's cache alone.
    assert (
        hub("pull", "ann/sst2-tiny", "-o", "again", HF_HUB_OFFLINE="1")["prompts"][0]["hash"] == prompt.hash
    )


def test_a_private_repository_needs_the_token(hub: Any, tmp_path: Path, make_prompt: Any) -> None:
    make_prompt().save_pretrained(tmp_path / "sst2")
    assert "Cannot upload to 'ann/secret'" in hub("push", "sst2", "ann/secret", code=2)
    hub("push", "sst2", "ann/secret", "--private", "--without-rows", HF_TOKEN=TOKEN)
    refused = hub("pull", "ann/secret", code=2)
    assert "Cannot get a prompt from 'ann/secret'" in refused and "hf auth login" in refused
    assert hub("pull", "ann/secret", HF_TOKEN=TOKEN)["prompts"][0]["path"] == "runs/secret"


def test_a_repository_without_a_prompt_is_refused(hub: Any, server: Server) -> None:
    server.repositories["ann/model"] = Repository(files={"config.json": b"{}"})
    assert "holds no prompt" in hub("pull", "ann/model", code=2)


def test_offline_a_search_says_what_can_be_done() -> None:
    # The tests run with HF_HUB_OFFLINE set.
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set.*--in FOLDER"):
        search_hub("sst2")
