"""The generated kas project."""

import dataclasses
import io
import json
import stat
import tarfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.catalog import make_catalog, shipped
from imagebuilder.kasproject import names
from imagebuilder.kasproject.folder import repository_prefix
from imagebuilder.kasproject.problems import project_problems
from imagebuilder.kasproject.project import Ingredients, fragment_files, project_files
from imagebuilder.kasproject.tarball import tarball
from imagebuilder.lock import Lock
from imagebuilder.manifest import load_manifest
from imagebuilder.resolve import Build, BuildModel

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float"
SERIES = make_catalog().names("series")
MACHINES = tuple(
    name
    for name in make_catalog().names("machines")
    if make_catalog().machine(name).yocto is not None
)


def make(folder: Path, machine: str = "qemuarm64", series: str = "wrynose", extra: str = "",
         yocto: str = "") -> Ingredients:  # fmt: skip
    path = folder / "firmware.yaml"
    path.write_text(
        "format: 1\nname: doorbell\nversion: 1.4.0\nmachine: qemuarm64\n"
        f"models: [{{bundle: fixture}}]\nyocto: {{series: {series}{yocto}}}\n{extra}"
    )
    manifest, catalog = load_manifest(path), make_catalog()
    runtime = catalog.runtime("onnxruntime")
    model = BuildModel(
        manifest.models[0], read_bundle(FIXTURE), runtime, runtime.targets["aarch64"]
    )
    found = catalog.series(series)
    build = Build(manifest, catalog.machine(machine), "yocto", "release", (model,), Lock(), found)
    return Ingredients(build, found, shipped("layers"), shipped("inferd"))


def own(files: dict[str, bytes]) -> dict[str, bytes]:
    """What is not copied from the static layers."""
    return {k: v for k, v in files.items() if not k.startswith("layers/meta-imagebuilder")}


def settings(files: dict[str, bytes]) -> str:
    return "\n".join(yaml.safe_load(files["kas.yml"])["local_conf_header"].values())


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("machine", MACHINES)
def test_generated_texts(tmp_path: Path, machine: str, series: str, golden) -> None:
    ingredients = make(tmp_path, machine, series)
    allowed = ingredients.build.machine.yocto.of_series(series).series  # type: ignore[union-attr]
    if allowed and series not in allowed:
        pytest.skip(f"{machine} has no {series}")
    files = own(project_files(ingredients))
    texts = {
        path: data.decode() for path, data in sorted(files.items()) if not path.endswith(".tar")
    }
    del texts["README.md"]
    text = "".join(f"==> {path}\n{content}" for path, content in texts.items())
    # inferd changes more often than what is generated around it.
    digest = yaml.safe_load(files["kas.yml"])["local_conf_header"]["inference"].split('"')[-2]
    golden(f"yocto-{machine}-{series}.txt", text.replace(digest, "SHA256"))


@pytest.mark.parametrize("series", SERIES)
@pytest.mark.parametrize("machine", MACHINES)
def test_kas_reads_what_is_generated(tmp_path: Path, machine: str, series: str) -> None:
    kas = pytest.importorskip("kas")
    from jsonschema import Draft7Validator

    schema = json.loads((Path(kas.__file__).parent / "schema-kas.json").read_text())
    ingredients = make(tmp_path, machine, series)
    if ingredients.series.missing(ingredients.build.machine.yocto.layers):  # type: ignore[union-attr]
        pytest.skip(f"{machine} has no {series}")
    for files, name in (
        (project_files(ingredients), "kas.yml"),
        (fragment_files(ingredients), "imagebuilder.yml"),
    ):
        assert list(Draft7Validator(schema).iter_errors(yaml.safe_load(files[name]))) == []


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b é").mkdir()
    assert project_files(make(tmp_path / "a")) == project_files(make(tmp_path / "b é"))


