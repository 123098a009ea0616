"""Golden files, which `--update-golden` writes anew, and keys to sign with."""

from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

GOLDEN = Path(__file__).parent / "golden"

# A busy host takes its time; 200 ms for an example are not what a test is about.
hypothesis.settings.register_profile("any host", deadline=None)
hypothesis.settings.load_profile("any host")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="Write the golden files anew.")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare text with a golden file."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"no golden file {name}; run with --update-golden"
        assert text == path.read_text("utf-8")

    return check


@pytest.fixture
def signing_key(tmp_path: Path) -> Path:
    """A new private key in PEM; its public key lies beside it, as `key.pub`."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private
