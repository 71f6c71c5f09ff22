"""A stand-in for the Hub's HTTP API: what its client asks for to make, fill, find and read a repository.

Kept in memory. ``POST`` needs the token ``TOKEN``, and so does everything about a private repository.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_standin"


@dataclass
class Repository:
    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()

    @property
    def card(self) -> dict[str, Any]:
        text = self.files.get("README.md", b"").decode()
        return yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else {}

    def info(self, name: str) -> dict[str, Any]:
        base = self.card.get("base_model")
        tags = [*self.card.get("tags", []), *([f"base_model:adapter:{base}"] if base else [])]
        return {
            "id": name, "modelId": name, "sha": self.commit, "private": self.private, "tags": tags,
            "downloads": 3, "cardData": self.card, "lastModified": "2026-01-02T00:00:00.000Z",
            "siblings": [{"rfilename": file} for file in self.files],
        }  # fmt: skip


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *parts: Any) -> None:
        pass

    # -- asked ---------------------------------------------------------------------------------------

    def do_GET(self) -> None:
        url = urlsplit(unquote(self.path))
        parts = url.path.strip("/").split("/")
        if parts == ["api", "models"]:
            return self._json(self._search(parse_qs(url.query)))
        if parts[:2] == ["api", "models"]:
            name, rest = "/".join(parts[2:4]), parts[4:]
            repository = self._seen(name)
            if repository is None:
                return None
            if rest[:1] == ["tree"]:
                return self._json([_blob(file, data) for file, data in repository.files.items()])
            return self._json(repository.info(name))
        if parts[2:3] == ["resolve"]:
            return self._file("/".join(parts[:2]), "/".join(parts[4:]))
        return self._unknown()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid user token."}, 401)
        if parts == ["api", "validate-yaml"]:
            return self._json({"errors": [], "warnings": []})
        if parts == ["api", "repos", "create"]:
            return self._create(json.loads(body))
        name, action = "/".join(parts[2:4]), parts[4]
        repository = self._seen(name)
        if repository is None:
            return None
        if action == "preupload":
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        if action == "commit":
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    repository.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            where = f"{self.server.address}/{name}/commit/{repository.commit}"
            return self._json({"success": True, "commitOid": repository.commit, "commitUrl": where})
        return self._unknown()

    # -- answered ------------------------------------------------------------------------------------

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{self.server.address}/{name}"}
        if name in self.server.repositories:
            return self._json({**url, "error": "You already created this model repo"}, 409)
        private = asked.get("private") or asked.get("visibility") == "private"
        self.server.repositories[name] = Repository(bool(private))
        return self._json(url)

    def _search(self, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        infos = [each.info(name) for name, each in self.server.repositories.items() if not each.private]
        tags = [tag for given in query.get("filter", []) for tag in given.split(",")]
        words = query.get("search", [""])[0]
        return [one for one in infos if words in one["id"] and set(tags) <= set(one["tags"])]

    def _seen(self, name: str) -> Repository | None:
        repository = self.server.repositories.get(name)
        if repository is None or (
            repository.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        ):
            self._json({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})
            return None
        return repository

    def _file(self, name: str, file: str) -> None:
        repository = self._seen(name)
        if repository is None:
            return
        data = repository.files.get(file)
        if data is None:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
            return
        self._answer(200, data, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": repository.commit})

    def _unknown(self) -> None:
        self._json({"error": "The stand-in does not know this"}, 501)

    def _json(self, data: Any, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self._answer(code, json.dumps(data).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, code: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _blob(file: str, data: bytes) -> dict[str, Any]:
    return {"type": "file", "path": file, "size": len(data), "oid": _oid(data)}


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
