"""inferd's commands and its life, with the real runtime."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from inferd_host import FIXTURES, Inferd
from slow_model import slow_model

from imagebuilder.models.steps.ort_format import convert

pytestmark = pytest.mark.inferd

TEXT = FIXTURES / "good-language-model"
GOOD = sorted(set(FIXTURES.glob("good-*")) - {FIXTURES / "good-tflite", TEXT})
FLOAT = FIXTURES / "good-float"
X = [{"name": "x0", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]
Y = [5.5 / 2 + 5.25 / 4 - 0.0625, 0]


def refusal(inferd: Inferd, *words: str | Path, **variables: str) -> str:
    """The one line of complaint of a command that must end with exit code 2."""
    result = inferd.run(*words, **variables)
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr.startswith("inferd: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.removeprefix("inferd: ").removesuffix("\n")


def copy(inferd: Inferd, folder_name: str = "bundle é", /, **changes: object) -> Path:
    """A bundle of this test's own; `changes` are keys of bundle.json."""
    folder = inferd.folder / folder_name
    shutil.copytree(FLOAT, folder)
    path = folder / "bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


def test_the_units_and_the_fuzz_corpora(inferd_build: Path) -> None:
    words = ["ctest", "--output-on-failure", "--test-dir", str(inferd_build)]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "100% tests passed, 0 tests failed out of 7" in result.stdout


def test_help_and_version(inferd: Inferd) -> None:
    for words in (["--help"], [], ["serve", "--help"], ["selftest", "-h"]):
        result = inferd.run(*words)
        assert result.returncode == 0
        assert result.stdout.startswith("usage: inferd VERB [OPTIONS]\n")
    assert inferd.run("version").stdout == "0.1.0\n"


def test_wrong_words(inferd: Inferd) -> None:
    assert refusal(inferd, "dance") == "unknown verb dance; try inferd --help"
    assert refusal(inferd, "serve", "--port", "1") == "unknown option --port; try inferd --help"
    assert refusal(inferd, "serve", "--config") == "--config needs a value"
    assert refusal(inferd, "bench", "--runs", "0") == "--runs needs a number from 1 to 1000000"
    assert refusal(inferd, "selftest", "--apart", "x") == "--apart needs a number from 1 to 86400"
    assert refusal(inferd, "verify") == "verify needs --bundle FOLDER"
    assert refusal(inferd, "verify", "--bundle", TEXT, "--minimum", "1") == "--minimum needs --key"
    assert refusal(inferd, "verify", "--key", "x") == (
        "--key: no base64 of a public key of 32 bytes"
    )
    assert refusal(inferd, "verify", "--minimum", "-1") == (
        "--minimum needs a number from 0 to 9007199254740992"
    )


# RFC 8032, section 7.1: the key of the fixture good-signed, and another.
KEY = "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="
OTHER = "/FHNjmIYoaONpH7QAjDwWAgW7RO6MwOsXeuRFUiQgCU="


def test_verify(inferd: Inferd) -> None:
    signed = FIXTURES / "good-signed"
    for words in (
        [TEXT, "--name", "fixture"],
        [signed],
        [signed, "--key", KEY],
        [signed, "--key", KEY, "--minimum", "3"],
    ):
        result = inferd.run("verify", "--bundle", *words)
        assert (result.returncode, result.stderr) == (0, "")
        digest = hashlib.sha256((words[0] / "bundle.json").read_bytes()).hexdigest()
        assert result.stdout == f"sha256:{digest}\n"


def test_what_verify_refuses(inferd: Inferd) -> None:
    def words(folder: Path, *more: str) -> str:
        said = refusal(inferd, "verify", "--bundle", folder, *more)
        assert said.startswith(f"{folder}: ")
        return said.removeprefix(f"{folder}: ")

    signed = FIXTURES / "good-signed"
    assert words(TEXT, "--name", "x") == "wrong-model: it is fixture, not x"
    assert words(TEXT, "--key", KEY) == "bad-signature: no regular file bundle.sig"
    wrong = "wrong-signature: bundle.sig is not this key's, or bundle.json was changed"
    assert words(signed, "--key", OTHER) == wrong
    old = "too-old: rollback_version is 3, the least is 4"
    assert words(signed, "--key", KEY, "--minimum", "4") == old
    damaged = FIXTURES / "invalid-digest-mismatch-text"
    assert words(damaged) == "digest-mismatch: model.gguf is another file"
    truncated = FIXTURES / "invalid-size-mismatch-text"
    assert words(truncated) == "size-mismatch: model.gguf has 40 bytes, not 64"


