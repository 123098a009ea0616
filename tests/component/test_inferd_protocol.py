"""The Open Inference Protocol v2 over a real socket, and what is no protocol at all."""

import hashlib
import json
from collections.abc import Iterator

import httpx
import pytest
from inferd_host import FIXTURES, Inferd, Running

pytestmark = pytest.mark.inferd

TYPES = {
    "bool": "BOOL", "uint8": "UINT8", "int8": "INT8", "uint16": "UINT16", "int16": "INT16",
    "uint32": "UINT32", "int32": "INT32", "uint64": "UINT64", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
VALUES = {
    "BOOL": [True, False, True],
    "UINT8": [0, 255, 7], "INT8": [-128, 127, 7], "UINT16": [0, 65535, 7],
    "INT16": [-32768, 32767, 7], "UINT32": [0, 2**32 - 1, 7], "INT32": [-(2**31), 2**31 - 1, 7],
    "UINT64": [0, 2**64 - 1, 7], "INT64": [-(2**63), 2**63 - 1, 7],
    "FP16": [0.5, -65504, 2**-24], "FP32": [0.1, -1e38, 7], "FP64": [0.1, -1e308, 7],
}  # fmt: skip
PATH = "/v2/models/fixture"


@pytest.fixture(scope="module")
def server(inferd_build, tmp_path_factory) -> Iterator[Running]:
    inferd = Inferd(inferd_build / "inferd", tmp_path_factory.mktemp("inferd é"))
    with inferd.serve(inferd.configure([FIXTURES / "good-two-inputs"])) as running:
        yield running
        # Whatever the tests sent, the server still computes.
        assert infer(running).json()["outputs"][0]["data"] == [8, 11]


def tensor(name: str, **changes: object) -> dict[str, object]:
    return {"name": name, "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3], **changes}


def infer(server: Running, **changes: object) -> httpx.Response:
    body = {"inputs": [tensor("x0"), tensor("x1")], **changes}
    return server.client.post(f"{PATH}/infer", json=body)


def test_server_metadata_and_health(server: Running) -> None:
    assert server.client.get("/v2").json() == {
        "name": "inferd", "version": "0.1.0", "extensions": ["binary_tensor_data"],
    }  # fmt: skip
    assert server.client.get("/v2/health/live").json() == {"live": True}
    assert server.client.get("/v2/health/ready").json() == {"ready": True}
    head = server.client.head("/v2/health/live")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "13", b"")


@pytest.mark.parametrize("path", [PATH, f"{PATH}/versions/1.0.0"])
def test_model_metadata(server: Running, path: str) -> None:
    raw = (FIXTURES / "good-two-inputs" / "bundle.json").read_bytes()
    answer = server.client.get(path)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "name": "fixture",
        "versions": ["1.0.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": n, "datatype": "FP32", "shape": [-1, 3]} for n in ("x0", "x1")],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
        "parameters": {
            "digest": "sha256:" + hashlib.sha256(raw).hexdigest(),
            "runtime": "onnxruntime",
            "runtime_version": "1.28.0",
            "device": "cpu",
            "fallback": "deny",
            "provider": "CPUExecutionProvider",
        },
    }
    assert server.client.get(f"{path}/ready").json() == {"name": "fixture", "ready": True}


def test_infer(server: Running) -> None:
    answer = infer(server, id="seven é", outputs=[{"name": "y"}])
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "seven é",
        "model_name": "fixture",
        "model_version": "1.0.0",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [8, 11]}],
    }


def test_members_that_are_null(server: Running) -> None:
    """As clients made of models with optional members write them."""
    none = {"parameters": None}
    inputs = [tensor("x0", **none), tensor("x1", **none)]
    for outputs in (None, [{"name": "y", **none}]):
        answer = infer(server, id=None, **none, inputs=inputs, outputs=outputs)
        assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == [8, 11]
        assert "id" not in answer.json()


def test_a_batch_of_nested_rows(server: Running) -> None:
    rows = tensor("x0", shape=[2, 3], data=[[1, 2, 3], [0, 0, 0]])
    zeros = tensor("x1", shape=[2, 3], data=[0] * 6)
    answer = infer(server, inputs=[zeros, rows]).json()["outputs"][0]
    assert answer["shape"] == [2, 2]
    assert answer["data"] == [4, 5.5, 0, 0]


def test_every_datatype_goes_through_the_runtime(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([FIXTURES / "good-types"])) as server:
        inputs = [tensor(n, datatype=d, data=VALUES[d]) for n, d in TYPES.items()]
        answer = infer(server, inputs=inputs)
        assert answer.status_code == 200, answer.text
        for output in answer.json()["outputs"]:
            want = VALUES[output["datatype"]]
            exact = output["datatype"] != "FP32"
            assert output["data"] == (want if exact else pytest.approx(want, rel=1e-6))


