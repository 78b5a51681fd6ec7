"""A model hub of the tests' own: a folder of repositories behind the few addresses that huggingface_hub asks for."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "c0ffee" + "0" * 34
"""What every revision of every repository is."""

REVISIONS = ("main", "v2", COMMIT)


class LocalHub:
    """Repositories ``org/name`` in ``folder``; ``asked`` are the files that were fetched, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT says."""
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def fetched(self) -> set[str]:
        """The names of the files that were fetched."""
        return set(self.asked)


@contextmanager
def local_hub(folder: Path) -> Iterator[LocalHub]:
    """Serve the repositories in ``folder`` while the block lasts."""
    hub = LocalHub(folder)
    thread = Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        thread.join()
        hub.server.server_close()


def use_hub(hub: LocalHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub ask ``hub`` and keep what it gets in ``cache``."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("SQUEEZE_CACHE", str(cache / "squeeze"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))  # the variable is read when it is imported
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


class _Handler(BaseHTTPRequestHandler):
    """Answers about models: which files there are, and each of them."""

    def __init__(self, hub: LocalHub, *arguments: Any) -> None:
        self.hub = hub
        super().__init__(*arguments)

    def log_request(self, *arguments: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer as GET does, without the file."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer."""
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        parts = unquote(urlsplit(self.path).path).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._list("/".join(parts[2:4]), parts[5] if len(parts) > 4 else "main")
        else:
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body=body)

    def _list(self, name: str, revision: str) -> None:
        folder = self.hub.folder / name
        if not folder.is_dir():
            self._refuse("RepoNotFound")
        elif revision not in REVISIONS:
            self._refuse("RevisionNotFound")
        else:
            files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
            listed = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            self._send(json.dumps(listed).encode(), {"Content-Type": "application/json"}, body=True)

    def _file(self, name: str, revision: str, file: str, *, body: bool) -> None:
        path = self.hub.folder / name / file
        if revision not in REVISIONS or not path.is_file():
            self._refuse("EntryNotFound")
            return
        content = path.read_bytes()
        if body:
            self.hub.asked.append(file)
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        self._send(content, {"X-Repo-Commit": COMMIT, "ETag": etag}, body=body)

    def _send(self, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def _refuse(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()
