"""Quantizes a language model anew, and measures what that cost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from imagebuilder.bundle.format import Accuracy
from imagebuilder.catalog.bundle_source import AccuracyFloor, BundleSource
from imagebuilder.catalog.optimization import Requantize
from imagebuilder.errors import BuildError
from imagebuilder.models.llamacpp import LlamaTools, Perplexity
from imagebuilder.state import Cache, new_folder, sha256_file

MODEL, REPORT = "model.gguf", "report.json"


@dataclass(frozen=True, slots=True)
class Requantized:
    """The new file and its report; the perplexities of source and new file on the step's text."""

    model: Path
    report: Path
    kind: str
    source_sha256: str
    before: Perplexity
    after: Perplexity

    def accuracy(self, floor: AccuracyFloor) -> Accuracy:
        """For `bundle.json`."""
        before, after = (round(found.value, 4) for found in (self.before, self.after))
        return Accuracy(floor.metric, before, after, self.after.tokens, floor.bound, floor.max_drop)


def requantize(
    source: BundleSource, step: Requantize, model: Path, tools: LlamaTools, cache: Cache
) -> Requantized:
    """The requantized model, made and measured once for the same tools, model and text.

    It is kept, so that goldens can be recorded with it. Raises `BuildError` located at the step
    when a tool fails.
    """
    text, digest = source.folder / step.text, sha256_file(model)
    parts = ("requantize", step.kind, digest, sha256_file(text), tools.digest)
    folder = cache.step(hashlib.sha256("\0".join(parts).encode()).hexdigest())
    if not folder.is_dir():
        try:
            with new_folder(folder) as made:
                _make(step, model, text, tools, made)
        except BuildError as error:
            where = f"{source.file.locate('optimize', 0)}: optimize[0]"
            what = f"{where}: {error.what}"
            raise BuildError(what, details=error.details, hint=error.hint) from error
    scores = json.loads((folder / REPORT).read_bytes())["perplexity"]
    before, after = (Perplexity(**scores[key]) for key in ("source", "optimized"))
    return Requantized(folder / MODEL, folder / REPORT, step.kind, digest, before, after)


def _make(step: Requantize, model: Path, text: Path, tools: LlamaTools, folder: Path) -> None:
    made = folder / MODEL
    before = tools.perplexity(model, text)
    tools.quantize(model, made, step.kind)
    after = tools.perplexity(made, text)
    report = {
        "optimization": f"requantize {step.kind}",
        "perplexity": {"source": asdict(before), "optimized": asdict(after)},
        "bytes": {"source": model.stat().st_size, "optimized": made.stat().st_size},
        "measured_with": {"llama.cpp": tools.version},
    }
    (folder / REPORT).write_text(json.dumps(report, indent=2, sort_keys=True) + "\n")
