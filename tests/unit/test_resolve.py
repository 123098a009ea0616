"""Resolve: what does not fit is said, all at once, with its place in the manifest."""

import dataclasses
from pathlib import Path

import pytest

from imagebuilder.bundle.format import Resources, TextModel
from imagebuilder.bundle.reader import SealedBundle, read_bundle
from imagebuilder.catalog import make_catalog
from imagebuilder.catalog.machine import Accelerator
from imagebuilder.errors import UserError
from imagebuilder.manifest import load_manifest
from imagebuilder.resolve import Choice, choose_models, memory_budget, server_memory

FIXTURE = Path(__file__).parents[1] / "fixtures" / "bundles" / "good-float"
MANIFEST = """\
format: 1
name: doorbell
version: 1.4.0
machine: qemuarm
models:
  - bundle: fixture
"""


def choice(tmp_path: Path, machine: str = "qemuarm", extra: str = "") -> Choice:
    path = tmp_path / "firmware.yaml"
    path.write_text(MANIFEST + extra)
    catalog = make_catalog()
    runtimes = tuple(catalog.runtime(name) for name in catalog.names("runtimes"))
    return Choice(load_manifest(path), catalog.machine(machine), "debian", runtimes)


def bundle(**changes: object) -> SealedBundle:
    found = read_bundle(FIXTURE)
    model = dataclasses.replace(found.description.model, **changes)
    return dataclasses.replace(
        found, description=dataclasses.replace(found.description, model=model)
    )


def needing(weights: int) -> SealedBundle:
    found = read_bundle(FIXTURE)
    resources = dataclasses.replace(found.description.resources, weights_bytes=weights)
    return dataclasses.replace(
        found, description=dataclasses.replace(found.description, resources=resources)
    )


def errors(tmp_path: Path, what: Choice, sealed: SealedBundle) -> str:
    with pytest.raises(UserError) as caught:
        choose_models(what, [sealed])
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_a_model_gets_its_runtime(tmp_path: Path) -> None:
    (model,) = choose_models(choice(tmp_path), [bundle()])
    assert (model.runtime.name, model.target.version) == ("onnxruntime", "1.21.0")


def test_opset_and_ir_that_the_runtime_does_not_read(tmp_path: Path) -> None:
    assert errors(tmp_path, choice(tmp_path), bundle(opset=23, ir=11)) == (
        "firmware.yaml:6:5: models[0].bundle: fixture has opset 23, onnxruntime 1.21.0 on armv7 "
        "reads at most 22\n  hint: export the model with opset 22 or lower\n"
        "firmware.yaml:6:5: models[0].bundle: fixture has IR version 11, onnxruntime 1.21.0 on "
        "armv7 reads at most 10\n  hint: export the model with IR version 10 or lower"
    )


def test_a_format_without_a_runtime(tmp_path: Path) -> None:
    assert errors(tmp_path, choice(tmp_path), bundle(format="gguf")) == (
        "firmware.yaml:6:5: models[0].bundle: no runtime reads gguf on armv7 with the engine "
        "debian\n  hint: there is llamacpp on aarch64, llamacpp on x86_64, "
        "llamacpp on riscv64"
    )


def test_a_model_that_does_not_fit_the_memory(tmp_path: Path) -> None:
    message = errors(tmp_path, choice(tmp_path), needing(600 << 20))
    assert message == (
        "firmware.yaml:5:1: models: needs 712.0 MiB of memory, qemuarm has 512.0 MiB\n"
        "  hint: system 64.0 MiB, onnxruntime 48.0 MiB, fixture 600.0 MiB"
    )


def large(size: int) -> SealedBundle:
    """A bundle whose model's file and weights have `size` bytes."""
    found = needing(size).description
    entry = dataclasses.replace(found.files[found.model.file], size=size)
    description = dataclasses.replace(found, files={found.model.file: entry})
    return dataclasses.replace(bundle(), description=description)


