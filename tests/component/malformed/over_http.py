"""HTTP that is wrong, and what HTTP refuses."""

from __future__ import annotations

import json
import random

from malformed.kinds import INFER, TOKEN, good, http, kind, text_of


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


def doubtful(rng: random.Random, *headers: str) -> bytes:
    """A request whose body ends where it is chunked or has 25 bytes, and another one behind it."""
    raw = b"%x\r\n%s\r\n0\r\n\r\n" % (15, text_of(rng, 15, 15).encode())
    lines = [f"POST {INFER} HTTP/1.1", "Host: a", *rng.sample(headers, len(headers))]
    behind = f"GET /{text_of(rng)} HTTP/1.1\r\nHost: a\r\n\r\n"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw + behind.encode()


@kind(400)
def two_lengths(rng: random.Random) -> bytes:
    return doubtful(rng, "Content-Length: 25", f"content-length: {rng.randint(0, 25)}")


@kind(400)
def a_length_and_chunks(rng: random.Random) -> bytes:
    return doubtful(rng, f"Content-Length: {rng.randint(0, 25)}", "Transfer-Encoding: chunked")


@kind(400)
def a_length_that_others_read_otherwise(rng: random.Random) -> bytes:
    other = rng.choice(("+25", "25, 25", "2 5", "0x19", "25;", "2_5", "25.0"))
    return doubtful(rng, f"Content-Length: {other}")


@kind(400)
def another_transfer_encoding(rng: random.Random) -> bytes:
    coding = rng.choice(("gzip", "gzip, chunked", "chunked, gzip", "identity", "xchunked",
                         "chunked;", "chunked\r\n\tchunked", text_of(rng)))  # fmt: skip
    length = ("Content-Length: 25",) if rng.random() < 0.5 else ()
    return doubtful(rng, f"Transfer-Encoding: {coding}", *length)


@kind(400)
def two_transfer_encodings(rng: random.Random) -> bytes:
    other = rng.choice(("chunked", "gzip", "identity", text_of(rng)))
    return doubtful(rng, "Transfer-Encoding: chunked", f"Transfer-Encoding: {other}")


@kind(400)
def a_space_before_a_colon(rng: random.Random) -> bytes:
    name = rng.choice(("Content-Length : 25", "Transfer-Encoding\t: chunked", "X : y"))
    return doubtful(rng, name, "Content-Length: 25")


@kind(400)
def a_body_where_there_is_none(rng: random.Random) -> bytes:
    method = rng.choice(("GET", "HEAD", "DELETE"))
    return http(text_of(rng).encode(), method=method, path="/v2")


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


@kind(400)
def a_wrong_escape_in_the_path(rng: random.Random) -> bytes:
    escape = rng.choice(("%", "%4", "%zz", "%00", "%4" + text_of(rng, 1, 1) + "%g0", "%+1", "%%41"))
    return http(method="GET", path=f"/v2/models/{text_of(rng)}{escape}")


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
