"""The tests themselves stay on this machine."""

from __future__ import annotations

import socket

import pytest


def test_other_machines_cannot_be_asked() -> None:
    for ask in (
        lambda: socket.create_connection(("192.0.2.1", 80), 0.1),
        lambda: socket.getaddrinfo("huggingface.co", 443),
    ):
        with pytest.raises(OSError, match="tests use no network"):
            ask()
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), 1).close()
