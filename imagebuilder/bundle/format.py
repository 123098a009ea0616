"""What `bundle.json` holds, as frozen dataclasses (docs/reference/bundle-format.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output; a first dimension of -1 is free, no dimension is a single value.

    `dtype` is numpy's name.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def has_batch(self) -> bool:
        """Whether the first dimension is free."""
        return self.shape[:1] == (-1,)


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The model: `format` is onnx, ort, tflite or gguf; `opset` and `ir` only for ONNX."""

    file: str
    format: str
    opset: int | None
    ir: int | None
    quantization: str


@dataclass(frozen=True, slots=True)
class TensorsCheck:
    """Golden pairs; an element passes when |got - want| <= atol + rtol * |want|."""

    file: str
    samples: int
    rtol: float
    atol: float
    top1: bool


@dataclass(frozen=True, slots=True)
class TextCheck:
    """The host's next tokens and perplexity in `file`, and how near a device must come.

    `agreement` is the least share of the host's likeliest tokens, `perplexity` the largest relative
    difference.
    """

    file: str
    agreement: float
    perplexity: float


@dataclass(frozen=True, slots=True)
class TextModel:
    """A language model: `context` in tokens, `cache_bytes` of the key-value cache a token."""

    architecture: str
    parameters: int
    context: int
    cache_bytes: int
    vocabulary: int
    tokenizer: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Scores in percent before (`source`) and after (`optimized`) optimization."""

    metric: str
    source: float
    optimized: float
    samples: int
    min: float
    max_drop: float | None


@dataclass(frozen=True, slots=True)
class Resources:
    """What the model needs in memory, bytes."""

    weights_bytes: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the model came from, and on what its goldens were recorded."""

    source: str
    source_sha256: str
    builder: str
    runtime: str
    cpu_features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A listed file: size in bytes and SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Description:
    """All of `bundle.json`; `signature` and `ai_bom` are reserved.

    A language model has `text` and `text_checks`, and no inputs, outputs and `checks`.
    """

    name: str
    version: str
    task: str
    license: Mapping[str, str]
    model: ModelFile
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    labels: str | None
    checks: tuple[TensorsCheck, ...]
    accuracy: Accuracy | None
    resources: Resources
    provenance: Provenance
    files: Mapping[str, FileEntry]
    rollback_version: int
    signature: Mapping[str, Any] | None
    drift: Mapping[str, Any] | None
    ai_bom: Mapping[str, Any] | None
    text: TextModel | None = None
    text_checks: tuple[TextCheck, ...] = ()
