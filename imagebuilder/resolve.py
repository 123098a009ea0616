"""Resolve: from what was asked and what exists to what was decided. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imagebuilder.accelerator import accelerator_problems
from imagebuilder.bundle.format import Description
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.bundle.signer import Trust
from imagebuilder.catalog.machine import Machine
from imagebuilder.catalog.runtime import Runtime, RuntimeTarget
from imagebuilder.catalog.series import Series
from imagebuilder.errors import Problem, UserError
from imagebuilder.lock import Lock
from imagebuilder.manifest import Manifest, ModelRequest, shared_port
from imagebuilder.units import show_size

SYSTEM_MEMORY = 64 << 20
"""Bytes of RAM for kernel and base system; the largest of the four QEMU machines, rounded up."""
SYSTEM_STORAGE = 48 << 20
"""Bytes on the device for kernel and base system, likewise."""
SYSTEM = "system"
TEXT_CONTEXT = 2048
"""Tokens of a language model's context unless the manifest says otherwise."""

JSON_ELEMENT = 96
"""Bytes of RAM for an element of a request or an answer: a float has up to 24 characters, which
are held four times at most, by the string that grows to twice its size, and in the connection's
buffers."""


@dataclass(frozen=True, slots=True)
class BuildModel:
    """A model of the image: its sealed bundle and the runtime that will run it."""

    request: ModelRequest
    bundle: SealedBundle
    runtime: Runtime
    target: RuntimeTarget


@dataclass(frozen=True, slots=True)
class Build:
    """The complete build: everything is decided, nothing is done."""

    manifest: Manifest
    machine: Machine
    engine: str
    variant: str
    models: tuple[BuildModel, ...]
    lock: Lock
    series: Series | None = None
    trust: Trust | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is to decide from."""

    manifest: Manifest
    machine: Machine
    engine: str
    runtimes: tuple[Runtime, ...]
    series: Series | None = None


def choose_models(choice: Choice, bundles: Sequence[SealedBundle]) -> tuple[BuildModel, ...]:
    """Give each model its runtime and check that all of it fits the machine.

    `bundles` are those of `choice.manifest.models`, in that order. Raises `UserError` with every
    problem found.
    """
    problems: list[Problem] = list(engine_problems(choice))
    models: list[BuildModel] = []
    for index, (request, bundle) in enumerate(zip(choice.manifest.models, bundles, strict=True)):
        found = _choose(choice, index, request, bundle)
        if isinstance(found, BuildModel):
            models.append(found)
            problems.extend(_model_problems(choice, index, found))
        else:
            problems.append(found)
    problems.extend(_backend_problems(choice, models))
    problems.extend(_port_problems(choice, models))
    problems.extend(_memory_problems(choice, models))
    problems.extend(_storage_problems(choice, models))
    if problems:
        raise UserError(*problems)
    return tuple(models)


def engine_problems(choice: Choice) -> Iterator[Problem]:
    """Whether the engine can build for the machine at all."""
    machine = choice.machine
    parts: Mapping[str, object | None] = {"debian": machine.debian, "yocto": machine.yocto}
    if parts.get(choice.engine) is None:
        others = [name for name, part in parts.items() if part is not None]
        hint = (
            f"this machine is built by: {', '.join(f'--engine {o}' for o in others)}"
            if others
            else ""
        )
        what = f"the engine {choice.engine} cannot build for {machine.name}"
        yield choice.manifest.problem(("machine",), what, hint)
    yield from accelerator_problems(machine)


def _choose(
    choice: Choice, index: int, request: ModelRequest, bundle: SealedBundle
) -> BuildModel | Problem:
    found = find_runtime(choice, index, bundle.description.model.format)
    return found if isinstance(found, Problem) else BuildModel(request, bundle, *found)


def find_runtime(choice: Choice, index: int, kind: str) -> tuple[Runtime, RuntimeTarget] | Problem:
    """What runs the manifest's model `index`, a file of this format, on the machine."""
    request, arch = choice.manifest.models[index], choice.machine.arch
    readers = [runtime for runtime in choice.runtimes if kind in runtime.formats]
    if request.runtime is not None:
        key = ("models", index, "runtime")
        if request.runtime not in [runtime.name for runtime in choice.runtimes]:
            names = ", ".join(runtime.name for runtime in choice.runtimes)
            return choice.manifest.problem(
                key, f"no runtime is called {request.runtime!r}", f"there are: {names}"
            )
        able = ", ".join(runtime.name for runtime in readers)
        readers = [runtime for runtime in readers if runtime.name == request.runtime]
        if not readers:
            what = f"{request.runtime} does not read {kind}"
            return choice.manifest.problem(key, what, f"these do: {able}")
    for runtime in readers:
        if target := available(runtime, arch, choice.engine):
            return runtime, target
    what = f"no runtime reads {kind} on {arch} with the engine {choice.engine}"
    return choice.manifest.problem(("models", index, "bundle"), what, _where(choice, kind, readers))


