"""Requests that do not come to their end: what they hold together has one bound."""

import json
import selectors
import socket
import time

import pytest
from inferd_host import FIXTURES, Inferd, Running

pytestmark = pytest.mark.inferd

CONNECTIONS = 100
CLAIMED, SENT = 300_000, 290_000
BOUND = (16 << 20) + (64 << 10) + (256 << 10)
"""Of all together: `kMaxHeld`, a small model's limit, and `kMargin`; with a larger one the test
would look before the server has refused its last."""
BODY = {"inputs": [{"name": "x0", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
REFUSAL = {"error": "too many unfinished requests hold the memory"}


def begin(server: Running) -> socket.socket:
    host, port = server.address.split(":")
    connection = socket.create_connection((host, int(port)), timeout=15)
    head = f"POST /v2/models/fixture/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {CLAIMED}\r\n\r\n"
    connection.sendall(head.encode() + b" " * SENT)
    return connection


def answered(connections: list[socket.socket]) -> list[socket.socket]:
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(0)]


def refused_of(connections: list[socket.socket]) -> list[socket.socket]:
    """Those that have an answer, once so many have that the rest may be held."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        refused = answered(connections)
        if (len(connections) - len(refused)) * SENT <= BOUND:
            break
        time.sleep(0.05)
    return refused


def status_of(raw: bytes) -> int:
    return int(raw.split(b" ", 2)[1])


def test_the_largest_are_refused_and_the_others_served(inferd: Inferd) -> None:
    with inferd.serve(inferd.configure([FIXTURES / "good-float"])) as server:
        connections = [begin(server) for _ in range(CONNECTIONS)]
        assert server.client.get("/v2/health/live").status_code == 200
        refused = refused_of(connections)
        rest = [c for c in connections if c not in refused]
        assert len(rest) * SENT <= BOUND
        assert len(rest) * SENT > BOUND - 4 * CLAIMED
        for connection in refused:
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert status_of(head) == 503
            assert b"\r\nRetry-After: 1\r\n" in head
            assert json.loads(body) == REFUSAL
            assert connection.recv(1) == b""
        answer = server.client.post("/v2/models/fixture/infer", json=BODY)
        assert answer.status_code == 200, answer.text
        for connection in rest:
            connection.sendall(b" " * (CLAIMED - SENT))
            assert status_of(connection.recv(65536)) == 413
        again = begin(server)
        again.sendall(b" " * (CLAIMED - SENT))
        assert status_of(again.recv(65536)) == 413
        for connection in [*connections, again]:
            connection.close()
        assert server.client.get("/v2/health/live").status_code == 200
