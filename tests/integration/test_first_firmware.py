"""The example firmware, as the README's first command builds and tests it."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from imagebuilder.report.evidence import read_evidence
from imagebuilder.state import default_cache
from imagebuilder.target.kernels import MAGICS, wrong_kernel
from imagebuilder.testing.session import read_session

ROOT = Path(__file__).parents[2]
MACHINES = {"qemuarm", "qemuarm64", "qemuriscv64", "qemux86-64"}

pytestmark = [pytest.mark.network, pytest.mark.qemu]


def imagebuilder(*words: object, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1"}
    if cache is not None:
        environment["IMAGEBUILDER_CACHE"] = str(cache)
    return subprocess.run(
        [sys.executable, "-m", "imagebuilder", *map(str, words)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of the example in a folder with a space and a letter outside ASCII in its name."""
    folder = tmp_path_factory.mktemp("my première firmware")
    shutil.copy(ROOT / "examples" / "first" / "firmware.yaml", folder)
    return folder


@pytest.fixture(scope="module")
def tested(project: Path) -> subprocess.CompletedProcess[str]:
    """All machines, built, booted and tested."""
    return imagebuilder("test", project / "firmware.yaml", "--machine", "qemu*")


def test_both_models_pass_on_all_machines(project: Path, tested) -> None:
    assert tested.returncode == 0, tested.stdout + tested.stderr
    results = json.loads((project / "build" / "results.json").read_text())
    assert {result["machine"] for result in results} == MACHINES
    for result in results:
        assert result["good"], result
        assert result["models"] == ["digits", "magika"]
        assert result["engine"] == "debian"
        assert result["skipped"] == 0
    for machine in MACHINES:
        assert machine in tested.stdout


def test_junit_holds_every_machine(project: Path, tested) -> None:
    root = ET.parse(project / "build" / "junit.xml").getroot()
    assert {suite.get("name") for suite in root} == {f"{m} (debian, dev)" for m in MACHINES}
    cases = list(root.iter("testcase"))
    assert sum("magika" in (case.get("name") or "") for case in cases) >= 4 * len(MACHINES)
    assert not list(root.iter("failure"))
    assert not list(root.iter("error"))


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_inferd_has_at_most_1_mb(project: Path, tested, machine: str) -> None:
    """Stripped, and with its libraries but for the C library, for each architecture."""
    plan = imagebuilder("plan", project / "firmware.yaml", "--machine", machine).stdout
    found = re.search(r"\bserver\W+([0-9a-f]{16})\b", plan)
    assert found, plan
    (program,) = (default_cache().root / "steps").glob(f"{found[1]}*/inferd")
    assert 500_000 < program.stat().st_size <= 1_000_000


@pytest.mark.parametrize("machine", sorted(MACHINES))
def test_a_kernel_of_another_architecture_is_told(project: Path, tested, machine: str) -> None:
    folder = project / "build" / machine
    own = read_session(folder / "session.json").guest.qemu.system
    for system in MAGICS:
        wrong = wrong_kernel(folder / "kernel", system)
        assert bool(wrong) == (system != own), wrong


def test_nothing_is_done_twice(project: Path, tested) -> None:
    again = imagebuilder("build", project / "firmware.yaml", "--locked", "--offline", "--verbose")
    assert again.returncode == 0, again.stderr
    assert "to do" not in imagebuilder("plan", project / "firmware.yaml").stdout
    for step in ("server", "kernel", "root", "initrd", "models", "data", "esp", "disk"):
        assert f"{step}: reused" in again.stderr


