"""A test from a snapshot, beside one after a boot: `python benchmarks/restore.py FOLDER`.

FOLDER is the output folder of a machine that `imagebuilder test` has tested. Each of the tests
brings the target up and asks for one inference; the peer boots for it.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from imagebuilder.bundle.reader import read_bundle
from imagebuilder.testing import EmulatedTarget, emulated
from imagebuilder.testing.golden import Goldens
from imagebuilder.testing.session import Session, read_session


def main() -> None:
    """Print seconds to the first command, and of all tests."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tests", type=int, default=30)
    parser.add_argument("--boots", type=int, default=5)
    options = parser.parse_args()
    session = read_session(options.folder / "session.json")
    with tempfile.TemporaryDirectory() as folder:
        guest = dataclasses.replace(session.guest, log_folder=Path(folder))
        with emulated(guest) as target:
            boots = [one_test(target, session, boot) for _ in range(options.boots)]
            target.close()
            began = time.monotonic()
            target.boot()
            target.snapshot()
            tests = [one_test(target, session, EmulatedTarget.restore)
                     for _ in range(options.tests)]  # fmt: skip
            took = time.monotonic() - began
    show("boot", boots)
    show("restore", tests)
    whole = statistics.mean(end for _, end in boots) * options.tests
    print(f"{options.tests} tests: {took:.1f} s with one boot and its snapshot; "
          f"with a boot each {whole:.1f} s, {whole / took:.1f} times as long")  # fmt: skip


def boot(target: EmulatedTarget) -> None:
    """A boot from the disk as it was built."""
    target.close()
    target.boot()


def one_test(
    target: EmulatedTarget, session: Session, start: Callable[[EmulatedTarget], None]
) -> tuple[float, float]:
    """Seconds to the end of the first command, and to the end of the test."""
    began = time.monotonic()
    start(target)
    assert target.run("true").exit_code == 0
    first = time.monotonic() - began
    model = session.models[0]
    goldens = Goldens.read(read_bundle(session.cache.bundle(model.digest)))
    target.infer(model.name, goldens.inputs[0])
    return first, time.monotonic() - began


def show(name: str, tests: list[tuple[float, float]]) -> None:
    """Median and largest."""
    for what, values in zip(("first command", "test"), zip(*tests, strict=True), strict=True):
        print(f"{name:8} {what:14} median {statistics.median(values):6.2f} s, "
              f"largest {max(values):6.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
