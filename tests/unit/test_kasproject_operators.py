"""Kas projects with a cut runtime: its operators are those of the models, and they key it."""

import dataclasses
import json
from pathlib import Path

from imagebuilder.bundle.format import FileEntry
from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.catalog import make_catalog, shipped
from imagebuilder.kasproject.operators import operators_file, operators_problems
from imagebuilder.kasproject.project import Ingredients, project_files
from imagebuilder.lock import Lock
from imagebuilder.manifest import load_manifest
from imagebuilder.resolve import Build, BuildModel
from imagebuilder.state import sha256_file

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float"
ADD = "ai.onnx;14;Add"
CAST = 'ai.onnx;13;Cast{"inputs": {"0": ["bool"]}}'
CAST_FLOAT = 'ai.onnx;13;Cast{"inputs": {"0": ["float"]}}'


def sealed(folder: Path, lines: list[str]) -> SealedBundle:
    folder.mkdir()
    for path in FIXTURE.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    report = folder / "report.json"
    report.write_text(json.dumps({"required_operators": lines}))
    bundle = read_bundle(FIXTURE)
    entry = FileEntry(report.stat().st_size, sha256_file(report))
    files = {**bundle.description.files, report.name: entry}
    return dataclasses.replace(
        bundle, folder=folder, description=dataclasses.replace(bundle.description, files=files)
    )


def build(folder: Path, *bundles: SealedBundle, runtime: str = "onnxruntime-cut") -> Build:
    path = folder / "firmware.yaml"
    rows = "".join(
        f"  - bundle: {name}\n" for name in ("fixture", "other", "third")[: len(bundles)]
    )
    path.write_text(
        f"format: 1\nname: doorbell\nversion: 1.4.0\nmachine: qemuarm64\nmodels:\n{rows}"
    )
    manifest, catalog = load_manifest(path), make_catalog()
    found = catalog.runtime(runtime)
    models = tuple(
        BuildModel(request, bundle, found, found.targets["aarch64"])
        for request, bundle in zip(manifest.models, bundles, strict=True)
    )
    machine, series = catalog.machine("qemuarm64"), catalog.series("wrynose")
    return Build(manifest, machine, "yocto", "release", models, Lock(), series)


def test_the_project_has_the_merged_operators(tmp_path: Path) -> None:
    both = build(
        tmp_path, sealed(tmp_path / "a", [ADD, CAST]), sealed(tmp_path / "b", [CAST_FLOAT])
    )
    (name,) = operators_file(both)
    series = make_catalog().series("wrynose")
    files = project_files(Ingredients(both, series, shipped("layers"), shipped("inferd")))
    assert files[f"layers/meta-firmware/sources/{name}"].decode() == (
        f'ai.onnx;13;Cast{{"inputs": {{"0": ["bool", "float"]}}}}\n{ADD}\n'
    )
    assert f'IMAGEBUILDER_ONNX_OPERATORS = "{name}"' in files["kas.yml"].decode()
    assert 'IMAGEBUILDER_RUNTIMES = "onnxruntime-cut"' in files["kas.yml"].decode()


def test_the_name_follows_the_operators_and_nothing_else(tmp_path: Path) -> None:
    first = build(tmp_path, sealed(tmp_path / "a", [ADD, CAST]))
    same = build(tmp_path, sealed(tmp_path / "b", [CAST, ADD]), sealed(tmp_path / "c", [ADD]))
    other = build(tmp_path, sealed(tmp_path / "d", [ADD]))
    assert operators_file(first) == operators_file(same)
    assert operators_file(first).keys() != operators_file(other).keys()


def test_a_whole_runtime_needs_no_operators(tmp_path: Path) -> None:
    whole = build(tmp_path, sealed(tmp_path / "a", [ADD]), runtime="onnxruntime")
    assert operators_file(whole) == {}
    assert list(operators_problems(whole)) == []


def test_a_bundle_that_does_not_say_its_operators(tmp_path: Path) -> None:
    (problem,) = operators_problems(build(tmp_path, sealed(tmp_path / "a", [])))
    assert str(problem).replace(f"{tmp_path}/", "") == (
        "firmware.yaml:6:5: models[0].bundle: fixture does not say which operators it needs, "
        "onnxruntime-cut has to know\n"
        "  hint: build the model bundle with `ort-format` as its last step"
    )
