"""round, finality: round.md."""

from __future__ import annotations

from typing import Any

from reference import rounds, world
from reference.cases import Writer
from reference.text import exact_text, sha
from reference.world import FULL, LATE, OUTSIDER, SEPARATOR, Ledger, Turn, neighbour

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def ledger(**change: Any) -> Ledger:
    """Six entries, round 2 over the last four."""
    turn = Turn()
    return Ledger([*neighbour("before"), turn.route.entry, turn.execution.entry, *neighbour("after")], **change)


def write(out: Writer) -> None:
    """Write the suites."""
    candidates(out)
    votes(out)
    verdicts(out)
    finality(out)
    offences(out)


def candidates(out: Writer) -> None:
    """Candidates and their verdict blobs (§2, §5)."""
    log = ledger()

    def case(
        name: str,
        why: str,
        code: str | None = None,
        *,
        blob: bytes | None = None,
        expect: str = "reject",
        section: str = "§5",
        before: int = 2,
        rows: Any = None,
        **change: Any,
    ) -> None:
        found = log.verdicts if rows is None else rounds.Verdicts(rows)
        candidate = {**log.candidate, "verdict_root": found.root.hex(), "blob_id": found.blob_id.hex()}
        if blob is not None:
            candidate["blob_id"] = sha(blob).hex()
        candidate |= change
        out.case(
            f"round/{name}",
            why,
            spec=f"round.md {section}",
            run=["verify-candidate", "--previous-size", str(before), "--blob", "blob", "candidate.json"],
            expect=expect if code else "accept",
            code=code,
            bug="FORGED_CANDIDATE" if code else None,
            result=None if code else {"content": rounds.content(candidate).hex()},
            files={"candidate.json": exact_text(candidate) + "\n", "blob": found.blob if blob is None else blob},
        )

    rows = log.verdicts.rows
    text = log.verdicts.blob
    case("candidate", "Four new entries, four verdicts; the content digest names them all.")
    superseding = [(0, world.entry_digest(log.entries[0]), "refuted:signature"), *rows]
    case(
        "superseding-verdict",
        "A later round corrects an earlier verdict: it sorts first, by its index.",
        rows=superseding,
    )
    case(
        "only-superseding",
        "A round of no new entries that supersedes.",
        rows=superseding[:1],
        size=2,
        root=log.earlier["root"],
    )
    case(
        "other-blob",
        "A blob that is not the one named: nodes would vote on verdicts nobody can read.",
        "round.blob_id",
        blob=text,
        blob_id="00" * 32,
    )
    lie = rounds.Verdicts(
        [(i, d, "ok") for i, d, _ in rows[:2]] + [(i, d, "refuted:signature") for i, d, _ in rows[2:]]
    )
    case(
        "root-of-other-verdicts",
        "The proposer publishes one set of verdicts and puts the root of another into the content.",
        "round.verdict_root",
        verdict_root=lie.root.hex(),
    )
    case(
        "verdict-missing",
        "An entry without a verdict: a statement could be settled by silence.",
        "round.coverage",
        rows=rows[:-1],
    )
    case(
        "verdict-beyond-size",
        "A verdict on an entry the round does not cover.",
        "round.coverage",
        rows=[*rows, (6, "11" * 32, "ok")],
    )
    case(
        "nothing-said",
        "A round of the same size without a superseding verdict says nothing.",
        "round.coverage",
        rows=[],
        size=2,
    )
    case("size-shrinks", "A size below the round before.", "round.coverage", size=1)
    malformed = {"expect": "malformed", "section": "§5.2"}
    case(
        "verdicts-out-of-order",
        "Verdicts stand in log order.",
        "round.verdict_order",
        blob=b"".join(reversed(text.splitlines(keepends=True))),
        **malformed,
    )
    case(
        "verdict-twice",
        "One verdict an entry.",
        "round.verdict_order",
        blob=text + text.splitlines(keepends=True)[-1],
        **malformed,
    )
    case("blob-without-last-newline", "One spelling of a blob.", "round.blob", blob=text[:-1], **malformed)
    case(
        "blob-with-carriage-returns",
        "Lines end in one byte.",
        "round.blob",
        blob=text.replace(b"\n", b"\r\n"),
        **malformed,
    )
    case(
        "blob-leading-zero",
        "Indices have no leading zeros.",
        "round.blob",
        blob=text.replace(b"2 ", b"02 ", 1),
        **malformed,
    )
    case(
        "blob-unknown-code",
        "Codes are ok, cannot_tell and refuted:<code>.",
        "round.verdict_code",
        blob=text.replace(b" ok", b" fine", 1),
        **malformed,
    )
    case(
        "blob-free-text",
        "A reason is a code.",
        "round.blob",
        blob=text.replace(b" ok", b" refuted:Because", 1),
        **malformed,
    )
    case(
        "unknown-field",
        "A candidate has exactly nine fields.",
        "round.fields",
        note="x",
        expect="malformed",
        section="§2",
    )
    case("number-zero", "Rounds count from 1.", "round.fields", number=0, expect="malformed", section="§2")
    case(
        "attempt-beyond-32-bits",
        "Attempts fit in 32 bits.",
        "round.fields",
        attempt=2**32,
        expect="malformed",
        section="§2",
    )
    case("size-as-text", "Integers are JSON integers.", "round.fields", size="6", expect="malformed", section="§2")
    case(
        "prefixed-digest",
        "Digests have no prefix.",
        "encoding.hex",
        previous="0x" + "00" * 31,
        expect="malformed",
        section="§2",
    )
    case(
        "origin-with-space",
        "An origin is a signed-note key name.",
        "round.origin",
        origin="log example",
        expect="malformed",
        section="§1",
    )