def test_a_language_model_is_not_served(inferd: Inferd) -> None:
    said = refusal(inferd, "selftest", "--config", inferd.configure([TEXT]))
    assert said == "no runtime reads gguf"


@pytest.mark.parametrize("bundle", GOOD, ids=lambda p: p.name)
def test_selftest(inferd: Inferd, bundle: Path) -> None:
    result = inferd.run("selftest", "--config", inferd.configure([bundle]))
    assert result.returncode == 0, result
    report = json.loads(result.stdout)
    assert report["pass"] is True
    (model,) = report["models"]
    assert model["provider"] == "CPUExecutionProvider"
    assert model["runtime"] == "onnxruntime"
    assert model["runtime_version"] == "1.28.0"
    assert model["checks"] == [
        {"kind": "tensors", "samples": 2, "max_abs": 0, "max_rel": 0, "top1_agreement": 1,
         "pass": True}
    ]  # fmt: skip


def test_selftest_fails_when_the_outputs_are_others(inferd: Inferd) -> None:
    good = copy(inferd)
    checks = json.loads((good / "bundle.json").read_text())["checks"]
    golden = bytearray((good / "golden.safetensors").read_bytes())
    at = golden.find(b"}}") + 2
    golden[-2:] = b"\x40\x41"  # the last number becomes 12 instead of 7.5
    assert at > 8
    (good / "golden.safetensors").write_bytes(golden)
    data = json.loads((good / "bundle.json").read_text())
    data["files"]["golden.safetensors"]["sha256"] = hashlib.sha256(golden).hexdigest()
    (good / "bundle.json").write_text(json.dumps(data))
    result = inferd.run("selftest", "--config", inferd.configure([good]))
    assert result.returncode == 1, result
    (check,) = json.loads(result.stdout)["models"][0]["checks"]
    assert check["pass"] is False
    assert check["max_abs"] > checks[0]["atol"]


def test_models_apart(inferd: Inferd) -> None:
    """Neither a bundle that is refused nor one without end keeps the others from being tested."""
    endless = copy(inferd, "endless")
    raw = slow_model(turns=1 << 40)
    (endless / "model.onnx").write_bytes(raw)
    data = json.loads((endless / "bundle.json").read_text())
    entry = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    data["files"]["model.onnx"] = entry
    (endless / "bundle.json").write_text(json.dumps(data))
    bundles = [endless, FIXTURES / "invalid-extra-file", FLOAT]
    result = inferd.run("selftest", "--apart", "2", "--config", inferd.configure(bundles))
    assert result.returncode == 1, result
    slow, damaged, good = json.loads(result.stdout)["models"]
    assert slow == {"bundle": str(endless), "error": "took more than 2 s", "pass": False,
                    "signal": signal.SIGALRM}  # fmt: skip
    why = f"{bundles[1]}: extra-file: surprise.bin is not listed"
    assert damaged == {"bundle": str(bundles[1]), "error": why, "pass": False}
    assert (good["bundle"], good["pass"], good["name"]) == (str(FLOAT), True, "fixture")


def test_a_runtime_that_the_core_cannot_run(inferd: Inferd) -> None:
    """A library whose first function is an illegal instruction; the server itself lives on."""
    library = inferd.folder / "libbad.so"
    code = "const void *OrtGetApiBase(void) { __builtin_trap(); }"
    words = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(words, input=code, text=True, check=True)
    config = inferd.configure([FLOAT], runtimes={"onnxruntime": str(library)})
    words = ["selftest", "--apart", "10", "--config", str(config)]
    result = inferd.run(*words, ASAN_OPTIONS="handle_sigill=0")
    assert result.returncode == 1, result
    (model,) = json.loads(result.stdout)["models"]
    assert model == {"bundle": str(FLOAT), "signal": signal.SIGILL, "pass": False,
                     "error": "loading the runtime: Illegal instruction"}  # fmt: skip


