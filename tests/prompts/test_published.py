"""Collections of prompts on a web server and in a folder, of honest and of hostile publishers."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command import refuses, succeeds

from prompt_hub.errors import UserError
from prompt_hub.prompts import published
from prompt_hub.prompts.published import INDEX_NAME, publish, read_index
from prompt_hub.prompts.soft_prompt import SoftPrompt


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *parts: Any) -> None:
        pass


@pytest.fixture
def collection(tmp_path: Path, make_prompt: Any) -> Path:
    """Three prompts, one in a folder below, and their index."""
    folder = tmp_path / "site"
    for seed, (name, task) in enumerate({"sst2": "sst2", "more/imdb": "imdb", "qqp": "qqp"}.items()):
        make_prompt(seed=seed, task=task).save_pretrained(folder / name)
    publish(folder)
    return folder


@pytest.fixture
def served(collection: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(collection)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def change(collection: Path, edit: Any) -> None:
    """Of the first entry of the index, which ``edit`` gets."""
    path = collection / INDEX_NAME
    contents = json.loads(path.read_text())
    edit(contents["prompts"][0])
    path.write_text(json.dumps(contents))


@pytest.mark.parametrize("ending", ["", "/", "/index.json"])
def test_a_prompt_comes_from_a_web_server_as_it_was_published(
    served: str, collection: Path, tmp_path: Path, ending: str
) -> None:
    index = read_index(served + ending)
    assert sorted(index.items) == ["more/imdb", "qqp", "sst2"]
    own = SoftPrompt.from_pretrained(collection / "more" / "imdb")
    fetched = index.fetch("more/imdb")
    assert fetched.hash == own.hash and fetched.metadata.to_dict() == own.metadata.to_dict()


def test_commands_find_and_get_from_web_server_and_folder(
    served: str, collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (served, "site"):
        found = succeeds("prompts", "search", "imdb", "--in", place, "--json").json["prompts"]
        assert [(one["name"], one["backbone"], one["prompt_len"]) for one in found] == [
            ("more/imdb", "tiny/gpt2", 5)
        ]
        assert succeeds("prompts", "search", "--in", place, "--task", "no", "--json").json["prompts"] == []
    got = succeeds("prompts", "pull", served, "--name", "sst2,more/imdb", "-o", "got", "--json").json
    assert [one["path"] for one in got["prompts"]] == ["got/sst2", "got/more/imdb"]
    assert (
        succeeds("prompts", "pull", "site", "--name", "sst2", "-o", "one", "--json").json["prompts"][0][
            "path"
        ]
        == "one"
    )
    assert len(succeeds("prompts", "pull", "site", "--all", "-o", "all", "--json").json["prompts"]) == 3
    refuses("prompts", "pull", "site", "--name", "qqp", "-o", "one", says=("already holds another prompt",))
    refuses("prompts", "pull", "site", says=("choose with --name, or --all",))
    refuses("prompts", "pull", "site", "--name", "sst", says=("Did you mean 'sst2'",))
    refuses("prompts", "pull", "ann/sst2", "--all", says=("is none: that is https://",))
    refuses("prompts", "pull", "got/sst2", says=("neither owner/name",))


def test_a_folder_without_prompts_or_index_is_refused(tmp_path: Path, make_prompt: Any) -> None:
    with pytest.raises(UserError, match="no prompt below"):
        publish(tmp_path)
    with pytest.raises(UserError, match="prompts publish FOLDER"):
        read_index(str(tmp_path))
    make_prompt().save_pretrained(tmp_path / "a name")
    make_prompt().save_pretrained(tmp_path / "good")
    (tmp_path / "good" / "prompt_hub.json").write_text("{")
    with pytest.raises(UserError, match="no prompt below"):
        publish(tmp_path)
    make_prompt().save_pretrained(tmp_path / "better")
    index, left_out = publish(tmp_path)
    assert list(index.items) == ["better"] and sorted(left_out) == ["a name", "good"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../../evil"),
        ("name", "/etc/evil"),
        ("name", "a/../../evil"),
        ("name", ".ssh"),
        ("name", "a\\..\\b"),
        ("name", 7),
        ("files", {"../evil.json": {"size": 3, "sha256": "0"}}),
        ("files", {"adapter_model.bin": {"size": 3, "sha256": "0"}}),
        ("files", {"prompt_hub.json": {"size": 2**60, "sha256": "0"}}),
        ("files", {"prompt_hub.json": {"size": -1, "sha256": "0"}}),
        ("files", {}),
        ("files", []),
        ("files", None),
        ("prompt_len", "many"),
        ("task", ["sst2"]),
    ],
)
def test_an_index_of_a_stranger_is_not_believed(collection: Path, key: str, value: Any) -> None:
    change(collection, lambda entry: entry.update({key: value}))
    with pytest.raises(UserError, match="an entry is damaged"):
        read_index(str(collection))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[]", "not the index"),
        ('{"kind": "prompt-hub collection", "version": 2, "prompts": []}', "Upgrade prompt-hub"),
        ('{"kind": "prompt-hub collection", "version": 1, "prompts": 3}', "must be a list"),
    ],
)
def test_what_is_no_index_is_said(collection: Path, text: str, message: str) -> None:
    (collection / INDEX_NAME).write_text(text)
    with pytest.raises(UserError, match=message):
        read_index(str(collection))


def test_a_file_of_another_content_or_size_is_refused(served: str, collection: Path) -> None:
    index = read_index(served)
    weights = collection / "sst2" / "adapter_model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(UserError, match="is not the file that"):
        index.fetch("sst2")
    weights.write_bytes(data + b"more")
    with pytest.raises(UserError, match="is larger than the"):
        index.fetch("sst2")
    weights.unlink()
    with pytest.raises(UserError, match="404"):
        index.fetch("sst2")


def test_a_link_out_of_a_collection_is_not_followed(collection: Path, tmp_path: Path) -> None:
    index = read_index(str(collection))
    (collection / "sst2").rename(tmp_path / "outside")
    (collection / "sst2").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link to"):
        index.fetch("sst2")


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"Cannot read http://127\.0\.0\.1:9/index\.json"):
        read_index("http://127.0.0.1:9")


def test_an_https_address_must_not_lead_to_http(monkeypatch: pytest.MonkeyPatch) -> None:
    class Answer:
        url = "http://elsewhere.example/index.json"

        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *parts: object) -> None:
            pass

    monkeypatch.setattr(published.urllib.request, "urlopen", lambda *parts, **named: Answer())
    with pytest.raises(UserError, match="which is not https"):
        read_index("https://safe.example")


def test_names_are_searched_by_all_words(collection: Path) -> None:
    index = read_index(str(collection))
    assert [one.name for one in index.search("IMDB gpt2")] == ["more/imdb"]
    assert len(index.search()) == 3
    assert index.search(backbone="other") == []