def test_a_planted_slow_down_is_found(project: Path, tested) -> None:
    """Figures of the first run, with 2 % taken off one of them, as the baseline of the second."""
    path = project / "baseline.json"
    words = ("test", project / "firmware.yaml", "--machine", "qemuarm64", "--locked")
    done = imagebuilder(*words, "--write-baseline", path)
    assert done.returncode == 0, done.stdout + done.stderr
    data = json.loads(path.read_text())
    figures = data["machines"]["qemuarm64"]
    assert figures["magika.inference"] > figures["digits.inference"] > 10_000
    figures["magika.inference"] = round(figures["magika.inference"] / 1.02)
    path.write_text(json.dumps(data))
    done = imagebuilder(*words, "--baseline", path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "qemuarm64: WORSE magika.inference: " in done.stdout
    assert done.stdout.count("WORSE") == 1, done.stdout
    assert '<td class="bad">worse</td>' in (project / "build" / "report.html").read_text()
    assert "- worse: magika.inference: " in (project / "build" / "report.md").read_text()


def test_the_disk_boots_by_itself(project: Path, tested) -> None:
    done = imagebuilder(
        "test", project / "firmware.yaml", "--machine", "qemuarm64", "--machine", "qemux86-64",
        "--boot", "disk", "--locked",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_lock_gives_the_same_bytes(project: Path, tested, tmp_path: Path) -> None:
    """Elsewhere, from no finished step; only downloads, bundles and the compiler's are shared."""
    other, cache = tmp_path / "elsewhere", tmp_path / "cache"
    other.mkdir()
    cache.mkdir()
    for part in ("downloads", "bundles", "models", "tools", "zig"):
        (cache / part).symlink_to(default_cache().root / part)
    for name in ("firmware.yaml", "firmware.lock"):
        shutil.copy(project / name, other)
    done = imagebuilder("build", other / "firmware.yaml", "--locked", "--offline", cache=cache)
    assert done.returncode == 0, done.stderr
    one, two = (
        json.loads((folder / "build" / "qemuarm64" / "artifacts.json").read_text())["files"]
        for folder in (project, other)
    )
    assert one == two


def test_the_image_stays_small(project: Path, tested) -> None:
    """Both models; the figure for digits alone is in benchmarks/README.md."""
    folder = project / "build" / "qemuarm64"
    assert next(folder.glob("*.img")).stat().st_size <= 64 << 20
    assert next(folder.glob("*.img.zst")).stat().st_size <= 26 << 20


def test_inspect_finds_a_changed_image(project: Path, tested) -> None:
    folder = project / "build" / "qemuarm64"
    assert imagebuilder("inspect", folder).returncode == 0
    assert "no difference" in imagebuilder("inspect", folder, folder).stdout
    copy = project / "copy"
    shutil.copytree(folder, copy)
    with (copy / "initrd").open("ab") as stream:
        stream.write(b"x")
    done = imagebuilder("inspect", copy)
    assert done.returncode == 2
    assert f"{copy / 'initrd'}: is not the file that was built" in done.stderr


def test_evidence_is_verified_and_a_changed_image_is_found(
    project: Path, tested, signing_key: Path
) -> None:
    """Signed, checked elsewhere against the image, and against another machine's."""
    pack = project / "evidence.tar"
    words = ("export", "evidence", project / "firmware.yaml", "--output", pack)
    done = imagebuilder(*words, "--sign", signing_key)
    assert done.returncode == 0, done.stderr
    verify = ("inspect", "--verify", pack, "--key", signing_key.with_name("key.pub"), "--offline")
    done = imagebuilder(*verify, project / "build" / "qemuarm64")
    assert done.returncode == 0, done.stderr
    assert "signed by the key" in done.stdout
    parity = json.loads(read_evidence(pack).files["models/digits/parity.json"])
    kinds = {place["kind"]: place["within"] for place in parity["places"]}
    assert kinds == {"float": None, "host": True, "image": True}
    done = imagebuilder(*verify, project / "build" / "qemuarm")
    assert done.returncode == 2
    assert "the evidence is of another file" in done.stderr


def test_a_wheel_carries_everything(tmp_path: Path) -> None:
    import zipfile

    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT]
    subprocess.run(words, check=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    for name in ("inferd/src/main.cpp", "machine-configs/qemuarm64.yaml", "keyrings/trixie.asc",
                 "model-bundles/digits/digits.onnx", "qemu-tests/test_boot.py"):  # fmt: skip
        assert f"imagebuilder/data/{name}" in names
