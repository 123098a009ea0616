"""Linters are tests. One that is not installed is reported as not run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ("setup", "tests/run", ".ci/run")
PYTHON = ("imagebuilder", "tests", "qemu-tests", "model-bundles", "benchmarks", "docs", "examples")

OELINT = {
    "oelint.var.mandatoryvar.HOMEPAGE": "recipes whose source is in the layer have no other home",
    "oelint.var.licenseremotefile": "their licence text is OE-core's",
    "oelint.vars.homepageping": "asks the network",
    "oelint.vars.insaneskip": "each has its reason beside it",
    "oelint.vars.mispell": "variables of our own",  # codespell:ignore mispell
    "oelint.vars.downloadfilename": "archives that one upstream release names by other versions",
    "oelint.vars.pathhardcode.sysconfdir": "the check of a release looks at the very path",
    "oelint.task.noanonpython": "nothing else can skip a recipe or read a variable's final value",
    "oelint.var.inheritdevtool.native": "as OE-core's own recipes do",
}
"""Rules of oelint-adv that are not asked for, and why; single places say `nooelint` and why."""


def check(*argv: str | Path) -> None:
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def module(name: str, *arguments: str) -> None:
    check(sys.executable, "-m", name, *arguments)


def existing(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if (ROOT / name).exists()]


def tracked(*patterns: str) -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listing.stdout.split("\0") if name]


def test_ruff() -> None:
    module("ruff", "check", "--quiet", *existing(PYTHON))


def test_ruff_format() -> None:
    module("ruff", "format", "--check", "--quiet", *existing(PYTHON))


def test_mypy() -> None:
    module("mypy")


def test_codespell() -> None:
    others = ("tests/fixtures/", "model-bundles/")
    files = [f for f in tracked() if not f.startswith(others) and not f.endswith(".patch")]
    module("codespell_lib", *files)


def test_yamllint() -> None:
    module("yamllint", "--strict", "-c", ".yamllint", *tracked("*.yaml", "*.yml"))


def test_shellcheck() -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    check("shellcheck", *SCRIPTS)


def test_clang_format() -> None:
    if not shutil.which("clang-format"):
        pytest.skip("clang-format is not installed")
    files = tracked("inferd/*.cpp", "inferd/*.hpp", "inferd/*.h")
    assert files
    check("clang-format", "--dry-run", "--Werror", *files)


def test_oelint() -> None:
    rules = [word for rule in OELINT for word in ("--suppress", rule)]
    recipes = tracked("layers/*.bb", "layers/*.bbclass", "layers/*.bbappend")
    assert recipes
    options = ("--quiet", "--relpaths", "--hide", "info", "--release", "wrynose")
    check(str(Path(sys.executable).parent / "oelint-adv"), *options, *rules, *recipes)


def test_no_host_of_a_package_registry_is_named() -> None:
    hosts = re.compile(
        r"(pypi\.org|pythonhosted\.org|(deb|ftp|snapshot|security)[a-z.]*\.debian\.org"
        r"|npmjs\.(org|com)|archive\.ubuntu\.com)"
    )
    found = []
    for name in tracked():
        path = ROOT / name
        if path.suffix in (".onnx", ".gpg", ".safetensors", ".gz") or not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if hosts.search(line) and name != "tests/unit/test_linters.py":
                found.append(f"{name}:{number}")
    assert found == []


def test_inferd_asks_the_c_library_for_the_time() -> None:
    """That of Zig's C++ library throws from 2038 on, where it is compiled for 32-bit Arm."""
    found = [p.name for p in (ROOT / "inferd" / "src").iterdir() if "system_clock" in p.read_text()]
    assert not found


def test_no_two_test_files_have_the_same_name() -> None:
    # pytest imports them by that name alone, and ends before any test when it meets one twice.
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
