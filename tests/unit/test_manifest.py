"""The manifest: what a person writes, and what they are told."""

from pathlib import Path

import pytest

from imagebuilder.errors import UserError
from imagebuilder.manifest import Manifest, ServerLimits, load_manifest, open_server

GOOD = """\
format: 1
name: doorbell
version: 1.4.0
machine: qemuarm64
models:
  - bundle: digits
"""


def load(tmp_path: Path, text: str) -> Manifest:
    path = tmp_path / "firmware.yaml"
    path.write_text(text, encoding="utf-8")
    return load_manifest(path)


def errors(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_defaults(tmp_path: Path) -> None:
    manifest = load(tmp_path, GOOD)
    assert manifest.compatible == "doorbell"
    assert manifest.server.listen == "127.0.0.1:8080"
    assert manifest.server.loopback
    assert manifest.image.storage.data == 8 << 20
    assert manifest.models[0].device == "cpu"
    assert manifest.models[0].fallback == "deny"
    assert manifest.debian.suite == "trixie"


def test_everything_of_the_design_is_read(tmp_path: Path) -> None:
    for name in ("app/bell", "app/bell.service", "keys/dev.pub", "camera.cfg", "tests/test_x.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    manifest = load(
        tmp_path,
        GOOD.replace("  - bundle: digits\n", "")
        + """\
  - bundle: keyword-spotting
    device: npu
    fallback: allow
    threads: 2
    limits: {memory: 8MiB}
compatible: acme-doorbell
search: [./machines]
server: {listen: "0.0.0.0:9000", metrics: false, queue: 8, deadline_ms: 500}
image:
  hostname: bell
  outputs: [disk]
  ssh: {authorized_keys: [keys/dev.pub]}
  files: [{source: app/bell, path: /usr/bin/bell, mode: "0755"}]
  services: [app/bell.service]
  storage: {root: 64MiB, models: 160MiB, data: 32MiB}
kernel: {command_line: [quiet], fragments: [camera.cfg], modules: [uvcvideo]}
tests: [tests/]
yocto: {series: scarthgap, layers: [{path: ../meta-acme}], packages: [htop]}
debian: {suite: trixie, packages: [htop]}
""",
    )
    model = manifest.models[0]
    assert (model.device, model.threads, model.memory_limit) == ("npu", 2, 8 << 20)
    assert (manifest.server.host, manifest.server.port) == ("0.0.0.0", 9000)
    assert not manifest.server.loopback
    assert manifest.server.limits == ServerLimits(8, 256, 500, 60000)
    assert manifest.image.files[0].mode == 0o755
    assert manifest.image.storage.models == 160 << 20
    assert manifest.yocto.layers == (tmp_path / "../meta-acme",)
    assert manifest.debian.packages == ("htop",)


def test_all_problems_at_once_with_places_and_hints(tmp_path: Path) -> None:
    text = GOOD.replace("1.4.0", "1.4").replace("machine:", "machin:") + "server: {listen: here}\n"
    assert errors(tmp_path, text) == [
        "firmware.yaml:1:1: the key `machine` is missing",
        "firmware.yaml:3:1: version: 1.4 must be text\n  hint: put it in quotes",
        "firmware.yaml:4:1: machin: unknown key\n  hint: did you mean `machine`?",
        'firmware.yaml:7:10: server.listen: "here" is not ADDRESS:PORT with an IPv4 address',
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("models: []", "models: needs at least 1 item"),
        ("models: [{bundle: a}, {bundle: a}]", "models[1].bundle: a is listed twice"),
        ("models: [{bundle: a, device: tpu}]",
         'models[0].device: "tpu" is not one of cpu, gpu, npu'),
        ("models: [{bundle: a, limits: {memory: lots}}]",
         'models[0].limits.memory: "lots" is not a size such as 64MiB'),
        ("models: [{bundle: a}]\nserver: {listen: '300.0.0.1:8000'}",
         "server.listen: 300.0.0.1 is not an IPv4 address"),
        ("models: [{bundle: a}]\nserver: {listen: '0.0.0.0:70000'}",
         "server.listen: 70000 is not a port: 1 to 65535"),
        ("models: [{bundle: a}]\nserver: {text: {listen: '0.0.0.0:443'}}",
         "server.text.listen: port 443 is for root only, and the server runs as a user of its own\n"
         "  hint: choose one from 1024 on"),
        ("models: [{bundle: a}]\nkernel: {command_line: ['a b']}",
         'kernel.command_line[0]: "a b" is not one printable ASCII word'),
        ("models: [{bundle: a}]\nyocto: {packages: ['${@x}']}",
         'yocto.packages[0]: "${@x}" is not a package\'s name'),
        ("models: [{bundle: a}]\nyocto: {licenses: ['ACCEPT_X Y']}",
         'yocto.licenses[0]: "ACCEPT_X Y" is not the name of a licence'),
        ("models: [{bundle: a}]\n"
         "server: {listen: '127.0.0.1:8000', text: {listen: '0.0.0.0:8000'}}",
         "server.text.listen: port 8000 is that of both servers, `server.listen` and "
         "`server.text.listen`"),
        ("models: [{bundle: a}]\nserver: {token: secret}",
         'server.token: "secret" is not `device`, `none` or the path of a file on the device'),
    ],
)  # fmt: skip
def test_bad_values(tmp_path: Path, line: str, message: str) -> None:
    text = GOOD.replace("models:\n  - bundle: digits", line)
    assert [error.split(": ", 1)[1] for error in errors(tmp_path, text)] == [message]