def available(runtime: Runtime, arch: str, engine: str) -> RuntimeTarget | None:
    """The runtime on an architecture, if this engine can put it into an image."""
    target = runtime.targets.get(arch)
    if target is None:
        return None
    parts: Mapping[str, object | None] = {"debian": target.debian, "yocto": target.yocto_recipe}
    return target if parts.get(engine) is not None else None


def _where(choice: Choice, kind: str, readers: Sequence[Runtime]) -> str:
    backends = {runtime.backend for runtime in readers}
    hints = [
        f"use {runtime.name}"
        if kind in runtime.formats
        else f"convert the model to {runtime.formats[0]} for {runtime.name}"
        for runtime in choice.runtimes
        if runtime.backend in backends
        and runtime not in readers
        and available(runtime, choice.machine.arch, choice.engine)
    ]
    hints = hints or _others(choice, readers)
    places = [
        f"{runtime.name} on {arch}"
        for runtime in readers
        for arch in runtime.targets
        if available(runtime, arch, choice.engine)
    ]
    if places:
        hints.append(f"there is {', '.join(places)}")
    return "; ".join(hints) or "convert the model to another format"


def _others(choice: Choice, readers: Sequence[Runtime]) -> list[str]:
    """What the same server runs on the architecture, in other formats."""
    servers, arch = {runtime.server for runtime in readers}, choice.machine.arch
    return [
        f"{runtime.name} on {arch} reads {', '.join(runtime.formats)}"
        for runtime in choice.runtimes
        if runtime.server in servers
        and runtime not in readers
        and available(runtime, arch, choice.engine)
    ]


def _model_problems(choice: Choice, index: int, model: BuildModel) -> Iterator[Problem]:
    manifest, machine = choice.manifest, choice.machine
    description, target = model.bundle.description, model.target
    where = f"{model.runtime.name} {target.version} on {machine.arch}"
    key = ("models", index, "bundle")
    limits = (
        ("opset", description.model.opset, target.max_opset),
        ("IR version", description.model.ir, target.max_ir),
    )
    for what, has, most in limits:
        if has is not None and most is not None and has > most:
            yield manifest.problem(
                key,
                f"{description.name} has {what} {has}, {where} reads at most {most}",
                f"export the model with {what} {most} or lower",
            )
    made_by, reads = description.provenance.runtime, f"{model.runtime.backend} {target.version}"
    if description.model.format == "ort" and made_by != reads:
        yield manifest.problem(
            key,
            f"{description.name} was converted by {made_by}, {where} reads only what {reads} made",
            "build the model bundle with the Python package of that version",
        )
    yield from _text_problems(choice, index, model)
    limit, needs = model.request.memory_limit, model_memory(model)
    if limit is not None and needs > limit:
        yield manifest.problem(
            ("models", index, "limits", "memory"),
            f"{description.name} needs {show_size(needs)} for {_parts(model)}, "
            f"more than {show_size(limit)}",
        )
    yield from _device_problems(choice, index, model)


def _device_problems(choice: Choice, index: int, model: BuildModel) -> Iterator[Problem]:
    """Told here, since the server would refuse to start: no CPU stands in unless it may."""
    machine, request = choice.machine, model.request
    if request.device == "cpu" or request.fallback == "allow":
        return
    found = machine.accelerator
    if found is None or found.kind != request.device:
        what = f"{machine.name} has no {request.device}"
    elif not found.runtimes.get(model.runtime.name, {}).get("delegate"):
        what = (
            f"{machine.name} names no delegate by which {model.runtime.name} uses its {found.kind}"
        )
    else:
        return
    hint = "use `device: cpu`, or `fallback: allow`"
    yield choice.manifest.problem(("models", index, "device"), what, hint)


def _text_problems(choice: Choice, index: int, model: BuildModel) -> Iterator[Problem]:
    text, asked = model.bundle.description.text, model.request.context
    key = ("models", index, "context")
    name = model.bundle.description.name
    if text is None:
        if asked is not None:
            yield choice.manifest.problem(key, f"{name} is no language model and has no context")
        return
    if asked is not None and asked > text.context:
        what = f"{name} was made for {text.context} tokens, not {asked}"
        yield choice.manifest.problem(key, what)
    known = model.runtime.architectures
    if known is not None and text.architecture not in known:
        what = f"{model.runtime.name} does not run the architecture {text.architecture} of {name}"
        where = ("models", index, "bundle")
        yield choice.manifest.problem(where, what, f"it runs {', '.join(known)}")


def text_context(model: BuildModel) -> int:
    """Tokens that a language model keeps in mind on the device."""
    text = model.bundle.description.text
    assert text is not None
    return model.request.context or min(TEXT_CONTEXT, text.context)


def cache_memory(model: BuildModel) -> int:
    """Bytes of a language model's key-value cache, 0 for others."""
    text = model.bundle.description.text
    return 0 if text is None else text.cache_bytes * text_context(model)


