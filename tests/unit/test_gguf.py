"""The GGUF reader, and what a language model's bundle is refused for."""

import contextlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.catalog import make_catalog
from imagebuilder.catalog.bundle_source import load_bundle_source
from imagebuilder.cli.model_facts import model_facts
from imagebuilder.errors import UserError
from imagebuilder.models.seal_text import seal_text
from imagebuilder.models.text import inspect_text
from imagebuilder.state import Cache, sha256_file

VALUES = {
    "general.architecture": "llama",
    "general.name": "tiny",
    "llama.block_count": 2,
    "llama.context_length": 512,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": [f"t{n}" for n in range(2000)],
    "tokenizer.chat_template": "{{ messages }}",
}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(item: Any) -> bytes:
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    if isinstance(item, list):
        inner = 8 if isinstance(item[0], str) else 4
        parts = [text(x) if inner == 8 else struct.pack("<I", x) for x in item]
        return struct.pack("<IIQ", 9, inner, len(item)) + b"".join(parts)
    return struct.pack("<II", 4, item)


def gguf(values: Mapping[str, Any], kind: int = 2, shape: tuple[int, ...] = (64, 2)) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(values))
    for key, item in values.items():
        head += text(key) + value(item)
    head += text("w") + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
    head += struct.pack("<IQ", kind, 0)
    return head + b"\0" * (-len(head) % 32) + b"\1" * (64 * 2 // 32 * 18)


def write(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return path


def refusal(tmp_path: Path, data: bytes) -> str:
    with pytest.raises(UserError) as caught:
        inspect_text(write(tmp_path, data))
    return str(caught.value).splitlines()[0]


def test_what_a_model_is_made_of(tmp_path: Path) -> None:
    info = inspect_text(write(tmp_path, gguf(VALUES)))
    assert (info.architecture, info.quantization, info.parameters) == ("llama", "Q4_0", 128)
    assert (info.layers, info.context, info.vocabulary) == (2, 512, 2000)
    # 2 layers, 2 heads each, key and value of 16 elements, 2 bytes each
    assert info.cache_bytes == 2 * 2 * (16 + 16) * 2
    assert info.weights_bytes == 4 * 18
    assert info.chat_template == "{{ messages }}"


def test_heads_of_each_layer(tmp_path: Path) -> None:
    values = {**VALUES, "llama.attention.head_count_kv": [1, 3]}
    assert inspect_text(write(tmp_path, gguf(values))).cache_bytes == 4 * 32 * 2


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is truncated at byte 0"),
        (b"PK\3\4" + bytes(40), "it does not begin with GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1 is not one of 2 and 3"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0),
            f"it says that it has {1 << 60} tensors, more",
        ),
        (gguf(VALUES)[:-1], "it is truncated: "),
        (gguf(VALUES)[:1000], "it says that it has 2000 items, more than there is room for"),
        (gguf(VALUES)[:5000], "it is truncated at byte 5000"),
        (gguf(VALUES, kind=4), "the tensor 'w' is of the unknown type 4"),
        (
            gguf(VALUES, shape=(63, 2)),
            "the tensor 'w' has the shape [63, 2], which Q4_0 cannot have",
        ),
        (
            gguf(VALUES, shape=(64, 0)),
            "the tensor 'w' has the shape [64, 0], which Q4_0 cannot have",
        ),
        (gguf(VALUES, shape=(1 << 62, 1 << 62)), "it is truncated: "),
        (gguf({**VALUES, "general.alignment": 3}), "the alignment 3 is no power of two"),
    ],
)
def test_damaged_files(tmp_path: Path, data: bytes, why: str) -> None:
    assert refusal(tmp_path, data).startswith(f"model.gguf: not a valid GGUF file: {why}")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"general.architecture": "clip"}, "it has no clip.block_count"),
        ({"llama.block_count": 0}, "llama.block_count is 0"),
        ({"llama.attention.head_count": 128}, "llama.attention.key_length is 0"),
        ({"llama.attention.head_count_kv": [1]},
         "llama.attention.head_count_kv is not a number for each layer"),
        ({"tokenizer.ggml.tokens": 5}, "it has no tokenizer.ggml.tokens"),
    ],
)  # fmt: skip
def test_files_that_are_no_language_model(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    assert refusal(tmp_path, gguf({**VALUES, **change})) == (
        f"model.gguf: no language model that can be served: {why}"
    )


@given(st.integers(0, 4000), st.binary(min_size=1, max_size=8))
@settings(max_examples=300)
def test_any_damage_is_a_clear_error_or_none(tmp_path_factory, at: int, noise: bytes) -> None:
    data = bytearray(gguf(VALUES))
    data[at : at + len(noise)] = noise
    path = write(tmp_path_factory.mktemp("gguf"), bytes(data))
    with contextlib.suppress(UserError):
        inspect_text(path)


def bundle(tmp_path: Path, data: bytes, **golden: Any) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    model = folder / "tiny.gguf"
    model.write_bytes(data)
    recorded = {"model_sha256": sha256_file(model), "server": "llama.cpp 0", "cpu_features": ["x"]}
    (folder / "golden.json").write_text(json.dumps({**recorded, **golden}))
    (folder / "bundle.yaml").write_text(
        "format: 1\nname: tiny\nversion: 1.0.0\ntask: generation\n"
        "license: {code: MIT, weights: MIT}\nsource: {path: tiny.gguf}\n"
        "checks: [{kind: text, file: golden.json, agreement: 0.8, perplexity: 0.05}]\n"
    )
    return folder / "bundle.yaml"


def test_sealed_without_a_copy_of_the_weights(tmp_path: Path) -> None:
    source = load_bundle_source(bundle(tmp_path, gguf(VALUES)))
    model = tmp_path / "cache" / "downloads" / "fetched"
    model.parent.mkdir(parents=True)
    model.write_bytes(gguf(VALUES))
    sealed = seal_text(source, model, Cache(tmp_path / "cache"))
    assert read_bundle(sealed.folder) == sealed
    assert (sealed.folder / "model.gguf").samefile(model)
    assert sealed.description.text is not None
    assert sealed.description.text.context == 512
    assert sealed.description.text_checks[0].agreement == 0.8


def test_what_a_machine_runs_of_it(tmp_path: Path) -> None:
    place = make_catalog(), make_catalog().machine("qemuarm64")
    name = "on qemuarm64, llamacpp 0.7.0"
    facts = dict(model_facts(write(tmp_path, gguf(VALUES)), place))
    assert facts[name] == "runs the architecture"
    values = {k.replace("llama.", "mamba."): v for k, v in VALUES.items()}
    values["general.architecture"] = "mamba"
    facts = dict(model_facts(write(tmp_path, gguf(values)), place))
    assert facts[name] == "lacks the architecture mamba"


@pytest.mark.parametrize(
    ("data", "why"), [(b"", "it is truncated at byte 0"), (b"hello", "it does not begin with GGUF")]
)
def test_a_file_that_only_calls_itself_so(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(UserError) as caught:
        dict(model_facts(write(tmp_path, data), None))
    assert str(caught.value) == (
        f"model.gguf: not a valid GGUF file: {why}\n"
        "  hint: fetch the file again, or convert the model again"
    )


def test_a_model_without_a_chat_template(tmp_path: Path) -> None:
    values = {k: v for k, v in VALUES.items() if k != "tokenizer.chat_template"}
    source = load_bundle_source(bundle(tmp_path, gguf(values)))
    with pytest.raises(UserError) as caught:
        seal_text(source, source.folder / "tiny.gguf", Cache(tmp_path / "cache"))
    assert str(caught.value).replace(f"{source.folder}/", "") == (
        "bundle.yaml:6:1: source: the model has no chat template, so the server could not answer "
        "a chat\n  hint: take a model tuned for chats: its file has the key "
        "tokenizer.chat_template"
    )


def test_goldens_of_another_model(tmp_path: Path) -> None:
    source = load_bundle_source(bundle(tmp_path, gguf(VALUES), model_sha256="0" * 64))
    with pytest.raises(UserError) as caught:
        seal_text(source, source.folder / "tiny.gguf", Cache(tmp_path / "cache"))
    assert str(caught.value).replace(f"{source.folder}/", "") == (
        f"bundle.yaml:7:23: checks[0].file: golden.json was recorded with another model, {'0' * 64}"
        "\n  hint: record it again with tiny.gguf"
    )


def test_keys_that_a_language_model_has_not(tmp_path: Path) -> None:
    path = bundle(tmp_path, gguf(VALUES))
    text = path.read_text().replace("task: generation", "task: speech")
    path.write_text(text + "accuracy: {metric: top1, min: 1}\n")
    with pytest.raises(UserError) as caught:
        load_bundle_source(path)
    assert str(caught.value).replace(f"{path.parent}/", "") == (
        "bundle.yaml:4:1: task: checks of kind text are for the task generation\n"
        "bundle.yaml:8:1: accuracy: a model with checks of kind text has none"
    )
