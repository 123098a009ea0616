"""The shipped bundles, really quantized and evaluated."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.catalog import make_catalog
from imagebuilder.errors import BuildError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.sources import fetch_source
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle, fetch_all, search_bundle
from imagebuilder.models.compare import agreement
from imagebuilder.source import PypiSource
from imagebuilder.state import Cache, default_cache

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.network


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    """Nothing built yet, downloads shared."""
    cache = Cache(tmp_path / "cache")
    cache.root.mkdir()
    (default_cache().root / "downloads").mkdir(parents=True, exist_ok=True)
    (cache.root / "downloads").symlink_to(default_cache().root / "downloads")
    return Fetcher(cache, Log(QUIET))


@pytest.mark.parametrize(
    ("name", "most_bytes"),
    [
        ("digits", 8_500),
        ("magika", 900_000),
        ("pulsevad", 9_500),
        ("silero-vad", 660_000),
        ("rock-paper-scissors", 82_000),
        ("visual-wake-words", 340_000),
        ("image-classification", 100_000),
        ("keyword-spotting", 54_000),
        ("anomaly-detection", 281_000),
        ("text-recognition", 14_000_000),
    ],
)
def test_shipped_bundles(fetcher: Fetcher, name: str, most_bytes: int) -> None:
    source = make_catalog().bundle_source(name)
    bundle = build_bundle(source, fetcher)
    accuracy = bundle.description.accuracy
    assert accuracy is not None
    assert accuracy.samples >= 500
    assert source.floor.passes(accuracy.source, accuracy.optimized)
    assert bundle.description.files[bundle.description.model.file].size <= most_bytes
    assert bundle.description.checks[0].samples == source.checks[0].samples
    report = json.loads((bundle.folder / "report.json").read_text())
    low, high = report["accuracy"]["optimized_interval"]
    assert low - 0.005 <= accuracy.optimized <= high + 0.005  # its ends have two digits


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("keyword-spotting", "b2729de9ef1bceea95ccf4af641ebd665efa853be1f1335f03daa238e6c3360e"),
        ("image-classification",
         "ddf7d37de6297176bbe6dc210d1bc858ddb9ce427624314ab342d17e13bab375"),
    ],
)  # fmt: skip
def test_labels_are_what_the_vendors_float_model_says(
    fetcher: Fetcher, tmp_path: Path, name: str, sha256: str
) -> None:
    source = make_catalog().bundle_source(name)
    pin = source.source
    assert isinstance(pin, PypiSource)
    assert pin.member is not None
    member = pin.member.replace(".tflite", ".h5")
    float_pin = dataclasses.replace(pin, member=member, sha256=sha256)
    model = fetch_source(fetcher, float_pin, source.folder)
    copy = tmp_path / name
    shutil.copytree(source.folder, copy)
    committed = (copy / "float-choices.txt").read_text()
    (copy / "float-choices.txt").write_text("0\n")
    files = [f"{key}={path}" for key, path in fetch_all(source, fetcher)[1].items()]
    tool = ROOT / "model-bundles" / "float_choices.py"
    subprocess.run([sys.executable, tool, copy, model, *files], check=True)
    assert (copy / "float-choices.txt").read_text() == committed


def test_a_bundle_is_the_same_every_time(fetcher: Fetcher) -> None:
    source = make_catalog().bundle_source("digits")
    first = build_bundle(source, fetcher)
    shutil.rmtree(fetcher.cache.root / "bundles")
    shutil.rmtree(fetcher.cache.root / "models")
    assert build_bundle(source, fetcher).digest == first.digest
    assert read_bundle(first.folder).digest == first.digest
    assert agreement(first, first).max_abs == 0


def test_quantizing_all_of_magika_is_refused_with_the_scores(
    fetcher: Fetcher, tmp_path: Path
) -> None:
    folder = tmp_path / "magika"
    shutil.copytree(ROOT / "model-bundles" / "magika", folder)
    text = (folder / "bundle.yaml").read_text()
    (folder / "bundle.yaml").write_text(text.replace(", operators: [Conv, MatMul, Gemm]", ""))
    with pytest.raises(BuildError) as caught:
        build_bundle(make_catalog([tmp_path]).bundle_source("magika"), fetcher)
    message = str(caught.value)
    assert message.startswith("magika: top1 9")
    assert "% after fix-shapes, int8 static all operators, 99.24 % before, on 524" in message
    assert "below the floor of 97 %" in message
    assert not list((fetcher.cache.root).glob("bundles/*"))


def test_a_search_makes_rock_paper_scissors_small(fetcher: Fetcher) -> None:
    found = search_bundle(make_catalog().bundle_source("rock-paper-scissors"), fetcher)
    tried = {candidate.what: candidate for candidate in found.candidates}
    assert {"int8 weights all operators", "int8 dynamic all operators"} <= set(tried)
    taken = found.candidates[found.taken]
    assert taken.bytes <= 0.35 * tried["as it is"].bytes
    assert taken.score is not None
    assert taken.score >= 98