@pytest.mark.parametrize("engine", ["debian", "yocto"])
def test_budgets_are_the_same_for_both_engines(tmp_path: Path, engine: str) -> None:
    """Model, runtime and activations against memory, files against storage, all at once."""
    what = choice(tmp_path, "qemuarm64", "image: {storage: {models: 100MiB, data: 32MiB}}\n")
    machine = dataclasses.replace(what.machine, storage_size=512 << 20)
    what = dataclasses.replace(what, machine=machine, engine=engine)
    assert errors(tmp_path, what, large(500 << 20)) == (
        "firmware.yaml:5:1: models: needs 612.0 MiB of memory, qemuarm64 has 512.0 MiB\n"
        "  hint: system 64.0 MiB, onnxruntime 48.0 MiB, fixture 500.0 MiB\n"
        "firmware.yaml:5:1: models: needs 606.0 MiB of storage, qemuarm64 has 512.0 MiB\n"
        "  hint: system 48.0 MiB, onnxruntime 26.0 MiB, fixture 500.0 MiB, data 32.0 MiB\n"
        "firmware.yaml:7:19: image.storage.models: the models have 500.0 MiB, "
        "the partition has 100.0 MiB"
    )


def test_limits_and_devices(tmp_path: Path) -> None:
    extra = "    limits: {memory: 10B}\n    device: npu\n"
    assert errors(tmp_path, choice(tmp_path, extra=extra), bundle()) == (
        "firmware.yaml:7:14: models[0].limits.memory: fixture needs 524 B for weights (24 B), "
        "activations (20 B) and a request with its answer (480 B), more than 10 B\n"
        "firmware.yaml:8:5: models[0].device: qemuarm has no npu\n"
        "  hint: use `device: cpu`, or `fallback: allow`"
    )


def test_an_accelerator_that_the_runtime_cannot_use(tmp_path: Path) -> None:
    delegates = {"tflite": {"delegate": "/usr/lib/libvx_delegate.so"}}
    npu = Accelerator("npu", None, None, delegates, devices=("/dev/galcore",))
    what = choice(tmp_path, extra="    device: npu\n")
    what = dataclasses.replace(what, machine=dataclasses.replace(what.machine, accelerator=npu))
    assert errors(tmp_path, what, bundle()) == (
        "firmware.yaml:7:5: models[0].device: qemuarm names no delegate by which onnxruntime uses "
        "its npu\n  hint: use `device: cpu`, or `fallback: allow`"
    )
    (model,) = choose_models(what, [bundle(format="tflite")])
    assert model.runtime.name == "tflite"


def test_a_machine_that_the_engine_cannot_build(tmp_path: Path) -> None:
    what = choice(tmp_path)
    machine = dataclasses.replace(what.machine, debian=None)
    message = errors(tmp_path, dataclasses.replace(what, machine=machine), bundle())
    assert message == (
        "firmware.yaml:4:1: machine: the engine debian cannot build for qemuarm\n"
        "  hint: this machine is built by: --engine yocto"
    )


def yocto(tmp_path: Path, machine: str, extra: str = "") -> Choice:
    return dataclasses.replace(choice(tmp_path, machine, extra), engine="yocto")


def converted(runtime: str) -> SealedBundle:
    found = bundle(format="ort")
    provenance = dataclasses.replace(found.description.provenance, runtime=runtime)
    return dataclasses.replace(
        found, description=dataclasses.replace(found.description, provenance=provenance)
    )


def test_no_prebuilt_runtime_for_the_architecture(tmp_path: Path) -> None:
    assert errors(tmp_path, yocto(tmp_path, "qemuriscv64"), bundle()) == (
        "firmware.yaml:6:5: models[0].bundle: no runtime reads onnx on riscv64 with the engine "
        "yocto\n  hint: convert the model to ort for onnxruntime-cut; "
        "there is onnxruntime on aarch64, onnxruntime on x86_64"
    )


@pytest.mark.parametrize("machine", ["qemuarm64", "qemux86-64", "qemuarm"])
def test_a_tensorflow_lite_model_on_the_engine_yocto(tmp_path: Path, machine: str) -> None:
    (model,) = choose_models(yocto(tmp_path, machine), [bundle(format="tflite")])
    assert (model.runtime.name, model.target.yocto_recipe) == ("tflite", "tflite-prebuilt")
    assert model.target.yocto_library == "/usr/lib/libtensorflowlite_c.so"


