"""Figures of an image that do not depend on the host: counted in instructions of the guest.

QEMU's `-icount` makes the guest's clock advance by a fixed time an instruction, so that what the
guest measures as time is a count. It compares builds; it is never a board's latency.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from imagebuilder import device
from imagebuilder.artifact import Artifacts, ImageModel
from imagebuilder.devicefiles import SERVER, TEXT_SERVER
from imagebuilder.errors import BuildError
from imagebuilder.target import api
from imagebuilder.target.qemu import COUNT_SHIFT, Guest, Running, Start, booted
from imagebuilder.testing.text_api import TextApi

Figures = Mapping[str, int | str]
"""Name → instructions, KiB, bytes, or a word; the last part of a name tells which."""

RUNS = 5
TICK = 10_000_000
"""Nanoseconds of a tick in /proc/stat (USER_HZ)."""
TOKENS = 8
SIZED = ("disk", "kernel", "initrd")
FIXED_ADDRESSES = "echo 0 > /proc/sys/kernel/randomize_va_space"
"""With random ones a small model's count lies up to 0.8 % from the median of several runs."""


def count(guest: Guest) -> dict[str, int | str]:
    """Boot the image once more, counting, and ask the servers; raises `BuildError`."""
    with booted(guest, Start(counted=True)) as target:
        return dict(_figures(target))


def _figures(target: Running) -> Iterator[tuple[str, int | str]]:
    artifacts = target.artifacts
    servers = sorted({model.server for model in artifacts.models})
    yield "boot", _boot(target)
    for server in servers:
        yield (
            f"{server}.peak_kib",
            _number(target, f"awk '/^VmHWM:/ {{print $2}}' /proc/$(pidof {server})/status"),
        )
    if SERVER in servers:
        yield from _models(target)
    if TEXT_SERVER in servers and target.text_port is not None:
        yield from _text(target)
    yield from sizes(artifacts)


def _boot(target: Running) -> int:
    """From power-on to the servers' answers, without the time in which nothing ran.

    The device takes it down itself: until the host asks, an idle guest's clock skips hours, and
    each has its timers.
    """
    done = target.run(f"cat {device.BOOT_PATH}")
    if done.exit_code != 0:
        raise BuildError(f"the target has no {device.BOOT_PATH}")
    return instructions(busy_ticks(done.stdout.decode()) * TICK)


def busy_ticks(text: str) -> int:
    """Ticks since power-on but for idle ones, from the first line of /proc/stat and /proc/uptime.

    Ticks that are counted as busy are samples; those that were idle are measured.
    """
    stat, uptime = text.splitlines()
    idle, waiting = stat.split()[4:6]
    return round(100 * float(uptime.split()[0])) - int(idle) - int(waiting)


def _models(target: Running) -> Iterator[tuple[str, int | str]]:
    words = f"{device.SERVER_PATH} bench --runs {RUNS}"
    bench = f"su -s /bin/sh {device.SERVER_USER} -c '{words}'"
    done = target.run(f"{FIXED_ADDRESSES} && {bench}", 300)
    try:
        reports = json.loads(done.stdout)["models"]
    except ValueError as error:
        what = done.stderr.decode("utf-8", "replace")[-300:]
        raise BuildError(f"inferd bench gave no report: {what}") from error
    for report in reports:
        yield from model_figures(report)
    for model in target.artifacts.models:
        if model.server == SERVER:
            yield f"{model.name}.provider", _provider(target, model)


def model_figures(report: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Figures of one model in a report of `inferd bench`; `BuildError` if it failed."""
    name = report["name"]
    if "error" in report:
        raise BuildError(f"{name}: {report['error']}")
    yield f"{name}.session", instructions(report["load_ms"] * 1e6)
    yield f"{name}.inference", instructions(report["median_ms"] * 1e6)


def _provider(target: Running, model: ImageModel) -> str:
    answer = api.request(target, "GET", f"/v2/models/{model.name}")
    provider: str = json.loads(answer.body)["parameters"]["provider"]
    return provider


def _text(target: Running) -> Iterator[tuple[str, int]]:
    (model,) = [m for m in target.artifacts.models if m.server == TEXT_SERVER]
    asked = {"prompt": "The river runs", "n_predict": TOKENS, "temperature": 0.0}
    timings = TextApi(target).ask("/completion", asked)["timings"]
    yield f"{model.name}.prompt_token", instructions(timings["prompt_per_token_ms"] * 1e6)
    yield f"{model.name}.token", instructions(timings["predicted_per_token_ms"] * 1e6)


def sizes(artifacts: Artifacts) -> Iterator[tuple[str, int]]:
    """Bytes of the image's parts."""
    for artifact in artifacts.files:
        if artifact.kind in SIZED:
            yield f"{artifact.kind}.bytes", artifact.size


def instructions(nanoseconds: float) -> int:
    """What the guest took for a time: each instruction is 2^`COUNT_SHIFT` ns of its clock."""
    return round(nanoseconds / (1 << COUNT_SHIFT))


def _number(target: Running, command: str) -> int:
    done = target.run(command)
    if not done.stdout.strip().isdigit():
        raise BuildError(f"no number from {command!r} on the target: {done.stderr.decode()[-200:]}")
    return int(done.stdout)
