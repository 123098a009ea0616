"""Operator configurations: read, merged, and the same as ONNX Runtime's own tool makes."""

import shutil
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.models.runner import Runner
from imagebuilder.models.steps.ort_format import convert, required_operators
from imagebuilder.operators import Operators, merge_operators, operators_text, parse_operators

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "bundles" / "good-float" / "model.onnx"
DIGITS = ROOT / "model-bundles" / "digits" / "digits.onnx"

names = st.sampled_from(["Add", "Cast", "Gemm", "QLinearConv", "Relu"])
kinds = st.lists(st.sampled_from(["float", "int8_t", "bool", "int64_t"]), unique=True).map(sorted)
uses = st.fixed_dictionaries({"inputs": st.dictionaries(st.sampled_from("01"), kinds, min_size=1)})
domains = st.sampled_from(["ai.onnx", "com.microsoft"])


@st.composite
def operators(draw: st.DrawFn) -> Operators:
    found = draw(st.dictionaries(st.tuples(domains, st.integers(1, 25)),
                                 st.frozensets(names, min_size=1), max_size=4))  # fmt: skip
    known = sorted({(domain, name) for (domain, _), listed in found.items() for name in listed})
    typed = draw(st.sets(st.sampled_from(known))) if known else set()
    return Operators(found, {operator: draw(uses) for operator in sorted(typed)})


@settings(max_examples=25)
@given(operators())
def test_what_is_written_reads_back(given_operators: Operators) -> None:
    text = operators_text(given_operators)
    assert parse_operators(text.splitlines()) == given_operators
    assert operators_text(parse_operators(text.splitlines())) == text


@settings(max_examples=25)
@given(operators(), operators())
def test_merging_is_symmetric_and_loses_nothing(left: Operators, right: Operators) -> None:
    text = operators_text(merge_operators([left, right]))
    assert text == operators_text(merge_operators([right, left]))
    assert text == operators_text(merge_operators([left, right, left]))
    merged = parse_operators(text.splitlines())
    for part in (left, right):
        for key, listed in part.opsets.items():
            assert listed <= merged.opsets[key]
        for operator, used in part.types.items():
            for index, types in used["inputs"].items():
                assert set(types) <= set(merged.types[operator]["inputs"][index])


def test_types_of_one_operator_are_joined() -> None:
    parts = (
        ["# a comment", "ai.onnx;13;Add", 'ai.onnx;14;Cast{"inputs": {"0": ["float"]}},Relu'],
        ['ai.onnx;9;Cast{"inputs": {"0": ["bool"]}, "outputs": {"0": ["float"]}}'],
    )
    assert operators_text(merge_operators(map(parse_operators, parts))) == (
        'ai.onnx;9;Cast{"inputs": {"0": ["bool", "float"]}, "outputs": {"0": ["float"]}}\n'
        "ai.onnx;13;Add\n"
        'ai.onnx;14;Cast{"inputs": {"0": ["bool", "float"]}, "outputs": {"0": ["float"]}},Relu\n'
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ai.onnx;13", "not enough values"),
        ("ai.onnx;x;Add", "invalid literal"),
        ("a;1;Add,,Mul", "'Add,,Mul' is not a list of operators"),
        ('a;1;Add{"x"}', "Expecting ':'"),
    ],
)
def test_text_that_is_no_configuration(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_operators([line])


def test_the_merged_operators_are_those_of_onnx_runtimes_own_tool(tmp_path: Path) -> None:
    from onnxruntime.tools.ort_format_model import create_config_from_models

    models = []
    for number, model in enumerate((FIXTURE, DIGITS)):
        target = tmp_path / f"é {number}.ort"
        convert(model, target)
        models.append(target)
    parts = [parse_operators(required_operators(model)) for model in models]
    assert all(part.opsets for part in parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        create_config_from_models(models, tmp_path / "config", True)
    lines = (tmp_path / "config").read_text().splitlines()
    merged = merge_operators(parts)
    assert merged == parse_operators(lines)
    assert operators_text(merged).splitlines() == [line for line in lines if line[0] != "#"]


def test_a_converted_model_still_runs(tmp_path: Path) -> None:
    shutil.copy(FIXTURE, tmp_path / "model.onnx")
    convert(tmp_path / "model.onnx", tmp_path / "model.ort")
    before, after = Runner(tmp_path / "model.onnx"), Runner(tmp_path / "model.ort")
    assert after.output_names == before.output_names
    assert (tmp_path / "model.ort").read_bytes()[4:8] == b"ORTM"
