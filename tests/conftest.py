"""Shared fixtures: tiny backbones, the folder of real data where it is present."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tiny models are fastest on one thread: several would mostly wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """No test asks another machine; a hook cannot be forgotten or patched away."""
    if event == "socket.connect":
        host = arguments[1][0] if isinstance(arguments[1], tuple) else "localhost"
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name not in (None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()):
        raise OSError(f"a test asked for {name}: tests use no network")


sys.addaudithook(_stay_here)

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that in the end no worker is left alone with one of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' folder of real data and reference numbers."""
    if not SHARED.is_dir():
        pytest.skip(f"the folder with real data and reference numbers is not there: {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``tiny_folder("gpt2")``: the folder of a tiny random model, built once a session."""
    from tiny_models import build

    built: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in built:
            built[kind] = build(kind, tmp_path_factory.mktemp("models") / kind)
        return built[kind]

    return get


@pytest.fixture(scope="session")
def tiny(tiny_folder: Callable[[str], Path]) -> Callable[..., object]:
    """``tiny("gpt2")``: the loaded backbone (shared by the tests of a session; do not change it)."""
    from prompt_hub.backbones import load_backbone

    loaded: dict[str, object] = {}

    def get(kind: str) -> object:
        if kind not in loaded:
            # On a GPU tests would be compared with numbers of another device and dtype.
            loaded[kind] = load_backbone(str(tiny_folder(kind)), device="cpu")
        return loaded[kind]

    return get
