"""Processes side by side: how many at once, what they leave, and that none outlives the call."""

import os
import sys
import time
from pathlib import Path

import pytest

from imagebuilder.cli.machines import available_memory
from imagebuilder.run import Job, run_all


def job(folder: Path, number: int, code: str, timeout: float = 30) -> Job:
    return Job((sys.executable, "-c", code), folder / f"{number}.log", timeout)


def test_codes_and_logs_in_their_order(tmp_path: Path) -> None:
    """The first job waits for the end of the third, and that for the end of the second."""
    code = (
        "import pathlib, sys, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.01)\n"
        "print('out'); print('err', file=sys.stderr); exit({})"
    )
    after = (2, None, 1)
    gates = [tmp_path if other is None else tmp_path / f"ended-{other}" for other in after]
    jobs = [job(tmp_path, n, code.format(str(gate), n)) for n, gate in enumerate(gates)]
    ended: list[int] = []

    def note(number: int) -> None:
        ended.append(number)
        (tmp_path / f"ended-{number}").touch()

    assert run_all(jobs, 3, {}, note) == [0, 1, 2]
    assert ended == [1, 2, 0]
    assert set((tmp_path / "1.log").read_text().split()) == {"out", "err"}


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_than_asked_for_run_at_once(tmp_path: Path, at_once: int) -> None:
    code = (
        "import os, time; os.makedirs('run', exist_ok=True); p = f'run/{os.getpid()}'; "
        "open(p, 'w').close(); print(len(os.listdir('run'))); time.sleep(0.3); os.unlink(p)"
    )
    jobs = [job(tmp_path, n, f"import os; os.chdir({str(tmp_path)!r}); {code}") for n in range(4)]
    assert run_all(jobs, at_once, {}, lambda _: None) == [0] * 4
    seen = [int((tmp_path / f"{n}.log").read_text()) for n in range(4)]
    assert max(seen) == at_once


def test_one_whose_time_is_over_is_killed_and_the_others_go_on(tmp_path: Path) -> None:
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    jobs = [job(tmp_path, 0, f"{code}; time.sleep(60)", 1.5), job(tmp_path, 1, "exit(0)")]
    assert run_all(jobs, 1, {}, lambda _: None) == [None, 0]
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    jobs = [job(tmp_path, 0, f"{code}; time.sleep(60)"), job(tmp_path, 1, "import time; "
            "time.sleep(1)")]  # fmt: skip

    def interrupt(_number: int) -> None:
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_all(jobs, 2, {}, interrupt)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_memory_of_this_host_is_known() -> None:
    assert available_memory() > 16 << 20
