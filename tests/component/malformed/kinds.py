"""What the kinds are made with, and their table.

Written for the fixtures good-types, one input of every dtype, and good-text under the name `words`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

TOKEN = "a token of this test"
TYPES = {
    "bool": ("BOOL", 1), "uint8": ("UINT8", 1), "int8": ("INT8", 1), "uint16": ("UINT16", 2),
    "int16": ("INT16", 2), "uint32": ("UINT32", 4), "int32": ("INT32", 4), "uint64": ("UINT64", 8),
    "int64": ("INT64", 8), "float16": ("FP16", 2), "float32": ("FP32", 4), "float64": ("FP64", 8),
}  # fmt: skip
"""Input → datatype and bytes of an element."""

NAMES = tuple(TYPES)
INFER = "/v2/models/fixture/infer"
Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """`make` gives the bytes of one request, another one for each state of the generator."""

    make: Callable[[random.Random], bytes]
    status: int


KINDS: dict[str, Kind] = {}


def kind(status: int) -> Callable[[Callable[[random.Random], bytes]], None]:
    """Enter a function into the table under its own name."""

    def enter(make: Callable[[random.Random], bytes]) -> None:
        KINDS[make.__name__.replace("_", " ")] = Kind(make, status)

    return enter


def http(
    body: bytes = b"",
    *headers: str,
    method: str = "POST",
    path: str = INFER,
    token: str | None = f"Bearer {TOKEN}",
) -> bytes:
    """A request whose HTTP is right, and its length too."""
    lines = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *headers]
    lines += [f"Authorization: {token}"] if token is not None else []
    lines += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def good(rows: int = 1) -> Body:
    """A request that the model takes."""
    return {
        "inputs": [
            {"name": name, "datatype": datatype, "shape": [rows, 3],
             "data": [name == "bool"] * 3 * rows if name == "bool" else [1] * 3 * rows}
            for name, (datatype, _) in TYPES.items()
        ]
    }  # fmt: skip


def words(raw: bytes, shape: tuple[int, int] = (1, 2)) -> bytes:
    """A request for text in bytes."""
    one = {"name": "words", "datatype": "BYTES", "shape": shape,
           "parameters": {"binary_data_size": len(raw)}}  # fmt: skip
    return binary({"inputs": [one]}, raw, path="/v2/models/words/infer")


def binary(body: Body, raw: bytes, *headers: str, path: str = INFER) -> bytes:
    """A request with bytes behind its JSON."""
    text = json.dumps(body).encode()
    size = f"Inference-Header-Content-Length: {len(text)}"
    return http(text + raw, *(headers or (size,)), path=path)


def ask(body: Any) -> bytes:
    """An infer request with this JSON."""
    return http(json.dumps(body).encode())


def one_changed(rng: random.Random, **changes: Any) -> bytes:
    """The good request with changes in one of its inputs; a change to `...` takes the key away."""
    body = good()
    chosen = rng.choice(body["inputs"])
    for key, value in changes.items():
        if value is ...:
            del chosen[key]
        else:
            chosen[key] = value
    return ask(body)


def in_bytes(rng: random.Random, change: int) -> tuple[Body, bytes]:
    """The good request with one input in bytes, of which there are `change` more than it needs."""
    body = good()
    chosen = rng.choice(body["inputs"])
    size = 3 * TYPES[chosen["name"]][1] + change
    del chosen["data"]
    chosen["parameters"] = {"binary_data_size": size}
    return body, bytes(size)


def text_of(rng: random.Random, least: int = 1, most: int = 30) -> str:
    """Letters."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(least, most)))
