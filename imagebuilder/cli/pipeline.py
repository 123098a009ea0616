"""From a manifest to what was decided and built: the path that all verbs share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imagebuilder.artifact import Artifacts
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.bundle.signer import Trust, check_trust, read_public_key
from imagebuilder.bundle.store import SEALED
from imagebuilder.catalog import Catalog
from imagebuilder.catalog.bundle_source import BundleSource
from imagebuilder.catalog.machine import Machine
from imagebuilder.catalog.series import Series
from imagebuilder.cli.app import App
from imagebuilder.engines import load_engine
from imagebuilder.errors import Problem, UserError
from imagebuilder.executor import execute
from imagebuilder.fetch.debian import Archive, GoneError, find_mirrors
from imagebuilder.lock import Lock, LockUnfit, lock_path, read_lock, write_lock
from imagebuilder.manifest import Manifest, open_server
from imagebuilder.models.build import fresh_bundle, locked_bundle, pins
from imagebuilder.plan import Plan
from imagebuilder.resolve import (
    Build,
    BuildModel,
    Choice,
    choose_models,
    engine_problems,
    find_runtime,
)
from imagebuilder.state import make_writable
from imagebuilder.yamlfile import Key

Problems = Callable[[Build], Iterator[Problem]]
"""What keeps a build from being made."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A manifest with the definitions that it names."""

    manifest: Manifest
    catalog: Catalog
    machine: Machine
    sources: tuple[BundleSource, ...]
    engine: str
    series: Series | None
    trust: Trust | None = None

    @property
    def sealed(self) -> Path:
        """The project's own folder of sealed bundles; it need not be there."""
        return self.manifest.folder / SEALED

    @property
    def choice(self) -> Choice:
        """What resolving decides from."""
        runtimes = tuple(self.catalog.runtime(name) for name in self.catalog.names("runtimes"))
        return Choice(self.manifest, self.machine, self.engine, runtimes, self.series)


def ask(app: App, path: Path, machine: str | None, engine: str) -> Asked:
    """Read everything that a manifest names; `UserError` with all problems at once."""
    manifest = app.manifest(path)
    catalog = app.catalog(manifest)
    problems: list[Problem] = []
    if (warning := open_server(manifest)) is not None:
        app.log.warning(str(warning))
    found: Machine | None = None
    series: Series | None = None
    trust: Trust | None = None
    sources: list[BundleSource] = []
    with gathered(problems, manifest, () if machine else ("machine",)):
        found = catalog.machine(machine or manifest.machine)
    for index, model in enumerate(manifest.models):
        with gathered(problems, manifest, ("models", index, "bundle")):
            sources.append(catalog.bundle_source(model.bundle))
    if engine == "yocto":
        with gathered(problems, manifest, ("yocto", "series")):
            series = catalog.series(manifest.yocto.series)
    with gathered(problems, manifest, ("verify", "key")):
        trust = _trust(manifest)
    if problems or found is None:
        raise UserError(*problems)
    asked = Asked(manifest, catalog, found, tuple(sources), engine, series, trust)
    if unserved := tuple(_unserved(asked)):
        raise UserError(*unserved)
    return asked


def _unserved(asked: Asked) -> Iterator[Problem]:
    """Models in a format that nothing reads on the machine: known before they are fetched."""
    for index, source in enumerate(asked.sources):
        if kind := source.final_format:
            runtime = find_runtime(asked.choice, index, kind)
            if isinstance(runtime, Problem):
                yield runtime


def early_problems(asked: Asked) -> Iterator[Problem]:
    """What keeps the engine from building the manifest, whatever its models are made of."""
    if found := tuple(engine_problems(asked.choice)):
        yield from found
    else:
        yield from load_engine(asked.engine).problems(_build(asked, (), Lock()))


@contextmanager
def gathered(problems: list[Problem], manifest: Manifest, key: Key) -> Iterator[None]:
    """Add the problems of a `UserError` to `problems`; those without a place get that of `key`."""
    try:
        yield
    except UserError as error:
        problems += _placed(error, manifest, key)


def _placed(error: UserError, manifest: Manifest, key: Key) -> list[Problem]:
    return [p if p.location else manifest.problem(key, p.what, p.hint) for p in error.problems]


def _trust(manifest: Manifest) -> Trust | None:
    verify = manifest.verify
    if verify is None:
        return None
    return Trust(read_public_key(verify.key), verify.minimum_version)


def _untrusted(asked: Asked, bundles: Sequence[SealedBundle]) -> Iterator[Problem]:
    if asked.trust is None:
        return
    for index, bundle in enumerate(bundles):
        try:
            check_trust(bundle, asked.trust)
        except UserError as error:
            what = error.problems[0].what
            name = bundle.description.name
            hint = f"imagebuilder model build {name} --sign PRIVATE-KEY --output {SEALED}"
            yield asked.manifest.problem(("models", index, "bundle"), what, hint)


