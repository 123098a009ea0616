"""What a build leaves in its output folder."""

import dataclasses
import json
from pathlib import Path

import pytest

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.catalog import make_catalog
from imagebuilder.engines.yocto.collect import collect
from imagebuilder.engines.yocto.deploy import NAMES_FILE
from imagebuilder.lock import Lock
from imagebuilder.manifest import load_manifest
from imagebuilder.resolve import Build, BuildModel

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float"


@pytest.fixture
def build(tmp_path: Path) -> Build:
    path = tmp_path / "firmware.yaml"
    path.write_text(
        "format: 1\nname: bell\nversion: 1.0.0\nmachine: qemuarm64\nmodels: [{bundle: fixture}]\n"
    )
    catalog, manifest = make_catalog(), load_manifest(path)
    runtime = catalog.runtime("onnxruntime")
    model = BuildModel(
        manifest.models[0], read_bundle(FIXTURE), runtime, runtime.targets["aarch64"]
    )
    return Build(manifest, catalog.machine("qemuarm64"), "yocto", "release", (model,), Lock())


def results(folder: Path, text: str) -> Path:
    """A step's results, as BitBake's are kept: the same names in every step's folder."""
    for variant in ("release", "debug"):
        (folder / variant).mkdir(parents=True)
        (folder / variant / "disk").write_text(f"{variant} {text}")
        (folder / variant / NAMES_FILE).write_text(json.dumps({"disk": "{stem}.img"}))
    return folder


def test_new_results_replace_the_old_ones(tmp_path: Path, build: Build) -> None:
    output = tmp_path / "out"
    collect(build, results(tmp_path / "steps" / "1", "one"), output)
    artifacts = collect(build, results(tmp_path / "steps" / "2", "two"), output)
    assert (output / "bell-1.0.0-qemuarm64.img").read_text() == "release two"
    assert (output / "debug" / "bell-1.0.0-qemuarm64.img").read_text() == "debug two"
    assert [file.size for file in artifacts.files] == [len("release two")]


def test_a_model_has_the_names_of_its_runtime_here_and_on_the_device(
    tmp_path: Path, build: Build
) -> None:
    cut = make_catalog().runtime("onnxruntime-cut")
    model = dataclasses.replace(build.models[0], runtime=cut, target=cut.targets["aarch64"])
    made = collect(
        dataclasses.replace(build, models=(model,)),
        results(tmp_path / "1", "one"),
        tmp_path / "out",
    )
    assert [(m.runtime, m.backend) for m in made.models] == [("onnxruntime-cut", "onnxruntime")]


def test_a_result_that_is_there_is_not_touched(tmp_path: Path, build: Build) -> None:
    output, images = tmp_path / "out", results(tmp_path / "steps" / "1", "one")
    collect(build, images, output)
    image = output / "bell-1.0.0-qemuarm64.img"
    before = image.stat()
    collect(build, images, output)
    assert (image.stat().st_ino, image.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    image.write_text("changed by a guest")
    collect(build, images, output)
    assert image.read_text() == "release one"
