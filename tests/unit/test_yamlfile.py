"""YAML files: places of keys, every problem at once."""

from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder import yamlfile
from imagebuilder.errors import UserError
from imagebuilder.state import Cache


def parse(tmp_path: Path, text: str) -> yamlfile.YamlFile:
    path = tmp_path / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return yamlfile.parse(path)


def errors(tmp_path: Path, text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse(tmp_path, text)
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_marks_tell_line_and_column(tmp_path: Path) -> None:
    file = parse(tmp_path, "a: 1\nb:\n  - c: x\n")
    assert file.data == {"a": 1, "b": [{"c": "x"}]}
    assert str(file.locate("b", 0, "c")).endswith("file.yaml:3:5")
    assert str(file.locate("b", 0, "missing")).endswith("file.yaml:3:5")


def test_dates_stay_text(tmp_path: Path) -> None:
    assert parse(tmp_path, "version: 2026-11-23\n").data == {"version": "2026-11-23"}


def test_merge_keys_and_anchors_cannot_blow_up(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    assert "too many values" in errors(tmp_path, "\n".join(lines))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file.yaml: the file is empty"),
        ("- a\n", "file.yaml:1:1: must hold keys and values"),
        ("a: 1\na: 2\n", "file.yaml:2:1: a: doubled key, first set in line 1"),
        ("a: [1\n", "file.yaml:2:1: not valid YAML: did not find expected ',' or ']'"),
        ("a: !!python/none x\n", "file.yaml:1:4: a: the tag "
         "'tag:yaml.org,2002:python/none' is not allowed"),
        ("1: x\n", "file.yaml:1:1: the key 1 must be text\n  hint: put it in quotes"),
        ("a: &x [*x]\n", "file.yaml:1:4: a[0]: nested too deep"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    assert errors(tmp_path, text) == message


def test_not_text_and_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(UserError, match="not UTF-8 at byte 3"):
        yamlfile.parse(path)
    with path.open("wb") as stream:
        stream.truncate(5 << 30)
    with pytest.raises(UserError, match="larger than 1 MiB"):
        yamlfile.parse(path)
    with pytest.raises(UserError, match="a folder"):
        yamlfile.parse(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        yamlfile.parse(tmp_path / "missing.yaml")


@given(st.text(max_size=200))
def test_any_text_gives_values_or_a_user_error(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.mktemp("yaml") / "file.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        assert isinstance(yamlfile.parse(path).data, dict)
    except UserError as error:
        assert error.problems  # noqa: PT017 - either outcome is right


def test_a_definition_that_fits_is_not_checked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yamlfile, "default_cache", lambda: Cache(tmp_path / "cache"))
    good = (Path(__file__).parents[2] / "machine-configs" / "qemuarm64.yaml").read_text("utf-8")
    path = tmp_path / "file.yaml"
    path.write_text(good, encoding="utf-8")
    yamlfile.load(path, "machine")
    for text, wrong in (("format: 1", "format: 1\nsize: 7"), ("format: 1", "format: 2")):
        path.write_text(good.replace(text, wrong), encoding="utf-8")
        for _ in range(2):
            with pytest.raises(UserError):
                yamlfile.load(path, "machine")
    path.write_text(good, encoding="utf-8")
    monkeypatch.setattr(jsonschema, "Draft202012Validator", None)
    yamlfile.load(path, "machine")
    path.write_text(f"{good}# a comment\n", encoding="utf-8")
    yamlfile.load(path, "machine")
    with pytest.raises(TypeError):
        yamlfile.load(path, "runtime")


def test_a_cache_that_cannot_be_written_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setattr(yamlfile, "default_cache", lambda: Cache(tmp_path / "cache"))
    machine = Path(__file__).parents[2] / "machine-configs" / "qemuarm64.yaml"
    assert yamlfile.load(machine, "machine").data["arch"] == "aarch64"
