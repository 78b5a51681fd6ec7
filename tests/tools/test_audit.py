"""The audit of what an installation pulls in, against a service of our own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tools.audit import Package, installed

ROOT = Path(__file__).resolve().parents[2]


class Advisories(BaseHTTPRequestHandler):
    """Knows something against numpy, whatever its version."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        names = [query["package"]["name"] for query in json.loads(body)["queries"]]
        results = [{"vulns": [{"id": "GHSA-test"}]} if name == "numpy" else {} for name in names]
        answer = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Advisories)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def audit(*options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools" / "audit.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_what_the_core_pulls_in_is_found_once_each() -> None:
    names = [package.name.lower() for package in installed("squeeze-onnx", ())]
    assert {"numpy", "scipy", "onnx", "tokenizers"} <= set(names)
    assert len(names) == len(set(names))
    assert not {"onnxruntime", "torch", "squeeze-onnx"} & set(names)
    assert "onnxruntime" in [package.name for package in installed("squeeze-onnx", ("cpu",))]


def test_a_known_vulnerability_is_told_and_ends_it_with_1(service: str) -> None:
    done = audit("--service", service)
    assert done.returncode == 1
    assert done.stderr.startswith("numpy ")
    assert done.stderr.endswith(": GHSA-test\n")
    assert len(done.stderr.splitlines()) == 1


def test_a_machine_without_the_service_is_told_that_nothing_was_looked_up() -> None:
    done = audit("--service", "http://127.0.0.1:9")
    assert done.returncode == 0
    assert "known vulnerabilities were not looked up: http://127.0.0.1:9 does not answer" in done.stderr
    assert "numpy " in done.stdout


@pytest.mark.parametrize(
    ("licence", "is_free"),
    [
        ("MIT", True),
        ("Apache-2.0 OR BSD-2-Clause", True),
        ("3-Clause BSD License", True),
        ("GNU General Public License v3 (GPLv3)", False),
        ("unknown", False),
        ("LIMITED", False),
    ],
)
def test_licences_that_may_be_passed_on(licence: str, is_free: bool) -> None:
    assert Package("p", "1", licence).is_free == is_free
