"""Damage to the disk: the device answers as ever, or says what is damaged."""

import re

import pytest

from imagebuilder import device
from imagebuilder.devicefiles import SERVER
from imagebuilder.target.qemu import TargetFailed
from imagebuilder.testing import faults

pytestmark = pytest.mark.fresh
RECORDS = f"{device.DATA_PATH}/records"


@pytest.fixture
def files(inferd, bundles):
    """The first model of inferd: its name, and its files' contents by name."""
    name = next(model.name for model in inferd.artifacts.models if model.server == SERVER)
    folder = bundles[name].folder
    return name, {path.name: path.read_bytes() for path in folder.iterdir()}


def why_it_does_not_start(target):
    """The first line of the failure; empty if the target starts."""
    try:
        target.boot()
    except TargetFailed as failure:
        return str(failure).splitlines()[0]
    return ""


def test_a_damaged_model_is_named(target, files, well, acknowledged):
    name, contents = files
    target.power_cut()
    faults.damage(target, "models-a", contents["model.onnx"])
    why = why_it_does_not_start(target)
    assert f"inferd: /models/{name}: digest-mismatch: model.onnx is another file" in why
    faults.repair(target, "models-a")
    target.boot()
    well()
    acknowledged()


def test_a_damaged_description_is_named(target, files):
    name, contents = files
    target.power_cut()
    faults.damage(target, "models-a", contents["bundle.json"])
    why = why_it_does_not_start(target)
    # Small contents may share a block with the file system's superblock, which has a checksum.
    assert f"inferd: /models/{name}: " in why or "models-a: mount: " in why


def test_no_models(target, well, acknowledged):
    target.power_cut()
    faults.overwrite(target, "models-a", 0, bytes(65536))
    assert "models-a: mount: " in why_it_does_not_start(target)
    faults.repair(target, "models-a")
    target.boot()
    well()
    acknowledged()


@pytest.mark.parametrize("seed", range(3))
def test_damaged_blocks_of_models(target, well, acknowledged, seed):
    target.power_cut()
    faults.corrupt(target, "models-a", blocks=2, seed=seed)
    if why := why_it_does_not_start(target):
        assert re.search("models-a: mount|inferd: /models/[^ ]+: ", why)
        faults.repair(target, "models-a")
        target.boot()
    well()
    acknowledged()


def test_no_root(target):
    target.power_cut()
    faults.overwrite(target, "root-a", 0, bytes(65536))
    assert "root-a: mount: " in why_it_does_not_start(target)


@pytest.mark.parametrize(("blocks", "seed"), [(1, 0), (1, 1), (1, 2), (16, 3)])
def test_damaged_blocks_of_the_root(target, well, acknowledged, blocks, seed, record_property):
    target.power_cut()
    faults.corrupt(target, "root-a", blocks=blocks, seed=seed)
    why = why_it_does_not_start(target)
    record_property("root.outcome", why or f"started; {faults.damaged_files(target)}")
    if why:
        assert re.search("damaged files: /|root-a: |Kernel panic|segfault", why)
        faults.repair(target, "root-a")
        target.boot()
    well()
    acknowledged()


def test_a_data_partition_without_a_superblock(target, well, acknowledged):
    target.power_cut()
    faults.overwrite(target, "data", 0, bytes(4096))
    target.boot()
    assert any("data" in line for line in target.console.damage)
    well()
    if not any("kept in memory" in line for line in target.console.damage):
        acknowledged()


@pytest.mark.parametrize("seed", range(3))
def test_damaged_blocks_of_data(target, well, acknowledged, seed, record_property):
    # A journal that is damaged ends early, and nobody can tell: what it has is put in its place.
    assert target.run("fsfreeze --freeze /data && fsfreeze --unfreeze /data").exit_code == 0
    target.power_cut()
    # What a file holds has no checksum of ext4's: that is for the application to have.
    faults.corrupt(target, "data", blocks=3, seed=seed, spare=b"kept\n")
    target.boot()
    well()
    if target.run(f"cat {RECORDS}").exit_code != 0:
        # The kernel found it later than e2fsck's quick look, and gives no file until it is mended.
        target.reboot()
        assert target.console.damage
        well()
    record_property("data.outcome", "; ".join(target.console.damage) or "nothing was noticed")
    if not target.console.damage:
        acknowledged()


def test_a_data_partition_that_is_no_file_system(target, well):
    target.power_cut()
    assert faults.corrupt(target, "data", blocks=1 << 20)
    target.boot()
    assert "data is kept in memory, until the next start" in "\n".join(target.console.damage)
    well()


def test_a_full_data_partition(target, well, acknowledged):
    assert faults.fill(target) > 0
    well()
    target.power_cut()
    target.boot()
    assert target.console.damage == []
    well()
    acknowledged()
    assert target.run(f"rm {faults.FILL} && echo more >> /data/other && sync").exit_code == 0


def test_a_first_start_with_full_data(target, well):
    faults.fill(target)
    target.run("rm -r /data/machine-id /data/inferd; sync")
    faults.fill(target, "/data/rest")
    target.power_cut()
    target.boot()
    well()


def test_a_disk_that_is_slow(target, well, acknowledged):
    faults.slow_disk(target, 512 << 10)
    target.run("echo 3 > /proc/sys/vm/drop_caches")
    assert target.run("dd if=/dev/zero of=/data/x bs=65536 count=8 && sync").exit_code == 0
    well()
    faults.kill(target)
    well()
    faults.slow_disk(target, 0)
    acknowledged()
