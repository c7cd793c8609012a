"""Sealed credentials: one key, one name, no byte changed."""

import pytest

from holdfast.adapters.wraps_hpke import load_or_create_recipient, seal_credential
from holdfast.core.credentials import MAX_CREDENTIAL_BYTES
from holdfast.errors import HoldfastError


def code_of(call, *arguments):
    with pytest.raises(HoldfastError) as caught:
        call(*arguments)
    return caught.value.code


def test_a_credential_opens_for_its_node_under_its_name_only(tmp_path):
    mine, other = (load_or_create_recipient(tmp_path / f"{name}.pem") for name in ("a", "b"))
    sealed = seal_credential(mine.key.public, "rates-key", b"hunter2")
    assert b"hunter2" not in sealed
    assert mine.open_credential("rates-key", sealed) == b"hunter2"
    assert code_of(other.open_credential, "rates-key", sealed) == "credential.open"
    assert code_of(mine.open_credential, "other-key", sealed) == "credential.open"
    for place in (0, 40, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert code_of(mine.open_credential, "rates-key", bytes(changed)) == "credential.open"


@pytest.mark.parametrize("size", [0, MAX_CREDENTIAL_BYTES + 1])
def test_a_credential_of_no_size_is_not_sealed(tmp_path, size):
    mine = load_or_create_recipient(tmp_path / "a.pem")
    assert code_of(seal_credential, mine.key.public, "rates-key", bytes(size)) == "credential.size"
    assert code_of(mine.open_credential, "rates-key", bytes(48)) == "credential.size"
