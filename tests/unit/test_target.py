"""The target's pure parts: QEMU's command line, packets, reports."""

import struct
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.artifact import Artifact, Artifacts, ImageModel, read_artifacts, write_artifacts
from imagebuilder.catalog import make_catalog
from imagebuilder.errors import BuildError, UserError
from imagebuilder.report import Failure, MachineResult, merge_junit, read_junit, summary_rows
from imagebuilder.target.command import Channels, Forward, qemu_command
from imagebuilder.target.packets import frames, judge, unasked
from imagebuilder.target.ssh import Ssh, find_key

GUEST = bytes.fromhex("525400123456")
ROUTER = bytes.fromhex("52550a000202")


@dataclass(frozen=True)
class FakeTools:
    """In the place of a toolbox."""

    root: Path = Path("/tools")

    def argv(self, program: str) -> list[str]:
        return [f"/tools/{program}"]

    def path(self, relative: str) -> Path:
        return self.root / relative


def artifacts(folder: Path, machine: str) -> Artifacts:
    files = tuple(Artifact(kind, kind, 1, "0" * 64) for kind in ("disk", "kernel", "initrd"))
    model = ImageModel("digits", "1.0.0", f"sha256:{'0' * 64}", "onnxruntime")
    return Artifacts(
        folder, "doorbell", "1.4.0", machine, "debian", "dev", "console=ttyAMA0 quiet",
        "0.0.0.0:8080", False, (model,), files,
    )  # fmt: skip


@pytest.mark.parametrize("boot", ["direct", "disk"])
@pytest.mark.parametrize("machine", ["qemuarm", "qemuarm64", "qemuriscv64", "qemux86-64"])
def test_commands(machine: str, boot: str, golden) -> None:
    qemu = make_catalog().machine(machine).qemu
    assert qemu is not None
    if boot == "disk" and qemu.firmware_code is None:
        return
    channels = Channels(
        (Forward(1234, 8080),), Path("/run/a,b"), Path("/run/p.pcap"), Path("/run/vars.fd")
    )
    words = qemu_command(artifacts(Path("/out é"), machine), qemu, FakeTools(), boot, channels)  # type: ignore[arg-type]
    golden(f"qemu-{machine}-{boot}.txt", "\n".join(words) + "\n")


def test_a_port_may_lead_to_another_address_of_the_guest() -> None:
    qemu = make_catalog().machine("qemuarm64").qemu
    assert qemu is not None
    channels = Channels((Forward(1234, 8081, "127.0.0.1"), Forward(1235, 80)))
    made = artifacts(Path("/out"), "qemuarm64")
    # Commands name folders of the tools only, so nothing is installed here.
    words = qemu_command(made, qemu, FakeTools(), "direct", channels)  # type: ignore[arg-type]
    wanted = "user,id=net,hostfwd=tcp:127.0.0.1:1234-127.0.0.1:8081,hostfwd=tcp:127.0.0.1:1235-:80"
    assert words[words.index("-netdev") + 1] == wanted


def test_the_key_beside_an_authorized_one_is_found(tmp_path: Path) -> None:
    public = tmp_path / "dev.pub"
    assert find_key((), None) is None
    assert find_key((public, tmp_path / "keys"), None) is None
    (tmp_path / "dev").write_text("private")
    assert find_key((tmp_path / "none.pub", public), None) == tmp_path / "dev"
    assert find_key((public,), tmp_path / "other") == tmp_path / "other"