def test_paths_must_be_files_below_the_manifest(tmp_path: Path) -> None:
    project = tmp_path / "pro jekt é"
    project.mkdir()
    (tmp_path / "secret").write_text("x")
    (project / "link").symlink_to(tmp_path / "secret")
    (project / "folder").mkdir()
    text = GOOD + (
        "image:\n  files:\n"
        "    - {source: missing, path: /a}\n"
        "    - {source: link, path: /b}\n"
        "    - {source: folder, path: /c}\n"
        "    - {source: link, path: /etc/../b}\n"
    )
    found = [error.split(": ", 1)[1] for error in errors(project, text)]
    assert found == [
        "image.files[3].path: /etc/../b has . or .. in it",
        "image.files[0].source: missing: no such file\n  hint: looked for missing",
        f"image.files[1].source: link leads out of the manifest's folder, to {tmp_path}/secret\n"
        "  hint: copy the file there",
        "image.files[2].source: folder is a folder, a file is needed",
        f"image.files[3].source: link leads out of the manifest's folder, to {tmp_path}/secret\n"
        "  hint: copy the file there",
    ]


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        ("{}", False),
        ("{listen: 'localhost:8000'}", False),
        ("{listen: '0.0.0.0:8000'}", True),
        ("{listen: '192.0.2.1:8000', token: none}", False),
        ("{listen: '0.0.0.0:8000', token: device}", False),
        ("{listen: '0.0.0.0:8000', token: /data/own}", False),
    ],
)
def test_a_server_open_to_all_is_warned_of(tmp_path: Path, server: str, warned: bool) -> None:
    warning = open_server(load(tmp_path, f"{GOOD}server: {server}\n"))
    assert (warning is not None) == warned


def test_the_warning_has_a_place_and_a_hint(tmp_path: Path) -> None:
    warning = str(open_server(load(tmp_path, f"{GOOD}server:\n  listen: '0.0.0.0:8000'\n")))
    assert warning.replace(f"{tmp_path}/", "") == (
        "firmware.yaml:8:3: server.listen: 0.0.0.0:8000 lets everybody in the network use"
        " the models\n"
        "  hint: `server.token: device` has the device make a token, `none` says that this is meant"
    )
