"""Debian's archive, through the host's apt: resolved, signature-checked, pinned by SHA-256.

apt runs in folders of its own in the cache, without root and without the host's package state.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.package import Package, PackageSet
from imagebuilder.run import CommandFailed, run
from imagebuilder.state import write_if_changed

MIRROR_HINT = (
    "name a Debian mirror: --mirror http://MIRROR/debian, "
    "or the environment variable IMAGEBUILDER_DEBIAN_MIRROR"
)


ALIASES = {"trixie": ("stable",)}
"""Other names of a suite: while a mirror takes in a point release, one of them is still whole."""


KEYRINGS = {"sid": "trixie"}
"""A suite that the keys of another one sign."""

ROLLING = ("sid",)
"""Suites whose index expires after a week, though its packages are pinned here."""


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Addresses of Debian mirrors; a dated `snapshot` is tried first for pinned versions."""

    archive: str
    snapshot: str | None

    @property
    def all(self) -> tuple[str, ...]:
        """All, in the order in which they are tried."""
        return (self.snapshot, self.archive) if self.snapshot else (self.archive,)


def find_mirrors(mirror: str | None, snapshot: str | None) -> Mirrors:
    """The mirror that was named, here or in the environment, else the host's own.

    Raises `UserError` if there is none.
    """
    mirror = mirror or os.environ.get("IMAGEBUILDER_DEBIAN_MIRROR")
    snapshot = snapshot or os.environ.get("IMAGEBUILDER_DEBIAN_SNAPSHOT")
    snapshot = snapshot.rstrip("/") if snapshot else None
    if mirror:
        return Mirrors(mirror.rstrip("/"), snapshot)
    if snapshot:
        return Mirrors(snapshot, None)
    for address in _host_mirrors():
        return Mirrors(address, None)
    raise UserError("this host's apt knows no Debian mirror", hint=MIRROR_HINT)


def _host_mirrors() -> Iterator[str]:
    """Debian's own suites among the host's apt sources, without updates and security."""
    formats = "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)"
    try:
        listing = run(
            ["apt-get", "indextargets", "--format", formats, "Created-By: Packages"], check=False
        )
    except UserError:
        return
    for line in listing.stdout.decode("utf-8", "replace").splitlines():
        address, codename, component, origin = (*line.split(" "), "", "", "")[:4]
        suites = ("bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable")
        if component == "main" and codename in suites and origin in ("Debian", "$(ORIGIN)"):
            yield address.rstrip("/")