def test_files_and_keys_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "bell").write_text("bell")
    (tmp_path / "bell.service").write_text("[Service]\nExecStart=/usr/bin/bell\n")
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA")
    (tmp_path / "camera.cfg").write_text("CONFIG_USB_VIDEO_CLASS=m\n")
    extra = (
        "image:\n  ssh: {authorized_keys: [key.pub]}\n  services: [bell.service]\n"
        "  files: [{source: app/bell, path: /usr/bin/bell, mode: '0755'}]\n"
        "kernel: {fragments: [camera.cfg], modules: [uvcvideo, snd_aloop]}\n"
    )
    ingredients = make(tmp_path, extra=extra, yocto=", init: systemd, packages: [htop]")
    assert list(project_problems(ingredients.build, ingredients.series, ingredients.layers)) == []
    files = project_files(ingredients)
    config = "layers/meta-firmware/recipes-core/firmware-config"
    assert files[f"{config}/firmware-config_1.4.0.bb"].decode() == (
        'FIRMWARE_FILES = " \\\n    app/bell:/usr/bin/bell:0755 \\\n"\n'
        'FIRMWARE_SERVICES = "bell.service"\ninherit firmware_config\n'
    )
    assert files[f"{config}/files/app/bell"] == b"bell"
    assert files[f"{config}/files/authorized_keys"] == b"ssh-ed25519 AAAA\n"
    kernel = "layers/meta-firmware/recipes-kernel/linux"
    assert b"file://camera.cfg" in files[f"{kernel}/linux-yocto_%.bbappend"]
    assert files[f"{kernel}/files/camera.cfg"] == b"CONFIG_USB_VIDEO_CLASS=m\n"
    wanted = (
        'IMAGEBUILDER_SSH = "1"',
        'INIT_MANAGER = "systemd"',
        'IMAGEBUILDER_PACKAGES = "htop"',
        'KERNEL_MODULE_AUTOLOAD = "uvcvideo snd_aloop"',
        'MACHINE_EXTRA_RRECOMMENDS:append = " kernel-module-uvcvideo kernel-module-snd-aloop"',
    )
    for line in wanted:
        assert line in settings(files)


def test_busybox_init_starts_the_users_units_and_modules(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "bell.service").write_text("[Service]\nExecStart=/bin/bell\nUser=nobody\n")
    extra = "image: {services: [app/bell.service]}\nkernel: {modules: [uvcvideo, snd_aloop]}\n"
    ingredients = make(tmp_path, extra=extra)
    assert list(project_problems(ingredients.build, ingredients.series, ingredients.layers)) == []
    files = project_files(ingredients)
    config = "layers/meta-firmware/recipes-core/firmware-config"
    assert files[f"{config}/firmware-config_1.4.0.bb"].decode() == (
        'FIRMWARE_FILES = " \\\n'
        "    imagebuilder-startup/service-0-bell:/usr/libexec/imagebuilder/service-0-bell:0755 \\\n"
        "    imagebuilder-startup/inittab:/usr/share/imagebuilder/inittab.d/70-firmware:0644 \\\n"
        '"\ninherit firmware_config\n'
    )
    assert files[f"{config}/files/imagebuilder-startup/service-0-bell"].decode() == (
        "#!/bin/sh\nexec su -s /bin/sh nobody -c 'exec /bin/bell'\n"
    )
    assert files[f"{config}/files/imagebuilder-startup/inittab"].decode() == (
        "::sysinit:/sbin/modprobe -a uvcvideo snd_aloop\n"
        "::respawn:/usr/libexec/imagebuilder/service-0-bell\n"
    )
    assert not any(path.endswith(".service") and "firmware-config" in path for path in files)
    part = fragment_files(ingredients)
    assert f"{config}/files/bell.service" in part
    assert not any("imagebuilder-startup" in path for path in part)


