"""Faults of a running device: it goes on, or starts what ended again."""

import socket
import time

import pytest

from imagebuilder.devicefiles import SERVER
from imagebuilder.target.qemu import TargetFailed
from imagebuilder.testing import faults

pytestmark = pytest.mark.fresh

YEAR = 365 * 86400
CLOCKS = {
    "1970": 7200,
    "a year back": -YEAR,
    "a year on": YEAR,
    "2038": 2**31 - 2,
    "2040": 2208988800,
    "2106": 2**32 + 5,
}


def test_the_server_is_killed(target, well, acknowledged):
    for _ in range(3):
        faults.kill(target)
    well()
    acknowledged()


def test_the_server_is_killed_before_it_answers(target, well):
    said = "imagebuilder: inferd ended before it answered"
    before = target.console.text().count(said)
    target.run(
        f"old=$(pidof {SERVER}); kill -9 $old;"
        f" until new=$(pidof {SERVER}) && [ $new != $old ]; do usleep 10000; done; kill -9 $new"
    )
    target.wait_for_service(SERVER)
    well()
    assert target.console.text().count(said) == before + 1


def test_memory_runs_out(target, well, acknowledged, record_property):
    record_property("oom", faults.out_of_memory(target))
    well()
    acknowledged()


def test_the_file_systems_in_memory_are_full(target, well, acknowledged):
    for folder in ("/run", "/tmp"):
        target.run(f"dd if=/dev/zero of={folder}/fill bs=1M 2>/dev/null")
    well()
    target.run("rm /run/fill /tmp/fill")
    faults.kill(target)
    well()
    acknowledged()


@pytest.mark.parametrize("name", CLOCKS)
def test_the_clock_jumps(target, well, name):
    when = CLOCKS[name]
    if name.startswith("a year"):
        when += int(time.time())
    faults.set_clock(target, when)
    well()
    assert target.run("echo x > /data/dated && sync").exit_code == 0
    # busybox's stat has 32 bits for it on a processor of 32 bits.
    shown = int(target.run("date -r /data/dated +%s").stdout)
    assert 0 <= shown - when < 120
    faults.kill(target)
    well()


def test_the_network_goes_and_comes_back(target, well, acknowledged):
    if target.api_port is None:
        pytest.skip("the server listens on the target's loopback only")
    with socket.create_connection(("127.0.0.1", target.api_port), 30) as half_open:
        half_open.sendall(b"POST /v2/models/x/infer HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        faults.set_link(target, up=False)
        with pytest.raises(OSError, match="timed out"):
            ask(target.api_port, 5)
        # The server on the device gives up what stays half open.
        wanted = "cat /proc/net/tcp | awk '$4 == \"01\"' | wc -l"
        target.wait(lambda: target.run(wanted).stdout == b"0\n", "a connection stays open", 60)
        faults.set_link(target, up=True)
    well()
    acknowledged()


def ask(port, timeout):
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.settimeout(timeout)
        connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        return connection.recv(100)


def test_a_damaged_bundle_is_not_taken_by_a_reload(target, bundles, well):
    name = next(model.name for model in target.artifacts.models if model.server == SERVER)
    faults.swap(target, name, "model.onnx")
    said = f"/models/{name}: digest-mismatch: model.onnx is another file"
    target.wait(lambda: said in target.console.text(), "the reload is not refused", 60)
    well()
    faults.swap_back(target, name)
    well()


def test_a_kernel_panic(target, well, acknowledged):
    assert any("Kernel panic" in line for line in target.crash())
    target.boot()
    well()
    acknowledged()


def test_a_guest_that_hangs(target):
    target.monitor("stop")
    with pytest.raises(TargetFailed, match="does not answer"):
        target.run("true", 5)
    with pytest.raises(TargetFailed, match="does not answer"):
        target.run("true")
    target.power_cut()


def test_an_emulator_that_is_killed(target):
    target.monitor("quit")
    with pytest.raises(TargetFailed, match="QEMU ended with exit code 0"):
        target.run("true")
    target.power_cut()
