"""The manifest: what was asked."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuilder import yamlfile
from imagebuilder.errors import Problem, UserError
from imagebuilder.units import parse_size
from imagebuilder.yamlfile import Key, YamlFile

LISTEN, TEXT_LISTEN = "127.0.0.1:8080", "127.0.0.1:8081"
FIRST_PORT = 1024
"""Lower ones only root can listen on."""

MAX_FILE = 1 << 30
"""Largest file of the user's own in an image, bytes: larger ones belong into the data partition."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One entry of `models`; `memory_limit` in bytes, `context` in tokens."""

    bundle: str
    runtime: str | None
    device: str
    fallback: str
    threads: int
    memory_limit: int | None
    context: int | None = None


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    listen: str

    @property
    def host(self) -> str:
        """IPv4 address."""
        return self.listen.rsplit(":", 1)[0].replace("localhost", "127.0.0.1")

    @property
    def port(self) -> int:
        """TCP port."""
        return int(self.listen.rsplit(":", 1)[1])

    @property
    def loopback(self) -> bool:
        """Whether only the device itself reaches it."""
        return ipaddress.IPv4Address(self.host).is_loopback


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """How many requests may wait for a model, and connections be open; ms to wait and to run."""

    queue: int
    connections: int
    deadline_ms: int
    run_limit_ms: int


@dataclass(frozen=True, slots=True)
class Server(Address):
    """The inference server's address, what it shows, and where the text server listens."""

    metrics: bool
    text: Address
    limits: ServerLimits
    token: str | None
    """`device`, `none`, or the path of a file on the device; None: nothing was said."""


@dataclass(frozen=True, slots=True)
class ExtraFile:
    """A file of the user's own: `source` on the host, `path` on the device, `mode` permissions."""

    source: Path
    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class Storage:
    """Partition sizes in bytes; None: as large as the contents need."""

    root: int | None
    models: int | None
    data: int


@dataclass(frozen=True, slots=True)
class Image:
    """The image besides the models."""

    hostname: str
    outputs: tuple[str, ...]
    authorized_keys: tuple[Path, ...]
    files: tuple[ExtraFile, ...]
    services: tuple[Path, ...]
    storage: Storage


@dataclass(frozen=True, slots=True)
class Kernel:
    """What is asked of the kernel."""

    command_line: tuple[str, ...]
    fragments: tuple[Path, ...]
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verify:
    """Whose bundles are taken: `key` is a public key's file, `minimum_version` the least one."""

    key: Path
    minimum_version: int


