"""`imagebuilder model`: inspect, build and compare models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.bundle.store import export_bundle
from imagebuilder.catalog.bundle_source import BundleSource, load_bundle_source
from imagebuilder.catalog.optimization import show_score, show_step
from imagebuilder.cli.app import App
from imagebuilder.cli.model_report import report
from imagebuilder.errors import UserError
from imagebuilder.models.build import build_bundle
from imagebuilder.units import show_size

if TYPE_CHECKING:
    from imagebuilder.models.search import Search


@click.group()
def command() -> None:
    """Inspect, build and compare models."""


command.add_command(report)


@command.command(short_help="Show what a model file or a sealed bundle is made of.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--machine", metavar="NAME", help="Show also what its runtimes lack for the model.")
@click.pass_obj
def inspect(app: App, model: Path, machine: str | None) -> None:
    """Show what MODEL is made of: an ONNX, TFLite or GGUF file, or a sealed bundle's folder."""
    from imagebuilder.cli.model_facts import model_facts

    device = None if machine is None else app.catalog().machine(machine)
    if model.is_dir():
        bundle = read_bundle(model)
        model = model / bundle.description.model.file
    if not model.is_file():
        raise UserError(f"{model}: no such file")
    facts = list(model_facts(model, None if device is None else (app.catalog(), device)))
    app.log.table(("what", "value"), facts)


@command.command(short_help="Optimize, evaluate and seal models.")
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign the copies in --output with the Ed25519 private key of this PEM file.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Copy the sealed bundles to FOLDER/NAME; a build takes them from `sealed` beside its "
    "manifest.",
)
@click.pass_obj
def build(app: App, models: tuple[str, ...], sign: Path | None, output: Path | None) -> None:
    """Optimize, evaluate and seal MODELS: names, or folders with a bundle.yaml."""
    if sign is not None and output is None:
        raise click.UsageError("--sign needs --output: a signature is a project's, not the cache's")
    from imagebuilder.bundle.signer import read_file_key

    signer = None if sign is None else read_file_key(sign)
    sources = [_source(app, model) for model in models]
    bundles = [build_bundle(source, app.fetcher) for source in sources]
    rows = [_score_row(source, bundle) for source, bundle in zip(sources, bundles, strict=True)]
    app.log.table(("model", "metric", "before", "after", "samples", "size", "digest"), rows)
    for bundle in bundles:
        folder = bundle.folder if output is None else export_bundle(bundle, output, signer)
        app.log.info(f"{bundle.description.name}: {folder}")


def _source(app: App, model: str) -> BundleSource:
    folder = Path(model)
    if (folder / "bundle.yaml").is_file():
        return load_bundle_source(folder / "bundle.yaml")
    return app.catalog().bundle_source(model)


def _score_row(source: BundleSource, bundle: SealedBundle) -> tuple[str, ...]:
    description = bundle.description
    accuracy = description.accuracy
    size = description.files[description.model.file].size
    if accuracy is None:
        return (source.name, "-", "-", "-", "-", show_size(size), bundle.digest[:23])
    return (
        source.name,
        accuracy.metric,
        show_score(accuracy.metric, accuracy.source),
        show_score(accuracy.metric, accuracy.optimized),
        str(accuracy.samples),
        show_size(size),
        bundle.digest[:23],
    )


@command.command("search", short_help="Try all quantizations of models, and show what each costs.")
@click.argument("models", nargs=-1, required=True)
@click.pass_obj
def search_(app: App, models: tuple[str, ...]) -> None:
    """Try the quantizations of MODELS, as `quantize: auto` does, and show what each costs."""
    from imagebuilder.models.build import search_bundle

    for model in models:
        source = _source(app, model)
        found = search_bundle(source, app.fetcher)
        header = (
            "tried",
            source.floor.metric,
            "95 %",
            "samples",
            "size",
            "of source",
            "ms",
            "floor",
            "",
        )
        app.log.table(header, list(_search_rows(found)))
        app.log.print(f"{source.name}: {found.candidates[found.taken].what}: {found.why}")
        app.log.print("in `optimize`:" if found.chosen else "`optimize` needs no quantization")
        for step in found.chosen:
            app.log.print(f"  - {show_step(step)}")


def _search_rows(found: Search) -> Iterable[tuple[str, ...]]:
    for index, tried in enumerate(found.candidates):
        if tried.score is None or tried.interval is None:
            size = show_size(tried.bytes) if tried.bytes else ""
            yield tried.what, tried.problem[:50], "", "", size, "", "", "fails", ""
            continue
        low, high = tried.interval
        marks = ("taken", "front") if index == found.taken else ("", "front")
        yield (
            tried.what,
            f"{tried.score:.2f}",
            f"{low:.2f} to {high:.2f}",
            str(tried.samples),
            show_size(tried.bytes),
            f"{100 * tried.bytes / found.candidates[0].bytes:.0f} %",
            f"{1000 * tried.seconds:.3g}" if tried.seconds else "",
            "holds" if tried.holds else "fails",
            " ".join(mark for mark in marks if mark and (mark != "front" or tried.front)),
        )


@command.command(short_help="Show how two sealed bundles differ.")
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@click.pass_obj
def compare(app: App, one: Path, other: Path) -> None:
    """Show how two sealed bundles differ, each on the golden inputs of the first."""
    from imagebuilder.models.compare import agreement

    first, second = read_bundle(one), read_bundle(other)
    if first.description.text or second.description.text:
        raise UserError("language models have no golden tensors to compare by")
    rows = [
        (key, str(mine), str(theirs))
        for key, mine, theirs in _differences(first, second)
        if mine != theirs
    ]
    app.log.table(("what", "first", "second"), rows)
    parity = agreement(first, second)
    app.log.print(
        f"on {parity.samples} golden inputs of the first: same top-1 {100 * parity.top1:.1f} %, "
        f"largest difference {parity.max_abs:.3g} (relative {parity.max_rel:.3g})"
    )


def _differences(one: SealedBundle, other: SealedBundle) -> Iterable[tuple[str, object, object]]:
    yield "digest", one.digest[:23], other.digest[:23]
    mine, theirs = asdict(one.description), asdict(other.description)
    for key in ("version", "model", "accuracy", "resources", "checks"):
        yield key, mine[key], theirs[key]
    for name in sorted({*one.description.files, *other.description.files}):
        yield name, _file_size(one, name), _file_size(other, name)


def _file_size(bundle: SealedBundle, name: str) -> str:
    entry = bundle.description.files.get(name)
    return show_size(entry.size) if entry else "absent"
