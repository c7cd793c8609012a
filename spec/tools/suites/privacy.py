"""lanes: what a route's path and the gateway's attestation come to in the privacy lane (lanes.md §3(5))."""

from __future__ import annotations

from typing import Any

from reference import world
from reference.cases import Writer
from reference.hardware import BEGIN, END, binding
from reference.signing import Node
from reference.text import b64, exact_text, named, sha, when
from reference.world import AT, START, Story, Turn, admit, trust_value, usual_trust

from .attestations import LAB_ROOT, OTHER_NITRO, reference
from .bundles import GOOD, REFUTED, Bundles
from .enclaves import ADMITTED, ROOTS, SIMULATED, attested, snp, without
from .identities import CONFIGURATION, PATH, PLAIN, SEALED, TLS, configuration, keys, sealed_turn

TRUST = "trust-with-sealed-enclaves.json"
PROVEN, UNKNOWN, DEVELOPMENT = ["proven", "hardware"], ["unknown", None], ["unknown", "development"]
DIGEST = sha(keys(CONFIGURATION))
BOUND = binding(SEALED.id, TLS, DIGEST)
"""A binding record of the whole: key document, TLS key and OHTTP keys."""


def only(aead: str) -> bytes:
    """A configuration that offers one suite."""
    return configuration("ohttp/sealed")[:35] + bytes.fromhex("00040001" + aead)


CHACHA = only("0003")
SPARE = Node("spare.example", ["gateway"], ["statement"], members={"ohttp": [b64(CHACHA)]})
"""A gateway that offers ChaCha20-Poly1305 alone."""


def trust(**change: Any) -> dict[str, Any]:
    """The usual trust with gateways of the private path and admitted enclaves."""
    nodes = [*trust_value(2)["nodes"], *(admit(node) for node in (SEALED, PLAIN, SPARE))]
    return usual_trust(nodes=nodes, **{"enclave_roots": ROOTS, "measurements": ADMITTED, **change})


def machine(record: bytes = BOUND, **change: Any) -> tuple[str, bytes]:
    """A report of the gateway's machine, with its binding record."""
    return snp(record, **change)


def allow_debug(raw: bytearray) -> None:
    """Bit 19 of the guest's policy."""
    raw[10] |= 1 << 3


def other_measurement(raw: bytearray) -> None:
    """Other software."""
    raw[0x90:0xC0] = named("snp/other", 48)


