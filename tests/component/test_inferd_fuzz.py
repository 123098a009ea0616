"""libFuzzer on every parser of inferd, with ASan and UBSan: a minute each, or as long as asked.

IMAGEBUILDER_FUZZ_SECONDS=600 is the nightly form.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import inferd_host
import pytest

pytestmark = pytest.mark.inferd

FUZZ = inferd_host.ROOT / "inferd" / "fuzz"
BUNDLES = inferd_host.FIXTURES
SEEDS = {
    "binary": (),
    "description": tuple(BUNDLES.glob("*/bundle.json")),
    "files": (),
    "golden": tuple(BUNDLES.glob("*/golden.safetensors")),
    "infer": (),
    "json": (),
}
"""Target → what it begins with, besides its own folder in inferd/fuzz/corpus."""

SECONDS = int(os.environ.get("IMAGEBUILDER_FUZZ_SECONDS", "60"))


@pytest.fixture(scope="module")
def build() -> Path:
    """The folder of the fuzz targets."""
    if shutil.which("clang++") is None:
        pytest.skip("not run: clang is not installed")
    inferd_host.check_tools()
    folder = inferd_host.build_folder("fuzz")
    settings = {"CMAKE_CXX_COMPILER": "clang++", "INFERD_SANITIZE": "ON"}
    inferd_host.compile_into(folder, settings, "fuzzers")
    return folder / "fuzz"


def corpus(name: str, folder: Path) -> Path:
    """A folder for what is found, with the seeds in it."""
    made = folder / name
    made.mkdir()
    own = FUZZ / "corpus" / name
    for path in (*SEEDS[name], *(own.iterdir() if own.is_dir() else ())):
        shutil.copyfile(path, made / f"{path.parent.name}-{path.name}")
    return made


def fuzz(program: Path, seeds: Path) -> subprocess.CompletedProcess[str]:
    """Run one target; a crash, a leak, a hang of 10 s or 1 GiB of memory ends it with an error."""
    words = [
        program,
        seeds,
        f"-max_total_time={SECONDS}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-max_len=8192",
        "-print_final_stats=1",
        f"-dict={FUZZ / 'json.dict'}",
        f"-artifact_prefix={seeds.parent}/{seeds.name}-",
    ]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_every_target_has_seeds() -> None:
    assert {path.stem for path in FUZZ.glob("*.cpp")} - {"replay"} == set(SEEDS)


def test_no_input_breaks_a_parser(build: Path, tmp_path: Path, capsys) -> None:
    folders = {name: corpus(name, tmp_path) for name in SEEDS}
    with ThreadPoolExecutor(1 + (os.cpu_count() or 1)) as pool:
        running = {n: pool.submit(fuzz, build / f"fuzz_{n}", path) for n, path in folders.items()}
        done = {name: future.result() for name, future in running.items()}
    broken = {name: result.stderr[-4000:] for name, result in done.items() if result.returncode}
    assert not broken, "\n".join(f"{name}:\n{text}" for name, text in broken.items())
    with capsys.disabled():
        for name, result in done.items():
            found = re.search(r"number_of_executed_units: (\d+)", result.stderr)
            assert found, result.stderr[-2000:]
            new = re.search(r"new_units_added: +(\d+)", result.stderr)
            added = new[1] if new else "?"
            sys.stdout.write(f"\nfuzz {name}: {int(found[1]):,} runs, {added} added")
            assert int(found[1]) > 100 * SECONDS
