"""Trust: thresholds count keys, versions only grow, spans end where they say, and an empty list admits nothing."""

from __future__ import annotations

import copy
import datetime as dt

import pytest

from holdfast.core import canonical, trust
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import build_key_document
from holdfast.core.statements import PAYLOAD_TYPE, pre_authentication_encoding
from holdfast.core.trust import Admission, Epoch, Revocation, parse_trust_chain, verify_trust
from holdfast.errors import MalformedError, RefusedError
from tests.helpers.network import FROM, ORIGIN, UNTIL, Network, at, ed25519_signer, p256_signer

NETWORK = Network()
OLD = tuple(ed25519_signer(f"old-root-{number}", "root") for number in range(3))
NEW = tuple(p256_signer(f"new-root-{number}", "root") for number in range(3))
SECOND = dt.timedelta(seconds=1)
DROP = object()


def roots(signers, threshold=2):
    keys = [{"algorithm": item.key.algorithm, "public": b64_encode(item.key.public)} for item in signers]
    return {"threshold": threshold, "keys": keys}


def versions(*signed):
    """Parsed versions from (number, root member, signers)."""
    pairs = [NETWORK.sign_trust(NETWORK.trust_version(number, root=root), by) for number, root, by in signed]
    return parse_trust_chain(trust.build_trust_chain(pairs))


def refusal(chain, **options):
    with pytest.raises(RefusedError) as refused:
        verify_trust(chain, **options)
    return refused.value.code


# Thresholds


def test_a_version_without_signatures_is_refused():
    pair = (NETWORK.trust_version(), [])
    assert refusal(parse_trust_chain(trust.build_trust_chain([pair]))) == "trust.threshold"


def test_one_key_that_signs_twice_counts_once():
    payload, signatures = NETWORK.sign_trust(NETWORK.trust_version(root=roots(OLD)), OLD[:1])
    chain = parse_trust_chain(trust.build_trust_chain([(payload, signatures * 3)]))
    assert refusal(chain) == "trust.threshold"


def test_a_key_that_signs_again_with_other_bytes_counts_once():
    payload = NETWORK.trust_version(root=roots(NEW))
    first = NETWORK.sign_trust(payload, NEW[:1])[1]
    second = NETWORK.sign_trust(payload, NEW[:1])[1]
    assert first != second  # ECDSA takes a new nonce each time
    assert refusal(parse_trust_chain(trust.build_trust_chain([(payload, first + second)]))) == "trust.threshold"


def test_a_bad_signature_before_a_good_one_takes_nothing_away():
    payload, signatures = NETWORK.sign_trust(NETWORK.trust_version(root=roots(OLD)), OLD[:2])
    bad = [(signatures[0][0], bytes(64)), ("00" * 32, b""), *signatures]
    assert verify_trust(parse_trust_chain(trust.build_trust_chain([(payload, bad)]))).version == 1


def test_a_signature_under_another_keys_name_does_not_count():
    payload, signatures = NETWORK.sign_trust(NETWORK.trust_version(root=roots(OLD)), OLD[:2])
    swapped = [(signatures[0][0], signatures[1][1]), (signatures[1][0], signatures[0][1])]
    assert refusal(parse_trust_chain(trust.build_trust_chain([(payload, swapped)]))) == "trust.threshold"


def test_a_root_that_signed_it_as_a_statement_did_not_sign_trust():
    payload = NETWORK.trust_version(root=roots(OLD))
    message = pre_authentication_encoding(payload, PAYLOAD_TYPE)
    pair = (payload, [(item.key.key_id, item.sign(message)) for item in OLD])
    assert refusal(parse_trust_chain(trust.build_trust_chain([pair]))) == "trust.threshold"


@pytest.mark.parametrize(
    "by",
    [OLD, NEW, (*OLD[:1], *NEW), (*OLD, *NEW[:1]), (*OLD[:1], *NEW[:1])],
    ids=["predecessor only", "itself only", "one of the old", "one of the new", "one of each"],
)
def test_a_new_root_is_signed_by_the_old_threshold_and_its_own(by):
    assert refusal(versions((1, roots(OLD), OLD), (2, roots(NEW), by))) == "trust.threshold"


