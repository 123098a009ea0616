"""The HTTP client of tritonclient, unmodified: the binary tensor extension and all its words."""

import warnings
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from inferd_host import FIXTURES, Inferd, Running

pytestmark = pytest.mark.inferd

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    http = pytest.importorskip("tritonclient.http", reason="not run: tritonclient is missing")

NAMES = {
    "bool": np.bool_, "uint8": np.uint8, "int8": np.int8, "uint16": np.uint16, "int16": np.int16,
    "uint32": np.uint32, "int32": np.int32, "uint64": np.uint64, "int64": np.int64,
    "float16": np.float16, "float32": np.float32, "float64": np.float64,
}  # fmt: skip


@pytest.fixture(scope="module")
def server(inferd_build, tmp_path_factory) -> Iterator[Running]:
    inferd = Inferd(inferd_build / "inferd", tmp_path_factory.mktemp("client"))
    bundles = [FIXTURES / "good-two-inputs"]
    with inferd.serve(inferd.configure(bundles)) as running:
        yield running


@pytest.fixture
def client(server: Running) -> Iterator[object]:
    client = http.InferenceServerClient(server.address)
    yield client
    client.close()


def inputs(*, binary: bool, rows: int = 1, dtype=np.float32) -> list[object]:
    made = []
    for name in ("x0", "x1"):
        data = np.arange(3 * rows, dtype=dtype).reshape(rows, 3)
        made.append(http.InferInput(name, list(data.shape), "FP32"))
        made[-1].set_data_from_numpy(data, binary_data=binary)
    return made


def test_health_and_metadata(client) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fixture")
    assert client.is_model_ready("fixture", "1.0.0")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.get_model_metadata("fixture")["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [-1, 2]}
    ]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_json_and_binary(client, binary_in: bool, binary_out: bool | None) -> None:
    outputs = (
        None if binary_out is None else [http.InferRequestedOutput("y", binary_data=binary_out)]
    )
    sent = inputs(binary=binary_in, rows=2)
    answer = client.infer("fixture", sent, outputs=outputs, request_id="r é", timeout=5_000_000)
    reference = client.infer("fixture", inputs(binary=False, rows=2)).as_numpy("y")
    assert answer.get_response()["id"] == "r é"
    assert ("data" in answer.get_output("y")) == (binary_out is False)
    assert answer.as_numpy("y").shape == (2, 2)
    np.testing.assert_array_equal(answer.as_numpy("y"), reference)
    assert reference.any()


def test_asynchronous_requests(client) -> None:
    waiting = [client.async_infer("fixture", inputs(binary=True)) for _ in range(20)]
    answers = [request.get_result().as_numpy("y").tolist() for request in waiting]
    assert answers == [answers[0]] * 20


def test_errors_are_told(client) -> None:
    with pytest.raises(Exception, match="there is no model other") as failure:
        client.infer("other", inputs(binary=True))
    assert failure.value.status() == "404"
    with pytest.raises(Exception, match="there is no output") as failure:
        client.infer("fixture", inputs(binary=True), outputs=[http.InferRequestedOutput("z")])
    assert failure.value.status() == "400"
    with pytest.raises(Exception, match="compressed requests are not supported") as failure:
        client.infer("fixture", inputs(binary=True), request_compression_algorithm="gzip")
    assert failure.value.status() == "415"


def test_every_datatype_by_bytes(inferd: Inferd) -> None:
    values = {name: np.array([[1, 0, 1]], dtype=dtype) for name, dtype in NAMES.items()}
    sent = []
    for name, data in values.items():
        sent.append(http.InferInput(name, [1, 3], http.np_to_triton_dtype(data.dtype)))
        sent[-1].set_data_from_numpy(data)
    with inferd.serve(inferd.configure([FIXTURES / "good-types"])) as running:
        client = http.InferenceServerClient(running.address)
        answer = client.infer("fixture", sent)
        client.close()
    for name, data in values.items():
        got = answer.as_numpy(f"{name}-out")
        assert got.dtype == data.dtype
        np.testing.assert_array_equal(got, data)


