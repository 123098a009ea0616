"""Bodies that are not the JSON of a request."""

from __future__ import annotations

import json
import random

from malformed.kinds import ask, good, http, kind, text_of


@kind(400)
def json_cut_off(rng: random.Random) -> bytes:
    raw = json.dumps(good()).encode()
    return http(raw[: rng.randint(0, len(raw) - 1)])


@kind(400)
def bytes_at_random(rng: random.Random) -> bytes:
    return http(b"\x01" + rng.randbytes(rng.randint(0, 500)))


@kind(400)
def no_utf_8(rng: random.Random) -> bytes:
    wrong = rng.choice((b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"))
    return http(b'{"id": "' + text_of(rng).encode() + wrong + b'", "inputs": []}')


@kind(400)
def a_doubled_key(rng: random.Random) -> bytes:
    key = rng.choice(("id", "inputs", text_of(rng)))
    return http(f'{{"{key}": [], "{key}": []}}'.encode())


@kind(400)
def nested_too_deep(rng: random.Random) -> bytes:
    depth = rng.randint(17, 5000)
    return http(b"[" * depth + b"]" * depth)


@kind(400)
def words_that_json_does_not_have(rng: random.Random) -> bytes:
    word = rng.choice(("NaN", "Infinity", "-Infinity", "undefined", "'a'", "0x1", "01", "1e999"))
    return http(f'{{"id": {word}}}'.encode())


@kind(400)
def something_behind_the_json(rng: random.Random) -> bytes:
    return http(json.dumps(good()).encode() + text_of(rng).encode())


@kind(400)
def no_object(rng: random.Random) -> bytes:
    return ask(rng.choice(([], 1, "text", None, True, [good()], 1.5)))