def write(out: Writer) -> None:
    """What is proven, and everything that only looks like it."""
    out.shared(TRUST, exact_text(trust()) + "\n")
    b = Bundles(out)

    def case(
        name: str,
        why: str,
        story: Story,
        privacy: list[Any],
        code: str | None = None,
        *,
        enclave: list[Any] | None = None,
        **more: Any,
    ) -> None:
        lanes: dict[str, Any] = {"privacy": privacy, **({"enclave": enclave} if enclave else {})}
        if code is None and "lanes" not in more:
            lanes = {**GOOD, "enclave": enclave or GOOD["enclave"], "privacy": privacy}
        given: dict[str, Any] = {"trust": TRUST, "suite": "lanes", "spec": "lanes.md §3(5)", "at": AT, **more}
        b.case(f"privacy-{name}", why, story, given.pop("lanes", lanes), code, **given)

    def story(turn: Turn | None = None, *given: tuple[str, bytes], node: Node = SEALED, **more: Any) -> Story:
        return attested(*given, node=node.id, story=Story(turn or sealed_turn(), **more))

    good: dict[str, Any] = {"enclave": ["proven", "hardware"]}
    case("sealed", "Sealed to a key that hardware binds to the gateway.", story(None, machine()), PROVEN, **good)
    case(
        "sealed-json",
        "The profile of the JSON body alone, under the other suite.",
        story(sealed_turn({**PATH, "suite": "chacha20-poly1305", "profile": "json"}), machine()),
        PROVEN,
        **good,
    )
    case(
        "by-an-unnamed-relay",
        "Which relay it was the gateway does not know: sealed it was.",
        story(sealed_turn({**PATH, "relay": None}), machine()),
        PROVEN,
        **good,
    )
    case(
        "attested-again",
        "An older attestation that binds no OHTTP key beside one that does.",
        story(None, machine(binding(SEALED.id)), machine()),
        PROVEN,
        **good,
    )

    case(
        "direct",
        "The same gateway, the same attestation, and a request that came directly: nothing was sealed.",
        story(Turn("direct", node=SEALED), machine()),
        UNKNOWN,
        **good,
    )
    case("direct-unattested", "An ordinary turn.", story(Turn("plain", node=PLAIN)), UNKNOWN)
    case("no-attestation", "Sealed by the gateway's account, to a key that nobody vouches for.", story(), UNKNOWN)
    case(
        "unbound-keys",
        "Genuine, and it binds no OHTTP key: where that key lives is not said.",
        story(None, machine(binding(SEALED.id, TLS))),
        UNKNOWN,
        **good,
    )
    case(
        "simulated",
        "A machine under a root that trust calls development.",
        story(None, machine()),
        DEVELOPMENT,
        enclave=DEVELOPMENT,
        trust=trust(enclave_roots=[{**root, "development": True} for root in ROOTS]),
    )
    given = story(None, ("aws-nitro", SIMULATED.document(user_data=BOUND)))
    real = [{"kind": "aws-nitro", "certificate": b64(SIMULATED.root), "development": False}]
    case(
        "simulated-and-called-real",
        "A simulated enclave that binds everything, under a root that trust admits and calls real.",
        given,
        DEVELOPMENT,
        enclave=DEVELOPMENT,
        trust=trust(enclave_roots=real),
    )
    lab = ("insecure-dev", LAB_ROOT.sign(b"urn:holdfast:insecure-dev:v1\x00" + bytes.fromhex(SEALED.id)))
    case("software-key", "A software key.", story(None, lab), DEVELOPMENT, enclave=DEVELOPMENT)
    case(
        "software-beside-hardware",
        "A throw-away root vouches for the same gateway.",
        story(None, machine(), lab),
        DEVELOPMENT,
        enclave=DEVELOPMENT,
    )
    value = {"measurement": named("snp/measurement", 48).hex()}
    case(
        "debug",
        "A debug enclave that trust admits: its host reads along.",
        story(None, machine(change=allow_debug)),
        DEVELOPMENT,
        enclave=DEVELOPMENT,
        trust=trust(measurements=[reference("amd-sev-snp", value, debug=True)]),
    )
    case(
        "run-out",
        "The attestation had run out before the turn.",
        story(None, machine(leaf={"end": when(START, plus_ms=-60_000)})),
        UNKNOWN,
        enclave=["expired", None],
    )
    undated = without(story(None, machine(leaf={"start": BEGIN, "end": END})), "checkpoint", "finality")
    case(
        "undated",
        "No quorum has dated the statements within the bound.",
        undated,
        UNKNOWN,
        lanes={"privacy": UNKNOWN, "enclave": ["pending", None]},
        at="2026-01-01T01:00:00.000Z",
    )
    case(
        "gateway-not-admitted",
        "Trust does not know the gateway: whose key that is nobody can say.",
        story(None, machine()),
        UNKNOWN,
        "statement.unknown-key",
        trust=usual_trust(enclave_roots=ROOTS, measurements=ADMITTED),
        bug="WRONG_ATTESTER",
    )
    case(
        "trust-ran-out",
        "Trust has run out since: what stood on it does not stand.",
        story(None, machine()),
        ["expired", "hardware"],
        lanes={"privacy": ["expired", "hardware"], "enclave": ["expired", "hardware"]},
        at="2027-02-01T00:00:00.000Z",
    )
    case(
        "before-it-was-made",
        "Asked about a time before: nobody had made the route.",
        story(None, machine()),
        ["pending", None],
        lanes={"privacy": ["pending", None]},
        at=when(START, plus_ms=-60_000),
    )

    forged: dict[str, Any] = {"bug": "SUBSTITUTION"}
    other = sha(configuration("ohttp/for one caller")).hex()
    case(
        "key-for-one-caller",
        "A key that the key document does not hold: shown to one caller, or to nobody.",
        story(sealed_turn({**PATH, "config": other}), machine()),
        REFUTED,
        "privacy.config",
        **forged,
    )
    case(
        "key-list",
        "The digest of the list is not the digest of the one configuration.",
        story(sealed_turn({**PATH, "config": DIGEST.hex()}), machine()),
        REFUTED,
        "privacy.config",
        **forged,
    )
    case(
        "unattested-key-for-one-caller",
        "The same without an attestation: it is the gateway's own key document that contradicts it.",
        story(sealed_turn({**PATH, "config": other})),
        REFUTED,
        "privacy.config",
        **forged,
    )
    case(
        "gateway-without-keys",
        "A gateway that has no private path says that a request came sealed.",
        story(sealed_turn(node=PLAIN), node=PLAIN),
        REFUTED,
        "privacy.config",
        **forged,
    )
    narrow = {**PATH, "config": sha(CHACHA).hex()}
    case(
        "suite-not-offered",
        "A suite that the key does not offer: no client could have sealed so.",
        story(sealed_turn(narrow, node=SPARE), node=SPARE),
        REFUTED,
        "privacy.suite",
        bug="DOWNGRADE",
    )
    case(
        "other-keys-bound",
        "The enclave binds other OHTTP keys than the key document names: it cannot open what was sealed to those.",
        story(None, machine(binding(SEALED.id, TLS, sha(keys(configuration("other")))))),
        REFUTED,
        "privacy.bound",
        **forged,
    )
    case(
        "one-configuration-bound",
        "What is bound is the list of all keys, not one of them.",
        story(None, machine(binding(SEALED.id, TLS, sha(CONFIGURATION)))),
        REFUTED,
        "privacy.bound",
        **forged,
    )
    case(
        "enclave-refuted",
        "An attestation that does not hold proves nothing of any key.",
        story(None, machine(), ("aws-nitro", OTHER_NITRO.document(user_data=BOUND))),
        UNKNOWN,
        "attestation.root",
        enclave=REFUTED,
        bug="FORGED_EVIDENCE",
    )
    case(
        "other-measurement",
        "Software that nobody admitted holds the key: it may hand out whatever it opens.",
        story(None, machine(change=other_measurement)),
        UNKNOWN,
        "attestation.measurement",
        enclave=REFUTED,
        bug="UNMEASURED_ACCEPTED",
    )
    case(
        "forged-route",
        "A stranger says in the gateway's name that it was sealed.",
        story(sealed_turn(route_signer=world.STRANGER.statement_key), machine()),
        UNKNOWN,
        "statement.signature",
        bug="WRONG_ATTESTER",
    )