def _message_case(
    out: Writer,
    command: str,
    name: str,
    why: str,
    value: Any,
    code: str | None,
    *,
    expect: str,
    section: str,
    result: Any = None,
    trust: Any = None,
    bug: str = "FORGED_VOTE",
) -> None:
    files: dict[str, Any] = {"input.json": exact_text(value) + "\n"}
    source = "../../shared/trust.json"
    if trust is not None:
        files["trust.json"] = exact_text(trust) + "\n"
        source = "trust.json"
    out.case(
        name,
        why,
        spec=f"round.md {section}",
        run=[command, "--trust", source, "input.json"],
        expect=expect if code or expect == "undecided" else "accept",
        code=code,
        bug=bug if code else None,
        result=result,
        files=files,
    )


def votes(out: Writer) -> None:
    """Single votes (§4.1)."""
    log = ledger()
    key = FULL[0].keys["vote"]
    good = rounds.vote(SEPARATOR, key, log.candidate)

    def case(
        name: str, why: str, value: Any, code: str | None = None, expect: str = "reject", result: Any = None
    ) -> None:
        _message_case(
            out, "verify-vote", f"round/vote-{name}", why, value, code, expect=expect, section="§4.1", result=result
        )

    case("by-a-member", "A vote, and the address that made it.", good, result={"signer": key.address})
    case(
        "by-an-outsider",
        "A well-made vote by somebody without stake.",
        rounds.vote(SEPARATOR, OUTSIDER.keys["vote"], log.candidate),
        "round.signer",
    )
    case(
        "for-another-chain",
        "The same fields signed for another chain: it recovers to another address.",
        rounds.vote(rounds.domain(1, world.CONTRACT), key, log.candidate),
        "round.signer",
    )
    case(
        "for-another-contract",
        "The same fields signed for another contract.",
        rounds.vote(rounds.domain(world.CHAIN_ID, "0x" + "11" * 20), key, log.candidate),
        "round.signer",
    )
    case("altered-content", "Another content under the old signature.", {**good, "content": "11" * 32}, "round.signer")
    case(
        "altered-attempt",
        "A vote of attempt 0 shown as one of attempt 1: two votes in one attempt would be forged so.",
        {**good, "attempt": 1},
        "round.signer",
    )
    raw = bytes.fromhex(good["signature"])
    high = (ORDER - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big")
    flipped = raw[:32] + high + bytes([55 - raw[64]])
    case(
        "high-s",
        "The mirrored signature verifies in many libraries: a second spelling of one vote.",
        {**good, "signature": flipped.hex()},
        "evm.signature",
        "malformed",
    )
    case(
        "v-zero",
        "v is 27 or 28.",
        {**good, "signature": (raw[:64] + bytes([raw[64] - 27])).hex()},
        "evm.signature",
        "malformed",
    )
    case("short-signature", "65 bytes.", {**good, "signature": raw[:64].hex()}, "encoding.hex", "malformed")
    case("unknown-field", "A vote has exactly six fields.", {**good, "reason": "x"}, "round.fields", "malformed")


def verdicts(out: Writer) -> None:
    """Verdict leaves under a verdict root (§5.1)."""
    log = ledger()
    row = log.verdicts.rows[1]
    good = {
        "index": row[0],
        "digest": row[1],
        "code": row[2],
        **log.verdicts.path(row[0]),
        "verdict_root": log.verdicts.root.hex(),
    }

    def case(name: str, why: str, code: str | None = None, expect: str = "reject", /, **change: Any) -> None:
        out.case(
            f"round/verdict-{name}",
            why,
            spec="round.md §5.1",
            run=["verify-verdict", "verdict.json"],
            expect=expect if code else "accept",
            code=code,
            bug="FORGED_VERDICT" if code else None,
            files={"verdict.json": {**good, **change}},
        )

    bad = "round.verdict_inclusion"
    case("included", "One verdict and its path.")
    case("other-code", "A refutation shown as ok, or the other way round.", bad, code="refuted:signature")
    case("other-index", "The verdict of another entry.", bad, index=good["index"] + 1)
    case("other-digest", "The verdict on another statement.", bad, digest="11" * 32)
    case("forged-path", "A changed step.", bad, proof=["11" * 32, *good["proof"][1:]])
    case("short-path", "A missing step.", bad, proof=good["proof"][1:])
    case("other-position", "Another place in the tree.", bad, position=good["position"] + 1)
    case(
        "other-tree-size-same-path",
        "The tree size is not part of the content: it steers the path and nothing else, and three leaves steer this one as four do.",
        size=3,
    )
    case("wrong-tree-size", "A size that steers elsewhere.", bad, size=2)
    case("unknown-code", "Three sorts of code.", "round.verdict_code", "malformed", code="probably")


def finality(out: Writer) -> None:
    """Sets of finality messages (§4.3)."""
    log = ledger()

    def case(
        name: str,
        why: str,
        messages: list[Any],
        code: str | None = None,
        expect: str = "reject",
        *,
        trust: Any = None,
        result: Any = None,
        candidate: Any = None,
        bug: str = "FALSE_FINALITY",
        section: str = "§4.3",
    ) -> None:
        value = {"round": candidate or log.candidate, "messages": messages}
        _message_case(
            out,
            "verify-finality",
            f"finality/{name}",
            why,
            value,
            code,
            expect=expect,
            section=section,
            result=result,
            trust=trust,
            bug=bug,
        )

    four = log.finality(FULL)
    case(
        "four-of-four",
        "Everybody.",
        four,
        result={"stake_for": 400, "stake_total": 400, "content": rounds.content(log.candidate).hex()},
    )
    case("three-of-four", "Three quarters are more than two thirds.", four[:3], result={"stake_for": 300})
    case("two-of-four", "Half the stake decides nothing: it is not refuted either.", four[:2], expect="undecided")
    case("none", "No message.", [], expect="undecided")
    case(
        "one-member-twice",
        "Two of four and one of them again: a member counts once.",
        [*four[:2], four[0]],
        expect="undecided",
    )
    stakes = world.trust_value(2)["epochs"][0]
    thirds = world.usual_trust(epochs=[{**stakes, "stakes": [{"node": node.id, "stake": 100} for node in FULL[:3]]}])
    case("exactly-two-thirds", "Two thirds are not more than two thirds.", four[:2], expect="undecided", trust=thirds)
    uneven = world.usual_trust(
        epochs=[
            {
                **stakes,
                "stakes": [{"node": node.id, "stake": stake} for node, stake in zip(FULL, (1, 1, 1, 7), strict=True)],
            }
        ]
    )
    case(
        "stake-not-heads",
        "Three of four nodes with three tenths of the stake.",
        four[:3],
        expect="undecided",
        trust=uneven,
    )
    case(
        "one-node-with-most-stake",
        "One node with more than two thirds of the stake is a quorum: stake counts, not heads.",
        four[3:],
        trust=uneven,
        result={"stake_for": 7, "stake_total": 10},
    )
    outsider = rounds.finality(SEPARATOR, OUTSIDER.keys["vote"], log.candidate)
    case(
        "with-an-outsider",
        "Somebody without stake among the signers: the set was not made by who it should be.",
        [*four[:2], outsider],
        "round.signer",
    )
    late = rounds.finality(SEPARATOR, LATE.keys["vote"], log.candidate)
    case(
        "with-an-admitted-node-without-stake",
        "Admitted as a full node, but not in this epoch.",
        [*four[:2], late],
        "round.signer",
    )
    other = {**log.candidate, "root": "11" * 32}
    lie = [rounds.finality(SEPARATOR, node.keys["vote"], other) for node in FULL]
    case(
        "of-another-content",
        "Good messages about another content, shown with this candidate.",
        lie,
        "round.mixed",
        bug="SUBSTITUTION",
    )
    case(
        "mixed-contents",
        "Two for this content, two for another: together no quorum for anything.",
        [*four[:2], *lie[2:]],
        "round.mixed",
    )
    case(
        "altered-content",
        "The content changed under the signatures.",
        [{**message, "content": rounds.content(other).hex()} for message in four],
        "round.signer",
        candidate=other,
        bug="SUBSTITUTION",
    )
    votes_as = [
        {k: v for k, v in rounds.vote(SEPARATOR, node.keys["vote"], log.candidate).items() if k != "attempt"}
        for node in FULL
    ]
    case(
        "votes-as-finality",
        "Votes are not finality messages: a round can be voted for and reorganised away.",
        votes_as,
        "round.signer",
        section="§4",
    )
    chain = world.trust_value(2)["chains"][0]
    elsewhere = world.usual_trust(chains=[{**chain, "chain_id": 1}])
    case("of-another-chain", "Trust names another chain id for this log.", four, "round.signer", trust=elsewhere)
    nowhere = world.usual_trust(chains=[])
    case(
        "of-an-unknown-chain",
        "Trust names no chain for this log: nobody can tell.",
        four,
        expect="undecided",
        trust=nowhere,
    )
    later = world.usual_trust(epochs=[{**stakes, "first_round": 3}])
    case(
        "before-the-first-epoch",
        "The epoch begins after this round.",
        four,
        expect="undecided",
        trust=later,
        section="§4.3",
    )
    next_epoch = world.usual_trust(
        epochs=[stakes, {**stakes, "number": 2, "first_round": 2, "stakes": [{"node": LATE.id, "stake": 1}]}]
    )
    case(
        "by-the-epoch-before",
        "The members of epoch 1 sign a round of epoch 2.",
        four,
        "round.signer",
        trust=next_epoch,
        section="§3",
    )
    case(
        "unknown-field",
        "A message has exactly five fields.",
        [{**four[0], "attempt": 0}, *four[1:]],
        "round.fields",
        "malformed",
        section="§4.2",
    )


def offences(out: Writer) -> None:
    """Pairs that convict a node (§7)."""
    log, other = ledger(), ledger(codes={4: "refuted:signature"})
    key, second = FULL[0].keys["vote"], FULL[1].keys["vote"]

    def case(
        name: str, why: str, offence: str, pair: tuple[Any, Any], code: str | None = None, result: Any = None
    ) -> None:
        value = {"offence": offence, "first": pair[0], "second": pair[1]}
        _message_case(
            out,
            "verify-offence",
            f"round/offence-{name}",
            why,
            value,
            code,
            expect="reject",
            section="§7",
            result=result,
            bug="FALSE_ACCUSATION",
        )

    vote_one, vote_two = (rounds.vote(SEPARATOR, key, item.candidate) for item in (log, other))
    case(
        "two-votes",
        "Two contents in one attempt by one node.",
        "vote",
        (vote_one, vote_two),
        result={"signer": key.address},
    )
    case("one-vote-twice", "The same vote twice is no offence.", "vote", (vote_one, vote_one), "round.no_offence")
    next_attempt = rounds.vote(SEPARATOR, key, {**other.candidate, "attempt": 1})
    case(
        "votes-in-two-attempts",
        "Another content in the next attempt is what attempts are for.",
        "vote",
        (vote_one, next_attempt),
        "round.no_offence",
    )
    case(
        "votes-of-two-nodes",
        "Two nodes disagree: no offence.",
        "vote",
        (vote_one, rounds.vote(SEPARATOR, second, other.candidate)),
        "round.no_offence",
    )
    final_one, final_two = (rounds.finality(SEPARATOR, key, item.candidate) for item in (log, other))
    case(
        "two-finality-messages",
        "Two contents called final in one round, ever.",
        "finality",
        (final_one, final_two),
        result={"signer": key.address},
    )
    moved = rounds.finality(SEPARATOR, key, {**log.candidate, "epoch": 2})
    case(
        "finality-in-two-epochs",
        "The same content in another epoch is a second message too.",
        "finality",
        (final_one, moved),
        result={"signer": key.address},
    )
    following = rounds.finality(SEPARATOR, key, {**log.candidate, "number": 3})
    case(
        "finality-of-two-rounds",
        "One message a round, in two rounds.",
        "finality",
        (final_one, following),
        "round.no_offence",
    )
    case(
        "finality-of-two-nodes",
        "Two nodes disagree: evidence of a fork, but not against one of them.",
        "finality",
        (final_one, rounds.finality(SEPARATOR, second, other.candidate)),
        "round.no_offence",
    )
