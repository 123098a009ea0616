"""Power cuts on a real image: it comes up, answers, and has all that was acknowledged."""

import os
import random
import subprocess
import sys
import time

import pytest

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.testing import EmulatedTarget, emulated
from imagebuilder.testing.golden import Goldens
from imagebuilder.testing.session import Session, read_session

pytestmark = [pytest.mark.network, pytest.mark.qemu]

CUTS = 200 if os.environ.get("IMAGEBUILDER_NIGHTLY") else 3
NOISE = "while true; do head -c 262144 /dev/urandom > /data/a; mv /data/a /data/b; done"
MANIFEST = """\
format: 1
name: cuts
version: 0.1.0
machine: qemuarm64
models: [{bundle: digits}]
server: {listen: "0.0.0.0:8080"}
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory) -> Session:
    folder = tmp_path_factory.mktemp("cuts")
    (folder / "firmware.yaml").write_text(MANIFEST)
    words = [sys.executable, "-m", "imagebuilder", "test", folder / "firmware.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return read_session(folder / "build" / "qemuarm64" / "session.json")


def records(target: EmulatedTarget) -> list[str]:
    return target.run("cat /data/records 2>/dev/null").stdout.decode().split()


def write_and_cut(target: EmulatedTarget, number: int, chance: random.Random) -> list[str]:
    """Acknowledged writes among others that are never flushed; gives the acknowledged ones."""
    written = [f"{number}-{index}" for index in range(chance.randrange(1, 4))]
    target.start(NOISE)
    for word in written:
        assert target.run(f"echo {word} >> /data/records && sync").exit_code == 0
    time.sleep(chance.random())
    target.power_cut()
    return written


def test_nothing_acknowledged_is_lost(session: Session) -> None:
    (model,) = session.guest.artifacts.models
    goldens = Goldens.read(read_bundle(session.cache.bundle(model.digest)))
    chance = random.Random(1)
    acknowledged: list[str] = []
    lost = 0
    with emulated(session.guest, seed=2) as target:
        for number in range(CUTS):
            target.boot()
            assert records(target) == acknowledged
            assert goldens.compare(goldens.ask(target)).within
            assert target.run("dmesg | grep -iE 'ext4.*(error|corrupt)'").stdout == b""
            assert target.console.damage == []
            acknowledged += write_and_cut(target, number, chance)
            lost += target.lost
        target.boot()
        assert records(target) == acknowledged
    assert lost > 0, "no write was in flight: the cuts proved nothing"


def test_a_restart_and_a_crash(session: Session) -> None:
    with emulated(session.guest) as target:
        target.boot()
        target.run("echo kept > /data/records && sync")
        target.reboot()
        assert records(target) == ["kept"]
        assert any("Kernel panic" in line for line in target.crash())
        target.boot()
        assert records(target) == ["kept"]
