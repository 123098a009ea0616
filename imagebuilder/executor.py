"""The only part that acts: runs the steps of a plan whose result is not there yet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imagebuilder.fetch import Fetcher
from imagebuilder.log import Log
from imagebuilder.plan import Plan, Step, changed_keys, fingerprints, keys
from imagebuilder.state import Cache, alone, new_folder, write_if_changed


@dataclass(frozen=True, slots=True)
class Work:
    """What an action is given.

    It reads `step` and the folders of earlier steps in `inputs`, and writes into `output` only.
    """

    step: Step
    inputs: Mapping[str, Path]
    output: Path
    cache: Cache
    fetcher: Fetcher
    log: Log


Action = Callable[[Work], None]


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a step's result is there; if not, which keys changed since the last time."""

    step: Step
    fingerprint: str
    reused: bool
    changed: tuple[str, ...]


def inspect_plan(plan: Plan, cache: Cache, project: Path) -> tuple[Status, ...]:
    """For each step whether its result is there, and why not. `project` keeps the last keys."""
    prints = fingerprints(plan)
    last = _read_last(project)
    return tuple(
        Status(
            step,
            prints[step.name],
            cache.step(prints[step.name]).is_dir(),
            changed_keys(last[step.name], keys(step, prints)) if step.name in last else (),
        )
        for step in plan.steps
    )


def execute(
    plan: Plan,
    actions: Mapping[str, Action],
    fetcher: Fetcher,
    project: Path,
) -> dict[str, Path]:
    """Run what has to be run; gives the output folder of each step.

    A folder takes its name only when its step ended well, so a build killed at any point continues.
    What another build is making is waited for.
    """
    cache, log = fetcher.cache, fetcher.log
    outputs: dict[str, Path] = {}
    for status in inspect_plan(plan, cache, project):
        step = status.step
        outputs[step.name] = folder = cache.step(status.fingerprint)
        if status.reused:
            log.debug(f"{step.name}: reused")
            continue
        log.debug(f"{step.name}: {_why(status)}")
        waiting = f"{step.name}: waiting for another build, which is making it"
        with alone(cache.lock(status.fingerprint), partial(log.info, waiting)):
            if folder.is_dir():
                log.debug(f"{step.name}: made by another build")
                continue
            with log.task(step.name), new_folder(folder) as temporary:
                inputs = {name: outputs[name] for name in step.after}
                actions[step.action](Work(step, inputs, temporary, cache, fetcher, log))
    _write_last(project, plan)
    return outputs


def _why(status: Status) -> str:
    return f"changed: {', '.join(status.changed)}" if status.changed else "no result yet"


def _read_last(project: Path) -> dict[str, dict[str, str]]:
    try:
        data: dict[str, dict[str, str]] = json.loads((project / "steps.json").read_bytes())
        return data
    except (OSError, ValueError):
        return {}


def _write_last(project: Path, plan: Plan) -> None:
    prints = fingerprints(plan)
    data = {step.name: keys(step, prints) for step in plan.steps}
    text = json.dumps(data, indent=1, sort_keys=True)
    write_if_changed(project / "steps.json", text.encode())
