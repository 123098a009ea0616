"""An image with everything that the engine debian takes from a manifest, booted."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from imagebuilder import device
from imagebuilder.target.qemu import Running, booted
from imagebuilder.testing.session import Session, read_session

pytestmark = [pytest.mark.network, pytest.mark.qemu]

MANIFEST = """\
format: 1
name: doorbell
version: 1.4.0
compatible: acme-doorbell
machine: qemuarm64
models: [{bundle: digits}, {bundle: rock-paper-scissors}]
server: {listen: "0.0.0.0:8080", token: device}
image:
  hostname: bell
  ssh: {authorized_keys: [dev.pub]}
  files: [{source: bell, path: /usr/bin/bell, mode: "0750"}]
  services: [bell.service]
  storage: {root: 32MiB, models: 4MiB, data: 16MiB}
kernel: {command_line: [audit=0], modules: [dm-verity]}
debian: {packages: [strace]}
"""


def imagebuilder(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "imagebuilder", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("Türklingel 2")
    (folder / "firmware.yaml").write_text(MANIFEST)
    (folder / "bell").write_text('#!/bin/sh\necho "$TONE $(id -un)" >/tmp/bell\nexec sleep 9999\n')
    (folder / "bell.service").write_text(
        "[Service]\nExecStart=/bin/sh /usr/bin/bell\nUser=root\nEnvironment=TONE=loud\n"
    )
    key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "dev"]
    if shutil.which("ssh-keygen") is None:
        pytest.skip("not run: this host has no ssh")
    subprocess.run(key, check=True)
    return folder


@pytest.fixture(scope="module")
def session(project: Path) -> Session:
    """Tested over ssh, since the private key lies beside the public one."""
    done = imagebuilder("test", project / "firmware.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    return read_session(project / "build" / "qemuarm64" / "session.json")


@pytest.fixture(scope="module")
def target(session: Session):
    with booted(session.guest) as found:
        yield found


def output(target: Running, command: str) -> str:
    done = target.run(command)
    assert done.exit_code == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_the_users_own_files_packages_and_modules_are_there(target: Running) -> None:
    assert output(target, "stat -c '%a %u:%g' /usr/bin/bell") == "750 0:0"
    assert output(target, "strace -V | head -1").startswith("strace -- version")
    assert "dm_verity" in output(target, "cut -d' ' -f1 /proc/modules").split()
    assert "audit=0" in output(target, "cat /proc/cmdline").split()
    assert output(target, "hostname") == "bell"
    assert output(target, "cat /tmp/bell") == "loud root"


def test_64_clients_come_while_the_emulator_stands_still(target: Running) -> None:
    """As on a busy host: QEMU's user network would let two wait, and Linux reset others."""
    assert target.api_port is not None
    with contextlib.ExitStack() as stack:
        os.kill(target.pid, signal.SIGSTOP)
        try:
            clients = [
                stack.enter_context(socket.create_connection(("127.0.0.1", target.api_port), 1))
                for _ in range(64)
            ]
            for client in clients:
                client.sendall(b"GET /v2/health/ready HTTP/1.1\r\n")
                client.sendall(b"Host: x\r\nConnection: close\r\n\r\n")
        finally:
            os.kill(target.pid, signal.SIGCONT)
        for client in clients:
            client.settimeout(60)
            assert client.recv(15) == b"HTTP/1.1 200 OK"


def test_a_service_comes_back(target: Running) -> None:
    before = output(target, "pidof sleep | wc -w; rm /tmp/bell; kill -9 $(pidof sleep)")
    assert before == "1"
    wait = "for i in $(seq 50); do [ -e /tmp/bell ] && break; usleep 200000; done; cat /tmp/bell"
    assert output(target, wait) == "loud root"


