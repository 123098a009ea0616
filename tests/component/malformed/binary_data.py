"""Bytes behind the JSON that do not fit."""

from __future__ import annotations

import json
import random

from malformed.kinds import binary, in_bytes, kind, text_of, words


@kind(400)
def a_length_of_the_json_that_is_none(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, 0)
    wrong = rng.choice(("-1", "1.0", "0x10", "+5", "5 5", text_of(rng), "9" * 30))
    return binary(body, raw, f"Inference-Header-Content-Length: {wrong}")


@kind(400)
def a_length_of_the_json_over_the_requests(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, 0)
    size = len(json.dumps(body)) + len(raw) + rng.randint(1, 10**9)
    return binary(body, raw, f"Inference-Header-Content-Length: {size}")


@kind(400)
def a_length_of_the_json_that_cuts_it(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, 0)
    size = rng.randint(0, len(json.dumps(body)) - 1)
    return binary(body, raw, f"Inference-Header-Content-Length: {size}")


@kind(400)
def fewer_bytes_than_the_shape_needs(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, -1)
    return binary(body, raw)


@kind(400)
def more_bytes_than_the_shape_needs(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, rng.randint(1, 99))
    return binary(body, raw)


@kind(400)
def bytes_that_belong_to_nothing(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, 0)
    return binary(body, raw + rng.randbytes(rng.randint(1, 99)))


@kind(400)
def a_size_over_what_was_sent(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, 0)
    chosen = next(item for item in body["inputs"] if "parameters" in item)
    chosen["parameters"]["binary_data_size"] += rng.choice((1, 100, 2**31, 2**63))
    return binary(body, raw)


@kind(400)
def a_size_that_is_no_number(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, 0)
    chosen = next(item for item in body["inputs"] if "parameters" in item)
    chosen["parameters"]["binary_data_size"] = rng.choice((-1, 1.5, "3", None, [3], True, 2**64))
    return binary(body, raw)


@kind(400)
def data_and_bytes_at_once(rng: random.Random) -> bytes:
    body, raw = in_bytes(rng, 0)
    chosen = next(item for item in body["inputs"] if "parameters" in item)
    chosen["data"] = [1, 1, 1]
    return binary(body, raw)


@kind(400)
def text_with_wrong_lengths(rng: random.Random) -> bytes:
    size = rng.choice((5, 100, 2**31, 2**32 - 1))
    return words(b"\1\0\0\0a" + size.to_bytes(4, "little") + b"bcd")


@kind(400)
def text_of_another_number(rng: random.Random) -> bytes:
    count = rng.choice((0, 1, 3, 9))
    return words(b"\1\0\0\0a" * count)
