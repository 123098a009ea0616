"""The documents say what the code does."""

import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import click
import pytest

from imagebuilder import device
from imagebuilder.cli import COMMANDS, imagebuilder

ROOT = Path(__file__).parents[2]


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_made_from_the_schemas() -> None:
    make = reference()
    for name in make.SCHEMAS:
        page = (ROOT / "docs" / "reference" / f"{name}.md").read_text("utf-8")
        assert page == make.page(name), "run: python docs/make_reference.py"


def test_the_testing_api_is_made_from_the_docstrings() -> None:
    page = (ROOT / "docs" / "reference" / "testing-api.md").read_text("utf-8")
    assert page == reference().testing_page(), "run: python docs/make_reference.py"
    for verb in ("boot()", "wait_for_service(", "wait_for_port(", "infer(", "metrics()", "crash(",
                 "power_cut()", "reboot()", "snapshot(", "restore(", "console"):  # fmt: skip
        assert f"`target.{verb}" in page


def test_device_contract_holds_the_values_of_the_code() -> None:
    text = (ROOT / "docs/reference/device-contract.md").read_text("utf-8")
    values = (
        device.ESP, device.ROOT, device.MODELS, device.DATA, *device.RESERVED_PARTITIONS,
        device.MODELS_PATH, device.DATA_PATH, device.SERVER_PATH, device.SERVER_CONFIG_PATH,
        device.SERVER_DEVICES_PATH,
        device.READY_PATH, device.BOOT_PATH, device.TEXT_SERVER_PATH, device.TEXT_CONFIG_PATH,
        device.TEXT_READY_PATH, device.TEXT_KEY_PATH, device.TEXT_USER, device.IMAGE_PATH,
        device.AGENT_PORT, device.SERVER_USER,
    )  # fmt: skip
    for value in values:
        assert f"`{value}`" in text or f"`{value}/" in text, value
    assert f"{device.SERVER_UID}:{device.SERVER_UID}" in text
    assert f"{device.TEXT_UID}:{device.TEXT_UID}" in text
    for stage in device.STAGES:
        assert f"`{device.MARKER}{stage}`" in text


def fenced(path: Path) -> list[list[str]]:
    """The lines of each block of shell commands."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```", path.read_text("utf-8"), re.M | re.S)
    return [text.splitlines() for language, text in blocks if language == "sh"]


def test_readme_begins_with_two_commands_that_exist() -> None:
    commands = fenced(ROOT / "README.md")[0]
    assert len(commands) == 2
    for command in commands:
        assert (ROOT / shlex.split(command)[0]).is_file()


PAGES = sorted(
    [ROOT / "README.md", *ROOT.glob("docs/tutorial/*.md"), *ROOT.glob("docs/how-to/*.md")]
)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_in_the_docs_have_the_options_they_name(page: Path) -> None:
    for block in fenced(page):
        for line in block:
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words and words[0].endswith("imagebuilder"):
                _check_command(words[1:], line)


def _check_command(words: list[str], line: str) -> None:
    command: click.Command = imagebuilder
    context = click.Context(imagebuilder)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, line
        command, words = found, words[1:]
    known = {name for parameter in command.get_params(context) for name in parameter.opts}
    unknown = [w for w in words if w.startswith("--") and w.split("=")[0] not in known]
    assert not unknown, line


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    command = imagebuilder.get_command(click.Context(imagebuilder), name)
    assert command is not None
    assert command.help or command.callback.__doc__
