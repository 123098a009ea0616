"""An accelerator's device nodes, from the machine's file to what the image has of them."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.catalog import make_catalog, shipped
from imagebuilder.catalog.machine import Accelerator
from imagebuilder.engines.debian.root import _add_configuration
from imagebuilder.engines.debian.tree import Tree
from imagebuilder.kasproject.project import Ingredients, fragment_files, project_files
from imagebuilder.lock import Lock
from imagebuilder.manifest import load_manifest
from imagebuilder.resolve import Build, BuildModel

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-tflite"
NODES = ("/dev/apex_0", "/dev/accel/accel0")
DELEGATES = {"tflite": {"delegate": "/usr/lib/libedgetpu.so.1"}}
NPU = Accelerator("npu", None, None, DELEGATES, devices=NODES)
RECIPE = "layers/meta-firmware/recipes-core/firmware-config/firmware-config_1.4.0.bb"
LAYER = shipped("layers") / "meta-imagebuilder"


def make(folder: Path, device: str = "npu", npu: Accelerator = NPU) -> Ingredients:
    path = folder / "firmware.yaml"
    path.write_text(
        "format: 1\nname: doorbell\nversion: 1.4.0\nmachine: qemuarm64\n"
        f"models: [{{bundle: fixture, device: {device}, fallback: allow}}]\n"
    )
    manifest, catalog = load_manifest(path), make_catalog()
    runtime, series = catalog.runtime("tflite"), catalog.series("wrynose")
    bundle = read_bundle(FIXTURE)
    model = BuildModel(manifest.models[0], bundle, runtime, runtime.targets["aarch64"])
    machine = dataclasses.replace(catalog.machine("qemuarm64"), accelerator=npu)
    build = Build(manifest, machine, "yocto", "release", (model,), Lock(), series)
    return Ingredients(build, series, shipped("layers"), shipped("inferd"))


def test_a_recipe_names_the_nodes_of_a_delegate_that_is_used(tmp_path: Path) -> None:
    ingredients = make(tmp_path)
    recipe = b'FIRMWARE_DEVICES = "/dev/apex_0 /dev/accel/accel0"\ninherit firmware_config\n'
    assert project_files(ingredients)[RECIPE] == recipe
    part = fragment_files(ingredients)
    assert part[RECIPE] == recipe
    assert (
        "It opens `/dev/apex_0`, `/dev/accel/accel0`: under systemd a rule of udev gives it to the "
        "group `inferd`; another init has to do the same for each node that `/etc/inferd.devices` "
        "lists.\n"
    ) in part["README.md"].decode()


@pytest.mark.parametrize(
    ("device", "npu"),
    [
        ("cpu", NPU),
        ("gpu", NPU),
        ("npu", dataclasses.replace(NPU, runtimes={})),
        ("npu", dataclasses.replace(NPU, devices=())),
    ],
)
def test_no_nodes_where_no_model_uses_a_delegate(
    tmp_path: Path, device: str, npu: Accelerator
) -> None:
    ingredients = make(tmp_path, device, npu)
    part = fragment_files(ingredients)
    assert part[RECIPE] == b"inherit firmware_config\n"
    assert "inferd.devices" not in part["README.md"].decode()
    assert "etc/inferd.devices" not in debian_root(ingredients.build).entries


def debian_root(build: Build) -> Tree:
    tree = Tree()
    _add_configuration(tree, dataclasses.replace(build, engine="debian"))
    return tree


def test_an_image_of_the_engine_debian_lists_them(tmp_path: Path) -> None:
    entry = debian_root(make(tmp_path).build).entries["etc/inferd.devices"]
    assert entry.data == b"/dev/apex_0\n/dev/accel/accel0\n"


def run(function: str, folder: Path) -> None:
    """A shell function of the class, as BitBake runs it."""
    text = (LAYER / "classes" / "firmware_config.bbclass").read_text("utf-8")
    body = re.search(rf"^{function}\(\) \{{\n(.*?)^\}}", text, re.M | re.S)
    assert body is not None
    variables = {
        "D": str(folder), "FIRMWARE_DEVICES": " ".join(NODES), "sysconfdir": "/etc",
        "systemd_system_unitdir": "/usr/lib/systemd/system", "nonarch_base_libdir": "/usr/lib",
    }  # fmt: skip
    script = re.sub(r"\$\{(\w+)\}", lambda found: variables[found[1]], body[1])
    subprocess.run(["sh", "-eu", "-c", script], check=True)


def texts(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text("utf-8") for path in files}


def test_what_systemd_and_udev_have(tmp_path: Path) -> None:
    run("firmware_devices_systemd", tmp_path)
    assert texts(tmp_path) == {
        "usr/lib/systemd/system/inferd.service.d/devices.conf": (
            "[Service]\n"
            "PrivateDevices=no\n"
            "DevicePolicy=closed\n"
            "DeviceAllow=/dev/apex_0 rw\n"
            "DeviceAllow=/dev/accel/accel0 rw\n"
        ),
        "usr/lib/udev/rules.d/70-inferd.rules": (
            'ENV{DEVNAME}=="/dev/apex_0", GROUP:="inferd", MODE:="0660"\n'
            'ENV{DEVNAME}=="/dev/accel/accel0", GROUP:="inferd", MODE:="0660"\n'
        ),
    }
    unit = (LAYER / "recipes-inference/inferd/files/inferd.service").read_text("utf-8")
    assert "\nGroup=inferd\n" in unit


def test_what_busybox_init_has(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    run("firmware_devices_busybox", tmp_path)
    assert texts(tmp_path) == {"etc/inferd.devices": "/dev/apex_0\n/dev/accel/accel0\n"}


def test_systemd_takes_the_unit_with_its_drop_in(tmp_path: Path) -> None:
    # What it takes, systemd alone can say; other tests hold the texts where there is none.
    if shutil.which("systemd-analyze") is None:
        pytest.skip("not run: this host has no systemd-analyze")
    run("firmware_devices_systemd", tmp_path)
    units = tmp_path / "usr/lib/systemd/system"
    text = (LAYER / "recipes-inference/inferd/files/inferd.service").read_text("utf-8")
    # Programs that this host has not.
    text = re.sub(r"/usr/(bin/inferd|libexec/imagebuilder/\w+)", "/bin/true", text)
    (units / "inferd.service").write_text(text)
    (drop_in,) = (units / "inferd.service.d").iterdir()
    assert verify(units) == ""
    drop_in.write_text(drop_in.read_text("utf-8").replace("/dev/", "/sys/"))
    assert "/sys/apex_0" in verify(units)


def verify(units: Path) -> str:
    """What systemd says of the unit."""
    words = ["systemd-analyze", "verify", "--man=no", "inferd.service"]
    environment = {"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{units}:"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    return done.stderr
