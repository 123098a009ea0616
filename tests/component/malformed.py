"""Kinds of malformed requests: each makes any number of them and names the status it must get.

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


# HTTP


@kind(400)
def no_request_line(rng: random.Random) -> bytes:
    return bytes(rng.choices(range(33, 127), k=rng.randint(1, 200))) + b"\r\n\r\n"


@kind(400)
def no_version(rng: random.Random) -> bytes:
    return f"GET /{text_of(rng)}\r\n\r\n".encode()


@kind(400)
def another_protocol(rng: random.Random) -> bytes:
    return f"GET /v2 {text_of(rng).upper()}/1.1\r\n\r\n".encode()


@kind(400)
def a_header_without_colon(rng: random.Random) -> bytes:
    return f"GET /v2 HTTP/1.1\r\n{text_of(rng)}\r\n\r\n".encode()


@kind(400)
def headers_over_the_limit(rng: random.Random) -> bytes:
    return b"GET /v2 HTTP/1.1\r\nX: " + b"a" * rng.randint(17_000, 90_000) + b"\r\n\r\n"


@kind(400)
def very_many_headers(rng: random.Random) -> bytes:
    return b"GET /v2 HTTP/1.1\r\n" + b"X: a\r\n" * rng.randint(5000, 9000) + b"\r\n"


@kind(400)
def a_path_over_the_limit(rng: random.Random) -> bytes:
    return b"GET /" + b"a" * rng.randint(17_000, 90_000) + b" HTTP/1.1\r\n\r\n"


@kind(400)
def a_negative_length(rng: random.Random) -> bytes:
    return f"POST {INFER} HTTP/1.1\r\nContent-Length: -{rng.randint(1, 10**12)}\r\n\r\n".encode()


@kind(400)
def a_length_that_is_no_number(rng: random.Random) -> bytes:
    return f"POST {INFER} HTTP/1.1\r\nContent-Length: {text_of(rng)}\r\n\r\n".encode()


@kind(413)
def a_length_over_the_limit(rng: random.Random) -> bytes:
    size = rng.randint(10**9, 10**25)
    return f"POST {INFER} HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode()


@kind(413)
def a_body_over_the_models_limit(rng: random.Random) -> bytes:
    return http(b" " * rng.randint(200_000, 320_000))


@kind(413)  # so says libevent of a chunk that has no size
def chunks_without_size(rng: random.Random) -> bytes:
    head = f"POST {INFER} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    return f"{head}{text_of(rng)}xyz\r\n".encode()


@kind(501)  # RFC 9110: not implemented, rather than one of 4xx
def an_unknown_method(rng: random.Random) -> bytes:
    return http(method=text_of(rng, 3, 9).upper() + "X", path="/v2")


@kind(404)
def an_unknown_path(rng: random.Random) -> bytes:
    return http(method="GET", path=f"/{text_of(rng)}/{text_of(rng)}")


@kind(404)
def an_unknown_model(rng: random.Random) -> bytes:
    return http(json.dumps(good()).encode(), path=f"/v2/models/{text_of(rng)}/infer")


@kind(404)
def an_unknown_version(rng: random.Random) -> bytes:
    path = f"/v2/models/fixture/versions/{text_of(rng)}/infer"
    return http(json.dumps(good()).encode(), path=path)


@kind(405)
def another_method_for_infer(rng: random.Random) -> bytes:
    return http(method=rng.choice(("GET", "HEAD", "PUT", "DELETE")))


@kind(405)
def another_method_for_metadata(rng: random.Random) -> bytes:
    path = rng.choice(("/v2", "/v2/models/fixture", "/v2/models/fixture/ready"))
    return http(method=rng.choice(("POST", "PUT", "DELETE")), path=path)


@kind(405)
def another_method_for_health_or_metrics(rng: random.Random) -> bytes:
    path = rng.choice(("/v2/health/live", "/v2/health/ready", "/metrics"))
    return http(method=rng.choice(("POST", "PUT", "DELETE")), path=path)


@kind(401)
def no_token(_rng: random.Random) -> bytes:
    return http(json.dumps(good()).encode(), token=None)


@kind(401)
def another_token(rng: random.Random) -> bytes:
    wrong = (TOKEN[:-1], TOKEN + "x", text_of(rng), TOKEN.upper(), "", "\t" + TOKEN)
    return http(json.dumps(good()).encode(), token=f"Bearer {rng.choice(wrong)}!")


@kind(401)
def another_scheme(rng: random.Random) -> bytes:
    return http(json.dumps(good()).encode(), token=f"{text_of(rng)} {TOKEN}")


@kind(415)
def a_compressed_body(rng: random.Random) -> bytes:
    coding = rng.choice(("gzip", "deflate", "br", "zstd", text_of(rng)))
    return http(json.dumps(good()).encode(), f"Content-Encoding: {coding}")


# JSON


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


# the request


def not_an(rng: random.Random, *types: type) -> Any:
    """A value of another type."""
    values = (None, True, 7, -1, 1.5, "text", [1], {"a": 1})
    return rng.choice([v for v in values if type(v) not in types])


@kind(400)
def inputs_that_are_no_list(rng: random.Random) -> bytes:
    return ask({"inputs": not_an(rng, list)} if rng.random() < 0.8 else {})


@kind(400)
def an_id_that_is_no_text(rng: random.Random) -> bytes:
    return ask({**good(), "id": not_an(rng, str)})


@kind(400)
def parameters_that_are_no_object(rng: random.Random) -> bytes:
    return ask({**good(), "parameters": not_an(rng, dict)})


@kind(400)
def parameters_that_are_not_supported(rng: random.Random) -> bytes:
    key = rng.choice(("shared_memory_region", "classification", "sequence_id"))
    return ask({**good(), "parameters": {key: 1}})


@kind(400)
def a_timeout_that_is_none(rng: random.Random) -> bytes:
    value = rng.choice((-1, 1.5, "1", None, [], True, 2**32, 2**64))
    return ask({**good(), "parameters": {"timeout": value}})


@kind(400)
def a_flag_that_is_none(rng: random.Random) -> bytes:
    return ask({**good(), "parameters": {"binary_data_output": not_an(rng, bool)}})


@kind(400)
def outputs_that_are_no_list(rng: random.Random) -> bytes:
    return ask({**good(), "outputs": not_an(rng, list)})


@kind(400)
def an_output_that_the_model_lacks(rng: random.Random) -> bytes:
    name = rng.choice((text_of(rng), "", None, 1, ["bool-out"]))
    return ask({**good(), "outputs": [{"name": "bool-out"}, {"name": name}]})


# tensors


@kind(400)
def an_input_is_missing(rng: random.Random) -> bytes:
    body = good()
    body["inputs"].remove(rng.choice(body["inputs"]))
    return ask(body)


@kind(400)
def an_input_twice(rng: random.Random) -> bytes:
    body = good()
    one, other = rng.sample(range(len(NAMES)), 2)
    body["inputs"][one] = body["inputs"][other]
    return ask(body)


@kind(400)
def an_input_that_is_no_object(rng: random.Random) -> bytes:
    body = good()
    body["inputs"][rng.randrange(len(NAMES))] = not_an(rng, dict)
    return ask(body)


@kind(400)
def an_input_without_name(rng: random.Random) -> bytes:
    return one_changed(rng, name=rng.choice((..., "", text_of(rng) + "!", 1, None, [])))


@kind(400)
def another_datatype(rng: random.Random) -> bytes:
    wrong = (..., "BYTES", "fp32", "float32", "FP33", text_of(rng), 1, None, [])
    return one_changed(rng, datatype=rng.choice(wrong))


@kind(400)
def no_shape(rng: random.Random) -> bytes:
    return one_changed(rng, shape=rng.choice((..., None, 3, "1,3", {"0": 1}, True)))


@kind(400)
def sizes_that_are_none(rng: random.Random) -> bytes:
    wrong = rng.choice((-1, 1.0, "1", None, [1], True, 2**31, 2**63, -(2**63), 2**64))
    return one_changed(rng, shape=rng.choice(([wrong, 3], [1, wrong])))


@kind(400)
def another_rank(rng: random.Random) -> bytes:
    return one_changed(rng, shape=rng.choice(([], [3], [1, 1, 3], [1, 3, 1], [1] * 8, [1] * 99)))


@kind(400)
def another_axis(rng: random.Random) -> bytes:
    return one_changed(rng, shape=[1, rng.choice((0, 1, 2, 4, 5, 2**31 - 1))])


@kind(400)
def another_batch_than_the_others(rng: random.Random) -> bytes:
    body, rows = good(), rng.randint(2, 9)
    chosen = rng.choice(body["inputs"])
    chosen.update(shape=[rows, 3], data=chosen["data"] * rows)
    return ask(body)


@kind(400)
def a_batch_that_is_only_claimed(rng: random.Random) -> bytes:
    return one_changed(rng, shape=[rng.randint(2, 2**31 - 1), 3])


@kind(400)
def no_data(rng: random.Random) -> bytes:
    return one_changed(rng, data=rng.choice((..., None, 1, "text", {}, True)))


@kind(400)
def too_few_values(rng: random.Random) -> bytes:
    body = good()
    chosen = rng.choice(body["inputs"])
    chosen["data"] = chosen["data"][: rng.randint(0, 2)]
    return ask(body)


@kind(400)
def too_many_values(rng: random.Random) -> bytes:
    body = good()
    chosen = rng.choice(body["inputs"])
    chosen["data"] = chosen["data"] * rng.randint(2, 50)
    return ask(body)


@kind(400)
def values_of_another_type(rng: random.Random) -> bytes:
    body = good()
    chosen = rng.choice(body["inputs"])
    chosen["data"][rng.randrange(3)] = rng.choice((None, "1", {}, {"a": 1}))
    return ask(body)


@kind(400)
def values_out_of_range(rng: random.Random) -> bytes:
    limits = {
        "bool": (2, -1), "uint8": (256, -1), "int8": (128, -129), "uint16": (65536, -1),
        "int16": (32768, -32769), "uint32": (2**32, -1), "int32": (2**31, -(2**31) - 1),
        "uint64": (2**64, -1), "int64": (2**63, -(2**63) - 1), "float16": (1e39, -1e39),
        "float32": (3.5e38, -1e300),
    }  # fmt: skip
    name = rng.choice(tuple(limits))
    body = good()
    body["inputs"][NAMES.index(name)]["data"][rng.randrange(3)] = rng.choice(limits[name])
    return ask(body)


# bytes behind the JSON


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