def test_a_key_that_opens_nothing(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(UserError) as caught:
        find_key((), tmp_path / "dev")
    assert str(caught.value) == (
        f"--ssh-key {tmp_path}/dev: the image lets nobody in by ssh\n"
        "  hint: name the public key in the manifest: image.ssh.authorized_keys"
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError) as caught:
        find_key((tmp_path / "dev.pub",), tmp_path / "dev")
    assert str(caught.value) == (
        f"testing over ssh with {tmp_path}/dev needs OpenSSH's program ssh\n"
        "  hint: apt-get install openssh-client, or move the private key away"
    )


def test_what_ssh_says_is_told_apart_from_the_commands_code(tmp_path: Path, monkeypatch) -> None:
    """Nobody listens at the port; a command may itself end with OpenSSH's code 255."""
    with pytest.raises(BuildError, match=r"ssh: connect to host 127\.0\.0\.1 port 1: .*refused"):
        Ssh(1, tmp_path / "key", tmp_path).run("true")
    fake = tmp_path / "ssh"
    fake.write_text("#!/bin/sh\necho out; exit 255\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = Ssh(1, tmp_path / "key", tmp_path).run("true")
    assert (done.exit_code, done.stdout, done.stderr) == (255, b"out\n", b"")


def frame(kind: int, payload: bytes, source: bytes = GUEST) -> bytes:
    return ROUTER + source + struct.pack(">H", kind) + payload


def ipv4(protocol: int, payload: bytes) -> bytes:
    addresses = bytes([10, 0, 2, 15, 9, 9, 9, 9])
    return bytes([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0]) + addresses + payload


def tcp(flags: int) -> bytes:
    return struct.pack(">HHIIBB", 4000, 443, 0, 0, 0x50, flags) + b"\0" * 6


def udp(source: int, target: int) -> bytes:
    return struct.pack(">HHHH", source, target, 8, 0)


@pytest.mark.parametrize(
    ("packet", "verdict"),
    [
        (frame(0x0806, b"\0" * 28), ""),
        (frame(0x0800, ipv4(17, udp(68, 67))), ""),
        (frame(0x0800, ipv4(17, udp(5000, 53))), "UDP to 9.9.9.9:53"),
        (frame(0x0800, ipv4(6, tcp(0x02))), "TCP connection to 9.9.9.9:443"),
        (frame(0x0800, ipv4(6, tcp(0x12))), ""),
        (frame(0x0800, ipv4(6, tcp(0x10))), ""),
        (frame(0x0800, ipv4(1, b"\0" * 8)), "IP protocol 1 to 9.9.9.9"),
        (frame(0x86DD, b"\0" * 40), "Ethernet type 0x86dd"),
        (frame(0x0800, ipv4(17, udp(5000, 53)), ROUTER), ""),
    ],
)
def test_packets_are_judged(packet: bytes, verdict: str) -> None:
    assert judge(packet) == verdict


def pcap(packets: list[bytes]) -> bytes:
    head = b"\xd4\xc3\xb2\xa1" + struct.pack("<HHIIII", 2, 4, 0, 0, 65535, 1)
    return head + b"".join(struct.pack("<IIII", 0, 0, len(p), len(p)) + p for p in packets)


def test_dumps_are_read_to_the_last_whole_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    packets = [frame(0x0806, b"\0" * 28), frame(0x86DD, b"\0" * 40)]
    path.write_bytes(pcap(packets)[:-1])
    assert list(frames(path)) == packets[:1]
    path.write_bytes(pcap(packets))
    assert unasked(path) == ["Ethernet type 0x86dd"]


@given(st.binary(max_size=120))
def test_any_frame_is_judged(raw: bytes) -> None:
    assert isinstance(judge(raw), str)
    assert isinstance(judge(frame(0x0800, raw)), str)


@given(st.binary(max_size=200))
def test_any_file_is_a_dump_or_none(tmp_path_factory, raw: bytes) -> None:
    path = tmp_path_factory.mktemp("pcap") / "x"
    path.write_bytes(raw)
    try:
        assert isinstance(unasked(path), list)
    except ValueError as error:
        assert str(error) == "not a pcap file of Ethernet frames"  # noqa: PT017 - either is right


JUNIT = """<testsuites><testsuite name="pytest" tests="5" failures="2" errors="1" skipped="1"
 time="2.5" hostname="me"><properties><property name="boot.ready" value="4.4"/></properties>
<testcase name="a"/><testcase name="b"><failure message="assert 1 == &quot;2&quot;"/></testcase>
<testcase name="c"><skipped/></testcase><testcase name="d"><error
 message="failed on setup with &quot;Failed: qemuarm: panic&#10; x&#10;[+9 more lines]"/></testcase>
<testcase name="e"><error
 message="failed on setup with &quot;imagebuilder.target.qemu.TargetFailed: qemuarm: panic&quot;"/>
</testcase></testsuite></testsuites>"""


def base(**changes: object) -> MachineResult:
    return MachineResult("qemuarm64", "debian", "dev", "direct", ("digits",), **changes)  # type: ignore[arg-type]


def test_results_are_read_merged_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(JUNIT)
    result = read_junit(path, base())
    assert (result.passed, result.failed, result.skipped) == (1, 3, 1)
    assert not result.good
    assert result.failures == (
        Failure("b", 'assert 1 == "2"'),
        Failure("d", "qemuarm: panic"),
        Failure("e", "qemuarm: panic"),
    )
    assert result.reasons == {'assert 1 == "2"': "b", "qemuarm: panic": "d, e"}
    lost = base(error="did not boot")
    merge_junit([(result, path), (lost, tmp_path / "none.xml")], tmp_path / "all.xml")
    suites = list(ET.parse(tmp_path / "all.xml").getroot())
    assert [suite.get("name") for suite in suites] == ["qemuarm64 (debian, dev)"] * 2
    properties = {p.get("name"): p.get("value") for p in suites[0].iter("property")}
    assert properties["machine"] == "qemuarm64"
    assert properties["boot.ready"] == "4.4"
    assert suites[0].get("hostname") is None
    assert suites[1].find("testcase/error") is not None
    assert [row[2:4] for row in summary_rows([result, lost])] == [
        ("FAIL", "1 passed, 3 failed"), ("FAIL", "not tested"),
    ]  # fmt: skip


def test_nothing_run_is_not_good() -> None:
    assert not base().good


def test_artifacts_round_trip(tmp_path: Path) -> None:
    made = artifacts(tmp_path, "qemuarm")
    write_artifacts(made)
    assert read_artifacts(tmp_path) == made
    (tmp_path / "artifacts.json").write_text("[]")
    with pytest.raises(UserError, match="not written by imagebuilder, or damaged"):
        read_artifacts(tmp_path)
    with pytest.raises(UserError) as caught:
        read_artifacts(tmp_path / "none")
    assert str(caught.value) == (
        f"{tmp_path}/none: there is no built image here\n"
        "  hint: run `imagebuilder build`, with the same --machine, --engine and --output"
    )
