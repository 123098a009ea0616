"""The shipped language model, requantized by llama.cpp's own tool and held to its floor."""

import json
import shutil
from pathlib import Path

import pytest

from imagebuilder.catalog.bundle_source import load_bundle_source
from imagebuilder.errors import BuildError, UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle
from imagebuilder.models.text import inspect_text
from imagebuilder.state import default_cache, sha256_file

SHIPPED = Path(__file__).parents[2] / "model-bundles" / "smollm2-135m-instruct"

pytestmark = pytest.mark.network


def test_smaller_and_a_little_worse(tmp_path: Path) -> None:
    folder = tmp_path / SHIPPED.name
    shutil.copytree(SHIPPED, folder)
    story = folder / "tom-sawyer.txt"
    story.write_text(story.read_text()[:5200])  # 2 chunks
    path, text = folder / "bundle.yaml", (SHIPPED / "bundle.yaml").read_text()
    step = "optimize: [{requantize: Q4_0, text: tom-sawyer.txt}]\n"
    path.write_text(text + step + "accuracy: {metric: perplexity, max: 60, max_drop: 0.1}\n")
    fetcher = Fetcher(default_cache(), Log(QUIET))
    with pytest.raises(BuildError, match=r"after requantize Q4_0, .* lost more than 0.1 points"):
        build_bundle(load_bundle_source(path), fetcher)
    path.write_text(path.read_text().replace("max_drop: 0.1", "max_drop: 10"))
    with pytest.raises(UserError) as caught:
        build_bundle(load_bundle_source(path), fetcher)
    new = Path(caught.value.problems[0].hint.removeprefix("record it again with "))
    assert inspect_text(new).quantization == "Q4_0"
    golden = folder / "golden.json"
    golden.write_text(
        json.dumps({**json.loads(golden.read_text()), "model_sha256": sha256_file(new)})
    )
    found = build_bundle(load_bundle_source(path), fetcher).description
    assert found.model.quantization == "Q4_0, from Q4_1"
    assert found.files["model.gguf"].size < 94_000_000
    accuracy = found.accuracy
    assert accuracy is not None
    assert 20 < accuracy.source < accuracy.optimized < accuracy.source + 10
    assert accuracy.samples >= 512
