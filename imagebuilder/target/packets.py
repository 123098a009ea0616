"""Which packets a guest sent on its own, from the dump of QEMU's network (pcap, Ethernet)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

MAX_FILE = 256 << 20
GUEST_MAC_PREFIX = bytes.fromhex("525400")
"""QEMU's own addresses begin with it; those of its virtual router begin with 52:55 or 52:56."""

ETHERTYPE_IPV4, ETHERTYPE_ARP = 0x0800, 0x0806
PROTOCOL_TCP, PROTOCOL_UDP = 6, 17
SYN, ACK = 0x02, 0x10
DHCP_CLIENT, DHCP_SERVER = 68, 67


def unasked(path: Path) -> list[str]:
    """Descriptions of packets from the guest besides ARP, DHCP and replies to connections.

    Raises `ValueError` when the file is no pcap of Ethernet frames.
    """
    return [text for frame in frames(path) if (text := judge(frame))]


def frames(path: Path) -> Iterator[bytes]:
    """The frames of a pcap file (libpcap's pcap-savefile(5)), in either byte order."""
    data = path.read_bytes()[:MAX_FILE]
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}.get(data[:4])
    if order is None or len(data) < 24 or struct.unpack(order + "I", data[20:24])[0] != 1:
        raise ValueError("not a pcap file of Ethernet frames")
    at = 24
    while at + 16 <= len(data):
        size = struct.unpack(order + "I", data[at + 8 : at + 12])[0]
        frame = data[at + 16 : at + 16 + size]
        if len(frame) < size:
            return  # QEMU was stopped while it wrote the last one
        yield frame
        at += 16 + size


def judge(frame: bytes) -> str:
    """Why a frame of the guest was not asked for; empty if it was, or is not the guest's."""
    if len(frame) < 14 or frame[6:9] != GUEST_MAC_PREFIX:
        return ""
    kind = int.from_bytes(frame[12:14])
    if kind == ETHERTYPE_ARP:
        return ""
    if kind != ETHERTYPE_IPV4 or len(frame) < 34:
        return f"Ethernet type {kind:#06x}"
    return _judge_ipv4(frame[14:])


def _judge_ipv4(packet: bytes) -> str:
    header = 4 * (packet[0] & 15)
    protocol, target = packet[9], ".".join(map(str, packet[16:20]))
    payload = packet[header:]
    if protocol not in (PROTOCOL_TCP, PROTOCOL_UDP) or len(payload) < 14 + 2 * (protocol == 6):
        short_udp = protocol == PROTOCOL_UDP and len(payload) >= 8
        if not short_udp:
            return f"IP protocol {protocol} to {target}"
    source_port, target_port = struct.unpack(">HH", payload[:4])
    if protocol == PROTOCOL_UDP:
        if (source_port, target_port) == (DHCP_CLIENT, DHCP_SERVER):
            return ""
        return f"UDP to {target}:{target_port}"
    opens = payload[13] & (SYN | ACK) == SYN
    return f"TCP connection to {target}:{target_port}" if opens else ""
