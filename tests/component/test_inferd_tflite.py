"""inferd with TensorFlow Lite's library: on the CPU, and with a delegate in place of an NPU's."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import inferd_host
import pytest
from inferd_host import FIXTURES, Inferd

pytestmark = pytest.mark.network

DOUBLING = FIXTURES / "good-tflite"
XNNPACK = "TfLiteXNNPackDelegate"


@pytest.fixture(scope="module")
def runtimes() -> dict[str, str]:
    return {"tflite": str(inferd_host.tflite_library())}


@pytest.fixture(scope="module")
def delegates(tmp_path_factory) -> list[Path]:
    """Delegates that take none, the first and both of the model's nodes."""
    folder = tmp_path_factory.mktemp("delegates é")
    made = [folder / f"libfake{takes}.so" for takes in range(3)]
    return [compile_delegate(path, f"-DTAKES={takes}") for takes, path in enumerate(made)]


def compile_delegate(path: Path, *flags: str) -> Path:
    words = ["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", *flags]
    source = Path(__file__).with_name("fake_delegate.c")
    subprocess.run([*words, "-o", path, source], check=True)
    return path


def refusal(inferd: Inferd, config: Path) -> str:
    result = inferd.run("selftest", "--config", config)
    assert result.returncode == 2, result
    lines = [line for line in result.stderr.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 1, result.stderr
    return lines[0].removeprefix("inferd: ")


def selftest(inferd: Inferd, config: Path) -> dict[str, Any]:
    result = inferd.run("selftest", "--config", config)
    assert result.returncode == 0, result
    (model,) = json.loads(result.stdout)["models"]
    assert model["pass"] is True
    return dict(model)


def changed(inferd: Inferd, model: bytes | None = None, **changes: Any) -> Path:
    """A copy of the bundle with another model or other keys, sealed again."""
    folder = inferd.folder / "changed"
    shutil.copytree(DOUBLING, folder, dirs_exist_ok=True)
    data = json.loads((DOUBLING / "bundle.json").read_text()) | changes
    if model is not None:
        (folder / "model.tflite").write_bytes(model)
        data["files"]["model.tflite"] = {
            "size": len(model), "sha256": hashlib.sha256(model).hexdigest()
        }  # fmt: skip
    (folder / "bundle.json").write_text(json.dumps(data))
    return folder


def test_selftest(inferd: Inferd, runtimes) -> None:
    model = selftest(inferd, inferd.configure([DOUBLING], runtimes=runtimes))
    assert (model["runtime"], model["runtime_version"]) == ("tflite", "2.17.1")
    assert model["provider"] == XNNPACK
    assert model["checks"][0]["max_abs"] == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_batches_of_any_size(inferd: Inferd, runtimes, threads: int) -> None:
    config = inferd.configure([DOUBLING], runtimes=runtimes, model={"threads": threads})
    with inferd.serve(config) as server:
        for rows in (1, 3, 2, 1):
            data = [float(i) for i in range(3 * rows)]
            request = {"inputs": [
                {"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": data}
            ]}  # fmt: skip
            answer = server.client.post("/v2/models/fixture/infer", json=request)
            assert answer.status_code == 200, answer.text
            (output,) = answer.json()["outputs"]
            assert output["shape"] == [rows, 3]
            assert output["data"] == [4 * value for value in data]


def test_beside_a_model_of_onnx(inferd: Inferd, runtimes) -> None:
    other = changed(inferd, name="doubling")
    both = runtimes | {"onnxruntime": str(inferd_host.runtime_library())}
    with inferd.serve(inferd.configure([FIXTURES / "good-float", other], runtimes=both)) as server:
        metrics = server.client.get("/metrics").text
    assert 'provider="CPUExecutionProvider"' in metrics
    assert f'provider="{XNNPACK}"' in metrics


@pytest.mark.parametrize(
    ("takes", "fallback", "provider"),
    [
        (2, "deny", "Fake"),
        (2, "allow", "Fake"),
        (1, "allow", f"Fake,{XNNPACK}"),
        (0, "allow", XNNPACK),
    ],
)
def test_a_delegate(inferd: Inferd, runtimes, delegates, takes, fallback, provider) -> None:
    model = {"device": "npu", "fallback": fallback, "delegate": str(delegates[takes])}
    config = inferd.configure([DOUBLING], runtimes=runtimes, model=model)
    assert selftest(inferd, config)["provider"] == provider
    with inferd.serve(config) as server:
        assert f'provider="{provider}"' in server.client.get("/metrics").text
        metadata = server.client.get("/v2/models/fixture").json()
        assert metadata["parameters"]["provider"] == provider


def test_a_delegate_that_never_ends(inferd: Inferd, runtimes, tmp_path: Path) -> None:
    """The server ends then, since whoever supervises it starts it anew."""
    library = compile_delegate(tmp_path / "libfake.so", "-DTAKES=2", "-DHANGS")
    model = {"device": "npu", "delegate": str(library)}
    config = inferd.configure([DOUBLING], runtimes=runtimes, model=model, run_limit_ms=200)
    with inferd.serve(config, ends=1) as server:
        request = {
            "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]
        }
        with pytest.raises(httpx.RemoteProtocolError):
            server.client.post("/v2/models/fixture/infer", json=request, timeout=30)
        output, _ = server.process.communicate(timeout=10)
    assert json.loads(output.splitlines()[-1]) == {
        "level": "error", "message": "a model does not end, so the server does",
        "model": "fixture", "run_limit_ms": 200,
    }  # fmt: skip
    assert server.ready.exists()


@pytest.mark.parametrize(("takes", "left"), [(0, 2), (1, 1)])
def test_a_fallback_that_is_denied(inferd: Inferd, runtimes, delegates, takes, left) -> None:
    model = {"device": "npu", "delegate": str(delegates[takes])}
    config = inferd.configure([DOUBLING], runtimes=runtimes, model=model)
    assert refusal(inferd, config) == (
        f"fixture: npu: {left} of 2 nodes would run on the CPU, and falling back to it is denied"
    )


def test_delegates_that_cannot_be(inferd: Inferd, runtimes) -> None:
    for delegate, message in (
        ("", "no delegate for the device npu, and falling back to the CPU is denied"),
        ("libm.so.6", "libm.so.6: not an external delegate"),
    ):
        model = {"device": "npu", "delegate": delegate}
        config = inferd.configure([DOUBLING], runtimes=runtimes, model=model)
        assert refusal(inferd, config) == f"fixture: {message}"
    model = {"device": "npu", "delegate": "/no/such.so"}
    config = inferd.configure([DOUBLING], runtimes=runtimes, model=model)
    assert refusal(inferd, config).startswith("fixture: cannot load /no/such.so: ")
    config = inferd.configure([DOUBLING], runtimes=runtimes, model={**model, "fallback": "allow"})
    assert selftest(inferd, config)["provider"] == XNNPACK


def test_models_that_cannot_be(inferd: Inferd, runtimes) -> None:
    tensor = {"name": "x", "dtype": "float32", "shape": [-1, 3]}
    raw = (DOUBLING / "model.tflite").read_bytes()
    for model in (b"TFL3", b"\x10\0\0\0TFL4" + raw[8:], raw[:-40]):
        config = inferd.configure([changed(inferd, model)], runtimes=runtimes)
        assert refusal(inferd, config) == (
            "fixture: not a TensorFlow Lite model: The model is not a valid Flatbuffer buffer"
        )
    for change in ({"name": "z"}, {"dtype": "int32"}):
        folder = changed(inferd, inputs=[tensor | change])
        config = inferd.configure([folder], runtimes=runtimes)
        assert ": golden-mismatch: " in refusal(inferd, config)


def test_libraries_that_cannot_be(inferd: Inferd) -> None:
    config = inferd.configure([DOUBLING], runtimes={"tflite": "libm.so.6"})
    assert refusal(inferd, config) == ("libm.so.6: no TensorFlow Lite library with TfLiteVersion")
    assert refusal(inferd, inferd.configure([DOUBLING], runtimes={})) == (
        "runtimes names no path for tflite"
    )


def stubborn_model() -> bytes:
    """x to [1, 3], whatever its batch is: any other than 1 cannot be prepared."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    def tensor_of(name: str) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.shapeSignature = name.encode(), [1, 3], [-1, 3]
        made.type = schema.TensorType.FLOAT32
        return made

    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    node = schema.OperatorT()
    node.inputs, node.outputs = [0], [1]
    node.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    node.builtinOptions = schema.ReshapeOptionsT()
    node.builtinOptions.newShape = [1, 3]
    graph = schema.SubGraphT()
    graph.tensors = [tensor_of("x"), tensor_of("y")]
    graph.operators, graph.inputs, graph.outputs = [node], [0], [1]
    whole = schema.ModelT()
    whole.version, whole.operatorCodes, whole.subgraphs = 3, [code], [graph]
    whole.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_a_batch_that_the_model_does_not_take(inferd: Inferd, runtimes: dict[str, str]) -> None:
    """Is an error each time, not only the first, and leaves the model as it was."""
    folder = changed(inferd, stubborn_model())

    def ask(rows: int) -> tuple[int, Any]:
        data = list(range(3 * rows))
        one = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": data}
        answer = server.client.post("/v2/models/fixture/infer", json={"inputs": [one]})
        return answer.status_code, answer.json()

    with inferd.serve(inferd.configure([folder], runtimes=runtimes)) as server:
        for _ in range(2):
            status, answer = ask(1)
            assert (status, answer["outputs"][0]["data"]) == (200, [0, 1, 2])
            for _ in range(3):
                status, answer = ask(2)
                assert status == 500
                assert answer["error"].startswith("the tensors cannot be allocated")
