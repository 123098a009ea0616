"""The generated kas project of a firmware with a language model."""

import dataclasses
from pathlib import Path

import pytest

from imagebuilder.bundle.format import ModelFile, TextModel
from imagebuilder.bundle.reader import read_bundle
from imagebuilder.catalog import make_catalog, shipped
from imagebuilder.kasproject.problems import project_problems
from imagebuilder.kasproject.project import Ingredients, fragment_files, project_files
from imagebuilder.lock import Lock
from imagebuilder.manifest import load_manifest
from imagebuilder.resolve import Build, BuildModel

FIXTURES = Path(__file__).parents[1] / "fixtures" / "bundles"
FIXTURE = {"bell": "good-float", "story": "good-text"}
LAYER = "layers/meta-firmware"
CONFIG = f"{LAYER}/recipes-core/firmware-config/files"


def make(folder: Path, models: str = "[{bundle: bell}, {bundle: story, limits: {memory: 1MiB}}]",
         extra: str = "") -> Ingredients:  # fmt: skip
    path = folder / "firmware.yaml"
    path.write_text(
        f"format: 1\nname: doorbell\nversion: 1.4.0\nmachine: qemuarm64\nmodels: {models}\n{extra}"
    )
    manifest, catalog = load_manifest(path), make_catalog()
    found = []
    for request in manifest.models:
        bundle = read_bundle(FIXTURES / FIXTURE[request.bundle])
        text = None
        model, name = bundle.description.model, "onnxruntime"
        if request.bundle == "story":
            model = ModelFile("model.gguf", "gguf", None, None, "Q4_1")
            text, name = TextModel("llama", 134_000_000, 8192, 23040, 49152, "gpt2"), "llamacpp"
        description = dataclasses.replace(
            bundle.description, name=request.bundle, model=model, text=text
        )
        runtime = catalog.runtime(name)
        found.append(
            BuildModel(request, dataclasses.replace(bundle, description=description), runtime,
                       runtime.targets["aarch64"])
        )  # fmt: skip
    series = catalog.series("wrynose")
    build = Build(manifest, catalog.machine("qemuarm64"), "yocto", "release", tuple(found), Lock(),
                  series)  # fmt: skip
    return Ingredients(build, series, shipped("layers"), shipped("inferd"))


def test_both_servers(tmp_path: Path, golden) -> None:
    ingredients = make(tmp_path)
    assert not list(project_problems(ingredients.build, ingredients.series, ingredients.layers))
    files = project_files(ingredients)
    settings = [line for line in files["kas.yml"].decode().splitlines()
                if "IMAGEBUILDER_" in line and "SHA256" not in line]  # fmt: skip
    names = (
        f"{CONFIG}/llama-server.conf",
        f"{CONFIG}/inferd.json",
        f"{LAYER}/recipes-kernel/linux/linux-yocto_%.bbappend",
    )
    texts = "".join(f"==> {name}\n{files[name].decode()}" for name in names)
    golden("yocto-language-model.txt", "\n".join(settings) + "\n" + texts)


def test_no_inferd_unless_needed(tmp_path: Path) -> None:
    files = project_files(make(tmp_path, "[{bundle: story}]"))
    assert f"{CONFIG}/inferd.json" not in files
    # 2048 tokens of 22.5 KiB, 64 MiB for the server, and the fixture.
    assert b"memory=114294828\n" in files[f"{CONFIG}/llama-server.conf"]
    assert b'IMAGEBUILDER_SERVERS = "llama-server"' in files["kas.yml"]


def test_a_fragment_tells_how_its_servers_are_started(tmp_path: Path) -> None:
    text, tensors = "start `/usr/libexec/imagebuilder/serve-text`", "start `/usr/bin/inferd serve`"
    for models, told, untold in (
        ("[{bundle: bell}]", (tensors,), (text, "llama-server")),
        ("[{bundle: story}]", (text,), (tensors, "/etc/inferd.json")),
        ("[{bundle: bell}, {bundle: story}]", (text, tensors), ()),
    ):
        readme = fragment_files(make(tmp_path, models))["README.md"].decode()
        assert all(words in readme for words in told)
        assert not any(words in readme for words in untold)


@pytest.mark.parametrize("name", ["memory-limit.cfg", "storage.cfg"])
def test_a_fragment_of_ones_own_hides_no_feature(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("CONFIG_X=y\n")
    ingredients = make(tmp_path, extra=f"kernel: {{fragments: [{name}]}}\n")
    found = project_problems(ingredients.build, ingredients.series, ingredients.layers)
    place = f"{tmp_path / 'firmware.yaml'}:6:22: kernel.fragments[0]"
    assert [str(problem) for problem in found] == [f"{place}: there is already a fragment {name}"]
