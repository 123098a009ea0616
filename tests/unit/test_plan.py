"""Plan and executor: what is reused, what is not and why, what a failure leaves."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imagebuilder.errors import BuildError
from imagebuilder.executor import Work, execute, inspect_plan
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.plan import Plan, Step, changed_keys, fingerprints
from imagebuilder.state import Cache


def plan(text: str = "hello") -> Plan:
    first = Step("first", "write", {"text": text}, tools={"tool": "1"})
    return Plan("test", (first, Step("second", "copy", after=("first",))))


def write(work: Work) -> None:
    (work.output / "file").write_text(work.step.options["text"])


def copy(work: Work) -> None:
    text = (work.inputs["first"] / "file").read_text()
    (work.output / "file").write_text(text + "!")


ACTIONS = {"write": write, "copy": copy}


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return Fetcher(Cache(tmp_path / "cache"), Log(QUIET), offline=True)


def test_a_changed_step_changes_all_that_follow() -> None:
    old, new = fingerprints(plan()), fingerprints(plan("other"))
    assert old["first"] != new["first"]
    assert old["second"] != new["second"]
    assert old == fingerprints(plan())


def test_steps_run_once(tmp_path: Path, fetcher: Fetcher) -> None:
    outputs = execute(plan(), ACTIONS, fetcher, tmp_path)
    assert (outputs["second"] / "file").read_text() == "hello!"
    assert all(status.reused for status in inspect_plan(plan(), fetcher.cache, tmp_path))
    assert execute(plan(), {}, fetcher, tmp_path) == outputs


def test_it_says_which_key_changed(tmp_path: Path, fetcher: Fetcher) -> None:
    execute(plan(), ACTIONS, fetcher, tmp_path)
    changed = [s.changed for s in inspect_plan(plan("x"), fetcher.cache, tmp_path)]
    assert changed == [("options.text",), ("after.first",)]
    nowhere = inspect_plan(plan("x"), fetcher.cache, tmp_path / "other")
    assert [s.changed for s in nowhere] == [(), ()]
    new_tool = dataclasses.replace(plan().steps[0], tools={"tool": "2"})
    newer = Plan("test", (new_tool, plan().steps[1]))
    assert inspect_plan(newer, fetcher.cache, tmp_path)[0].changed == ("tools.tool",)


def test_a_failed_step_leaves_nothing_and_keeps_what_was_done(
    tmp_path: Path, fetcher: Fetcher
) -> None:
    def fail(work: Work) -> None:
        (work.output / "half").write_text("x")
        raise BuildError("no luck")

    with pytest.raises(BuildError):
        execute(plan(), {**ACTIONS, "copy": fail}, fetcher, tmp_path)
    folders = list((tmp_path / "cache" / "steps").iterdir())
    assert [folder.name for folder in folders] == [fingerprints(plan())["first"]]
    execute(plan(), {"copy": copy}, fetcher, tmp_path)


def test_what_another_build_is_making_is_waited_for(
    tmp_path: Path, fetcher: Fetcher, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    made: list[str] = []

    def slowly(work: Work) -> None:
        made.append(work.step.name)
        begun.set()
        assert go_on.wait(60)
        write(work)

    waiting = Fetcher(fetcher.cache, Log(), offline=True)
    with ThreadPoolExecutor() as pool:
        actions = {**ACTIONS, "write": slowly}
        builds = [
            pool.submit(execute, plan(), actions, waiting, tmp_path / name)
            for name in ("one", "two")
        ]
        assert begun.wait(60)
        said = ""
        while "waiting" not in said:
            said += capsys.readouterr().err
        go_on.set()
        one, two = (build.result(60) for build in builds)
    assert one == two
    assert made == ["first"]
    assert "first: waiting for another build, which is making it\n" in said
    assert not list((tmp_path / "cache" / "locks").iterdir())


def test_a_killed_build_holds_nobody_up(tmp_path: Path, fetcher: Fetcher) -> None:
    for step in fingerprints(plan()).values():
        lock = fetcher.cache.lock(step)
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    execute(plan(), ACTIONS, fetcher, tmp_path)
    assert not list((tmp_path / "cache" / "locks").iterdir())


def test_changed_keys() -> None:
    assert changed_keys({"a": "1", "b": "1"}, {"b": "2", "c": "1"}) == ("a", "b", "c")
