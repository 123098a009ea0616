"""Does what `models.inspect` and `models.trial` do in a process, in a fork for each file.

The libraries are imported once. Words: seed model, number of files, specification of the inputs.
"""

import json
import os
import random
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from test_model_files import mutated

from imagebuilder.errors import UserError
from imagebuilder.models import inspect, sessions, trial
from imagebuilder.run import Completed

CPU_SECONDS = 6
RSS_KIB = 1 << 20


def fork(folder: Path, action: Callable[[], int]) -> Completed:
    """Exit code and output of `action` in a child; its time and memory within the limits."""
    out, err = folder / "stdout", folder / "stderr"
    child = os.fork()
    if child == 0:
        for path, number in ((out, 1), (err, 2)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        code = 1
        try:
            code = action()
            sys.stdout.flush()
        except BaseException:
            # As an interpreter ends that nobody catches; this child must not go on as its parent.
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    assert used.ru_utime + used.ru_stime <= CPU_SECONDS, used
    assert used.ru_maxrss <= RSS_KIB, used
    code = os.waitstatus_to_exitcode(status)
    return Completed(("fork",), code, out.read_bytes(), err.read_bytes())


def verdict(path: Path, specs: str, folder: Path) -> str:
    """One of: refused, dies parsing, cannot be loaded, dies running, runs."""
    done = fork(folder, lambda: inspect.main(path))
    try:
        inspect.judge(path, done)
    except UserError:
        return "dies parsing" if done.exit_code != 2 else "refused"
    done = fork(folder, lambda: trial.main(path, specs))
    try:
        trial.judge(path, done)
    except UserError:
        return f"dies running, {signal.Signals(-done.exit_code).name}" if done.exit_code < 0 \
            else "cannot be loaded"  # fmt: skip
    return "runs"


def main(seed_model: str, count: str, specs: str) -> None:
    """Print how often each verdict was given, as JSON."""
    good = Path(seed_model).read_bytes()
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as name:
        folder = Path(name)
        path = folder / "x"
        path.write_bytes(good)
        # Also imports what the children need.
        sessions.open_session(path)
        found = Counter[str]()
        assert verdict(path, specs, folder) == "runs"
        for seed in range(int(count)):
            raw = mutated(good, random.Random(seed))
            path.write_bytes(raw if good[4:8] != b"TFL3" else raw[:4] + b"TFL3" + raw[8:])
            found[verdict(path, specs, folder)] += 1
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