@dataclass(frozen=True, slots=True)
class Archive:
    """Resolves packages with apt and fetches them by SHA-256.

    `find` tells the mirrors once something has to be fetched: asking apt for them takes time.
    """

    fetcher: Fetcher
    find: Callable[[], Mirrors]
    _indexes: dict[tuple[str, str], Path] = field(default_factory=dict, compare=False)
    _found: list[Mirrors] = field(default_factory=list, compare=False)

    @property
    def mirrors(self) -> Mirrors:
        """The mirrors; `UserError` if there are none."""
        if not self._found:
            self._found.append(self.find())
        return self._found[0]

    def resolve(
        self, suite: str, arch: str, request: Sequence[str], *, closure: bool = True
    ) -> PackageSet:
        """Pin packages and, with `closure`, all that they depend on.

        Raises `UnknownPackage` for one that does not exist, `UserError` when the archive cannot be
        reached or its signature is wrong.
        """
        apt = self._index(suite, arch)
        try:
            names = _closure(apt, request) if closure else tuple(request)
            packages = sorted(parse_packages(_show(apt, names)))
        except CommandFailed as error:
            raise _refusal(error, suite, request) from error
        # apt-cache ends well when it has some of the packages that were asked for.
        found = {package.name for package in packages}
        for name in names:
            if name.split("=")[0] not in found:
                raise UnknownPackage(name, suite)
        return PackageSet(suite, arch, tuple(request), tuple(packages))

    def fetch(self, package: Package) -> Path:
        """A pinned package from the cache or the first mirror that has it."""
        path = self.fetcher.cache.download(package.sha256)
        if path.is_file():
            return path
        label = f"{package.name} {package.version}"
        self.fetcher.need_network(label)
        urls = [f"{mirror}/{package.path}" for mirror in self.mirrors.all]
        try:
            return self.fetcher.file(urls, package.sha256, size=package.size, label=label)
        except UserError as error:
            if ": 404 " not in str(error):
                raise
            raise GoneError(package) from error

    def fetch_pin(self, suite: str, arch: str, pin: str) -> Path:
        """A package by NAME=VERSION; `UserError` when the archive has not this version."""
        apt = self._index(suite, arch)
        try:
            package = next(parse_packages(_show(apt, [pin])), None)
        except CommandFailed as error:
            raise _refusal(error, suite, [pin]) from error
        if package is None:
            raise UserError(
                f"Debian {suite} has no package {pin}",
                hint="pin the version that is there now; "
                "--snapshot names a dated mirror that still has the old one",
            )
        return self.fetch(package)

    def _index(self, suite: str, arch: str) -> Path:
        if (suite, arch) not in self._indexes:
            self._indexes[suite, arch] = self._update(suite, arch)
        return self._indexes[suite, arch]

    def _update(self, suite: str, arch: str) -> Path:
        """Fetch the index of a suite; gives the apt.conf to read it with."""
        self.fetcher.need_network(f"the package index of {suite} for {arch}")
        complaints = []
        for name in (suite, *ALIASES.get(suite, ())):
            folder = self.fetcher.cache.root / "apt" / f"{name}-{arch}"
            config = _write_configuration(folder, self.mirrors.all[0], (suite, name), arch)
            with self.fetcher.log.task(f"package index of {name} for {arch}"):
                complaint = _try_update(config) or _other_release(folder, suite)
            if not complaint:
                return config
            self.fetcher.log.debug(f"package index of {name} for {arch}: {complaint}")
            complaints.append(f"{name}: {complaint}")
        raise UserError(
            f"cannot read the package index for {arch} at {self.mirrors.all[0]}: "
            + "; ".join(complaints),
            hint="check the network, or " + MIRROR_HINT,
        )


def _try_update(config: Path) -> str:
    """Why `apt-get update` failed, empty if it did not."""
    result = run(["apt-get", "update", "-q"], env={"APT_CONFIG": str(config)}, check=False)
    complaint = _complaint(result.stdout + result.stderr)
    return complaint or ("apt-get update failed" if result.exit_code else "")


def _other_release(folder: Path, suite: str) -> str:
    """Why the fetched index is not of this suite, empty if it is."""
    for path in (folder / "lists").glob("*Release"):
        match = re.search(r"^Codename: (\S+)$", path.read_text("utf-8", "replace"), re.M)
        if match and match[1] == suite:
            return ""
    return f"it is not {suite}"


class UnknownPackage(UserError):
    """A package that the archive does not have."""

    def __init__(self, package: str, suite: str) -> None:
        self.package = package
        super().__init__(f"Debian {suite} has no package {package}")


class GoneError(UserError):
    """A pinned version is no longer in the archive."""

    def __init__(self, package: Package) -> None:
        super().__init__(
            f"{package.name} {package.version} has left the Debian archive",
            hint="`imagebuilder lock --update` pins the version that is there now; "
            "--snapshot names a dated mirror that still has the old one",
        )


def _complaint(output: bytes) -> str:
    """apt's most telling line: an error, else a warning, which says more than a failed fetch."""
    lines = output.decode("utf-8", "replace").splitlines()
    for mark in ("E: ", "W: ", "Err:"):
        for line in lines:
            if line.startswith(mark):
                return " ".join(line.removeprefix(mark).split())
    return ""