def test_a_unit_that_busybox_init_cannot_run(tmp_path: Path) -> None:
    for name in ("bell", "a b"):
        (tmp_path / f"{name}.service").write_text("[Service]\nExecStart=/x\nDynamicUser=yes\n")
    extra = "image: {services: [bell.service, a b.service]}\n"
    unknown = (
        ".service: Service.dynamicuser: busybox init does not run this\n"
        "  hint: it knows environment, execstart, restart, restartsec, type, user"
    )
    assert problems(make(tmp_path, extra=extra)) == [
        f"{tmp_path}/firmware.yaml:7:34: image.services[1]: a b.service: a recipe cannot name this "
        "path\n  hint: use letters, digits and . _ + / - only",
        f"{tmp_path}/bell{unknown}",
        f"{tmp_path}/a b{unknown}",
    ]
    (found,) = problems(make(tmp_path, extra=extra, yocto=", init: systemd"))
    assert "image.services[1]" in found


def test_a_tensorflow_lite_model_beside_an_onnx_model(tmp_path: Path) -> None:
    ingredients = make(tmp_path)
    (onnx,), runtime = ingredients.build.models, make_catalog().runtime("tflite")
    tflite = BuildModel(
        onnx.request, read_bundle(FIXTURE.parent / "good-tflite"), runtime,
        runtime.targets["aarch64"],
    )  # fmt: skip
    build = dataclasses.replace(ingredients.build, models=(onnx, tflite))
    files = project_files(dataclasses.replace(ingredients, build=build))
    assert 'IMAGEBUILDER_RUNTIMES = "onnxruntime-prebuilt tflite-prebuilt"' in settings(files)
    config = files["layers/meta-firmware/recipes-core/firmware-config/files/inferd.json"]
    assert json.loads(config)["runtimes"] == {
        "onnxruntime": "/usr/lib/libonnxruntime.so",
        "tflite": "/usr/lib/libtensorflowlite_c.so",
    }
    recipes = "layers/meta-imagebuilder/recipes-runtimes"
    for name in ("onnxruntime/onnxruntime-prebuilt", "tflite/tflite-prebuilt"):
        assert any(path.startswith(f"{recipes}/{name}_") for path in files)


def test_own_layers_travel_along(tmp_path: Path) -> None:
    layer = tmp_path / "meta-acme"
    (layer / "conf").mkdir(parents=True)
    (layer / ".git").mkdir()
    (layer / ".git" / "HEAD").write_text("x")
    (layer / "conf" / "layer.conf").write_text(
        'BBFILE_COLLECTIONS += "acme"\nLAYERSERIES_COMPAT_acme = "scarthgap wrynose"\n'
    )
    ingredients = make(tmp_path, yocto=", layers: [{path: meta-acme}]")
    assert list(project_problems(ingredients.build, ingredients.series, ingredients.layers)) == []
    files = project_files(ingredients)
    assert "layers/meta-acme/conf/layer.conf" in files
    assert not any(".git" in path for path in files)
    assert "layers/meta-acme" in yaml.safe_load(files["kas.yml"])["repos"]["firmware"]["layers"]


def problems(ingredients: Ingredients) -> list[str]:
    found = project_problems(ingredients.build, ingredients.series, ingredients.layers)
    return [str(problem) for problem in found]


def test_layers_that_do_not_fit_are_located(tmp_path: Path) -> None:
    for name, text in (
        ("old", 'BBFILE_COLLECTIONS += "old"\nLAYERSERIES_COMPAT_old = "kirkstone"\n'),
        ("twin", 'BBFILE_COLLECTIONS += "firmware"\nLAYERSERIES_COMPAT_firmware = "wrynose"\n'),
    ):
        (tmp_path / name / "conf").mkdir(parents=True)
        (tmp_path / name / "conf" / "layer.conf").write_text(text)
    yocto = ", layers: [{path: none}, {path: old}, {path: twin}]"
    place = f"{tmp_path / 'firmware.yaml'}:6"
    assert problems(make(tmp_path, yocto=yocto)) == [
        f"{place}:36: yocto.layers[0].path: {tmp_path / 'none'} is not a layer: "
        "it has no conf/layer.conf",
        f"{place}:50: yocto.layers[1].path: the layer old does not say that it is for wrynose\n"
        "  hint: use its branch for that series, or another yocto.series",
        f"{place}:63: yocto.layers[2].path: the layer twin has the collection firmware, "
        "which another one has too",
    ]


