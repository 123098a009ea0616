"""What all faults have in common: a device that is well, and has what it acknowledged."""

import pytest

from imagebuilder import device
from imagebuilder.devicefiles import SERVER
from imagebuilder.testing.golden import Goldens

RECORDS = f"{device.DATA_PATH}/records"


@pytest.fixture
def well(inferd, bundles):
    """Checks that every model of inferd answers as on the host; two samples each, for speed."""
    names = [model.name for model in inferd.artifacts.models if model.server == SERVER]

    def check():
        for name in names:
            few = Goldens.read(bundles[name]).first(2)
            parity = few.compare(few.ask(inferd))
            assert parity.within, (name, parity)

    return check


@pytest.fixture
def acknowledged(inferd):
    """Writes a record and waits until it is on the disk; gives a check that it is still there."""
    assert inferd.run(f"echo kept >> {RECORDS} && sync").exit_code == 0

    def check():
        assert inferd.run(f"cat {RECORDS}").stdout == b"kept\n"

    return check