def _write_configuration(
    folder: Path, mirror: str, suite_and_name: tuple[str, str], arch: str
) -> Path:
    for part in ("lists/partial", "archives/partial", "sources", "empty"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_if_changed(folder / "status", b"")
    text = sources(mirror, *suite_and_name)
    write_if_changed(folder / "sources/debian.sources", text.encode())
    config = folder / "apt.conf"
    write_if_changed(config, configuration(folder, arch, _acquire_settings()).encode())
    return config


def sources(mirror: str, suite: str, name: str) -> str:
    """The deb822 source with the archive's public key inside, since its path may hold spaces."""
    name_of_keys = KEYRINGS.get(suite, suite)
    key = resources.files("imagebuilder") / "data" / "keyrings" / f"{name_of_keys}.asc"
    expiry = "Check-Valid-Until: no\n" if suite in ROLLING else ""
    lines = [f" {line}" if line else " ." for line in key.read_text("ascii").splitlines()]
    return (
        f"Types: deb\nURIs: {mirror}\nSuites: {name}\nComponents: main\n{expiry}Signed-By:\n"
        + "\n".join(lines)
        + "\n"
    )


def configuration(folder: Path, arch: str, acquire: str) -> str:
    """An apt.conf that reads and writes below `folder` only."""
    settings = {
        "Dir::State": f"{folder}",
        "Dir::State::lists": f"{folder}/lists",
        "Dir::State::status": f"{folder}/status",
        "Dir::Cache": f"{folder}",
        "Dir::Cache::archives": f"{folder}/archives",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{folder}/sources",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": f"{folder}/empty",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": f"{folder}/empty",
        "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": f"{folder}/empty",
        "APT::Architecture": arch,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    text = "".join(f'{key} "{value}";\n' for key, value in settings.items())
    return f'{text}#clear APT::Architectures;\nAPT::Architectures {{ "{arch}"; }};\n{acquire}'


def _acquire_settings() -> str:
    """The host's proxies and time-outs."""
    dump = run(["apt-config", "dump", "--no-empty", "Acquire"]).stdout.decode("utf-8", "replace")
    kept = [line for line in dump.splitlines() if re.match(r"Acquire::(https?|Retries)\b", line)]
    return "".join(f"{line}\n" for line in kept)


def _closure(apt: Path, request: Sequence[str]) -> tuple[str, ...]:
    """NAME=VERSION of the packages that apt would install on an empty system."""
    command = ["apt-get", "install", "--simulate", "-qq", "-y", *request]
    listing = run(command, env={"APT_CONFIG": str(apt)})
    return tuple(parse_simulation(listing.stdout.decode()))


def _refusal(error: CommandFailed, suite: str, request: Sequence[str]) -> UserError:
    output = error.completed.stdout + error.completed.stderr
    text = output.decode("utf-8", "replace")
    if match := re.search(r"[Uu]nable to locate package (\S+)", text):
        return UnknownPackage(match[1], suite)
    if match := re.search(r"Package '?([^' ]+)'? has no installation candidate", text):
        return UnknownPackage(match[1], suite)
    reason = _complaint(output) or "apt cannot resolve them"
    return UserError(f"packages {', '.join(request)}: {reason}")


def parse_simulation(text: str) -> Iterator[str]:
    """NAME=VERSION of each line `Inst NAME (VERSION ORIGIN [ARCH])` of `apt-get --simulate`."""
    for line in text.splitlines():
        if match := re.match(r"Inst (\S+) \((\S+) ", line):
            yield f"{match[1].split(':')[0]}={match[2]}"


def _show(apt: Path, names: Sequence[str]) -> str:
    command = ["apt-cache", "show", "--no-all-versions", *names]
    return run(command, env={"APT_CONFIG": str(apt)}).stdout.decode()


def parse_packages(text: str) -> Iterator[Package]:
    """The packages of stanzas as `apt-cache show` prints them."""
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^(\S+): (.*)$", stanza, re.M))
        if "Package" in fields:
            yield Package(
                name=fields["Package"],
                version=fields["Version"],
                arch=fields["Architecture"],
                path=fields["Filename"],
                size=int(fields["Size"]),
                sha256=fields["SHA256"],
            )