def test_a_rotation_with_both_thresholds_passes():
    found = verify_trust(versions((1, roots(OLD), OLD[1:]), (2, roots(NEW), (*OLD[:2], *NEW[1:]))))
    assert (found.version, found.current.root_keys) == (2, tuple(_key(item) for item in NEW))


def _key(signer):
    return trust.PublicKey("root", signer.key.algorithm, signer.key.public)


def test_signatures_of_shared_keys_count_for_both_sides():
    shared = (OLD[0], OLD[1], NEW[0])
    assert verify_trust(versions((1, roots(OLD), OLD), (2, roots(shared), OLD[:2]))).version == 2


def test_the_version_before_the_last_speaks_for_itself_too():
    chain = versions((1, roots(OLD), OLD), (2, roots(NEW), OLD), (3, roots(NEW), NEW))
    assert refusal(chain) == "trust.threshold"


def test_lowering_the_threshold_takes_the_old_one():
    assert refusal(versions((1, roots(OLD, 3), OLD), (2, roots(OLD, 1), OLD[:2]))) == "trust.threshold"
    assert verify_trust(versions((1, roots(OLD, 3), OLD), (2, roots(OLD, 1), OLD), (3, roots(OLD, 1), OLD[:1])))


# Numbers, rollback, fork, pin


@pytest.mark.parametrize("numbers", [(2,), (1, 1), (1, 3), (2, 1)])
def test_versions_are_numbered_from_one_without_a_gap(numbers):
    assert refusal(versions(*((number, roots(OLD), OLD) for number in numbers))) == "trust.version"


def test_a_file_that_ends_before_what_was_accepted_is_a_rollback():
    chain = versions((1, roots(OLD), OLD), (2, roots(OLD), OLD))
    newest = verify_trust(chain)
    assert refusal(chain[:1], accepted=(2, newest.digest)) == "trust.rollback"
    assert verify_trust(chain, accepted=(2, newest.digest)).version == 2
    assert verify_trust(chain, accepted=(1, chain[0].digest)).version == 2


def test_another_version_of_the_same_number_is_a_fork():
    ours = verify_trust(versions((1, roots(OLD), OLD), (2, roots(OLD), OLD)))
    forked = versions((1, roots(OLD), OLD), (2, roots(OLD, 1), OLD), (3, roots(OLD), OLD))
    assert refusal(forked, accepted=(2, ours.digest)) == "trust.fork"


def test_the_pin_is_the_first_versions_digest():
    chain = versions((1, roots(OLD), OLD), (2, roots(NEW), (*OLD, *NEW)))
    assert refusal(chain, pin=chain[1].digest) == "trust.pin"
    assert refusal(chain, pin="") == "trust.pin"
    pinned, first_use = verify_trust(chain, pin=chain[0].digest), verify_trust(chain)
    assert (pinned.pin, first_use.pin) == ("digest", "first-use")
    assert pinned.first_digest == chain[0].digest == sha256_hex(chain[0].payload)
    assert pinned.digest == chain[1].digest


# Spans


def admission(*, suspect=None):
    revoked = suspect and Revocation(at(1000), suspect, "stolen")
    return Admission(NETWORK.gateway_document, at(0), at(100), revoked)


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (at(0) - dt.timedelta(microseconds=1), at(1), "key-not-yet-valid"),
        (at(0), at(0), None),
        (at(0), at(100) - dt.timedelta(microseconds=1), None),
        (at(0), at(100), "key-expired"),
        (at(100), at(100), "key-expired"),
        (at(-1), at(101), "key-not-yet-valid"),
    ],
)
def test_a_span_is_closed_at_its_start_and_open_at_its_end(start, end, why):
    assert admission().refusal(start, end) == why


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (at(50) - dt.timedelta(microseconds=1), None),
        (at(50), "key-revoked"),
        (at(51), "key-revoked"),
        (at(100), "key-expired"),
    ],
)
def test_a_revoked_key_holds_until_it_became_suspect(end, why):
    assert admission(suspect=at(50)).refusal(at(10), end) == why


