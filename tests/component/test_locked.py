"""A locked build takes sealed bundles as they are, or says how to get them."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from test_cli import EXIT_INPUT, RECIPE, TINY, imagebuilder

MANIFEST = """\
format: 1
name: f
version: '1'
machine: qemuarm64
search: [models]
models: [{bundle: tiny}]
"""
FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Locked, with its bundle in the folder `cache`."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    shutil.copy(FIXTURE / "model.onnx", folder)
    (folder / "data.py").write_text(RECIPE)
    (folder / "bundle.yaml").write_text(TINY)
    (tmp_path / "firmware.yaml").write_text(MANIFEST)
    done = run_in(tmp_path, "cache")("generate", "--output", "one")
    assert done.returncode == 0, done.stderr
    return tmp_path


def run_in(project: Path, cache: str):
    return partial(imagebuilder, project, IMAGEBUILDER_CACHE=str(project / cache))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_on_a_new_machine(project: Path) -> None:
    pin = json.loads((project / "firmware.lock").read_text())["models"]["tiny"]
    new = run_in(project, "new cache")
    done = new("generate", "--locked", "--output", "two")
    assert done.returncode == EXIT_INPUT
    assert done.stderr.strip().removeprefix("error: ") == (
        f"{project}/firmware.yaml:6:11: models[0].bundle: the lock pins tiny {pin['bundle']}, "
        f"which is neither in {project}/sealed nor in the cache\n"
        f"  hint: a locked build never quantizes: bring {project}/sealed/tiny from the host that "
        "sealed it (`imagebuilder model build tiny --output sealed`), or seal and lock it anew "
        "(`imagebuilder lock`)"
    )
    done = run_in(project, "cache")("model", "build", "models/tiny", "--output", "sealed")
    assert done.returncode == 0, done.stderr
    done = new("generate", "--locked", "--output", "two")
    assert done.returncode == 0, done.stderr
    assert files(project / "one") == files(project / "two")
    assert not (project / "new cache" / "models").exists(), "nothing was measured again"
    shutil.rmtree(project / "sealed")
    assert new("generate", "--locked", "--output", "two").returncode == 0, "it is kept"


def test_changed_since_it_was_locked(project: Path) -> None:
    run = run_in(project, "cache")
    with (project / "models" / "tiny" / "data.py").open("a") as stream:
        stream.write("# another\n")
    done = run("generate", "--locked", "--output", "two")
    assert done.returncode == EXIT_INPUT
    assert f"{project}/firmware.yaml:6:11: models[0].bundle: tiny was changed since it was locked" \
        in done.stderr  # fmt: skip
    done = run("lock", "--check", "--engine", "yocto")
    assert done.returncode == 1
    assert f"{project}/firmware.lock: does not fit the manifest" in done.stderr
    assert "tiny was changed since it was locked" in done.stderr


@pytest.mark.parametrize("place", ["sealed/tiny", "cache/bundles/*"])
def test_tampered(project: Path, place: str) -> None:
    run = run_in(project, "cache")
    assert run("model", "build", "models/tiny", "--output", "sealed").returncode == 0
    if place != "sealed/tiny":
        shutil.rmtree(project / "sealed")
    (folder,) = project.glob(place)
    with (folder / "model.onnx").open("r+b") as stream:
        stream.write(b"\0")
    for words in (["--locked"], []):
        done = run("generate", *words, "--output", "two")
        assert done.returncode == EXIT_INPUT
        assert f"{folder}: digest-mismatch: model.onnx is another file" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_signature_needs_a_place(project: Path) -> None:
    done = run_in(project, "cache")("model", "build", "models/tiny", "--sign", "key.pem")
    assert done.returncode == EXIT_INPUT
    assert "--sign needs --output: a signature is a project's, not the cache's" in done.stderr
