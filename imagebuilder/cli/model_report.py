"""`imagebuilder model report`: the parity report of models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imagebuilder.bundle.reader import MANIFEST, SealedBundle, read_bundle
from imagebuilder.catalog.bundle_source import BundleSource, load_bundle_source
from imagebuilder.cli.app import App
from imagebuilder.errors import UserError
from imagebuilder.models.build import build_bundle, fetch_model, search_bundle

if TYPE_CHECKING:
    from imagebuilder.models.tries import Candidate

HEADER = ("max abs off golden", "max rel", "same top-1", "of tolerance", "")


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--search", is_flag=True,
              help="Try the quantizations too, as `model search` does.")  # fmt: skip
@click.option("--processors", is_flag=True,
              help="Run also on older processors, by QEMU, and derive tolerances.")  # fmt: skip
@click.option("--results", "files", type=click.Path(path_type=Path, dir_okay=False), multiple=True,
              metavar="FILE", help="Take up what `imagebuilder test` measured in images or on a "
              "board of these very bundles: its results.json; may be repeated.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False),
              default=Path("parity"), show_default=True, metavar="FOLDER",
              help="Write parity.json and parity.html into FOLDER/NAME.")  # fmt: skip
@click.pass_obj
def report(
    app: App,
    models: tuple[str, ...],
    search: bool,
    processors: bool,
    files: tuple[Path, ...],
    output: Path,
) -> None:
    """Compare MODELS with their float models, on the golden inputs, layer by layer.

    MODELS are names, folders with a bundle.yaml, or sealed bundles' folders.
    """
    from imagebuilder.report.parity import complete, read_results, write_parity
    from imagebuilder.report.parity_page import PAGE, place_rows, tolerance_words

    results = [one for path in files for one in read_results(path)]
    for model in models:
        source, bundle = find_model(app, model)
        measured = measure(app, source, bundle, search=search, processors=processors)
        data = complete(measured, results)
        if results and len(data["places"]) == len(measured["places"]):
            app.log.warning(f"{source.name}: no results are of the bundle {bundle.digest}")
        write_parity(data, output / source.name)
        rows = [(row[0], *row[2:]) for row in place_rows(data)]
        app.log.table((source.name, *HEADER), rows)
        if data["tolerance"]:
            app.log.print(f"{source.name}: {tolerance_words(data)}")
        app.log.info(f"{source.name}: {output / source.name / PAGE}")


def measure(
    app: App, source: BundleSource, bundle: SealedBundle, *, search: bool, processors: bool
) -> dict[str, Any]:
    """Measure the parity of a bundle on this host, and keep it; raises as `measure_parity` does."""
    from imagebuilder.models.parity import keep_parity, measure_parity, on_processors, parity_data
    from imagebuilder.models.processors import unpack_emulator

    tried, why = _tried(app, source) if search else ((), "")
    parity = measure_parity(bundle, fetch_model(source, app.fetcher), tried, why)
    if processors:
        emulator = unpack_emulator(app.fetcher)
        with app.log.task(f"{source.name} on {', '.join(emulator.processors)}"):
            parity = on_processors(parity, bundle, emulator)
    data = parity_data(parity)
    keep_parity(data, app.fetcher.cache)
    return data


def find_model(app: App, model: str) -> tuple[BundleSource, SealedBundle]:
    """Definition and sealed bundle of a name or folder; it is built where it is not sealed."""
    from imagebuilder.models.parity import check_comparable

    folder = Path(model)
    if (folder / MANIFEST).is_file():
        bundle = read_bundle(folder)
        check_comparable(bundle)
        name = bundle.description.name
        try:
            return app.catalog().bundle_source(name), bundle
        except UserError as error:
            hint = "a report needs the definition too: give the folder with its bundle.yaml"
            raise UserError(error.problems[0].what, hint=hint) from error
    if (folder / "bundle.yaml").is_file():
        source = load_bundle_source(folder / "bundle.yaml")
    else:
        source = app.catalog().bundle_source(model)
    return source, build_bundle(source, app.fetcher)


def _tried(app: App, source: BundleSource) -> tuple[tuple[Candidate, ...], str]:
    found = search_bundle(source, app.fetcher)
    return found.candidates, f"{found.candidates[found.taken].what}: {found.why}"