def test_only_the_key_opens_ssh(project: Path, target: Running) -> None:
    command = [
        "ssh", "-p", str(target.ssh_port), "-F", "none", "-o", "BatchMode=yes",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none",
    ]  # fmt: skip
    where = ["root@127.0.0.1", "cat /etc/hostname"]
    key = ["-i", str(project / "dev")]
    done = subprocess.run(
        [*command, *key, *where], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "bell\n"), done.stderr
    refused = ["-i", "/nonexistent", *where]
    done = subprocess.run(
        [*command, *refused], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 255
    assert re.search(r"Permission denied \(publickey\)", done.stderr)


def test_the_same_tests_pass_over_both_transports(project: Path, session: Session) -> None:
    key = project / "dev"
    assert session.guest.ssh_key == key
    by_ssh = transport_and_tests(project)
    key.rename(project / "elsewhere")
    try:
        done = imagebuilder("test", project / "firmware.yaml", "--locked", "--output",
                            project / "by agent")  # fmt: skip
    finally:
        (project / "elsewhere").rename(key)
    assert done.returncode == 0, done.stdout + done.stderr
    by_agent = transport_and_tests(project, "by agent")
    assert (by_ssh[0], by_agent[0]) == ("ssh", "virtio-serial")
    assert by_ssh[1] == by_agent[1]
    assert len(by_ssh[1]) >= 15


def transport_and_tests(project: Path, output: str = "build") -> tuple[str | None, list[str]]:
    root = ET.parse(project / output / "qemuarm64" / "junit.xml").getroot()
    properties = {p.get("name"): p.get("value") for p in root.iter("property")}
    return properties["transport"], [str(case.get("name")) for case in root.iter("testcase")]


def test_no_account_has_a_password(target: Running) -> None:
    rows = [line.split(":") for line in output(target, "cat /etc/passwd").splitlines()]
    assert {row[1] for row in rows} == {"x"}
    assert target.run("test -e /etc/shadow").exit_code != 0


def test_the_package_list_has_sizes(project: Path, target: Running) -> None:
    rows = json.loads((project / "build" / "qemuarm64" / "packages.json").read_text())
    sizes = {f"{row['kind']} {row['name']}": row["size"] for row in rows}
    for files, name in (
        (device.SERVER_PATH, "server inferd"),
        ("/usr/lib/libonnxruntime.so", "runtime onnxruntime"),
        ("/models/digits/*", "model digits"),
    ):
        assert int(output(target, f"cat {files} | wc -c")) == sizes[name]
    assert 100_000 < sizes["package libc6"] < 4_000_000


def test_the_package_list_names_licences(project: Path, session: Session) -> None:
    rows = json.loads((project / "build" / "qemuarm64" / "packages.json").read_text())
    found = {(row["kind"], row["name"]): row for row in rows}
    assert found["package", "strace"]["licenses"]
    assert found["runtime", "onnxruntime"]["licenses"] == ["MIT"]
    assert found["model", "digits"]["version"]
    kernels = [row for row in rows if row["name"].startswith("linux-image-")]
    assert kernels
    assert all("GPL-2" in row["licenses"] for row in kernels)
    assert all(re.fullmatch("[0-9a-f]{64}", row["sha256"]) for row in rows)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("root: 32MiB", "root: 4MiB", "13:13: image.storage.root: the contents take"),
        ("[dm-verity]", "[dm-verity, nope]", "kernel.modules[1]: the kernel has no module nope"),
        ("[strace]", "[strace, n0pe]", "debian.packages[1]: Debian trixie has no package n0pe"),
    ],
)
def test_what_cannot_be_built_is_located(
    project: Path, session: Session, old: str, new: str, message: str
) -> None:
    path = project / "wrong.yaml"
    assert old in MANIFEST
    path.write_text(MANIFEST.replace(old, new))
    shutil.copy(project / "firmware.lock", project / "wrong.lock")
    done = imagebuilder("build", path, "--output", project / "wrong")
    assert done.returncode == 2, done.stderr
    assert f"{path}:" in done.stderr
    assert message in done.stderr
    assert not list((project / "wrong").rglob("*.img*"))