def test_fragments_that_are_none_are_located(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "virtio.cfg").write_text("CONFIG_VIRTIO=y\n# a comment\nVIRTIO_PCI=y\n")
    ingredients = make(tmp_path, extra="kernel: {fragments: [a.txt, virtio.cfg]}\n")
    place = f"{tmp_path / 'firmware.yaml'}:7"
    assert problems(ingredients) == [
        f"{place}:22: kernel.fragments[0]: a.txt: a fragment is called NAME.cfg",
        f"{place}:29: kernel.fragments[1]: there is already a fragment virtio.cfg",
        f"{place}:29: kernel.fragments[1]: virtio.cfg:3: 'VIRTIO_PCI=y' is not CONFIG_NAME=VALUE",
    ]


def test_paths_that_no_recipe_can_name_are_located(tmp_path: Path) -> None:
    (tmp_path / "a b").write_text("")
    extra = "image: {files: [{source: a b, path: /usr/bin/bé}]}\n"
    place = f"{tmp_path / 'firmware.yaml'}:7"
    hint = "\n  hint: use letters, digits and . _ + / - only"
    assert problems(make(tmp_path, extra=extra)) == [
        f"{place}:18: image.files[0].source: a b: a recipe cannot name this path{hint}",
        f"{place}:31: image.files[0].path: /usr/bin/bé: a recipe cannot name this path{hint}",
    ]


def test_a_fragment_brings_no_distro_machine_or_core(tmp_path: Path) -> None:
    files = fragment_files(make(tmp_path))
    data = yaml.safe_load(files["imagebuilder.yml"])
    assert set(data) == {"header", "repos", "local_conf_header"}
    assert list(data["repos"]) == ["firmware"]
    assert not any("meta-imagebuilder-distro" in path or "linux" in path for path in files)
    assert not {"machine", "image"} & set(data["local_conf_header"])


def test_a_fragment_knows_its_place_in_the_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert repository_prefix(tmp_path / "ai" / "fragment") == "ai/fragment/"
    ingredients = dataclasses.replace(make(tmp_path), prefix="ai/fragment/")
    data = yaml.safe_load(fragment_files(ingredients)["imagebuilder.yml"])
    assert list(data["repos"]["firmware"]["layers"]) == [
        "ai/fragment/layers/meta-imagebuilder",
        "ai/fragment/layers/meta-firmware",
    ]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True), st.binary()))
def test_tarballs_depend_on_names_and_contents_only(files: dict[str, bytes]) -> None:
    data = tarball("top-1", files)
    assert data == tarball("top-1", dict(reversed(files.items())))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        modes = {m.mode for m in archive}
    assert found == {f"top-1/{name}": content for name, content in files.items()}
    assert modes <= {stat.S_IMODE(0o644)}


@pytest.mark.parametrize(
    ("license_", "text"),
    [
        ({"code": "MIT", "weights": "MIT"}, "MIT"),
        ({"code": "MIT", "weights": "not-separate"}, "MIT"),
        ({"code": "MIT OR Apache-2.0", "weights": "not-separate"}, "MIT | Apache-2.0"),
        ({"code": "MIT OR Apache-2.0", "weights": "BSD-3-Clause"},
         "(MIT | Apache-2.0) & BSD-3-Clause"),
        ({"code": "MIT AND Zlib", "weights": "CC-BY-4.0"}, "MIT & Zlib & CC-BY-4.0"),
    ],
)  # fmt: skip
def test_licences_as_openembedded_writes_them(license_: dict[str, str], text: str) -> None:
    assert names.license_expression(license_) == text