def test_a_tensorflow_lite_model_where_there_is_no_library(tmp_path: Path) -> None:
    assert errors(tmp_path, yocto(tmp_path, "qemuriscv64"), bundle(format="tflite")) == (
        "firmware.yaml:6:5: models[0].bundle: no runtime reads tflite on riscv64 with the engine "
        "yocto\n  hint: onnxruntime-cut on riscv64 reads ort; "
        "there is tflite on aarch64, tflite on x86_64, tflite on armv7"
    )


def test_a_runtime_of_the_manifest_that_the_architecture_lacks(tmp_path: Path) -> None:
    what = yocto(tmp_path, "qemuriscv64", "    runtime: onnxruntime\n")
    assert errors(tmp_path, what, converted("onnxruntime 1.28.0")) == (
        "firmware.yaml:6:5: models[0].bundle: no runtime reads ort on riscv64 with the engine "
        "yocto\n  hint: use onnxruntime-cut; "
        "there is onnxruntime on aarch64, onnxruntime on x86_64"
    )


def test_a_converted_model_takes_the_cut_runtime_on_request(tmp_path: Path) -> None:
    sealed = converted("onnxruntime 1.28.0")
    (whole,) = choose_models(yocto(tmp_path, "qemuarm64"), [sealed])
    assert whole.target.yocto_recipe == "onnxruntime-prebuilt"
    what = yocto(tmp_path, "qemuarm64", "    runtime: onnxruntime-cut\n")
    (cut,) = choose_models(what, [sealed])
    assert (cut.runtime.backend, cut.target.yocto_recipe) == ("onnxruntime", "onnxruntime-cut")


def test_a_model_converted_by_another_version(tmp_path: Path) -> None:
    what = yocto(tmp_path, "qemuriscv64")
    assert errors(tmp_path, what, converted("onnxruntime 1.21.0")) == (
        "firmware.yaml:6:5: models[0].bundle: fixture was converted by onnxruntime 1.21.0, "
        "onnxruntime-cut 1.28.0 on riscv64 reads only what onnxruntime 1.28.0 made\n"
        "  hint: build the model bundle with the Python package of that version"
    )


def test_two_builds_of_one_runtime_in_an_image(tmp_path: Path) -> None:
    extra = "    runtime: onnxruntime-cut\n  - bundle: other\n"
    what = yocto(tmp_path, "qemuarm64", extra)
    with pytest.raises(UserError) as caught:
        choose_models(what, [converted("onnxruntime 1.28.0"), bundle()])
    assert str(caught.value).replace(f"{tmp_path}/", "") == (
        "firmware.yaml:8:5: models[1]: an image has onnxruntime-cut or onnxruntime, not both\n"
        "  hint: fixture takes onnxruntime-cut"
    )


def test_a_language_model_gets_its_own_server(tmp_path: Path) -> None:
    (model,) = choose_models(yocto(tmp_path, "qemuriscv64"), [bundle(format="gguf")])
    assert (model.runtime.name, model.runtime.server) == ("llamacpp", "llama-server")


def language_model(name: str = "talker", architecture: str = "llama") -> SealedBundle:
    """Weights of 90 MiB, 24 KiB of cache a token, made for 8192 tokens."""
    found = bundle(format="gguf")
    text = TextModel(architecture, 134_000_000, 8192, 24 << 10, 49152, "gpt2")
    return dataclasses.replace(
        found,
        description=dataclasses.replace(
            found.description, name=name, text=text, checks=(), inputs=(), outputs=(),
            resources=Resources(90 << 20, 4 << 20),
        ),
    )  # fmt: skip


def test_memory_of_a_language_model_grows_with_its_context(tmp_path: Path) -> None:
    for extra, tokens in (("", 2048), ("    context: 512\n", 512)):
        models = choose_models(choice(tmp_path, "qemuarm64", extra), [language_model()])
        budget = dict(memory_budget(models))
        assert budget["fixture"] == (94 << 20) + tokens * (24 << 10)
        assert server_memory(models, "llama-server") == budget["llamacpp"] + budget["fixture"]
        assert server_memory(models, "inferd") == 0


