"""x402: payments.md §1 to §5; OpenGradient's data settlement: opengradient.md §11."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from reference import payments
from reference.cases import Writer
from reference.signing import Secp256k1
from reference.text import exact_text, named

NOW = 1_790_000_000
PAYER, OTHER, FACILITATOR = Secp256k1("payer"), Secp256k1("payer/other"), Secp256k1("facilitator")
PAYEE = "0x" + "ee" * 20
TOKEN = "0x" + "70" * 20
DOMAIN = {"name": "Test Token", "version": "1"}
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def asked(scheme: str = "exact", **change: Any) -> dict[str, Any]:
    """Requirements."""
    return {
        "scheme": scheme,
        "network": "eip155:31337",
        "asset": TOKEN,
        "amount": "1000",
        "payTo": PAYEE,
        "maxTimeoutSeconds": 600,
        "extra": dict(DOMAIN),
        **change,
    }


def transfer(**change: Any) -> dict[str, Any]:
    """What an EIP-3009 payer signs."""
    return {
        "from": PAYER.address,
        "to": PAYEE,
        "value": "1000",
        "validAfter": "0",
        "validBefore": str(NOW + 600),
        "nonce": "0x" + named("payments/nonce").hex(),
        **change,
    }


def permit(scheme: str, **change: Any) -> dict[str, Any]:
    """What a Permit2 payer signs."""
    witness = {"to": PAYEE, "validAfter": str(NOW - 600)}
    if scheme == "upto":
        witness = {"to": PAYEE, "facilitator": FACILITATOR.address, "validAfter": str(NOW - 600)}
    return {
        "from": PAYER.address,
        "permitted": {"token": TOKEN, "amount": "1000"},
        "spender": payments.UPTO_PROXY if scheme == "upto" else payments.EXACT_PROXY,
        "nonce": str(int.from_bytes(named("payments/permit2 nonce"), "big")),
        "deadline": str(NOW + 600),
        "witness": witness,
        **change,
    }


def paid(
    authorization: dict[str, Any], requirements: dict[str, Any], key: Secp256k1 = PAYER, **more: Any
) -> dict[str, Any]:
    """A payload over requirements."""
    if "permitted" in authorization:
        name, message = "permit2Authorization", payments.permit_digest(authorization, requirements)
    else:
        name, message = "authorization", payments.transfer_digest(authorization, requirements)
    inner = {name: authorization, "signature": payments.sign(key, message)}
    return {"x402Version": 2, "payload": inner, "accepted": requirements, **more}


def write(out: Writer) -> None:
    """Write the suite."""
    forms(out)
    answers(out)
    transfers(out)
    permits(out)
    settlements(out)


def forms(out: Writer) -> None:
    """§1, §2."""
    good = paid(transfer(), asked())

    def case(name: str, why: str, content: Any, code: str | None = None, kind: str = "payload", **more: Any) -> None:
        out.case(
            f"payments/parse-{name}",
            why,
            spec="payments.md §2",
            run=["parse-payment", kind, "object.json" if ":" not in kind else "header"],
            expect="malformed" if code else "accept",
            code=code,
            result={"object": more.pop("result")} if "result" in more else None,
            files={"object.json" if ":" not in kind else "header": content},
            **more,
        )

    def changed(path: str, value: Any, base: Any = good) -> Any:
        copied = copy.deepcopy(base)
        place = copied
        *steps, last = path.split(".")
        for step in steps:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
        return copied

    case("payload", "A payment by EIP-3009.", good, result=good)
    case(
        "payload-upto",
        "A payment over Permit2 up to an amount, with what stands beside it.",
        upto := paid(permit("upto"), asked("upto"), resource={"url": "https://x.test/a"}, extensions={"a": {"b": 1}}),
        result=upto,
    )
    mixed = changed("payload.authorization.from", "0x" + PAYER.address[2:].upper())
    case("payload-letters", "Hex of either case is read, and written in lower case.", mixed, result=good)
    case(
        "payload-more-members",
        "Members that x402 may gain later are ignored where nothing is signed.",
        {**good, "memo": "later", "resource": None, "accepted": {**asked(), "memo": 1}},
        result=good,
    )
    text = base64.b64encode(json.dumps(good).encode()).decode()
    case("header", "The same as a header value.", text, kind="payload:header", result=good)
    difference = {"bug": "PARSER_DIFFERENCE"}
    case(
        "header-unpadded",
        "A header without its padding.",
        text.rstrip("=") if text.endswith("=") else text[:-1],
        "encoding.base64",
        "payload:header",
        **difference,
    )
    url_safe = base64.urlsafe_b64encode(json.dumps(changed("accepted.extra.name", "ÿÿ>>??")).encode()).decode()
    case(
        "header-url-alphabet",
        "The other alphabet of base64.",
        url_safe,
        "encoding.base64",
        "payload:header",
        **difference,
    )
    case("header-not-json", "Base64 of something else.", "bm8=", "json.syntax", "payload:header", **difference)
    case("header-list", "A list is no payment.", "W10=", "json.object", "payload:header", **difference)
    case(
        "header-too-long", "More than 24,576 characters.", "A" * 24_580, "x402.header", "payload:header", bug="RESOURCE"
    )
    twice = exact_text(good).replace('"scheme":"exact"', '"scheme":"exact","scheme":"upto"', 1)
    case("scheme-twice", "Two readers may take two schemes from one object.", twice, "json.duplicate_key", **difference)
    for name, why, path, value, code in (
        ("version-1", "Version 1 is another protocol.", "x402Version", 1, "x402.version"),
        ("version-text", "The version is a number.", "x402Version", "2", "x402.version"),
        ("version-true", "True is no number, though some languages think so.", "x402Version", True, "x402.version"),
        ("version-missing", "There is a version.", "x402Version", ..., "x402.version"),
        ("accepted-missing", "A payment says what it accepts.", "accepted", ..., "x402.members"),
        (
            "amount-number",
            "An amount as a JSON number loses digits in some readers.",
            "accepted.amount",
            1000,
            "x402.number",
        ),
        ("amount-leading-zero", "An amount with a second spelling.", "accepted.amount", "01000", "x402.number"),
        ("amount-sign", "A signed amount.", "accepted.amount", "+1000", "x402.number"),
        ("amount-negative", "An amount below zero.", "accepted.amount", "-1", "x402.number"),
        ("amount-hex", "An amount in hex.", "accepted.amount", "0x3e8", "x402.number"),
        ("amount-exponent", "An amount with an exponent.", "accepted.amount", "1e3", "x402.number"),
        ("amount-space", "An amount with a line break behind it.", "accepted.amount", "1000\n", "x402.number"),
        ("amount-other-digits", "Digits of another script.", "accepted.amount", "١٠٠٠", "x402.number"),
        ("amount-too-large", "One more than a word holds.", "accepted.amount", str(2**256), "x402.number"),
        ("timeout-text", "The time-out is a number.", "accepted.maxTimeoutSeconds", "600", "x402.number"),
        ("timeout-true", "The time-out is no truth value.", "accepted.maxTimeoutSeconds", True, "x402.number"),
        ("network-other", "A network of another family.", "accepted.network", "solana:mainnet", "x402.network"),
        ("network-zero", "A chain id begins with no zero.", "accepted.network", "eip155:031337", "x402.network"),
        ("scheme-other", "A scheme that is not known.", "accepted.scheme", "deferred", "x402.scheme"),
        ("asset-short", "An address of 19 bytes.", "accepted.asset", "0x" + "70" * 19, "x402.address"),
        ("payee-name", "A name is no address.", "accepted.payTo", "holdfast.eth", "x402.address"),
        ("signature-missing", "A payment without its signature.", "payload.signature", ..., "x402.members"),
        ("signature-odd", "Half a byte.", "payload.signature", "0x123", "x402.hex"),
        ("nonce-short", "A nonce of 31 bytes.", "payload.authorization.nonce", "0x" + "00" * 31, "x402.hex"),
        ("value-missing", "What is signed is there as a whole.", "payload.authorization.value", ..., "x402.members"),
        (
            "authorization-memo",
            "A member among what is signed that nobody signed: it would look agreed.",
            "payload.authorization.memo",
            "for cake",
            "x402.members",
        ),
        ("payload-memo", "The same beside the signature.", "payload.memo", "for cake", "x402.members"),
        (
            "scheme-of-other-payload",
            "An EIP-3009 authorization is no payment of scheme upto.",
            "accepted.scheme",
            "upto",
            "x402.members",
        ),
        ("extra-text", "Extra is an object.", "accepted.extra", "name", "x402.members"),
        ("resource-text", "The resource is an object.", "resource", "https://x.test", "x402.members"),
    ):
        case(name, why, changed(path, value), code, **difference)
    permits_ = paid(permit("upto"), asked("upto"))
    case(
        "upto-without-facilitator",
        "Anyone could submit it, for any amount up to the cap.",
        changed("payload.permit2Authorization.witness.facilitator", ..., permits_),
        "x402.members",
        bug="SUBSTITUTION",
    )
    case(
        "exact-with-facilitator",
        "The witness of upto under scheme exact: signed was another type.",
        changed("accepted.scheme", "exact", permits_),
        "x402.members",
        **difference,
    )
    required = {"x402Version": 2, "accepts": [asked(), asked("upto")], "error": "pay first", "resource": {"url": "/"}}
    case("required", "What comes with 402.", required, kind="required", result=required)
    other = {**required, "accepts": [{"scheme": "exact", "network": "solana:x"}, asked("batch-settlement"), asked()]}
    case(
        "required-others",
        "Entries of other networks and schemes are left out, whatever else they hold.",
        other,
        kind="required",
        result={**required, "accepts": [asked()]},
    )
    for name, why, content in (
        ("required-object", "Accepts is a list.", {**required, "accepts": asked()}),
        ("required-error-object", "The error is a text.", {**required, "error": {}}),
        (
            "required-bad-entry",
            "One wrong entry, and nobody pays.",
            {**required, "accepts": [asked(), {**asked(), "payTo": 1}]},
        ),
    ):
        code = "x402.address" if name.endswith("entry") else "x402.members"
        case(name, why, content, code, "required", **difference)


def answers(out: Writer) -> None:
    """§2: what a facilitator answers."""
    done = {
        "success": True,
        "transaction": "0x" + named("payments/transaction").hex(),
        "network": "eip155:8453",
        "payer": PAYER.address,
        "amount": "250",
    }
    valid = {"isValid": True, "payer": PAYER.address}

    def case(kind: str, name: str, why: str, content: Any, code: str | None = None) -> None:
        out.case(
            f"payments/{kind}-{name}",
            why,
            spec="payments.md §2",
            run=["parse-payment", kind, "object.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=None if code else {"object": content},
            files={"object.json": content},
        )

    case("settle-response", "done", "Money moved.", done)
    failed = {"success": False, "transaction": "", "network": "eip155:8453", "errorReason": "permit2_invalid_nonce"}
    case("settle-response", "failed", "Nothing moved, for a reason.", failed)
    case("settle-response", "both", "Success and a reason why not.", {**done, "errorReason": "x"}, "x402.members")
    case("settle-response", "neither", "No success and no reason.", {**done, "success": False}, "x402.members")
    case(
        "settle-response",
        "text",
        "Success is no text: 'false' would count as true.",
        {**done, "success": "false"},
        "x402.members",
    )
    case("settle-response", "transaction", "A job is no transaction.", {**done, "transaction": "payment-1"}, "x402.hex")
    case(
        "settle-response",
        "no-transaction",
        "A transaction is there, if only empty.",
        {k: v for k, v in done.items() if k != "transaction"},
        "x402.members",
    )
    case("verify-response", "valid", "A payment that would be taken.", valid)
    case("verify-response", "invalid", "One that would not.", {"isValid": False, "invalidReason": "network_mismatch"})
    case("verify-response", "both", "Valid, and a reason why not.", {**valid, "invalidReason": "x"}, "x402.members")
    case("verify-response", "number", "One is not true.", {"isValid": 1}, "x402.members")


def checked(out: Writer) -> Any:
    """A writer of cases of §5."""

    def case(
        name: str,
        why: str,
        payload: dict[str, Any],
        requirements: dict[str, Any],
        code: str | None = None,
        reason: str | None = None,
        *,
        at: int = NOW,
        charge: int | None = None,
        facilitator: str = FACILITATOR.address,
        result: dict[str, Any] | None = None,
        bug: str | None = None,
    ) -> None:
        options = ["--at", str(at), "--facilitator", facilitator]
        if charge is not None:
            options += ["--charge", str(charge)]
        out.case(
            f"payments/{name}",
            why,
            spec="payments.md §5",
            run=["verify-payment", *options, "payment.json"],
            expect="reject" if code else "accept",
            code=code,
            bug=bug,
            result={"reason": reason} if code else result,
            files={"payment.json": {"payload": payload, "requirements": requirements}},
        )

    return case


def transfers(out: Writer) -> None:
    """§3, §5 for EIP-3009."""
    case = checked(out)
    good, usual = paid(transfer(), asked()), asked()
    identity = payments.identity(31337, TOKEN, PAYER.address, named("payments/nonce"))
    result = {
        "method": "eip3009",
        "payer": PAYER.address,
        "amount": "1000",
        "cap": "1000",
        "identity": identity.hex(),
        "job": payments.job(identity),
        "sponsored": False,
    }
    case("eip3009-good", "A payment for exactly what is asked.", good, usual, result=result)
    low = copy.deepcopy(good)
    raw = bytes.fromhex(low["payload"]["signature"][2:])
    low["payload"]["signature"] = "0x" + (raw[:64] + bytes([raw[64] - 27])).hex()
    case("eip3009-parity", "Wallets that write 0 and 1 for 27 and 28.", low, usual, result=result)
    case("eip3009-last-moment", "It holds for six more seconds.", good, usual, at=NOW + 594, result=result)
    prefix = "invalid_exact_evm_payload_"
    substitution, replay = {"bug": "SUBSTITUTION"}, {"bug": "REPLAY"}
    case(
        "eip3009-other-scheme",
        "Asked is upto: the payment must not be taken for a cap.",
        good,
        asked("upto"),
        "payment.scheme",
        "unsupported_scheme",
        **substitution,
    )
    case(
        "eip3009-other-network",
        "Signed for one chain, asked on another.",
        good,
        asked(network="eip155:8453"),
        "payment.network",
        "network_mismatch",
        **replay,
    )
    case(
        "eip3009-altered-network",
        "The network beside the signature was altered to the one that is asked.",
        {**good, "accepted": asked(network="eip155:8453")},
        asked(network="eip155:8453"),
        "payment.signature",
        prefix + "signature",
        **replay,
    )
    case(
        "eip3009-no-domain",
        "Without the token's name nobody can tell what was signed.",
        good,
        asked(extra={}),
        "payment.domain",
        "missing_eip712_domain",
    )
    case(
        "eip3009-other-payee",
        "A payment to somebody else, shown on another route.",
        good,
        asked(payTo=FACILITATOR.address),
        "payment.payee",
        prefix + "recipient_mismatch",
        **replay,
    )
    case(
        "eip3009-less",
        "A payment of less than is asked.",
        paid(transfer(value="999"), usual),
        usual,
        "payment.amount",
        prefix + "authorization_value_mismatch",
    )
    case(
        "eip3009-more",
        "One of more: scheme exact is exact.",
        good,
        asked(amount="999"),
        "payment.amount",
        prefix + "authorization_value_mismatch",
    )
    case(
        "eip3009-expired",
        "It ends before it can be in a block.",
        good,
        usual,
        "payment.expired",
        prefix + "authorization_valid_before",
        at=NOW + 595,
    )
    case(
        "eip3009-early",
        "It is not valid yet.",
        paid(transfer(validAfter=str(NOW + 1)), usual),
        usual,
        "payment.early",
        prefix + "authorization_valid_after",
    )
    case(
        "eip3009-other-token",
        "The same payment in another token.",
        good,
        asked(asset=PAYEE),
        "payment.signature",
        prefix + "signature",
        **substitution,
    )
    case(
        "eip3009-other-version",
        "The same for another version of the token.",
        good,
        asked(extra={"name": "Test Token", "version": "2"}),
        "payment.signature",
        prefix + "signature",
    )
    case(
        "eip3009-signed-by-another",
        "An attacker's signature under the payer's address.",
        paid(transfer(), usual, OTHER),
        usual,
        "payment.signature",
        prefix + "signature",
        **substitution,
    )
    for name, why, change in (
        ("longer", "The time was stretched after signing.", {"validBefore": str(NOW + 601)}),
        ("other-nonce", "The nonce was exchanged, to use the signature twice.", {"nonce": "0x" + "11" * 32}),
        ("other-payer", "The payer was exchanged.", {"from": OTHER.address}),
    ):
        altered = copy.deepcopy(good)
        altered["payload"]["authorization"].update(change)
        case(f"eip3009-{name}", why, altered, usual, "payment.signature", prefix + "signature", bug="TAMPERING")
    twin = copy.deepcopy(good)
    s = ORDER - int.from_bytes(raw[32:64], "big")
    twin["payload"]["signature"] = "0x" + (raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]])).hex()
    case(
        "eip3009-high-s",
        "The other signature that one key makes of one (EIP-2).",
        twin,
        usual,
        "payment.signature",
        prefix + "signature",
        bug="MALLEABILITY",
    )
    for name, why, signature in (
        ("short", "A signature of 64 bytes.", raw[:64]),
        ("of-a-contract", "The signature of a contract: not taken.", raw + bytes(31)),
        ("empty", "No signature at all.", b""),
        ("of-nobody", "Numbers that no key signs with.", bytes(64) + b"\x1b"),
        ("recovery", "A recovery number that does not exist.", raw[:64] + b"\x1d"),
    ):
        broken = copy.deepcopy(good)
        broken["payload"]["signature"] = "0x" + signature.hex()
        case(f"eip3009-signature-{name}", why, broken, usual, "payment.signature", prefix + "signature")


def permits(out: Writer) -> None:
    """§4, §5 for Permit2."""
    case = checked(out)
    nonce = named("payments/permit2 nonce")
    identity = payments.identity(31337, payments.PERMIT2, PAYER.address, nonce)
    named_ = {"payer": PAYER.address, "cap": "1000", "identity": identity.hex(), "job": payments.job(identity)}
    for scheme in ("exact", "upto"):
        good, usual = paid(permit(scheme), asked(scheme)), asked(scheme)
        result = {**named_, "method": f"permit2-{scheme}", "amount": "1000"}
        case(f"{scheme}-good", "A payment for exactly what is asked.", good, usual, result=result)

        def refused(
            name: str,
            why: str,
            payload: dict[str, Any],
            code: str,
            reason: str,
            requirements: dict[str, Any] = usual,
            scheme: str = scheme,
            **more: Any,
        ) -> None:
            case(f"{scheme}-{name}", why, payload, requirements, code, reason, **more)

        other_spender = payments.EXACT_PROXY if scheme == "upto" else payments.UPTO_PROXY
        refused(
            "spender",
            "The spender of the other scheme.",
            paid(permit(scheme, spender=other_spender), usual),
            "payment.spender",
            "invalid_permit2_spender",
            bug="SUBSTITUTION",
        )
        refused(
            "payee",
            "A payment to somebody else.",
            good,
            "payment.payee",
            "invalid_permit2_recipient_mismatch",
            asked(scheme, payTo=TOKEN),
            bug="REPLAY",
        )
        refused(
            "expired",
            "It ends before it can be in a block.",
            good,
            "payment.expired",
            "permit2_deadline_expired",
            at=NOW + 595,
        )
        witness = {**permit(scheme)["witness"], "validAfter": str(NOW + 1)}
        refused(
            "early",
            "It is not valid yet.",
            paid(permit(scheme, witness=witness), usual),
            "payment.early",
            "permit2_not_yet_valid",
        )
        refused(
            "amount",
            "A payment of another amount than is asked.",
            good,
            "payment.amount",
            "permit2_amount_mismatch",
            asked(scheme, amount="1001"),
        )
        refused(
            "token",
            "A payment in another token.",
            good,
            "payment.asset",
            "permit2_token_mismatch",
            asked(scheme, asset=PAYEE),
            bug="SUBSTITUTION",
        )
        refused(
            "signed-by-another",
            "An attacker's signature.",
            paid(permit(scheme), usual, OTHER),
            "payment.signature",
            "invalid_permit2_signature",
            bug="SUBSTITUTION",
        )
        altered = copy.deepcopy(good)
        altered["payload"]["permit2Authorization"]["nonce"] = "7"
        refused(
            "other-nonce",
            "The nonce was exchanged.",
            altered,
            "payment.signature",
            "invalid_permit2_signature",
            bug="TAMPERING",
        )
        network = "network_mismatch" if scheme == "exact" else "invalid_upto_evm_network_mismatch"
        refused(
            "other-network",
            "Asked on another chain.",
            good,
            "payment.network",
            network,
            asked(scheme, network="eip155:1"),
            bug="REPLAY",
        )
        wrong = "unsupported_scheme" if scheme == "exact" else "invalid_upto_evm_scheme"
        refused(
            "other-scheme",
            "Asked is the other scheme.",
            good,
            "payment.scheme",
            wrong,
            asked("exact" if scheme == "upto" else "upto"),
            bug="SUBSTITUTION",
        )
        info = {
            "from": PAYER.address,
            "asset": TOKEN,
            "spender": payments.PERMIT2,
            "amount": "1000",
            "nonce": "0",
            "deadline": str(NOW + 600),
            "signature": "0x" + "11" * 65,
            "version": "1",
        }
        with_info = {**good, "extensions": {"eip2612GasSponsoring": {"info": info}}}
        case(
            f"{scheme}-sponsored",
            "With a signed allowance, which the token will judge.",
            with_info,
            usual,
            result={**result, "sponsored": True},
        )
        unsigned = {key: value for key, value in info.items() if key != "signature"}
        empty = {**good, "extensions": {"eip2612GasSponsoring": {"info": unsigned, "schema": {}}}}
        case(
            f"{scheme}-sponsoring-unsigned",
            "What a server declares, echoed back.",
            empty,
            usual,
            result={**result, "sponsored": False},
        )
        for name, change, reason in (
            ("payer", {"from": OTHER.address}, "eip2612_from_mismatch"),
            ("asset", {"asset": PAYEE}, "eip2612_asset_mismatch"),
            ("spender", {"spender": PAYEE}, "eip2612_spender_not_permit2"),
            ("expired", {"deadline": str(NOW)}, "eip2612_deadline_expired"),
            ("amount", {"amount": "1001"}, "permit2_2612_amount_mismatch"),
        ):
            bad = {**good, "extensions": {"eip2612GasSponsoring": {"info": {**info, **change}}}}
            refused(
                f"sponsoring-{name}",
                "An allowance that does not go with this payment.",
                bad,
                f"payment.sponsoring_{name}",
                reason,
            )
        form = {**good, "extensions": {"eip2612GasSponsoring": {"info": {**info, "amount": "1e3"}}}}
        refused(
            "sponsoring-form",
            "An allowance that does not parse.",
            form,
            "payment.sponsoring",
            "invalid_eip2612_extension_format",
        )
    good, usual = paid(permit("upto"), asked("upto")), asked("upto")
    result = {**named_, "method": "permit2-upto", "amount": "250"}
    case("upto-charge", "A charge below the cap.", good, usual, charge=250, result=result)
    case("upto-charge-nothing", "A charge of zero.", good, usual, charge=0, result={**result, "amount": "0"})
    case("upto-charge-all", "A charge of the whole cap.", good, usual, charge=1000, result={**result, "amount": "1000"})
    case(
        "upto-charge-more",
        "A charge above the cap.",
        good,
        usual,
        "payment.cap",
        "invalid_upto_evm_payload_settlement_exceeds_amount",
        charge=1001,
        bug="OVERCHARGE",
    )
    case(
        "upto-facilitator",
        "Signed for another facilitator: this one could not submit it.",
        good,
        usual,
        "payment.facilitator",
        "upto_facilitator_mismatch",
        facilitator=OTHER.address,
    )
    exact = paid(permit("exact"), asked())
    case(
        "exact-charge-less",
        "Scheme exact has no charge below its amount.",
        exact,
        asked(),
        "payment.amount",
        "permit2_amount_mismatch",
        charge=999,
    )


def settlements(out: Writer) -> None:
    """opengradient.md §11."""

    def row(number: int, **change: Any) -> dict[str, Any]:
        value = {
            "tee_id": "0x" + bytes([number] * 32).hex(),
            "input_hash": bytes([number + 16] * 32).hex(),
            "output_hash": "0x" + bytes([number + 32] * 32).hex().upper(),
            "tee_signature": base64.b64encode(bytes([number] * 4)).decode(),
            "tee_timestamp": 1_700_000_000 + number,
            "timestamp": "2026-01-01",
            **change,
        }
        return {name: each for name, each in value.items() if each is not ...}

    def header(value: Any) -> str:
        return base64.b64encode(json.dumps(value).encode()).decode()

    def case(name: str, why: str, rows: list[Any], code: str | None = None, result: Any = None) -> None:
        out.case(
            f"payments/settlement-{name}",
            why,
            spec="opengradient.md §11",
            run=["build-settlement", "rows.json"],
            expect="malformed" if code else "accept",
            code=code,
            bug="PARSER_DIFFERENCE" if code else None,
            result=result,
            files={"rows.json": {"rows": [each if isinstance(each, str) else header(each) for each in rows]}},
        )

    for count in (1, 2, 3, 20):
        rows = [row(number) for number in range(1, count + 1)]
        case(f"of-{count}", f"A batch of {count}.", rows, result=payments.settlement(rows))
    signature = base64.b64encode(bytes(range(256))).decode()
    long = [row(1, tee_signature=signature), row(2)]
    case("long-signature", "A signature of 256 bytes beside one of four.", long, result=payments.settlement(long))
    for name, why, value in (
        ("no-time", "A row without a time: nobody signed it.", row(1, tee_timestamp=None)),
        ("time-text", "The time is a number.", row(1, tee_timestamp="1700000000")),
        ("time-true", "The time is no truth value.", row(1, tee_timestamp=True)),
        ("time-negative", "No time is below zero.", row(1, tee_timestamp=-1)),
        ("no-id", "A row says whose answer it is.", row(1, tee_id=...)),
        ("id-short", "An id of 31 bytes.", row(1, tee_id="11" * 31)),
        ("hash-number", "A hash is a text.", row(1, input_hash=1)),
        ("hash-empty", "A hash that is not there.", row(1, output_hash="0x")),
        ("signature-long", "More than 1,024 bytes.", row(1, tee_signature=base64.b64encode(bytes(1025)).decode())),
        (
            "signature-placeholder",
            "The one byte that '0w==' reads as: nobody's signature.",
            row(1, tee_signature="0w=="),
        ),
    ):
        case(name, why, [value], "settlement.row")
    case("signature-hex", "A signature that is no base64.", [row(1, tee_signature="0x")], "encoding.base64")
    case("list", "A row is an object.", [header([row(1)])], "json.object")
    case("not-base64", "A header that is no base64.", ["{}"], "encoding.base64")
