"""The report server: this machine only, these files only."""

from __future__ import annotations

import threading
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from scenarios.serve import make_server, serve_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("<p>hello", encoding="utf-8")
    (tmp_path / "secret.txt").write_text("no", encoding="utf-8")
    with make_server(tmp_path / "report", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield int(server.server_address[1])
        server.shutdown()
        thread.join()


def get(port: int, path: str, host: str, method: str = "GET") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "localhost"])
def test_it_serves_the_report(port: int, host: str) -> None:
    assert get(port, "/", host.format(port=port)) == (200, b"<p>hello")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_rebound_name_is_refused(port: int, host: str, method: str) -> None:
    assert get(port, "/", host, method)[0] == 403


def test_nothing_outside_the_folder_is_served(port: int) -> None:
    assert get(port, "/../secret.txt", "localhost")[0] == 404
    assert get(port, "/%2e%2e/secret.txt", "localhost")[0] == 404


def test_it_listens_on_the_loopback_address_only(tmp_path: Path) -> None:
    with make_server(tmp_path, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_taken_port_says_which_and_what_to_do(port: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*--port 0"):
        serve_folder(tmp_path, port, print)
