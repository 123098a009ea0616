"""Operator models run by ONNX Runtime's own Python package on this host, without inferd."""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata

import numpy as np

from imagebuilder.bundle.golden import TEXT
from imagebuilder.conformance.bundles import ATOL, RTOL
from imagebuilder.conformance.cases import Array, Case, Named
from imagebuilder.conformance.outcome import (
    FAILED,
    PASSED,
    REFERENCE,
    UNSUPPORTED,
    Column,
    Outcome,
    of_error,
)
from imagebuilder.models.sessions import OnnxSession

SECONDS = 60
"""Most time of one model, as on a machine."""


def reference_column() -> Column:
    """What runs them, for the table."""
    runtime = f"onnxruntime {metadata.version('onnxruntime')}"
    return Column(REFERENCE, f"{platform.machine()}, this host", f"{runtime}, Python")


def reference_outcomes(cases: Iterable[Case]) -> dict[str, Outcome]:
    """The outcome of each case by its name; each runs in a process of its own."""
    import onnxruntime  # noqa: F401 - once, not in each process

    return {
        case.name: Outcome(UNSUPPORTED, case.unsupported) if case.unsupported else _apart(case)
        for case in cases
    }


def _apart(case: Case) -> Outcome:
    """A model that crashes the runtime or never ends leaves the others."""
    source, target = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        with suppress(BaseException):
            found = run_case(case)
            os.write(target, f"{found.status} {found.reason}".encode())
        os._exit(0)
    os.close(target)
    with os.fdopen(source, "rb") as stream:
        status, _, reason = stream.read().decode().partition(" ")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code < 0:
        return Outcome(FAILED, f"{signal.Signals(-code).name}: its process was ended")
    return Outcome(status, reason) if status else Outcome(FAILED, "its process gave no answer")


def run_case(case: Case) -> Outcome:
    """The outcome of a model in this process."""
    try:
        session = OnnxSession(case.model)
        found = session.run({item.name: _fed(item) for item in case.inputs})
    except Exception as error:
        return of_error(str(error))
    return judge(found, case.outputs)


def _fed(item: Named) -> Array:
    """The package has text as bytes, the library takes `str`."""
    if item.dtype != TEXT:
        return item.array
    texts = np.empty(item.array.shape, np.object_)
    for place, text in np.ndenumerate(item.array):
        texts[place] = text.decode()
    return texts


def judge(found: Iterable[Array], wanted: Iterable[Named]) -> Outcome:
    """The outcome by the rule of inferd's selftest: type and shape, then each value."""
    worst = 0.0
    good = True
    for got, want in zip(found, wanted, strict=True):
        within, off = _differs(np.asarray(got), want)
        good, worst = good and within, max(worst, off)
    return Outcome(PASSED) if good else Outcome(FAILED, f"other output, by {worst:.3g} at most")


def _differs(got: Array, want: Named) -> tuple[bool, float]:
    """Whether the values are within the tolerances, and the largest finite difference."""
    if want.dtype == TEXT:
        texts = [x.encode() if isinstance(x, str) else bytes(x) for x in got.reshape(-1)]
        return got.shape == want.array.shape and texts == list(want.array.reshape(-1)), 0.0
    if got.dtype != want.array.dtype or got.shape != want.array.shape:
        return False, 0.0
    with np.errstate(all="ignore"):
        one, other = got.astype(np.float64), want.array.astype(np.float64)
        off = np.abs(one - other)
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        near = np.isfinite(off) & (off <= ATOL + RTOL * np.abs(other))
    floating = want.array.dtype.kind == "f"
    within = (same | near).all() if floating else np.array_equal(got, want.array)
    finite = off[~same & np.isfinite(off)]
    return bool(within), float(finite.max(initial=0.0))