def decide(
    app: App, asked: Asked, *, locked: bool = False, update: bool = False
) -> tuple[Build, Archive]:
    """Seal the bundles, resolve, and complete the lock; `locked` refuses to change the lock.

    Raises `UserError` or `BuildError`.
    """
    lock = read_lock(lock_path(asked.manifest.file.path))
    build = resolve(asked, seal_models(app, asked, lock, locked=locked), lock)
    archive = Archive(app.fetcher, partial(find_mirrors, app.mirror, app.snapshot))
    engine = load_engine(asked.engine)
    complete = engine.lock(build, archive, update=update, strict=locked)
    if locked and complete != lock:
        raise LockUnfit("the lock does not have all that is built", hint="run `imagebuilder lock`")
    return dataclasses.replace(build, lock=complete), archive


def seal_models(app: App, asked: Asked, lock: Lock, *, locked: bool) -> tuple[SealedBundle, ...]:
    """The sealed bundle of each model; those of the lock when `locked`, else the source's.

    Raises `BuildError`, or `UserError` with all problems: a `LockUnfit` if only the lock is wrong.
    """
    bundles, problems, unfit = [], list[Problem](), True
    for index, source in enumerate(asked.sources):
        try:
            pin = lock.models.get(source.name)
            bundles.append(
                locked_bundle(source, app.fetcher, pin, asked.sealed)
                if locked
                else fresh_bundle(source, app.fetcher, asked.sealed)
            )
        except UserError as error:
            unfit = unfit and isinstance(error, LockUnfit)
            problems += _placed(error, asked.manifest, ("models", index, "bundle"))
    if problems:
        raise LockUnfit(*problems) if unfit else UserError(*problems)
    return tuple(bundles)


def resolve(
    asked: Asked, bundles: Sequence[SealedBundle], lock: Lock, problems: Problems | None = None
) -> Build:
    """The build with the models pinned in its lock; `problems` instead of all of the engine's."""
    if untrusted := tuple(_untrusted(asked, bundles)):
        raise UserError(*untrusted)
    models = choose_models(asked.choice, bundles)
    model_pins, data_pins = pins(asked.sources, bundles)
    lock = dataclasses.replace(
        lock, models={**lock.models, **model_pins}, data={**lock.data, **data_pins}
    )
    build = _build(asked, models, lock)
    if found := tuple((problems or load_engine(asked.engine).problems)(build)):
        raise UserError(*found)
    return build


def _build(asked: Asked, models: tuple[BuildModel, ...], lock: Lock) -> Build:
    variant = load_engine(asked.engine).variant
    return Build(
        asked.manifest, asked.machine, asked.engine, variant, models, lock, asked.series,
        asked.trust,
    )  # fmt: skip


def make_plan(build: Build) -> Plan:
    """The engine's plan."""
    return load_engine(build.engine).plan(build)


def save_lock(build: Build) -> bool:
    """Write the build's lock beside the manifest; tells whether it changed."""
    return write_lock(lock_path(build.manifest.file.path), build.lock)


def output_folder(asked: Asked, output: Path | None) -> Path:
    """Where the artifacts go: `build/MACHINE` beside the manifest, or `build/MACHINE-ENGINE`."""
    name = asked.machine.name + ("" if asked.engine == "debian" else f"-{asked.engine}")
    return (output or asked.manifest.folder / "build") / name


def build_image(
    app: App, asked: Asked, *, locked: bool = False, output: Path | None = None
) -> tuple[Build, Artifacts, Archive]:
    """Build the image; a pinned package that has left the archive is renewed unless `locked`."""
    build, archive = decide(app, asked, locked=locked)
    folder = output_folder(asked, output)
    make_writable(folder)  # before minutes of work, not after them
    try:
        artifacts = _execute(app, build, archive, folder)
    except GoneError as error:
        if locked:
            raise
        app.log.warning(f"{error.problems[0].what}; the packages are resolved again")
        build, archive = decide(app, asked, update=True)
        artifacts = _execute(app, build, archive, folder)
    if not locked and save_lock(build):
        app.log.debug(f"wrote {lock_path(build.manifest.file.path)}")
    return build, artifacts, archive


def _execute(app: App, build: Build, archive: Archive, folder: Path) -> Artifacts:
    engine = load_engine(build.engine)
    actions = engine.actions(build, archive, folder)
    outputs = execute(engine.plan(build), actions, app.fetcher, folder)
    return engine.collect(build, outputs, folder)
