"""How a device of the engine yocto starts, under busybox init and under systemd."""

import configparser
import os
import re
import subprocess
from pathlib import Path

import pytest

from imagebuilder import device
from imagebuilder.catalog import shipped

RECIPES = shipped("layers") / "meta-imagebuilder" / "recipes-core"
FILES = RECIPES / "imagebuilder-init" / "files"
INFERD_FILES = RECIPES.parent / "recipes-inference" / "inferd" / "files"


def run(text: str, folder: Path, programs: dict[str, str], *words: str) -> list[str]:
    """Run a script with `programs` in place of the device's; what it prints."""
    for name, body in programs.items():
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", text, "script", *words], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("scripts", [("mounts", "rc"), ("prepare",)], ids=["busybox", "systemd"])
def test_the_console_shows_every_stage(scripts: tuple[str, ...]) -> None:
    """`test` waits for them, and reports how long each took."""
    text = "".join((FILES / name).read_text("utf-8") for name in (*scripts, "storage", "announce"))
    said = re.findall(r'^ *(?:say|echo "imagebuilder:) (\w+)"?$', text, re.M)
    assert sorted(said) == sorted(device.STAGES)


@pytest.mark.parametrize("kept", ["", "5" * 32])
def test_data_keeps_the_identity_that_systemd_made_once(tmp_path: Path, kept: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("1" * 32)
    if kept:
        (tmp_path / "data/machine-id").write_text(kept)
    (tmp_path / "storage").write_text(
        "say() { echo $1; }\nmount_models() { say models; }\nmount_data() { say data; }\n"
        "restart_on_panic() { :; }\n"
    )
    text = (FILES / "prepare").read_text("utf-8").replace("exec >/dev/console 2>&1\n", "")
    text = text.replace("/usr/libexec/imagebuilder/storage", f"{tmp_path}/storage")
    for folder in ("data", "etc"):
        text = text.replace(f"/{folder}/machine-id", f"{tmp_path}/{folder}/machine-id")
    said = run(text, tmp_path, {"mount": 'echo "$@"'})
    bound = f"-o bind {tmp_path}/data/machine-id {tmp_path}/etc/machine-id"
    assert said == ["root", "models", "data", bound, "services"]
    assert (tmp_path / "data/machine-id").read_text() == (kept or "1" * 32)


def test_systemd_makes_no_traffic_of_its_own() -> None:
    """Its defaults ask public servers for names and the time, and answer the whole network."""

    def values(name: str, section: str) -> dict[str, str]:
        parser = configparser.RawConfigParser(strict=False)  # its keys are in lower case
        parser.read(FILES / name)
        return dict(parser[section])

    assert values("resolved.conf", "Resolve") == {
        "fallbackdns": "", "llmnr": "no", "multicastdns": "no", "dnsstublistener": "no",
    }  # fmt: skip
    assert values("timesyncd.conf", "Time") == {"fallbackntp": ""}
    network = values("ethernet.network", "Network")
    assert network == {"dhcp": "ipv4", "linklocaladdressing": "no", "ipv6acceptra": "no"}


ENDED = "imagebuilder: inferd ended, and is started again"


@pytest.mark.parametrize(
    ("state", "said", "starts"),
    [
        ({}, [], "1"),
        ({"starts": "1"}, ["explained 1", "slept 5"], "2"),
        ({"starts": "2", "ready": ""}, [ENDED], "1"),
        ({"starts": "2", "answered": ""}, [ENDED], "1"),
    ],
    ids=["first", "never-answered", "ended", "stopped-by-systemd"],
)
def test_systemd_has_the_console_told_why_the_server_ended(
    tmp_path: Path, state: dict[str, str], said: list[str], starts: str
) -> None:
    for name, text in state.items():
        (tmp_path / name).write_text(text)
    text = (INFERD_FILES / "serve").read_text("utf-8")
    text = text.replace("/run/inferd", str(tmp_path)).replace("/usr/libexec/imagebuilder/", "")
    programs = {"explain": 'echo "explained $1"', "credential": ":", "sleep": 'echo "slept $1"'}
    assert run(text, tmp_path, programs, "prepare") == said
    assert (tmp_path / "starts").read_text() == f"{starts}\n"
    assert not (tmp_path / "ready").exists()
    assert not (tmp_path / "answered").exists()
    unit = (INFERD_FILES / "inferd.service").read_text("utf-8")
    assert "\nRuntimeDirectoryPreserve=restart\n" in unit
    assert "\nExecStopPost=-+/bin/mv -f /run/inferd/ready /run/inferd/answered\n" in unit


def test_every_file_of_a_start_up_recipe_is_installed() -> None:
    for folder in (FILES, INFERD_FILES, RECIPES / "imagebuilder-agent" / "files"):
        (recipe,) = folder.parent.glob("*.bb")
        named = re.findall(r"file://([\w.-]+) ", recipe.read_text("utf-8"))
        assert sorted(path.name for path in folder.iterdir()) == sorted(named)
