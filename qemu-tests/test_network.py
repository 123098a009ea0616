"""The target listens only where it was asked to, and sends only what it was asked for."""

import re
import socket
import subprocess
import time

import pytest

from imagebuilder.target.packets import frames, unasked

LOOPBACK = re.compile("[0-9A-F]{6}7F|0{24}01000000")
"""As the kernel writes 127.x.y.z and ::1 on a little-endian machine."""


def listening(host):
    """Ports with a listener that the network reaches: (protocol, port)."""
    found = set()
    for protocol, state in (("tcp", "0A"), ("udp", "07")):
        names = f"/proc/net/{protocol} /proc/net/{protocol}6"
        # The kernel of an image may have no IPv6.
        for words in map(str.split, host.run(f"cat {names}").stdout.splitlines()):
            address, _, port = words[1].partition(":")
            if words[3] == state and not LOOPBACK.fullmatch(address):
                found.add((protocol, int(port, 16)))
    return found


def test_no_port_is_open_that_nobody_asked_for(host, artifacts):
    asked = set()
    for listen in filter(None, (artifacts.listen, artifacts.text_listen)):
        address, _, port = listen.rpartition(":")
        asked |= set() if address.startswith("127.") else {("tcp", int(port))}
    asked |= {("tcp", 22)} if artifacts.ssh else set()
    assert listening(host) <= asked | {("udp", 68)}


def test_no_address_of_ipv6(host):
    assert host.run("cat /proc/net/if_inet6").stdout == ""


def test_ssh_takes_keys_only(target, artifacts):
    if not artifacts.ssh:
        assert target.ssh_port is None
        return
    if target.ssh_port is None:
        pytest.skip("the board's ssh server forwards no ports")
    with socket.create_connection(("127.0.0.1", target.ssh_port), timeout=30) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")
    options = ["-o", "PubkeyAuthentication=no", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
               "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]  # fmt: skip
    words = ["ssh", *options, "-p", str(target.ssh_port), "root@127.0.0.1", "true"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Permission denied (publickey)" in done.stderr


def test_commands_take_the_transport_that_was_asked_for(host, session):
    over_ssh = host.check_output("echo $SSH_CONNECTION") != ""
    assert over_ssh == session.over_ssh


def test_no_packet_is_sent_that_nobody_asked_for(target):
    packets = target.packets
    time.sleep(2)
    assert list(frames(packets[0])), "the dump of the boot holds DHCP at least"
    assert [text for path in packets for text in unasked(path)] == []