def exchange_memory(model: BuildModel) -> int:
    """Bytes of a request of one sample and its answer as JSON, 0 for a language model."""
    description = model.bundle.description
    if description.text is not None:
        return 0
    specs = (*description.inputs, *description.outputs)
    # A free axis is -1.
    return JSON_ELEMENT * sum(math.prod(map(abs, spec.shape)) for spec in specs)


def model_memory(model: BuildModel) -> int:
    """Bytes of RAM a model needs: weights, activations, and what it keeps or exchanges."""
    resources = model.bundle.description.resources
    used = resources.weights_bytes + resources.activation_bytes
    return used + cache_memory(model) + exchange_memory(model)


def _parts(model: BuildModel) -> str:
    resources = model.bundle.description.resources
    if model.bundle.description.text is not None:
        more = f"a cache of {text_context(model)} tokens ({show_size(cache_memory(model))})"
    else:
        more = f"a request with its answer ({show_size(exchange_memory(model))})"
    return (
        f"weights ({show_size(resources.weights_bytes)}), "
        f"activations ({show_size(resources.activation_bytes)}) and {more}"
    )


def _targets(models: Sequence[BuildModel]) -> list[tuple[str, RuntimeTarget]]:
    return list({model.runtime.name: model.target for model in models}.items())


def memory_budget(models: Sequence[BuildModel]) -> tuple[tuple[str, int], ...]:
    """What takes how many bytes of RAM: system, each runtime once, each model."""
    return (
        (SYSTEM, SYSTEM_MEMORY),
        *((name, target.memory) for name, target in _targets(models)),
        *((m.request.bundle, model_memory(m)) for m in models),
    )


def server_memory(models: Sequence[BuildModel], server: str) -> int:
    """Bytes of RAM that one of the servers may take, with its models."""
    own = [model for model in models if model.runtime.server == server]
    return sum(size for name, size in memory_budget(own) if name != SYSTEM)


def storage_budget(choice: Choice, models: Sequence[BuildModel]) -> tuple[tuple[str, int], ...]:
    """What takes how many bytes on the device: system, runtimes, models, data."""
    return (
        (SYSTEM, SYSTEM_STORAGE),
        *((name, target.storage) for name, target in _targets(models)),
        *((m.request.bundle, bundle_size(m.bundle.description)) for m in models),
        ("data", choice.manifest.image.storage.data),
    )


def bundle_size(description: Description) -> int:
    """Bytes of a bundle's listed files."""
    return sum(entry.size for entry in description.files.values())


def _backend_problems(choice: Choice, models: Sequence[BuildModel]) -> Iterator[Problem]:
    taken: dict[str, BuildModel] = {}
    text: BuildModel | None = None
    for index, model in enumerate(choice.manifest.models):
        found = next((m for m in models if m.request is model), None)
        if found is None:
            continue
        if found.bundle.description.text is not None:
            if text is not None:
                what = f"an image has one language model, and it has {text.request.bundle}"
                yield choice.manifest.problem(("models", index), what)
            text = text or found
        first = taken.setdefault(found.runtime.backend, found)
        if first.runtime.name != found.runtime.name:
            what = f"an image has {first.runtime.name} or {found.runtime.name}, not both"
            hint = f"{first.request.bundle} takes {first.runtime.name}"
            yield choice.manifest.problem(("models", index), what, hint)


def _port_problems(choice: Choice, models: Sequence[BuildModel]) -> Iterator[Problem]:
    """Of the ports that the manifest leaves to us; those it names itself are told before."""
    server = choice.manifest.server
    if len({model.runtime.server for model in models}) > 1:
        problem = shared_port(choice.manifest.file, (server.listen, server.text.listen))
        if problem:
            yield problem


def _memory_problems(choice: Choice, models: Sequence[BuildModel]) -> Iterator[Problem]:
    budget, most = memory_budget(models), choice.machine.memory
    if (needs := sum(size for _, size in budget)) > most:
        what = f"needs {show_size(needs)} of memory, {choice.machine.name} has {show_size(most)}"
        hint = _listing(budget) + "".join(
            f"; a context of {text_context(model)} tokens takes {show_size(cache_memory(model))}"
            for model in models
            if model.bundle.description.text is not None
        )
        yield choice.manifest.problem(("models",), what, hint)


def _storage_problems(choice: Choice, models: Sequence[BuildModel]) -> Iterator[Problem]:
    budget, most = storage_budget(choice, models), choice.machine.storage_size
    if (needs := sum(size for _, size in budget)) > most:
        what = f"needs {show_size(needs)} of storage, {choice.machine.name} has {show_size(most)}"
        yield choice.manifest.problem(("models",), what, _listing(budget))
    room = choice.manifest.image.storage.models
    files = sum(bundle_size(model.bundle.description) for model in models)
    if room is not None and files > room:
        what = f"the models have {show_size(files)}, the partition has {show_size(room)}"
        yield choice.manifest.problem(("image", "storage", "models"), what)


def _listing(budget: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {show_size(size)}" for name, size in budget)