BAD_BODIES = {
    "empty": (b"", "the request is not JSON at byte 1"),
    "no JSON": (b"{]", "the request is not JSON at byte 2"),
    "not UTF-8": (b'{"id": "\xff"}', "the request is not JSON at byte 9"),
    "deep": (b"[" * 5000, "the request is nested deeper than 16 levels"),
    "doubled key": (b'{"id": "1", "id": "2"}', 'the request is the key "id" is doubled'),
    "NaN": (b'{"id": NaN}', "the request is not JSON at byte 8"),
    "a list": (b"[]", "the request must be an object"),
    "no inputs": (b"{}", "inputs must be a list"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bodies_that_are_no_request(server: Running, name: str) -> None:
    body, message = BAD_BODIES[name]
    answer = server.client.post(f"{PATH}/infer", content=body)
    assert (answer.status_code, answer.json()) == (400, {"error": message})


BAD_INPUTS = {
    "too few": ([tensor("x0")], "the model has 2 inputs, the request 1"),
    "twice the same": ([tensor("x0")] * 2, "there is no input x1"),
    "unknown": ([tensor("x0"), tensor("x9")], "there is no input x1"),
    "datatype": ([tensor("x0", datatype="FP64"), tensor("x1")], "x0: datatype must be FP32"),
    "text": ([tensor("x0", datatype="BYTES"), tensor("x1")], "x0: datatype must be FP32"),
    "rank": ([tensor("x0", shape=[3]), tensor("x1")], "x0: shape [3] does not fit [-1,3]"),
    "axis": ([tensor("x0", shape=[1, 4]), tensor("x1")], "x0: shape [1,4] does not fit [-1,3]"),
    "negative": ([tensor("x0", shape=[-1, 3]), tensor("x1")],
                 "x0: shape must be a list of sizes"),
    "huge": ([tensor("x0", shape=[2**31 - 1, 3]), tensor("x1")],
             "x0: shape [2147483647,3] does not fit [-1,3]"),
    "few": ([tensor("x0", data=[1]), tensor("x1")], "x0: data has 1 values, shape needs 3"),
    "many": ([tensor("x0", data=[1] * 4), tensor("x1")],
             "x0: data has a value that is no FP32, or too many values"),
    "words": ([tensor("x0", data=["1", "2", "3"]), tensor("x1")],
              "x0: data has a value that is no FP32, or too many values"),
    "batches": ([tensor("x0", shape=[2, 3], data=[0] * 6), tensor("x1")],
                "the free axes of the inputs have different sizes"),
    "a claim": ([tensor("x0", shape=[20_000_000, 3]), tensor("x1")],
                "x0: data has 3 values, shape needs 60000000"),
    "no data": ([{"name": "x0", "datatype": "FP32", "shape": [1, 3]}, tensor("x1")],
                "x0: data must be a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_inputs_that_do_not_fit(server: Running, name: str) -> None:
    inputs, message = BAD_INPUTS[name]
    answer = infer(server, inputs=inputs)
    assert (answer.status_code, answer.json()) == (400, {"error": message})


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/", 404, "there is nothing at this path"),
        ("GET", "/v2/models", 404, "there is nothing at this path"),
        ("GET", "/v2/models/", 404, "there is no model "),
        ("GET", "/v2/models/other", 404, "there is no model other"),
        ("GET", "/v2/models/../../etc/passwd", 404, None),
        ("GET", f"{PATH}/versions/2", 404, "fixture has no such version"),
        ("GET", f"{PATH}/versions/", 404, "fixture has no such version"),
        ("GET", f"{PATH}/nothing", 404, "there is nothing at this path"),
        ("POST", "/v2/models/other/infer", 404, "there is no model other"),
        ("GET", f"{PATH}/infer", 405, "use POST"),
        ("PUT", f"{PATH}/infer", 405, "use POST"),
        ("POST", "/v2", 405, "use GET"),
        ("POST", "/v2/health/live", 405, "use GET"),
        ("DELETE", PATH, 405, "use GET"),
    ],
)
def test_paths_and_methods(server: Running, method, path, status, message) -> None:
    answer = server.client.request(method, path)
    assert answer.status_code == status
    if message is not None:
        assert answer.json() == {"error": message}


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def post(*headers: bytes, body: bytes = b"") -> bytes:
    lines = (b"POST " + PATH.encode() + b"/infer HTTP/1.1", b"Host: a", *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /v2\r\n\r\n", 400),
        (b"GET /v2 HTTP/9.9.9\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"BREW /v2 HTTP/1.1\r\n\r\n", 501),
        (b"PATCH /v2 HTTP/1.1\r\n\r\n", 501),
        (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\n" + b"X: a\r\n" * 5000 + b"\r\n", 400),
        (post(b"Content-Length: -1"), 400),
        (post(b"Content-Length: ten"), 400),
        (post(b"Content-Length: 99999999999999999999"), 413),
        (post(b"Content-Length: 1000000000"), 413),
        (post(b"Transfer-Encoding: chunked", body=b"zz\r\n"), 413),
        (post(b"Content-Length: 0"), 400),
        (post(), 400),
    ],
)
def test_malformed_http(server: Running, data: bytes, status: int) -> None:
    assert status_of(server.raw(data)) == status


def test_chunks_are_put_together(server: Running) -> None:
    body = json.dumps({"inputs": [tensor("x0"), tensor("x1")]}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    close = b"Connection: close"
    answer = server.raw(post(b"Transfer-Encoding: chunked", close, body=chunks + b"0\r\n\r\n"))
    assert status_of(answer) == 200
    assert b'"data":[8.0,11.0]' in answer


def test_a_body_that_is_too_large_for_the_model(server: Running) -> None:
    answer = server.client.post(f"{PATH}/infer", content=b" " * 1_000_000)
    assert answer.status_code == 413
