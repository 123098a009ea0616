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

from imagebuilder.target.qemu import booted
from imagebuilder.testing.session import read_session
from imagebuilder.testing.text_api import TextApi

ROOT = Path(__file__).parents[2]
NIGHTLY = os.environ.get("IMAGEBUILDER_NIGHTLY") == "1"

pytestmark = [pytest.mark.network, pytest.mark.qemu]


def build_and_test(folder: Path, example: str, machine: str) -> dict[str, str]:
    """Properties of all tests, which must pass."""
    shutil.copy(ROOT / "examples" / example / "firmware.yaml", folder)
    words = ["test", str(folder / "firmware.yaml"), "--machine", machine]
    done = subprocess.run(
        [sys.executable, "-m", "imagebuilder", *words],
        capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
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


@pytest.mark.skipif(not NIGHTLY, reason="nightly: IMAGEBUILDER_NIGHTLY=1")
def test_x86_64(tmp_path: Path) -> None:
    found = build_and_test(tmp_path, "summarizer", "qemux86-64")
    assert int(found["text.agreement"].split()[0]) >= 80


@pytest.mark.skipif(not NIGHTLY, reason="nightly: IMAGEBUILDER_NIGHTLY=1")
def test_64_clients_at_once(mixed) -> None:
    folder, _ = mixed
    session = read_session(folder / "build" / "qemuarm64" / "session.json")
    with booted(session.guest) as target:
        api = TextApi(target)
        before = target.run("pidof llama-server").stdout
        body = {"prompt": "x", "n_predict": 1}
        with concurrent.futures.ThreadPoolExecutor(64) as pool:
            answers = [pool.submit(api.request, "POST", "/completion", body) for _ in range(64)]
        assert {answer.result().status_code for answer in answers} == {200}
        assert target.run("pidof llama-server").stdout == before
