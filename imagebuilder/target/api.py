"""Requests to the server on a target: through a forwarded port, else from within the guest."""

from __future__ import annotations

import http.client
import io
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from imagebuilder.errors import BuildError
from imagebuilder.target.reachable import Reachable

TIMEOUT = 300.0
"""Seconds; a model that a board runs in half a second takes a minute when it is emulated."""

HELD_OPEN = (
    "f=/run/request.$$; mkfifo $f || exit; nc 127.0.0.1 {port} <$f & exec 9>$f; rm $f; "
    "printf %s {text} >&9; wait $!"
)
"""Sends a text and reads the answer. Its end stays open: a server may drop an answer that is still
being written when its client has shut one direction, as inferd's library does."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer."""

    status: int
    body: bytes


def request(
    target: Reachable, method: str, path: str, body: bytes = b"", *, token: str | None = None
) -> Response:
    """Send one request, with the target's token; `BuildError` when none answers."""
    token = target.api_token if token is None else token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if target.api_port is not None:
        return _forwarded(target.api_port, method, path, body, headers)
    return _inside(target, method, path, body, headers)


def _forwarded(
    port: int, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> Response:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request(method, path, body or None, dict(headers))
        answer = connection.getresponse()
        return Response(answer.status, answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise BuildError(f"no answer to {method} {path}: {error}") from error
    finally:
        connection.close()


def _inside(
    target: Reachable, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> Response:
    """The same through `nc` on the target, for a server that only listens on loopback."""
    port = target.artifacts.listen.rpartition(":")[2]
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    text = shlex.quote(head + body.decode())
    done = target.run(HELD_OPEN.format(port=port, text=text), TIMEOUT)
    try:
        answer = http.client.HTTPResponse(_Stream(done.stdout))  # type: ignore[arg-type]
        answer.begin()
        return Response(answer.status, answer.read())
    except http.client.HTTPException as error:
        raise BuildError(f"no answer to {method} {path}: {done.stderr.decode()}") from error


class _Stream:
    """Bytes in the place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        """What HTTPResponse reads from."""
        return io.BytesIO(self._data)