def test_both_servers_count(tmp_path: Path) -> None:
    what = choice(tmp_path, "qemuarm64", "  - bundle: talker\n")
    models = choose_models(what, [bundle(), language_model()])
    names = [name for name, _ in memory_budget(models)]
    assert names == ["system", "onnxruntime", "llamacpp", "fixture", "talker"]
    total = sum(size for name, size in memory_budget(models) if name != "system")
    assert total == server_memory(models, "inferd") + server_memory(models, "llama-server")


@pytest.mark.parametrize(
    ("server", "place"),
    [("{text: {listen: '0.0.0.0:8080'}}", "17: server.text.listen: port 8080"),
     ("{listen: '0.0.0.0:8081'}", "10: server.listen: port 8081")],
)  # fmt: skip
def test_a_port_that_both_servers_would_take(tmp_path: Path, server: str, place: str) -> None:
    extra = f"server: {server}\n"
    for alone in (bundle(), language_model()):
        assert choose_models(choice(tmp_path, "qemuarm64", extra), [alone])
    what = choice(tmp_path, "qemuarm64", f"  - bundle: talker\n{extra}")
    with pytest.raises(UserError) as caught:
        choose_models(what, [bundle(), language_model()])
    assert str(caught.value).replace(f"{tmp_path}/", "") == (
        f"firmware.yaml:8:{place} is that of both servers, `server.listen` and `server.text.listen`"
    )


def test_a_context_that_the_memory_cannot_hold(tmp_path: Path) -> None:
    small = dataclasses.replace(
        choice(tmp_path, "qemuarm64", "    context: 8192\n").machine, memory=256 << 20
    )
    what = dataclasses.replace(choice(tmp_path, "qemuarm64", "    context: 8192\n"), machine=small)
    assert errors(tmp_path, what, language_model()) == (
        "firmware.yaml:5:1: models: needs 414.0 MiB of memory, qemuarm64 has 256.0 MiB\n"
        "  hint: system 64.0 MiB, llamacpp 64.0 MiB, fixture 286.0 MiB; a context of 8192 tokens "
        "takes 192.0 MiB"
    )


def test_a_limit_below_what_the_context_needs(tmp_path: Path) -> None:
    what = choice(tmp_path, "qemuarm64", "    limits: {memory: 128MiB}\n")
    assert errors(tmp_path, what, language_model()) == (
        "firmware.yaml:7:14: models[0].limits.memory: talker needs 142.0 MiB for weights "
        "(90.0 MiB), activations (4.0 MiB) and a cache of 2048 tokens (48.0 MiB), more than "
        "128.0 MiB"
    )


def test_a_context_that_the_model_was_not_made_for(tmp_path: Path) -> None:
    what = choice(tmp_path, "qemuarm64", "    context: 9000\n")
    assert errors(tmp_path, what, language_model()) == (
        "firmware.yaml:7:5: models[0].context: talker was made for 8192 tokens, not 9000"
    )
    assert errors(tmp_path, what, bundle()) == (
        "firmware.yaml:7:5: models[0].context: fixture is no language model and has no context"
    )


def test_an_architecture_that_the_runtime_does_not_run(tmp_path: Path) -> None:
    found = errors(tmp_path, choice(tmp_path, "qemuarm64"), language_model(architecture="mamba"))
    assert found.startswith(
        "firmware.yaml:6:5: models[0].bundle: llamacpp does not run the architecture mamba of "
        "talker\n  hint: it runs exaone, gemma, "
    )


def test_two_language_models(tmp_path: Path) -> None:
    what = choice(tmp_path, "qemuarm64", "  - bundle: other\n")
    with pytest.raises(UserError) as caught:
        choose_models(what, [language_model(), language_model("other")])
    assert str(caught.value).replace(f"{tmp_path}/", "") == (
        "firmware.yaml:7:5: models[1]: an image has one language model, and it has fixture"
    )
