"""Serves a report folder to this machine only, with the standard library."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOST = "127.0.0.1"
_OWN_NAMES = frozenset({"127.0.0.1", "localhost"})


class _Handler(SimpleHTTPRequestHandler):
    """Static files; a foreign Host header is refused, against pages that rebind their name."""

    def do_GET(self) -> None:
        if self._own():
            super().do_GET()

    def do_HEAD(self) -> None:
        if self._own():
            super().do_HEAD()

    def _own(self) -> bool:
        name = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if name in _OWN_NAMES:
            return True
        self.send_error(HTTPStatus.FORBIDDEN, "this server answers to 127.0.0.1 and localhost only")
        return False

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")  # a rewritten report shows at once
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: every click would write a line."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a folder, bound to the loopback address.

    Raises:
        OSError: The port is taken.
    """
    return ThreadingHTTPServer((HOST, port), partial(_Handler, directory=str(folder)))


def serve_folder(folder: Path, port: int, announce: Callable[[str], None]) -> None:
    """Serve a folder until interrupted.

    Args:
        folder: What to serve.
        port: 0 takes a free one.
        announce: Told the address once the server listens.

    Raises:
        OSError: The port is taken.
    """
    try:
        server = make_server(folder, port)
    except OSError as error:
        raise OSError(
            f"cannot listen on {HOST}:{port}: {error.strerror}; --port 0 takes a free port"
        ) from error
    with server:
        announce(f"http://{HOST}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # Ctrl-C is how a server is meant to end
            return
