"""Prompts on the Hugging Face Hub: found, downloaded, uploaded. Free of torch.

A repository of the Hub holds one prompt folder. What the Hub's client does with ``HF_ENDPOINT``,
``HF_TOKEN``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` holds here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from prompt_hub.errors import UserError, first_line
from prompt_hub.prompts.metadata import (
    INITIAL_NAME,
    METADATA_NAME,
    PEFT_CONFIG_NAME,
    PEFT_PICKLE_NAME,
    TRAIN_ROWS_NAME,
    WEIGHTS_NAME,
)

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TAG = "prompt-hub"
"""The tag by which model cards of prompts are found."""

_FILES = [METADATA_NAME, PEFT_CONFIG_NAME, WEIGHTS_NAME, PEFT_PICKLE_NAME, TRAIN_ROWS_NAME, INITIAL_NAME]
_BASE = "base_model:adapter:"
_MOST_NAMED = 20


@dataclass(frozen=True)
class Found:
    """One prompt of a search. backbone, task: as its card names them, None where it does not."""

    repo_id: str
    backbone: str | None
    task: str | None
    downloads: int
    changed: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


_MOST = 1000


def search_hub(
    query: str | None = None,
    backbone: str | None = None,
    author: str | None = None,
    limit: int = 20,
    others: bool = False,
    task: str | None = None,
) -> list[Found]:
    """Prompts on the Hub, the most downloaded first.

    query: words of the repository's name. backbone: its name on the Hub. others: PEFT prompts too that were
    not made with Prompt Hub (any adapter with the tag ``prompt-tuning``). task: that their card names; it is
    looked for among the first thousand.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import is_offline_mode

    if is_offline_mode():
        raise UserError("Cannot search the Hub: HF_HUB_OFFLINE is set. Unset it, or search with --in FOLDER.")
    tags = ["prompt-tuning" if others else TAG, *([f"{_BASE}{backbone}"] if backbone else [])]
    with hub_errors("search the Hub"):
        models = HfApi().list_models(
            search=query, filter=tags, author=author, sort="downloads", cardData=True,
            limit=limit if task is None else _MOST,
        )  # fmt: skip
        found = map(_found, models)
        return list(islice((one for one in found if task is None or one.task == task), limit))


def _found(model: Any) -> Found:
    card = model.card_data.to_dict() if model.card_data is not None else {}
    named = card.get("base_model")
    tagged = [tag.removeprefix(_BASE) for tag in model.tags or [] if tag.startswith(_BASE)]
    backbone = named if isinstance(named, str) else next(iter(tagged), None)
    changed = model.last_modified.date().isoformat() if model.last_modified else ""
    return Found(model.id, backbone, _task(card.get("model-index")), model.downloads or 0, changed)


def _task(index: Any) -> str | None:
    try:
        name = index[0]["results"][0]["dataset"]["name"]
    except (TypeError, LookupError):
        return None
    return name if isinstance(name, str) else None


def download(repo_id: str, revision: str | None) -> Path:
    """The prompt's files in the Hub client's cache."""
    from huggingface_hub import constants, snapshot_download

    version = f"{repo_id!r}" + (f" at revision {revision!r}" if revision else "")
    with hub_errors(
        f"get a prompt from {version}: there is no such folder here{_siblings(repo_id)}, and the Hub said"
    ):
        # Said to the client again: offline, version 1.33 asks the Hub for a revision that is a commit.
        offline = constants.HF_HUB_OFFLINE
        found = snapshot_download(repo_id, revision=revision, allow_patterns=_FILES, local_files_only=offline)
        folder = Path(found)
    if not any((folder / name).exists() for name in (METADATA_NAME, PEFT_CONFIG_NAME)):
        raise UserError(f"{version} holds no prompt: neither {METADATA_NAME} nor {PEFT_CONFIG_NAME}.")
    return folder


def _siblings(repo_id: str) -> str:
    """What lies beside a folder that is not there; empty where not even its parent is."""
    parent, _, name = repo_id.partition("/")
    if not Path(parent).is_dir():
        return ""
    there = sorted(path.name for path in Path(parent).iterdir() if path.is_dir())
    near = get_close_matches(name, there, n=1)
    guess = f"; did you mean {parent}/{near[0]}?" if near else ""
    more = ", ..." if len(there) > _MOST_NAMED else ""
    return f" ({parent} holds: {', '.join(there[:_MOST_NAMED]) or 'no folder'}{more}{guess})"


def upload(folder: Path, repo_id: str, message: str, private: bool | None, token: str | None) -> str:
    """Uploads a prompt folder to ``owner/name``, made if it is missing; its URL."""
    from huggingface_hub import HfApi

    check_id(repo_id)
    api = HfApi(token=token)
    with hub_errors(f"upload to {repo_id!r}"):
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
    return str(url)


def check_id(repo_id: str) -> None:
    """Raises ``UserError`` for what is not ``owner/name``."""
    if not HUB_ID.fullmatch(repo_id):
        raise UserError(f"{repo_id!r} is no Hub id. Write it as owner/name.")


@contextmanager
def hub_errors(attempt: str) -> Iterator[None]:
    """Turns what the Hub's client raises into a ``UserError`` that says what was attempted."""
    # The client has changed its HTTP library before; it names the base of that library's errors here.
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, HTTPError) as error:
        raise UserError(
            f"Cannot {attempt}: {first_line(error)} Check the name, the network or HF_HUB_OFFLINE, and "
            "for private repositories the token (hf auth login)."
        ) from error
