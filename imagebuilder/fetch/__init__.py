"""The only network door: everything that is fetched is kept by its SHA-256."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from imagebuilder.errors import UserError
from imagebuilder.log import Log, Task
from imagebuilder.state import Cache, new_file, sha256_file

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 3
TIMEOUT = 30.0
"""Seconds without a byte."""
MAX_BYTES = 4 << 30
"""Largest file that is fetched or taken from a folder: what a sealed bundle may hold at most."""
TOO_LARGE = "more than 4 GiB"


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches files into the cache; with `offline` it only looks there.

    `mirror` and `snapshot` are the Debian mirrors that the user named.
    """

    cache: Cache
    log: Log
    offline: bool = False
    mirror: str | None = None
    snapshot: str | None = None

    def file(self, urls: Sequence[str], sha256: str, *, size: int = 0, label: str = "") -> Path:
        """A file from the first address that has it, kept by its SHA-256; `size` in bytes if known.

        Raises `UserError` when it is not in the cache and cannot be had, or is another file.
        """
        path = self.cache.download(sha256)
        label = label or urls[0].rsplit("/", 1)[-1]
        if path.is_file():
            return path
        self.need_network(label)
        failures = []
        for url in urls:
            try:
                self._fetch(url, path, sha256, size, label)
                return path
            except _NotThereError as error:
                failures.append(f"{url}: {error}")
        raise UserError(f"cannot fetch {label}: " + "; ".join(failures), hint=_NETWORK_HINT)

    def need_network(self, what: str) -> None:
        """Raise `UserError` when `--offline` forbids fetching."""
        if self.offline:
            raise UserError(
                f"{what} is not in the cache, and --offline forbids to fetch it",
                hint="run the same command once without --offline",
            )

    def _fetch(self, url: str, path: Path, sha256: str, size: int, label: str) -> None:
        with new_file(path) as temporary, self.log.task(f"fetch {label}", size or None) as task:
            download(url, temporary, task)
            got = sha256_file(temporary)
            if got != sha256:
                raise UserError(
                    f"{url}: wrong SHA-256: got {got}, want {sha256}",
                    hint="the file changed at its source, or the pinned digest is wrong",
                )


class _NotThereError(Exception):
    """An address that does not give the file."""


_NETWORK_HINT = "check the network, or the proxy variables http_proxy and https_proxy"


def download(url: str, path: Path, task: Task) -> None:
    """Fetch one address into a file, resuming when the connection breaks.

    Raises `_NotThereError` with the reason.
    """
    if url.startswith("file://"):
        _copy(url, path)
        return
    import httpx

    reason = ""
    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        try:
            _stream(url, path, task)
            return
        except httpx.HTTPStatusError as error:
            reason = f"{error.response.status_code} {error.response.reason_phrase}"
            if error.response.status_code < 500:
                break
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
    raise _NotThereError(reason)


def _copy(url: str, path: Path) -> None:
    import shutil
    import urllib.parse

    source = Path(urllib.parse.unquote(url.removeprefix("file://")))
    try:
        if source.stat().st_size > MAX_BYTES:
            raise _NotThereError(TOO_LARGE)
        shutil.copyfile(source, path)
    except OSError as error:
        raise _NotThereError(error.strerror) from error


def _stream(url: str, path: Path, task: Task) -> None:
    import httpx

    done = path.stat().st_size if path.exists() else 0
    # Identity, because a resumed download counts the bytes of the file, not of an encoding.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={done}-"} if done else {})}
    with httpx.stream(
        "GET", url, headers=headers, follow_redirects=True, timeout=TIMEOUT
    ) as response:
        response.raise_for_status()
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        with path.open("ab" if resumed else "wb") as stream:
            _write(response, stream, task)


def _write(response: httpx.Response, stream: BinaryIO, task: Task) -> None:
    total = 0
    for chunk in response.iter_raw(1 << 18):
        total += len(chunk)
        if total > MAX_BYTES:
            raise _NotThereError(TOO_LARGE)
        stream.write(chunk)
        task.advance(len(chunk))
