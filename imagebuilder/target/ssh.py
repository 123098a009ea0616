"""Commands on the target through the host's OpenSSH client."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from imagebuilder.errors import BuildError, UserError
from imagebuilder.run import run
from imagebuilder.target.agent import Output

FAILED = 255
"""OpenSSH's own exit code; a command's is the same only while the client has nothing to say."""
PAUSE = 0.5
"""Seconds between two attempts while the target's server starts."""


@dataclass(frozen=True, slots=True)
class Ssh:
    """A user on a host, by default root on this one; all commands share one connection.

    `folder` takes its socket and the client's messages: a short path, since that of a socket has
    at most 107 bytes. The target made its host key at its first boot, so none is known.
    """

    port: int
    key: Path
    folder: Path
    host: str = "127.0.0.1"
    user: str = "root"

    def wait_ready(self, timeout: float) -> None:
        """Wait until the target lets us in; `BuildError` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.run("true", timeout)
            except BuildError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)
            else:
                return

    def run(self, command: str, timeout: float = 60.0) -> Output:
        """Run a shell command; `BuildError` when ssh fails or `timeout` seconds are over."""
        messages = self.folder / "ssh.log"
        messages.unlink(missing_ok=True)
        done = run([*self._words(messages), command], check=False, timeout=timeout)
        said = messages.read_text("utf-8", "replace").split("\n") if messages.exists() else []
        if done.exit_code == FAILED and any(said):
            raise BuildError(f"ssh: {next(filter(None, reversed(said))).strip()}")
        return Output(done.exit_code, done.stdout, done.stderr)

    def forward(self, port: int, there: str) -> None:
        """Lead a port of this host to an address as the target sees it; `BuildError` if refused."""
        words = [*self._words(self.folder / "ssh.log"), "-O", "forward"]
        done = run([*words, "-L", f"127.0.0.1:{port}:{there}"], check=False, timeout=30)
        if done.exit_code != 0:
            raise BuildError(f"ssh forwards nothing to {there}: {done.stderr.decode().strip()}")

    def close(self) -> None:
        """End the shared connection."""
        run([*self._words(self.folder / "ssh.log"), "-O", "exit"], check=False)

    def _words(self, messages: Path) -> list[str]:
        options = {
            "BatchMode": "yes", "LogLevel": "ERROR", "ConnectTimeout": "15",
            "IdentitiesOnly": "yes", "IdentityAgent": "none",
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null",
            "ControlMaster": "auto", "ControlPath": f"{self.folder}/ssh", "ControlPersist": "60",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-E", str(messages), "-i", str(self.key), *words,
                "-p", str(self.port), f"{self.user}@{self.host}"]  # fmt: skip


def find_key(authorized: Sequence[Path], given: Path | None) -> Path | None:
    """The private key to log in with: the one given, else beside an authorized key, else None.

    Raises `UserError` when one is given that no image lets in, or this host has no ssh.
    """
    if given is not None and not authorized:
        raise UserError(
            f"--ssh-key {given}: the image lets nobody in by ssh",
            hint="name the public key in the manifest: image.ssh.authorized_keys",
        )
    beside = (path.with_suffix("") for path in authorized if path.suffix == ".pub")
    key = given or next((path for path in beside if path.is_file()), None)
    if key is not None and shutil.which("ssh") is None:
        raise UserError(
            f"testing over ssh with {key} needs OpenSSH's program ssh",
            hint="apt-get install openssh-client, or move the private key away",
        )
    return None if key is None else key.absolute()
