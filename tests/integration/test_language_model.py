"""A language model beside an ordinary one, booted: the examples mixed and summarizer."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from imagebuilder import device
from imagebuilder.target.qemu import TargetFailed, booted
from imagebuilder.testing import EmulatedTarget, emulated, faults
from imagebuilder.testing.session import read_session
from imagebuilder.testing.text_api import TextApi

ROOT = Path(__file__).parents[2]
# Each takes 3 to 10 minutes of emulated tokens, where CI has 30 for everything.
NIGHTLY = pytest.mark.skipif(
    os.environ.get("IMAGEBUILDER_NIGHTLY") != "1", reason="nightly: IMAGEBUILDER_NIGHTLY=1"
)

LOOPBACK = """\
format: 1
name: loopback
version: 0.1.0
machine: qemuarm64
models: [{bundle: smollm2-135m-instruct, context: 1024}]
server: {metrics: false}
"""

pytestmark = [pytest.mark.network, pytest.mark.qemu]


def build_and_test(folder: Path, example: str, machine: str) -> dict[str, str]:
    """Properties of all tests, which must pass."""
    shutil.copy(ROOT / "examples" / example / "firmware.yaml", folder)
    return run_tests(folder, machine)


def imagebuilder(*words: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "imagebuilder", *words],
        capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def run_tests(folder: Path, machine: str) -> dict[str, str]:
    """Properties of all tests of the firmware in a folder, which must pass."""
    imagebuilder("test", folder / "firmware.yaml", "--machine", machine)
    (result,) = json.loads((folder / "build" / "results.json").read_text())
    assert result["good"]
    assert result["skipped"] == 0
    root = ET.parse(folder / "build" / machine / "junit.xml").getroot()
    return {p.get("name", ""): p.get("value", "") for p in root.iter("property")}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("mixed")
    return folder, build_and_test(folder, "mixed", "qemuarm64")


def test_both_servers_answer_in_one_image(mixed) -> None:
    folder, found = mixed
    assert found["digits.agreement"] == "100 %"
    assert int(found["text.agreement"].split()[0]) >= 80
    info = json.loads((folder / "build" / "qemuarm64" / "artifacts.json").read_text())
    assert [model["server"] for model in info["models"]] == ["inferd", "llama-server"]


def test_the_weights_lie_in_the_image_once(mixed) -> None:
    folder, _ = mixed
    session = read_session(folder / "build" / "qemuarm64" / "session.json")
    artifacts = session.guest.artifacts
    (model,) = (model for model in artifacts.models if model.server == "llama-server")
    weights = (session.cache.bundle(model.digest) / "model.gguf").read_bytes()
    middle = len(weights) // 2
    assert artifacts.path("disk").read_bytes().count(weights[middle : middle + 256]) == 1


def why_it_is_not_served(target: EmulatedTarget) -> str:
    """The first line of the failure of a target that must not become ready."""
    with pytest.raises(TargetFailed) as failure:
        target.boot()
    target.close()
    return str(failure.value).splitlines()[0]


def test_a_damaged_model_is_not_served(mixed) -> None:
    folder, _ = mixed
    session = read_session(folder / "build" / "qemuarm64" / "session.json")
    (model,) = (m for m in session.guest.artifacts.models if m.server == "llama-server")
    weights = session.cache.bundle(model.digest) / "model.gguf"
    with emulated(session.guest) as target:
        faults.damage(target, "models-a", weights.read_bytes())
        assert why_it_is_not_served(target) == (
            "qemuarm64: llama-server: /models/smollm2-135m-instruct: "
            "digest-mismatch: model.gguf is another file"
        )


@NIGHTLY
def test_a_model_that_nobody_signed_is_not_served(tmp_path: Path, signing_key: Path) -> None:
    shutil.copy(ROOT / "examples" / "summarizer" / "firmware.yaml", tmp_path)
    with (tmp_path / "firmware.yaml").open("a") as stream:
        stream.write("verify: {key: key.pub}\n")
    sealed = tmp_path / "sealed"
    imagebuilder("model", "build", "smollm2-135m-instruct", "--sign", signing_key,
                 "--output", sealed)  # fmt: skip
    found = run_tests(tmp_path, "qemuarm64")
    assert int(found["text.agreement"].split()[0]) >= 80
    session = read_session(tmp_path / "build" / "qemuarm64" / "session.json")
    path = f"{device.MODELS_PATH}/smollm2-135m-instruct/bundle.sig"
    with emulated(session.guest) as target:
        target.boot()
        # On the disk it lies beside the superblock, whose checksum would be wrong too.
        target.run(f"sed s/^.../AAA/ {path} >/run/sig && mount --bind /run/sig {path}")
        target.run("kill $(pidof llama-server)")
        said = "failed: llama-server: /models/smollm2-135m-instruct: wrong-signature: "
        target.wait(lambda: said in target.console.text(), "nothing is said of it", 300)


@NIGHTLY
def test_a_context_that_the_limit_does_not_hold(mixed) -> None:
    """The build refuses it; a device that is told so nevertheless lives, and says what ended."""
    folder, _ = mixed
    session = read_session(folder / "build" / "qemuarm64" / "session.json")
    with emulated(session.guest) as target:
        target.boot()
        config = device.TEXT_CONFIG_PATH
        target.run(f"sed s/^context=.*/context=8192/ {config} >/run/conf")
        target.run(f"mount --bind /run/conf {config} && kill $(pidof llama-server)")
        said = "failed: llama-server: ended before it answered, 3 times"
        target.wait(lambda: said in target.console.text(), "nothing is said of it", 300)
        with pytest.raises(TargetFailed, match="ended before it answered, 3 times"):
            target.run("true")


@NIGHTLY
def test_x86_64(tmp_path: Path) -> None:
    found = build_and_test(tmp_path, "summarizer", "qemux86-64")
    assert int(found["text.agreement"].split()[0]) >= 80


@NIGHTLY
def test_served_on_the_loopback_only_and_without_metrics(tmp_path: Path) -> None:
    (tmp_path / "firmware.yaml").write_text(LOOPBACK)
    found = run_tests(tmp_path, "qemuarm64")
    assert int(found["text.agreement"].split()[0]) >= 80


@NIGHTLY
def test_64_clients_at_once(mixed) -> None:
    folder, _ = mixed
    session = read_session(folder / "build" / "qemuarm64" / "session.json")
    with booted(session.guest) as target:
        api = TextApi(target)
        before = target.run("pidof llama-server").stdout

        def one(_: int) -> int:
            body = {"prompt": "x", "n_predict": 1}
            # The last one waits for 63 others.
            return api.request("POST", "/completion", body, timeout=1800).status_code

        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            assert set(pool.map(one, range(64))) == {200}
        assert target.run("pidof llama-server").stdout == before


@NIGHTLY
def test_the_example_summarizes(mixed) -> None:
    folder, _ = mixed
    session = read_session(folder / "build" / "qemuarm64" / "session.json")
    text = ROOT / "examples" / "summarizer" / "doorbell.txt"
    with booted(session.guest) as target:
        api = TextApi(target)
        words = [sys.executable, text.with_name("summarize.py"), text, "--address", api.address]
        done = subprocess.run(
            [*words, "--key", api.key], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    sentences = done.stdout.splitlines()
    flat = " ".join(text.read_text().split())
    assert len(set(sentences)) == len(sentences) == 2
    assert all(sentence in flat for sentence in sentences)
