"""The one error shape; a tree that tells bad bytes, failed checks, a silent world and a caller's mistake apart."""

from __future__ import annotations

import pytest

from holdfast import errors
from holdfast.errors import (
    ConflictError,
    HoldfastError,
    MalformedError,
    RefusedError,
    UnavailableError,
    UndecidedError,
    UsageError,
)

KINDS = {
    HoldfastError: ("error", 500),
    MalformedError: ("malformed", 400),
    RefusedError: ("refused", 403),
    ConflictError: ("conflict", 409),
    UndecidedError: ("undecided", 422),
    UnavailableError: ("unavailable", 503),
    UsageError: ("usage", 400),
}


def test_the_tree_is_closed():
    found = {item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, Exception)}
    found -= {errors.DevelopmentModeWarning}
    assert found == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_one_shape_and_a_status(kind):
    error = kind("a.code", "What happened.", hint="Do this.", param="field")
    word, status = KINDS[kind]
    assert error.to_json() == {
        "error": {"message": "What happened.", "type": word, "param": "field", "code": "a.code", "hint": "Do this."}
    }
    assert error.status == status
    assert str(error) == "a.code: What happened. (Do this.)"


def test_what_nobody_gave_is_empty():
    error = RefusedError("a.code", "No.")
    assert (error.hint, error.param, str(error)) == ("", None, "a.code: No.")
    assert error.to_json()["error"]["param"] is None


def test_a_raiser_may_name_another_status():
    assert RefusedError("auth.missing", "A key is needed.", status=401).status == 401


def test_only_a_conflict_is_a_refusal_of_another_kind():
    assert issubclass(ConflictError, RefusedError)
    assert not issubclass(UndecidedError, RefusedError)
    assert not issubclass(MalformedError, RefusedError)