@dataclass(frozen=True, slots=True)
class YoctoOptions:
    """Only for the engine yocto."""

    series: str
    init: str
    layers: tuple[Path, ...]
    packages: tuple[str, ...]
    licenses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DebianOptions:
    """Only for the engine debian."""

    suite: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checked `firmware.yaml`; `file` keeps the place of every key for later errors."""

    file: YamlFile
    name: str
    version: str
    compatible: str
    machine: str
    search: tuple[Path, ...]
    models: tuple[ModelRequest, ...]
    server: Server
    image: Image
    kernel: Kernel
    tests: tuple[Path, ...]
    yocto: YoctoOptions
    debian: DebianOptions
    verify: Verify | None = None

    @property
    def folder(self) -> Path:
        """The folder of the manifest; its paths are relative to it."""
        return self.file.path.parent

    def problem(self, key: Key, what: str, hint: str = "") -> Problem:
        """A problem located at a key of the manifest."""
        return self.file.problem(key, what, hint)


def load_manifest(path: Path) -> Manifest:
    """Read and check a manifest; `UserError` with every problem found."""
    file = yamlfile.load(path.absolute(), "manifest")
    problems = tuple(_problems(file))
    if problems:
        raise UserError(*problems)
    return _manifest(file)


def open_server(manifest: Manifest) -> Problem | None:
    """What to warn of: the network reaches inferd, and nobody said whether it wants a token."""
    server = manifest.server
    if server.loopback or server.token is not None:
        return None
    what = f"{server.listen} lets everybody in the network use the models"
    hint = "`server.token: device` has the device make a token, `none` says that this is meant"
    return manifest.file.problem(("server", "listen"), what, hint)


def _manifest(file: YamlFile) -> Manifest:
    data, folder = file.data, file.path.parent
    yocto, debian = data.get("yocto", {}), data.get("debian", {})
    server = data.get("server", {})
    return Manifest(
        file=file,
        name=data["name"],
        version=data["version"],
        compatible=data.get("compatible", data["name"]),
        machine=data["machine"],
        search=tuple(folder / item for item in data.get("search", ())),
        models=tuple(_model(entry) for entry in data["models"]),
        server=Server(
            server.get("listen", LISTEN),
            server.get("metrics", True),
            Address(server.get("text", {}).get("listen", TEXT_LISTEN)),
            ServerLimits(
                server.get("queue", 64),
                server.get("connections", 256),
                server.get("deadline_ms", 10000),
                server.get("run_limit_ms", 60000),
            ),
            server.get("token"),
        ),
        image=_image(data.get("image", {}), data["name"], folder),
        kernel=_kernel(data.get("kernel", {}), folder),
        tests=tuple(folder / item for item in data.get("tests", ())),
        yocto=YoctoOptions(
            series=yocto.get("series", "wrynose"),
            init=yocto.get("init", "busybox"),
            layers=tuple(folder / layer["path"] for layer in yocto.get("layers", ())),
            packages=tuple(yocto.get("packages", ())),
            licenses=tuple(yocto.get("licenses", ())),
        ),
        debian=DebianOptions(debian.get("suite", "trixie"), tuple(debian.get("packages", ()))),
        verify=_verify(data, folder),
    )


def _verify(data: dict[str, Any], folder: Path) -> Verify | None:
    if "verify" not in data:
        return None
    return Verify(folder / data["verify"]["key"], data["verify"].get("minimum_version", 0))


def _model(entry: dict[str, Any]) -> ModelRequest:
    limit = entry.get("limits", {}).get("memory")
    return ModelRequest(
        bundle=entry["bundle"],
        runtime=entry.get("runtime"),
        device=entry.get("device", "cpu"),
        fallback=entry.get("fallback", "deny"),
        threads=entry.get("threads", 1),
        memory_limit=None if limit is None else parse_size(limit),
        context=entry.get("context"),
    )


def _image(data: dict[str, Any], name: str, folder: Path) -> Image:
    storage = {key: parse_size(value) for key, value in data.get("storage", {}).items()}
    return Image(
        hostname=data.get("hostname", name),
        outputs=tuple(data.get("outputs", ("disk",))),
        authorized_keys=tuple(folder / k for k in data.get("ssh", {}).get("authorized_keys", ())),
        files=tuple(
            ExtraFile(folder / f["source"], f["path"], int(f.get("mode", "0644"), 8))
            for f in data.get("files", ())
        ),
        services=tuple(folder / item for item in data.get("services", ())),
        storage=Storage(storage.get("root"), storage.get("models"), storage.get("data", 8 << 20)),
    )


def _kernel(data: dict[str, Any], folder: Path) -> Kernel:
    return Kernel(
        command_line=tuple(data.get("command_line", ())),
        fragments=tuple(folder / item for item in data.get("fragments", ())),
        modules=tuple(data.get("modules", ())),
    )


def _problems(file: YamlFile) -> Iterator[Problem]:
    yield from _doubled_models(file)
    yield from _listen_problems(file)
    yield from _doubled_paths(file)
    for key, text in _own_paths(file):
        yield from _path_problems(file, key, text)


def _doubled_models(file: YamlFile) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, entry in enumerate(file.data["models"]):
        if entry["bundle"] in seen:
            yield file.problem(("models", index, "bundle"), f"{entry['bundle']} is listed twice")
        seen.add(entry["bundle"])


def _listen_problems(file: YamlFile) -> Iterator[Problem]:
    server = file.data.get("server", {})
    keys: tuple[Key, ...] = (("server", "listen"), ("server", "text", "listen"))
    found = (server.get("listen", LISTEN), server.get("text", {}).get("listen", TEXT_LISTEN))
    for key, listen in zip(keys, found, strict=True):
        host, port = listen.rsplit(":", 1)
        try:
            ipaddress.IPv4Address(host.replace("localhost", "127.0.0.1"))
        except ValueError:
            yield file.problem(key, f"{host} is not an IPv4 address")
        if not 1 <= int(port) <= 65535:
            yield file.problem(key, f"{port} is not a port: 1 to 65535")
        elif int(port) < FIRST_PORT:
            what = f"port {port} is for root only, and the server runs as a user of its own"
            yield file.problem(key, what, f"choose one from {FIRST_PORT} on")
    named = "listen" in server and "listen" in server.get("text", {})
    if named and (problem := shared_port(file, found)):
        yield problem


def shared_port(file: YamlFile, listens: tuple[str, str]) -> Problem | None:
    """What is wrong where both servers of an image would take one port."""
    ports = [listen.rsplit(":", 1)[1] for listen in listens]
    if ports[0] != ports[1]:
        return None
    what = f"port {ports[0]} is that of both servers, `server.listen` and `server.text.listen`"
    text = "text" in file.data.get("server", {})
    return file.problem(("server", "text", "listen") if text else ("server", "listen"), what)


def _doubled_paths(file: YamlFile) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, entry in enumerate(file.data.get("image", {}).get("files", ())):
        path = entry["path"]
        key: Key = ("image", "files", index, "path")
        if any(part in (".", "..") for part in path.split("/")):
            yield file.problem(key, f"{path} has . or .. in it")
        if path in seen:
            yield file.problem(key, f"{path} is listed twice")
        seen.add(path)


def _own_paths(file: YamlFile) -> Iterator[tuple[Key, str]]:
    """Every path of the manifest that must be a file (or, for tests, a folder) below its folder."""
    image = file.data.get("image", {})
    if "verify" in file.data:
        yield ("verify", "key"), file.data["verify"]["key"]
    for index, key_file in enumerate(image.get("ssh", {}).get("authorized_keys", ())):
        yield ("image", "ssh", "authorized_keys", index), key_file
    for index, entry in enumerate(image.get("files", ())):
        yield ("image", "files", index, "source"), entry["source"]
    for index, service in enumerate(image.get("services", ())):
        yield ("image", "services", index), service
    for index, fragment in enumerate(file.data.get("kernel", {}).get("fragments", ())):
        yield ("kernel", "fragments", index), fragment
    for index, test in enumerate(file.data.get("tests", ())):
        yield ("tests", index), test


def _path_problems(file: YamlFile, key: Key, text: str) -> Iterator[Problem]:
    folder = file.path.parent.resolve()
    path = folder / text
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except (OSError, ValueError):
        yield file.problem(key, f"{text}: no such file", f"looked for {path}")
        return
    if not real.is_relative_to(folder):
        yield file.problem(
            key, f"{text} leads out of the manifest's folder, to {real}", "copy the file there"
        )
    elif stat.S_ISDIR(status.st_mode):
        if key[0] != "tests":
            yield file.problem(key, f"{text} is a folder, a file is needed")
    elif not stat.S_ISREG(status.st_mode):
        yield file.problem(key, f"{text} is not a regular file")
    elif status.st_size > MAX_FILE:
        yield file.problem(key, f"{text} has {status.st_size} bytes, more than 1 GiB")
