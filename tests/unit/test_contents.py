"""What is in an image of either engine, and where two differ."""

import json
import re
import sys
import textwrap
import types
from pathlib import Path

import pytest

from imagebuilder.artifact import Artifacts, ImageModel, describe, write_artifacts
from imagebuilder.catalog import shipped
from imagebuilder.cli import run_command
from imagebuilder.errors import UserError
from imagebuilder.report.contents import Part, differences, image_parts, sizes

DEBIAN = [
    {"kind": "package", "name": "libc6", "version": "2.41", "size": 3 << 20, "sha256": "1" * 64,
     "licenses": ["GPL-2.0"]},
    {"kind": "runtime", "name": "onnxruntime", "version": "1.28.0", "size": 20 << 20,
     "sha256": "2" * 64, "licenses": ["MIT"]},
    {"kind": "model", "name": "digits", "version": "1.0.0", "size": 17000, "sha256": "3" * 64,
     "licenses": []},
]  # fmt: skip
YOCTO = [
    {"kind": "package", "name": "libc6", "version": "2.43", "size": 4 << 20, "licenses": ["X"]},
    {"kind": "package", "name": "model-bundle-digits", "version": "1.0.0", "size": 18000,
     "licenses": ["MIT"]},
]  # fmt: skip
MANIFEST = "libc6 cortexa57 2.43\nmodel-bundle-digits allarch 1.0.0\n"


def image(folder: Path, engine: str, name: str, listing: str, disk: bytes = b"disk") -> Artifacts:
    """An image with one disk and the model digits."""
    folder.mkdir()
    (folder / f"{folder.name}.img").write_bytes(disk)
    (folder / name).write_text(listing)
    files = (describe("disk", folder / f"{folder.name}.img"), describe("packages", folder / name))
    models = (ImageModel("digits", "1.0.0", f"sha256:{'3' * 64}", "onnxruntime"),)
    made = Artifacts(folder, "doorbell", "1.4.0", "qemuarm64", engine, "dev", "quiet",
                     "0.0.0.0:8080", False, models, files)  # fmt: skip
    write_artifacts(made)
    return made


def test_each_engine_lists_the_same_kinds(tmp_path: Path) -> None:
    debian = image(tmp_path / "a", "debian", "packages.json", json.dumps(DEBIAN))
    assert image_parts(debian) == (
        Part("runtime", "onnxruntime", "1.28.0", 20 << 20, "2" * 64, ("MIT",)),
        Part("package", "libc6", "2.41", 3 << 20, "1" * 64, ("GPL-2.0",)),
        Part("model", "digits", "1.0.0", 17000, "3" * 64),
    )
    yocto = image(tmp_path / "b", "yocto", "packages.json", json.dumps(YOCTO))
    assert image_parts(yocto) == (
        Part("package", "libc6", "2.43", 4 << 20, "", ("X",)),
        Part("model", "digits", "1.0.0", 18000, "3" * 64, ("MIT",)),
    )
    plain = image(tmp_path / "c", "yocto", "packages.manifest", MANIFEST)
    assert image_parts(plain) == (
        Part("model", "digits", "1.0.0", 0, "3" * 64),
        Part("package", "libc6", "2.43"),
    )


def test_what_grew_stands_first(tmp_path: Path) -> None:
    one = image(tmp_path / "a-1.0", "debian", "packages.json", json.dumps(DEBIAN))
    rows = [*DEBIAN[:1], {**DEBIAN[1], "size": 26 << 20, "sha256": "4" * 64},
            {**DEBIAN[2], "name": "magika"}]  # fmt: skip
    other = image(tmp_path / "a-1.1", "debian", "packages.json", json.dumps(rows), b"di")
    assert differences(sizes(one), sizes(other)) == [
        ("runtime onnxruntime", 20 << 20, 26 << 20),
        ("model magika", None, 17000),
        ("packages", len(json.dumps(DEBIAN)), len(json.dumps(rows))),
        ("disk", 4, 2),
        ("model digits", 17000, 0),
    ]


def test_the_command_on_images_of_both_engines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = image(tmp_path / "a", "debian", "packages.json", json.dumps(DEBIAN))
    other = image(tmp_path / "b", "yocto", "packages.manifest", MANIFEST)
    for words, wanted in (
        ([one.folder], ("runtime onnxruntime", "20.0 MiB", "model digits", "16.6 KiB")),
        ([other.folder], ("package libc6", "model digits")),
        ([one.folder, other.folder], ("package libc6", "-3.0 MiB", "absent")),
        ([one.folder, one.folder], ("no difference",)),
    ):  # fmt: skip
        assert run_command(["inspect", *map(str, words)]) == 0
        said = capsys.readouterr().out
        for text in wanted:
            assert text in said


def test_a_list_that_is_none(tmp_path: Path) -> None:
    made = image(tmp_path / "a", "debian", "packages.json", '[{"kind": "package"}]')
    with pytest.raises(UserError) as caught:
        image_parts(made)
    assert str(caught.value) == f"{made.path('packages')}: is no list of packages"


def test_the_layer_writes_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task of `imagebuilder_image.bbclass`, as BitBake runs it after the root was made."""
    installed = {"model-bundle-digits": {"arch": "allarch"}, "libc6": {"ver": "2.43"}}
    data = {
        "/pkgdata/runtime-reverse/libc6": {"PN": "glibc", "PKGV": "2.43+git", "LICENSE": "X",
                                           "PKGSIZE:glibc": str(4 << 20)},
        "/pkgdata/runtime-reverse/model-bundle-digits": {
            "PKGV": "1.0.0", "PKGSIZE:model-bundle-digits": "18000",
            "LICENSE:model-bundle-digits": "MIT"},
    }  # fmt: skip
    packagedata, rootfs = types.ModuleType("oe.packagedata"), types.ModuleType("oe.rootfs")
    packagedata.read_pkgdatafile = data.__getitem__
    rootfs.image_list_installed_packages = lambda _: installed
    for name, module in (("oe", types.ModuleType("oe")), ("oe.packagedata", packagedata),
                         ("oe.rootfs", rootfs)):  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)
    text = (shipped("layers") / "meta-imagebuilder/classes/imagebuilder_image.bbclass").read_text()
    body = re.search(r"^python imagebuilder_packages\(\) \{\n(.*?)^\}", text, re.M | re.S)
    assert body is not None
    values = {"${PKGDATA_DIR}": "/pkgdata", "${IMGDEPLOYDIR}": str(tmp_path),
              "${IMAGE_LINK_NAME}": "image"}  # fmt: skip

    class Data:
        @staticmethod
        def expand(words: str) -> str:
            for name, value in values.items():
                words = words.replace(name, value)
            return words

    exec(f"def task(d):\n{textwrap.indent(body[1], ' ')}", scope := {})
    scope["task"](Data)
    assert json.loads((tmp_path / "image.packages.json").read_text()) == YOCTO


def test_a_damaged_image_is_not_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = image(tmp_path / "a", "debian", "packages.json", json.dumps(DEBIAN))
    made.path("disk").write_bytes(b"disc")
    assert run_command(["inspect", str(made.folder)]) == 2
    said = f"{made.path('disk')}: is not the file that was built"
    assert said in capsys.readouterr().err
