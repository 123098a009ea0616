"""The Python tasks of the layers' classes, run as BitBake runs them."""

import hashlib
import json
import re
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagebuilder.catalog import shipped

CLASSES = shipped("layers") / "meta-imagebuilder" / "classes"


class Fatal(Exception):
    """What `bb.fatal` does: ends the task with a message."""


def run(name: str, task: str, variables: dict[str, str], **bb: object) -> None:
    """Run a task of a class; `bb` are further parts of BitBake's module."""
    text = (CLASSES / f"{name}.bbclass").read_text("utf-8")
    body = re.search(rf"^python {task}\(\) \{{\n(.*?)^\}}", text, re.M | re.S)
    assert body is not None

    def fatal(message: str) -> None:
        raise Fatal(message)

    exec(f"def task(d, bb):\n{textwrap.indent(body[1], ' ')}", scope := {})
    data = SimpleNamespace(getVar=variables.get)
    scope["task"](data, SimpleNamespace(fatal=fatal, **bb))


def message(name: str, task: str, variables: dict[str, str], **bb: object) -> str:
    with pytest.raises(Fatal) as caught:
        run(name, task, variables, **bb)
    return str(caught.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a release image."""
    for path, text in {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ninferd:x:901:901::/:/bin/false\n",
        "etc/shadow": "root:*:1::::::\ninferd:!:1::::::\n",
        "etc/inittab": "::sysinit:/usr/libexec/imagebuilder/rc\n# ttyS0::respawn:/sbin/getty\n"
        "::respawn:/usr/libexec/imagebuilder/service-0-auto-login\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path


def test_a_release_image_without_a_fault(root: Path) -> None:
    run("release_check", "release_check", {"IMAGE_ROOTFS": str(root)})
    (root / "etc" / "inittab").unlink()
    run("release_check", "release_check", {"IMAGE_ROOTFS": str(root)})


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("usr/libexec/imagebuilder/agent", "",
         "the test agent is installed: /usr/libexec/imagebuilder/agent"),
        ("usr/lib/systemd/system/imagebuilder-agent.service", "",
         "the test agent is installed: /usr/lib/systemd/system/imagebuilder-agent.service"),
        ("etc/shadow", "root::1::::::\n", "/etc/shadow: root has an empty password"),
        ("etc/shadow", "root:$6$x$y:1::::::\n", "/etc/shadow: root has a password"),
        ("etc/passwd", "root::0:0::/:/bin/sh\n", "/etc/passwd: root has an empty password"),
        ("etc/inittab", "S0::respawn:/sbin/getty 115200 S0\n",
         "/etc/inittab starts a shell: S0::respawn:/sbin/getty 115200 S0"),
        ("etc/inittab", "::askfirst:-/bin/sh\n",
         "/etc/inittab starts a shell: ::askfirst:-/bin/sh"),
        ("etc/inittab", "::respawn:/bin/busybox ash\n",
         "/etc/inittab starts a shell: ::respawn:/bin/busybox ash"),
        ("etc/inittab", "::respawn:/sbin/sulogin\n",
         "/etc/inittab starts a shell: ::respawn:/sbin/sulogin"),
        ("usr/lib/systemd/systemd", "",
         "getty.target is not masked, so that systemd starts a login on each console"),
        ("etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service", "",
         "serial-getty@ttyS0.service is enabled"),
        ("etc/systemd/system/sysinit.target.wants/debug-shell.service", "",
         "debug-shell.service is enabled"),
    ],
)  # fmt: skip
def test_what_a_release_image_must_not_have(root: Path, path: str, text: str, what: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    found = message("release_check", "release_check", {"IMAGE_ROOTFS": str(root)})
    assert found == f"not fit for release:\n  {what}"


def shell_function(name: str, function: str, variables: dict[str, str]) -> str:
    """The text of a shell function of a class, its variables filled in."""
    text = (CLASSES / f"{name}.bbclass").read_text("utf-8")
    body = re.search(rf"^{function}\(\) \{{\n(.*?)^\}}", text, re.M | re.S)
    own = dict(re.findall(r'^([A-Z_]+) = "(.*)"$', text, re.M))
    assert body is not None
    return re.sub(r"\$\{(\w+)\}", lambda found: {**own, **variables}[found[1]], body[1])


def test_a_release_image_masks_the_logins_of_systemd(root: Path) -> None:
    """What a recipe of OE-core enables, and a mask over what presets would enable later."""
    units = root / "etc" / "systemd" / "system"
    (units / "getty.target.wants").mkdir(parents=True)
    console = units / "getty.target.wants" / "serial-getty@ttyAMA0.service"
    console.symlink_to("/usr/lib/systemd/system/serial-getty@.service")
    (root / "usr" / "lib" / "systemd").mkdir(parents=True)
    (root / "usr" / "lib" / "systemd" / "systemd").touch()
    variables = {"IMAGE_ROOTFS": str(root), "sysconfdir": "/etc"}
    said = message("release_check", "release_check", variables)
    assert "serial-getty@ttyAMA0.service is enabled" in said
    text = shell_function("release_check", "release_mask_logins", variables)
    subprocess.run(["sh", "-eu", "-c", text], check=True)
    run("release_check", "release_check", variables)
    assert (units / "getty@.service").readlink() == Path("/dev/null")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, str]:
    """The variables of a recipe whose unpacked bundle is as it was sealed."""
    (tmp_path / "model.onnx").write_bytes(b"weights")
    files = {"model.onnx": {"size": 7, "sha256": digest(b"weights")}}
    raw = json.dumps({"files": files}).encode()
    (tmp_path / "bundle.json").write_bytes(raw)
    (tmp_path / "bundle.sig").write_bytes(b"signature")
    return {"S": str(tmp_path), "BP": "model-bundle-x-1", "MODEL_BUNDLE_SHA256": digest(raw)}


def test_a_bundle_as_it_was_sealed(bundle: dict[str, str]) -> None:
    run("model_bundle", "model_bundle_verify", bundle)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"Weights"),
         "damaged model bundle: model.onnx is another file than bundle.json lists"),
        (lambda folder: (folder / "model.onnx").unlink(),
         "damaged model bundle: model.onnx is missing"),
        (lambda folder: (folder / "more").touch(), "damaged model bundle: more is not listed"),
        (lambda folder: (folder / "bundle.json").unlink(),
         "model-bundle-x-1.tar holds no bundle.json"),
    ],
)  # fmt: skip
def test_a_damaged_bundle(
    bundle: dict[str, str], change: Callable[[Path], object], what: str
) -> None:
    change(Path(bundle["S"]))
    assert message("model_bundle", "model_bundle_verify", bundle) == what


def test_another_bundle_than_the_recipe_has(bundle: dict[str, str]) -> None:
    found, bundle["MODEL_BUNDLE_SHA256"] = bundle["MODEL_BUNDLE_SHA256"], "0" * 64
    said = message("model_bundle", "model_bundle_verify", bundle)
    assert said == f"bundle.json has the SHA-256 {found}, not {'0' * 64}"


def test_the_archive_of_inferd_is_verified(tmp_path: Path) -> None:
    path = tmp_path / "inferd-1.tar"

    class Fetch:
        def __init__(self, uris: list[str], _: object) -> None:
            assert uris == ["file://inferd-1.tar"]

        def localpaths(self) -> list[str]:
            return [str(path)]

    words = ("local_archive", "local_archive_verify")
    values = {"LOCAL_ARCHIVE": path.name, "LOCAL_ARCHIVE_SHA256": digest(b"source")}
    fetch2 = SimpleNamespace(Fetch=Fetch)
    assert message(*words, values, fetch2=fetch2) == f"{path}: no such file"
    path.write_bytes(b"source")
    run(*words, values, fetch2=fetch2)
    path.write_bytes(b"Source")
    said = message(*words, values, fetch2=fetch2)
    assert said == f"{path}: SHA-256 is {digest(b'Source')}, not {digest(b'source')}"