def test_numbers_that_json_cannot_have(inferd: Inferd) -> None:
    def infer(client, dtype: str, value: float, *, binary: bool) -> object:
        sent = []
        for name, given in NAMES.items():
            data = np.array([[1, value if name == dtype else 0, 1]], dtype=given)
            sent.append(http.InferInput(name, [1, 3], http.np_to_triton_dtype(data.dtype)))
            sent[-1].set_data_from_numpy(data)
        asked = [http.InferRequestedOutput(f"{n}-out", binary and n == dtype) for n in NAMES]
        return client.infer("fixture", sent, outputs=asked).as_numpy(f"{dtype}-out")

    with inferd.serve(inferd.configure([FIXTURES / "good-types"])) as running:
        client = http.InferenceServerClient(running.address)
        for dtype in ("float16", "float32", "float64"):
            for value in (np.inf, -np.inf, np.nan):
                want = np.array([[1, value, 1]], dtype=dtype)
                np.testing.assert_array_equal(infer(client, dtype, value, binary=True), want)
                with pytest.raises(Exception, match="ask for it") as failure:
                    infer(client, dtype, value, binary=False)
                assert (failure.value.status(), failure.value.message()) == (
                    "400",
                    f"output {dtype}-out has values that JSON cannot have; "
                    "ask for it with binary_data",
                )
        client.close()


HEADER = "Inference-Header-Content-Length"
JSON = (
    b'{"inputs":[{"name":"x0","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":%d}},'
    b'{"name":"x1","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":%d}}]%s}'
)
WRONG = {
    "no number": (JSON % (12, 12, b""), "ten", 24, f"{HEADER} must be a number"),
    "negative": (JSON % (12, 12, b""), "-1", 24, f"{HEADER} must be a number"),
    "beyond": (JSON % (12, 12, b""), "9999", 24, f"{HEADER} is more than the request has"),
    "overflow": (JSON % (12, 12, b""), "9" * 30, 24, f"{HEADER} must be a number"),
    "none": (JSON % (12, 12, b""), None, 0, "x0: binary_data_size is more than the request has"),
    "few": (JSON % (12, 12, b""), None, 23, None),
    "short": (JSON % (8, 16, b""), "", 24, "x0: the bytes are not the 3 FP32 of its shape"),
    "left": (JSON % (12, 8, b""), "", 24, "the request has bytes that belong to no input"),
    "huge": (JSON % (12, 2**63, b""), "", 24, "x1: binary_data_size is more than the request has"),
    "flag": (JSON % (12, 12, b',"parameters":{"binary_data_output":1}'), "", 24,
             "the request: binary_data_output must be true or false"),
    "timeout": (JSON % (12, 12, b',"parameters":{"timeout":-1}'), "", 24,
                "the request: timeout must be a number of microseconds"),
    "parameters": (JSON % (12, 12, b',"parameters":[]'), "", 24,
                   "the request: parameters must be an object"),
    "sequences": (JSON % (12, 12, b',"parameters":{"sequence_id":1}'), "", 24,
                  "the request: sequence_id is not supported"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_binary_requests_that_are_wrong(server: Running, case: str) -> None:
    text, length, size, message = WRONG[case]
    headers = {} if length is None else {HEADER: length or str(len(text))}
    url = f"http://{server.address}/v2/models/fixture/infer"
    answer = httpx.post(url, content=text + b"\0" * size, headers=headers)
    assert answer.status_code == 400
    assert message is None or answer.json() == {"error": message}


def test_text(inferd: Inferd) -> None:
    words = np.array([["zwölf".encode(), b""], [b"\0\xff", b"x" * 5000]], dtype=np.object_)
    with inferd.serve(inferd.configure([FIXTURES / "good-text"])) as running:
        client = http.InferenceServerClient(running.address)
        sent = [http.InferInput("words", [2, 2], "BYTES")]
        sent[0].set_data_from_numpy(words)
        assert client.infer("fixture", sent).as_numpy("same").tolist() == words.tolist()
        with pytest.raises(Exception, match="output same has values that JSON cannot have"):
            client.infer("fixture", sent, outputs=[http.InferRequestedOutput("same", False)])
        item = {"name": "words", "datatype": "BYTES", "shape": [1, 2], "data": ["zwölf", ""]}
        answer = running.client.post("/v2/models/fixture/infer", json={"inputs": [item]})
        assert answer.json()["outputs"][0]["data"] == ["zwölf", ""]
        item["data"] = ["one", 2]
        answer = running.client.post("/v2/models/fixture/infer", json={"inputs": [item]})
        assert answer.json() == {
            "error": "words: data has a value that is no BYTES, or too many values"
        }
        client.close()
