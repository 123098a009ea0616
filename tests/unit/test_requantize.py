"""The step `requantize` of a language model."""

import json
from pathlib import Path

import pytest
from test_gguf import VALUES, bundle, gguf

from imagebuilder.catalog.bundle_source import load_bundle_source
from imagebuilder.catalog.optimization import Requantize
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.evaluate import check_floor
from imagebuilder.models.llamacpp import Perplexity, parse_perplexity
from imagebuilder.models.seal_text import seal_text
from imagebuilder.models.steps.requantize import Requantized
from imagebuilder.state import Cache, sha256_file

STEP = "optimize: [{requantize: Q8_0, text: story.txt}]\n"
FLOOR = "accuracy: {metric: perplexity, max: 30, max_drop: 1}\n"
PRINTED = """perplexity: calculating perplexity over 6 chunks, n_ctx=512, batch_size=2048, n_seq=4
[1]15.1,[2]21.7,
Final estimate: PPL = 25.2006 +/- 1.77538
"""


def source_file(tmp_path: Path, extra: str) -> Path:
    path = bundle(tmp_path, gguf(VALUES))
    (path.parent / "story.txt").write_text("Once upon a time.")
    path.write_text(path.read_text() + extra)
    return path


def problems(tmp_path: Path, extra: str) -> str:
    path = source_file(tmp_path, extra)
    with pytest.raises(UserError) as caught:
        load_bundle_source(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def test_the_step(tmp_path: Path) -> None:
    source = load_bundle_source(source_file(tmp_path, STEP + FLOOR))
    assert source.optimize == (Requantize("Q8_0", "story.txt"),)
    assert (source.floor.bound, source.floor.max_drop) == (30, 1)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (STEP, "bundle.yaml:8:1: optimize: requantizing needs a floor in `accuracy`\n"
               "  hint: accuracy: {metric: perplexity, max: 30, max_drop: 1}"),
        ("optimize: [fp16]\n" + FLOOR,
         "bundle.yaml:8:12: optimize[0]: a language model is requantized only"),
        ("optimize: [fp16]\n",
         "bundle.yaml:8:12: optimize[0]: a language model is requantized only"),
        (STEP.replace("]", ", {requantize: Q4_0, text: story.txt}]") + FLOOR,
         "bundle.yaml:8:49: optimize[1]: a model is quantized once"),
        (STEP + "accuracy: {metric: top1, min: 90}\n",
         "bundle.yaml:9:12: accuracy.metric: a language model is judged by perplexity"),
        (STEP + "accuracy: {metric: perplexity, min: 3}\n",
         "bundle.yaml:9:1: accuracy: perplexity needs `max`\n"
         "bundle.yaml:9:32: accuracy.min: perplexity is bounded by `max`, not by `min`"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_located(tmp_path: Path, extra: str, message: str) -> None:
    assert problems(tmp_path, extra) == message


def test_a_text_that_is_not_there(tmp_path: Path) -> None:
    message = problems(tmp_path, STEP.replace("story", "tale") + FLOOR)
    assert message.startswith("bundle.yaml:8:31: optimize[0].text: tale.txt: no such file")


def test_an_unknown_type(tmp_path: Path) -> None:
    assert problems(tmp_path, STEP.replace("Q8_0", "Q9_9") + FLOOR) == (
        'bundle.yaml:8:13: optimize[0].requantize: "Q9_9" is not one of Q8_0, Q6_K, Q5_K_M, '
        "Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, Q4_0, IQ4_NL, IQ4_XS, Q3_K_L, Q3_K_M, Q3_K_S, "
        "Q2_K"
    )


def test_what_the_tool_prints() -> None:
    assert parse_perplexity(PRINTED, "story.txt") == Perplexity(25.2006, 1.77538, 6 * 256)


@pytest.mark.parametrize(
    ("printed", "hint"),
    [
        ("you need at least 1024 tokens to evaluate perplexity with a context of 512\n",
         "\n  hint: it needs at least 1024 tokens"),
        ("error: failed to load model\n", ""),
        (PRINTED.replace("25.2006", "nan"), ""),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_measured(printed: str, hint: str) -> None:
    with pytest.raises(BuildError) as caught:
        parse_perplexity(printed, "story.txt")
    text = str(caught.value)
    assert text.startswith("story.txt: llama-perplexity could not measure it\n  ")
    assert text.endswith(hint)


def made(tmp_path: Path, after: float) -> Requantized:
    model, report = tmp_path / "new.gguf", tmp_path / "report.json"
    model.write_bytes(gguf({**VALUES, "general.name": "small"}))
    report.write_text("{}")
    before = Perplexity(25.2, 1.7, 1536)
    return Requantized(model, report, "Q8_0", "5" * 64, before, Perplexity(after, 1.8, 1536))


def test_what_is_sealed(tmp_path: Path) -> None:
    source = load_bundle_source(source_file(tmp_path, STEP + FLOOR))
    new = made(tmp_path, 25.9)
    golden = source.folder / "golden.json"
    golden.write_text(
        json.dumps({**json.loads(golden.read_text()), "model_sha256": sha256_file(new.model)})
    )
    sealed = seal_text(source, source.folder / "tiny.gguf", Cache(tmp_path / "cache"), new)
    found = sealed.description
    assert found.model.quantization == "Q8_0, from Q4_0"
    assert found.provenance.source_sha256 == "5" * 64
    assert found.files["model.gguf"].sha256 == sha256_file(new.model)
    assert (sealed.folder / "report.json").read_text() == "{}"
    assert found.accuracy is not None
    assert (found.accuracy.source, found.accuracy.optimized) == (25.2, 25.9)


@pytest.mark.parametrize(
    ("after", "why"),
    [(26.3, "lost more than 1 points"), (30.1, "above the floor of 30")],
)
def test_the_floor_holds(tmp_path: Path, after: float, why: str) -> None:
    source = load_bundle_source(source_file(tmp_path, STEP + FLOOR))
    accuracy = made(tmp_path, after).accuracy(source.floor)
    with pytest.raises(BuildError) as caught:
        check_floor(source, accuracy, "requantize Q8_0", "take a type with more bits")
    assert str(caught.value) == (
        f"tiny: perplexity {after:.2f} after requantize Q8_0, 25.20 before, on 1536 samples: {why}"
        "\n  hint: take a type with more bits"
    )