def test_bench(inferd: Inferd) -> None:
    result = inferd.run("bench", "--runs", "20", "--config", inferd.configure([FLOAT]))
    assert result.returncode == 0, result
    (model,) = json.loads(result.stdout)["models"]
    assert model["runs"] == 20
    assert 0 < model["min_ms"] <= model["median_ms"] <= model["p99_ms"]
    assert model["load_ms"] > 0
    assert model["rss_kib"] > 1000


@pytest.mark.parametrize("name", ["digest-mismatch", "extra-file", "missing-file-symlink"])
@pytest.mark.parametrize("verb", ["serve", "selftest", "bench"])
def test_a_damaged_bundle_is_refused(inferd: Inferd, verb: str, name: str) -> None:
    folder = FIXTURES / f"invalid-{name}"
    message = refusal(inferd, verb, "--config", inferd.configure([folder]))
    assert message.startswith(f"{folder}: {name.removesuffix('-symlink')}: ")


def test_a_configuration_that_cannot_work(inferd: Inferd) -> None:
    config = inferd.configure([FLOAT], runtimes={"onnxruntime": "/no/such.so"})
    assert refusal(inferd, "serve", "--config", config).startswith("cannot load /no/such.so: ")
    config = inferd.configure([FLOAT], runtimes={"onnxruntime": "libm.so.6"})
    assert refusal(inferd, "serve", "--config", config) == (
        "libm.so.6: not an ONNX Runtime with API version 21"
    )
    config = inferd.configure([FLOAT], runtimes={})
    assert refusal(inferd, "serve", "--config", config) == "runtimes names no path for onnxruntime"
    config = inferd.configure([FLOAT, FLOAT])
    assert refusal(inferd, "serve", "--config", config) == f"{FLOAT}: fixture is loaded already"
    config = inferd.configure([FLOAT], model={"device": "npu"})
    assert refusal(inferd, "serve", "--config", config) == (
        "fixture: no provider for the device npu, and falling back to the CPU is denied"
    )
    config = inferd.configure([FLOAT], model={"memory_limit": 1})
    message = refusal(inferd, "serve", "--config", config)
    assert message.startswith("fixture: loading took ")
    assert message.endswith(" bytes, the limit is 1")
    config = inferd.configure([FLOAT], listen="somewhere")
    assert refusal(inferd, "serve", "--config", config) == (
        f"{config}: listen: somewhere is not ADDRESS:PORT with IPv4"
    )
    config.write_text("{")
    assert refusal(inferd, "serve", "--config", config) == f"{config}: not JSON at byte 2"


def test_a_model_that_is_not_that_of_bundle_json(inferd: Inferd) -> None:
    tensor = {"name": "x0", "dtype": "float32", "shape": [-1, 3]}
    for changed, why in (
        ({**tensor, "name": "other"}, "golden-mismatch"),
        ({**tensor, "dtype": "int32"}, "golden-mismatch"),
    ):
        folder = copy(inferd, f"bundle {len(str(changed))}", inputs=[changed])
        message = refusal(inferd, "selftest", "--config", inferd.configure([folder]))
        assert message.startswith(f"{folder}: {why}: ")


def test_a_denied_fallback_that_is_allowed(inferd: Inferd) -> None:
    config = inferd.configure([FLOAT], model={"device": "npu", "fallback": "allow"})
    result = inferd.run("selftest", "--config", config)
    assert json.loads(result.stdout)["models"][0]["provider"] == "CPUExecutionProvider"


def test_a_port_in_use(inferd: Inferd) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        config = inferd.configure([FLOAT])
        assert refusal(inferd, "serve", "--config", config, INFERD_LISTEN=address) == (
            f"cannot listen on {address}: Address already in use"
        )


def test_an_address_of_another_host(inferd: Inferd) -> None:
    config = inferd.configure([FLOAT], listen="192.0.2.1:8080")
    assert refusal(inferd, "serve", "--config", config) == (
        "cannot listen on 192.0.2.1:8080: Cannot assign requested address"
    )


