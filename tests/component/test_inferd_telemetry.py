"""Telemetry of ONNX Runtime is off before the library is loaded, whatever the environment says."""

import subprocess
from pathlib import Path

import pytest
from inferd_host import FIXTURES, Inferd, runtime_header

pytestmark = pytest.mark.inferd


@pytest.mark.parametrize("given", [None, "0"])
@pytest.mark.parametrize("words", [["serve"], ["selftest"], ["bench"]])
def test_telemetry_is_off(
    inferd: Inferd, monkeypatch, words: list[str | Path], given: str | None
) -> None:
    library = inferd.folder / "libfake.so"
    source = Path(__file__).with_name("fake_onnxruntime.c")
    compiler = ["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*compiler, "-isystem", runtime_header(), "-o", library, source], check=True)
    config = inferd.configure([FIXTURES / "good-float"], runtimes={"onnxruntime": str(library)})
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    variables = {} if given is None else {"ORT_DISABLE_TELEMETRY": given}
    done = inferd.run(*words, "--config", config, **variables)
    why = "telemetry: ORT_DISABLE_TELEMETRY=1, events off"
    assert (done.returncode, done.stderr) == (2, f"inferd: fixture: {why}\n")
