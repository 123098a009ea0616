"""The target listens only where it was asked to, and sends only what it was asked for."""

import socket
import subprocess
import time

from imagebuilder.target.packets import frames, unasked


def listening(host):
    """Ports with a listener that the network reaches: (protocol, address, port)."""
    found = set()
    for protocol, state in (("tcp", "0A"), ("udp", "07")):
        lines = host.check_output(f"cat /proc/net/{protocol}").splitlines()[1:]
        for words in map(str.split, lines):
            address, port = words[1].split(":")
            if words[3] == state and not address.endswith("7F"):
                found.add((protocol, int(port, 16)))
    return found


def test_no_port_is_open_that_nobody_asked_for(host, artifacts):
    address, _, port = artifacts.listen.rpartition(":")
    asked = set() if address.startswith("127.") else {("tcp", int(port))}
    asked |= {("tcp", 22)} if artifacts.ssh else set()
    assert listening(host) <= asked | {("udp", 68)}
    assert host.run("test -e /proc/net/tcp6").rc != 0


def test_ssh_takes_keys_only(target, artifacts):
    if not artifacts.ssh:
        assert target.ssh_port is None
        return
    with socket.create_connection(("127.0.0.1", target.ssh_port), timeout=30) as connection:
        assert connection.recv(100).startswith(b"SSH-2.0-")
    options = ["-o", "PubkeyAuthentication=no", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
               "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]  # fmt: skip
    words = ["ssh", *options, "-p", str(target.ssh_port), "root@127.0.0.1", "true"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Permission denied (publickey)" in done.stderr


def test_commands_take_the_transport_that_was_asked_for(host, session):
    over_ssh = host.check_output("echo $SSH_CONNECTION") != ""
    assert over_ssh == (session.guest.ssh_key is not None)


def test_no_packet_is_sent_that_nobody_asked_for(target):
    time.sleep(2)
    assert list(frames(target.packets)), "the dump holds DHCP at least"
    assert unasked(target.packets) == []
