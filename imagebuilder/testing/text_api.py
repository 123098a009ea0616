"""The API of a language model on a target, as a client of the network sees it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import httpx

from imagebuilder import device
from imagebuilder.errors import BuildError
from imagebuilder.target.reachable import Reachable

TIMEOUT = 300.0
"""Seconds for an answer: emulated, a token takes about one."""


class TextApi:
    """llama-server on a target; `BuildError` where no port of the host leads to it."""

    def __init__(self, target: Reachable) -> None:
        self._target = target

    @property
    def address(self) -> str:
        """The server as reached from the host, without a path."""
        if self._target.text_port is None:
            raise BuildError("the language model is served on the target's loopback only")
        return f"http://127.0.0.1:{self._target.text_port}"

    @cached_property
    def key(self) -> str:
        """The key that the device made; empty where it asks for none."""
        done = self._target.run(f"cat {device.TEXT_KEY_PATH}")
        return done.stdout.decode().strip() if done.exit_code == 0 else ""

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        timeout: float = TIMEOUT,
    ) -> httpx.Response:
        """Send one request, whatever the answer's status; `timeout` is in seconds."""
        key = self.key if key is None else key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.request(
            method, self.address + path, content=content, headers=headers, timeout=timeout
        )

    def ask(self, path: str, body: Mapping[str, Any]) -> Any:
        """Post JSON and give the JSON answer; `AssertionError` for any but status 200."""
        answer = self.request("POST", path, body)
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text[:500]}"
        return answer.json()
