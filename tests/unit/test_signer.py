import pytest

from imagebuilder.bundle.errors import BundleError
from imagebuilder.bundle.signer import FileKey, check_signature, signature_line

# RFC 8032, section 7.1, test 2
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")


def test_the_public_key_is_the_rfcs():
    assert FileKey(SEED).public_key() == PUBLIC


def test_every_flipped_bit_of_the_line_is_found():
    line = signature_line(FileKey(SEED), b"\x72")
    check_signature(line, b"\x72", PUBLIC)
    for bit in range(len(line) * 8):
        changed = bytearray(line)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BundleError, match="bad-signature"):
            check_signature(bytes(changed), b"\x72", PUBLIC)


def test_another_manifest_is_found():
    line = signature_line(FileKey(SEED), b"\x72")
    with pytest.raises(BundleError, match="bad-signature"):
        check_signature(line, b"\x73", PUBLIC)
