"""The shipped bundles, really quantized and evaluated."""

import json
import shutil
from pathlib import Path

import pytest

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.catalog import make_catalog
from imagebuilder.errors import BuildError
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle, search_bundle
from imagebuilder.models.compare import agreement
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