def test_when_a_revocation_was_made_does_not_matter():
    assert admission(suspect=at(99)).refusal(at(10), at(98)) is None


@pytest.mark.parametrize("until", [FROM, FROM - SECOND])
def test_a_span_that_ends_before_it_starts_is_refused(until):
    node = json_nodes()[0] | {"valid_until": time_encode(until)}
    assert malformed(nodes=[node]) == "trust.span"


# Looking things up


def epoch(number, first_round, start=0, end=1000, origin=ORIGIN, stakes=None):
    return Epoch(origin, number, first_round, stakes or {"a": 1}, at(start), at(end))


def with_epochs(*epochs):
    found = NETWORK.trust()
    object.__setattr__(found.current, "epochs", epochs)
    return found


def test_a_round_belongs_to_the_newest_epoch_that_began_with_it_or_before():
    found = with_epochs(epoch(1, 5), epoch(2, 9), epoch(9, 1, origin="other"))
    numbers = [found.epoch(ORIGIN, number) for number in (4, 5, 8, 9, 10**9)]
    assert [item and item.number for item in numbers] == [None, 1, 1, 2, 2]
    assert found.epoch("nobody", 7) is None


def test_a_moment_belongs_to_the_newest_epoch_whose_span_holds_it():
    found = with_epochs(epoch(1, 1, 0, 20), epoch(2, 5, 10, 30))
    numbers = [found.epoch_at(ORIGIN, at(moment)) for moment in (-1, 0, 9.999, 10, 20, 29.999, 30)]
    assert [item and item.number for item in numbers] == [None, 1, 1, 2, 2, 2, None]


@pytest.mark.parametrize(
    ("nodes", "holds"),
    [([], False), ("ab", False), ("abc", True), ("aaa", False), ("abx", False), (["a", "b", "c", "x"], True)],
)
def test_a_quorum_is_more_than_two_thirds_of_distinct_stake(nodes, holds):
    assert epoch(1, 1, stakes={"a": 1, "b": 1, "c": 1}).is_quorum(list(nodes)) is holds


def test_an_epoch_without_stake_has_no_quorum():
    found = Epoch(ORIGIN, 1, 1, {}, at(0), at(1))
    assert not found.is_quorum(["a"])


def test_an_empty_trust_admits_nothing():
    empty = {name: [] for name in ("nodes", "logs", "epochs", "chains", "enclave_roots", "measurements")}
    found = NETWORK.trust(**empty)
    assert found.admission(NETWORK.gateway_document.digest) is None
    assert (found.log(ORIGIN), found.chain(ORIGIN), found.epoch(ORIGIN, 1), found.epoch_at(ORIGIN, at(0))) == (
        None,
    ) * 4


def test_what_is_admitted_is_found_by_its_digest_and_origin():
    found = NETWORK.trust()
    assert found.development
    assert found.admission(NETWORK.gateway_document.digest).key_document == NETWORK.gateway_document
    assert found.log(ORIGIN).node == NETWORK.log_document.digest
    assert found.chain(ORIGIN).finality_depth == 2
    assert found.epoch(ORIGIN, 1).total == 400


# Shapes


def current():
    return canonical.decode(NETWORK.trust_version())


def json_nodes():
    return current()["nodes"]


def malformed(**changes):
    envelope = {
        "payload": b64_encode(NETWORK.trust_version(**changes)),
        "payloadType": trust.TRUST_PAYLOAD_TYPE,
        "signatures": [],
    }
    with pytest.raises(MalformedError) as refused:
        trust.parse_trust_version(envelope)
    return refused.value.code


def changed(path, new):
    value = copy.deepcopy(current())
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    if new is DROP:
        del inner[path[-1]]
    else:
        inner[path[-1]] = new
    return {path[0]: value[path[0]]} if new is not DROP or len(path) > 1 else value


MEASURED = {
    "kind": "aws-nitro",
    "role": "gateway",
    "value": {"pcr0": "00" * 48},
    "valid_from": time_encode(FROM),
    "valid_until": time_encode(UNTIL),
    "debug": False,
}
SHARED = build_key_document("gateway", ["gateway"], "again", [NETWORK.gateway.key])