def test_a_ready_file_that_cannot_be_written(inferd: Inferd) -> None:
    config = inferd.configure([FLOAT])
    assert refusal(inferd, "serve", "--config", config, "--ready-file", "/no/such/ready") == (
        "cannot write /no/such/ready"
    )


def test_the_configuration_by_environment(inferd: Inferd) -> None:
    config = inferd.configure([FLOAT])
    assert inferd.run("selftest", INFERD_CONFIG=str(config)).returncode == 0


def test_stop(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([FLOAT])) as server:
        assert server.client.get("/v2/health/ready").status_code == 200
        server.process.send_signal(signal.SIGTERM)
        output, errors = server.process.communicate(timeout=10)
    assert server.process.returncode == 0, errors
    assert errors == ""
    assert not server.ready.exists()
    loaded, *rest = [json.loads(line) for line in output.splitlines()]
    assert loaded["message"] == "model loaded"
    assert (loaded["model"], loaded["provider"]) == ("fixture", "CPUExecutionProvider")
    assert rest == [
        {"level": "info", "message": f"listening on {server.address}"},
        {"level": "info", "message": "stopping"},
    ]


def test_killed_and_started_again_on_the_same_port(inferd: Inferd) -> None:
    config = inferd.configure([FLOAT])
    for _ in range(3):
        with inferd.serve(config) as server:
            assert server.client.get("/v2/health/live").status_code == 200
            os.kill(server.process.pid, signal.SIGKILL)
            server.process.wait(5)


def test_several_models(inferd: Inferd) -> None:
    bundles = [copy(inferd, name, name=name) for name in ("one", "two")]
    with inferd.serve(inferd.configure(bundles)) as server:
        for name in ("one", "two"):
            answer = server.client.post(f"/v2/models/{name}/infer", json={"inputs": X})
            assert answer.json()["model_name"] == name
        assert server.client.get("/v2/models/three").status_code == 404


def test_a_client_that_leaves_and_one_that_is_slow(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([FLOAT])) as server:
        host, port = server.address.split(":")
        slow = socket.create_connection((host, int(port)))
        slow.sendall(b"POST /v2/models/fixture/infer HTTP/1.1\r\nHost: a\r\nContent-Le")
        for _ in range(50):
            body = json.dumps({"inputs": X}).encode()
            with socket.create_connection((host, int(port))) as gone:
                gone.sendall(
                    b"POST /v2/models/fixture/infer HTTP/1.1\r\nHost: a\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
                )
        assert server.client.post("/v2/models/fixture/infer", json={"inputs": X}).is_success
        slow.close()
    time.sleep(0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://{server.address}/v2")


def ort_copy(inferd: Inferd) -> Path:
    """The bundle with its model in ONNX Runtime's own format."""
    folder = copy(inferd, "ort")
    convert(folder / "model.onnx", folder / "model.ort")
    (folder / "model.onnx").unlink()
    data = json.loads((folder / "bundle.json").read_text())
    raw = (folder / "model.ort").read_bytes()
    del data["files"]["model.onnx"]
    data["files"]["model.ort"] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    data["model"].update(file="model.ort", format="ort")
    (folder / "bundle.json").write_text(json.dumps(data))
    return folder


def test_a_model_in_the_format_ort_stays_in_its_file(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([ort_copy(inferd)])) as server:
        answer = server.client.post("/v2/models/fixture/infer", json={"inputs": X})
        assert answer.json()["outputs"][0]["data"] == [4, 5.5]
        mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
        assert "/ort/model.ort" in mapped


def test_no_more_threads_than_processors(inferd: Inferd) -> None:
    one = str(min(os.sched_getaffinity(0)))
    start = inferd.folder / "on-one"
    start.write_text(f'#!/bin/sh\nexec taskset -c {one} {inferd.program} "$@"\n')
    start.chmod(0o755)
    for program, most in ((inferd.program, len(os.sched_getaffinity(0))), (start, 1)):
        config = inferd.configure([FLOAT], model={"threads": 256})
        with Inferd(program, inferd.folder).serve(config) as server:
            server.process.terminate()
            output, _ = server.process.communicate(timeout=20)
        loaded = json.loads(output.splitlines()[0])
        assert 1 <= loaded["threads"] <= most
