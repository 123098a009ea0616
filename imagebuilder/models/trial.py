"""Loads a model and runs it once, in a process of its own that it may crash.

A runtime checks less of a file than its format asks for, so that a damaged one can end the process
that runs it: this one instead of the builder.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from imagebuilder.catalog.bundle_source import TensorSpec
from imagebuilder.errors import BuildError, UserError
from imagebuilder.models.inspect import ONE_THREAD, share
from imagebuilder.run import Completed, run

MEMORY = 4 << 30
"""Bytes of address space for a model of at most `inspect.SMALL` bytes: a runtime reserves much."""
CPU_SECONDS = 60
WALL_SECONDS = 300


def try_model(path: Path, inputs: Sequence[TensorSpec]) -> None:
    """Run a model once on zeros; `UserError` if its runtime cannot load it or does not survive."""
    specs = json.dumps([[spec.name, spec.dtype, spec.shape] for spec in inputs])
    module = [sys.executable, "-m", "imagebuilder.models.trial", str(path.absolute()), specs]
    try:
        limit = WALL_SECONDS * share(path.stat().st_size)
        done = run(module, env=ONE_THREAD, check=False, timeout=limit)
    except BuildError as error:
        raise UserError(f"{path.name}: takes too long to run once") from error
    judge(path, done)


def judge(path: Path, done: Completed) -> None:
    """`UserError` unless the process ended well."""
    if done.exit_code == 2:
        raise UserError(done.stderr.decode("utf-8", "replace").strip().splitlines()[-1])
    if done.exit_code < 0:
        name = signal.Signals(-done.exit_code).name
        what = f"{path.name}: its runtime does not survive running it ({name})"
        raise UserError(what, hint="the file is damaged, or was made to do harm")
    if done.exit_code:
        raise UserError(f"{path.name}: its runtime cannot be started on it")


def main(path: Path, specs: str) -> int:
    """Load within limits, and run; whether the outputs make sense is not asked."""
    times = share(path.stat().st_size)
    resource.setrlimit(resource.RLIMIT_AS, (times * MEMORY, times * MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (times * CPU_SECONDS, times * CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import numpy as np

    from imagebuilder.models.sessions import open_session

    try:
        session = open_session(path)
    except UserError as error:
        print(str(error).splitlines()[0], file=sys.stderr)  # noqa: T201
        return 2
    zeros = {name: np.zeros([max(1, axis) for axis in shape], "S" if dtype == "string" else dtype)
             for name, dtype, shape in json.loads(specs)}  # fmt: skip
    try:
        session.run(zeros)
    except Exception:
        # Zeros may be no good input of this model.
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