@pytest.mark.parametrize(
    ("path", "new", "code"),
    [
        (["type"], "urn:holdfast:trust:v2", "trust.fields"),
        (["more"], [], "trust.fields"),
        (["version"], 0, "trust.version"),
        (["version"], True, "trust.version"),
        (["version"], "1", "trust.version"),
        (["issued_at"], None, "encoding.time"),
        (["expires_at"], "2026-01-01", "encoding.time"),
        (["development"], 1, "trust.fields"),
        (["root"], [], "trust.root"),
        (["root", "keys"], {}, "trust.root"),
        (["root", "threshold"], 0, "trust.root"),
        (["root", "threshold"], 3, "trust.root"),
        (["root", "threshold"], True, "trust.root"),
        (["root", "keys", 0, "algorithm"], "secp256k1", "trust.root"),
        (["root", "keys", 0, "algorithm"], ["ed25519"], "trust.root"),
        (["root", "keys", 0, "public"], "AA==", "encoding.base64"),
        (["root", "keys", 0, "more"], 1, "trust.root"),
        (["nodes"], {}, "trust.node"),
        (["nodes", 0], [], "trust.node"),
        (["nodes", 0, "revoked"], DROP, "trust.node"),
        (["nodes", 0, "revoked"], {}, "trust.revocation"),
        (
            ["nodes", 0, "revoked"],
            {"at": time_encode(FROM), "suspect_since": time_encode(FROM), "reason": "A thief"},
            "trust.revocation",
        ),
        (["nodes", 0, "key_document"], b64_encode(b"{}"), "keys.fields"),
        (["logs", 0, "node"], "log", "encoding.hex"),
        (["logs", 0, "origin"], "", "trust.log"),
        (["logs", 0, "origin"], "a b", "trust.log"),
        (["logs", 0, "origin"], "a+b", "trust.log"),
        (["logs", 0, "origin"], "a\nb", "trust.log"),
        (["logs", 0, "origin"], "x" * 256, "trust.log"),
        (["logs", 0, "origin"], None, "trust.log"),
        (["epochs", 0, "origin"], "é", "trust.epoch"),
        (["epochs", 0, "number"], -1, "trust.epoch"),
        (["epochs", 0, "first_round"], 0, "trust.epoch"),
        (["epochs", 0, "stakes", 0, "stake"], 0, "trust.epoch"),
        (["epochs", 0, "stakes", 0, "stake"], True, "trust.epoch"),
        (["epochs", 0, "stakes", 0, "node"], "a", "encoding.hex"),
        (["epochs", 0, "stakes"], {}, "trust.epoch"),
        (["chains", 0, "origin"], [], "trust.chain"),
        (["chains", 0, "chain_id"], 0, "trust.chain"),
        (["chains", 0, "contract"], "5a" * 20, "trust.chain"),
        (["chains", 0, "contract"], "0x" + "5A" * 20, "encoding.hex"),
        (["chains", 0, "contract"], None, "trust.chain"),
        (["chains", 0, "finality_depth"], -1, "trust.chain"),
        (["chains", 0, "development"], "no", "trust.chain"),
        (["enclave_roots", 0, "kind"], "sgx", "trust.enclave_root"),
        (["enclave_roots", 0, "kind"], ["insecure-dev"], "trust.enclave_root"),
        (["enclave_roots", 0, "development"], False, "trust.enclave_root"),
        (["enclave_roots", 0, "development"], None, "trust.enclave_root"),
        (["enclave_roots", 0, "certificate"], None, "encoding.base64"),
        (["measurements"], [MEASURED | {"kind": "tpm"}], "trust.measurement"),
        (["measurements"], [MEASURED | {"value": "00"}], "trust.measurement"),
        (["measurements"], [MEASURED | {"value": {}}], "trust.measurement"),
        (["measurements"], [MEASURED | {"value": {"pcr0": "00"}}], "trust.measurement"),
        (["measurements"], [MEASURED | {"role": "king"}], "trust.measurement"),
        (["measurements"], [MEASURED | {"role": ["gateway"]}], "trust.measurement"),
        (["measurements"], [MEASURED | {"debug": 0}], "trust.measurement"),
        (["measurements"], [MEASURED | {"valid_until": time_encode(FROM)}], "trust.span"),
        (["measurements"], [MEASURED | {"more": 1}], "trust.measurement"),
    ],
)
def test_a_trust_version_that_is_not_one_is_refused(path, new, code):
    assert malformed(**changed(path, new)) == code


