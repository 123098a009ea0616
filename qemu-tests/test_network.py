"""The target listens only where it was asked to, and sends only what it was asked for."""

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


def test_no_packet_is_sent_that_nobody_asked_for(target):
    time.sleep(2)
    assert list(frames(target.packets)), "the dump holds DHCP at least"
    assert unasked(target.packets) == []