@pytest.mark.parametrize(
    ("member", "code"),
    [("nodes", "trust.node"), ("logs", "trust.log"), ("chains", "trust.chain"), ("epochs", "trust.epoch")],
)
def test_nothing_is_admitted_twice(member, code):
    assert malformed(**{member: current()[member][:1] * 2}) == code


def test_root_keys_and_stakes_are_distinct():
    keys = current()["root"]["keys"]
    assert malformed(root={"threshold": 1, "keys": keys[:1] * 2}) == "trust.root"
    first = current()["epochs"][0]
    assert malformed(epochs=[first | {"stakes": first["stakes"][:1] * 2}]) == "trust.epoch"


@pytest.mark.parametrize("second", [{"number": 2}, {"number": 2, "first_round": 1}, {"number": 0, "first_round": 7}])
def test_epochs_ascend_with_their_first_round(second):
    first = current()["epochs"][0] | {"first_round": 3}
    later = first | second
    assert malformed(epochs=[first, later]) == malformed(epochs=[later, first]) == "trust.epoch"


def test_epochs_of_two_logs_and_many_epochs_of_one_pass_quickly():
    first = current()["epochs"][0] | {"stakes": []}
    many = [first | {"number": number, "first_round": number + 1} for number in range(3_000)]
    other = first | {"origin": "another.log/1", "number": 7, "first_round": 2}
    assert len(NETWORK.trust(epochs=[other, *many[::-1]]).current.epochs) == 3_001


def test_measurements_of_a_known_role_pass():
    assert NETWORK.trust(measurements=[MEASURED]).current.measurements == (MEASURED,)


@pytest.mark.parametrize(
    ("path", "new", "code"),
    [
        (["payloadType"], PAYLOAD_TYPE, "trust.envelope"),
        (["more"], 1, "trust.envelope"),
        (["signatures"], {}, "trust.envelope"),
        (["signatures"], [{"keyid": "00" * 32}], "trust.envelope"),
        (["signatures"], [{"keyid": "00", "sig": ""}], "encoding.hex"),
        (["signatures"], [{"keyid": "00" * 32, "sig": None}], "encoding.base64"),
        (["payload"], None, "encoding.base64"),
        (["payload"], b64_encode(NETWORK.trust_version() + b" "), "json.spelling"),
    ],
)
def test_the_envelope_of_a_version_has_one_shape(path, new, code):
    envelope = canonical.decode(NETWORK.trust_file())["versions"][0] | {path[0]: new}
    with pytest.raises(MalformedError) as refused:
        trust.parse_trust_version(envelope)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"[]", "json.object"),
        (b"{}", "trust.fields"),
        (b'{"type":"urn:holdfast:trust-chain:v1","versions":[]}', "trust.fields"),
        (b'{"type":"urn:holdfast:trust-chain:v1","versions":{}}', "trust.fields"),
        (b'{"type":"urn:holdfast:trust-chain:v2","versions":[1]}', "trust.fields"),
        (b'{"type":"urn:holdfast:trust-chain:v1","versions":[1]}', "trust.envelope"),
    ],
)
def test_a_trust_file_that_is_not_one_is_refused(raw, code):
    with pytest.raises(MalformedError) as refused:
        parse_trust_chain(raw)
    assert refused.value.code == code


def test_a_trust_file_that_is_too_large_is_refused_unread(monkeypatch):
    monkeypatch.setattr(trust, "MAX_TRUST_BYTES", 10)
    with pytest.raises(MalformedError) as refused:
        parse_trust_chain(b"x" * 11)
    assert refused.value.code == "trust.size"


def test_the_same_keys_under_another_document_are_another_node():
    assert SHARED.digest != NETWORK.gateway_document.digest
    assert NETWORK.trust().admission(SHARED.digest) is None
