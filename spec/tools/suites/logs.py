"""merkle, checkpoint, cosignature, tiles: log.md and checkpoint.md, after RFC 9162 and C2SP."""

from __future__ import annotations

from typing import Any

from reference import notes, tree
from reference.cases import Writer
from reference.signing import Ed25519
from reference.text import b64

ORIGIN = "log.example/1"
LOG = Ed25519("logs/log")
OTHER = Ed25519("logs/other")
WITNESSES = [Ed25519(f"logs/witness/{number}") for number in (1, 2)]
LOG_VKEY = notes.vkey(ORIGIN, notes.LOG_SIGNATURE, LOG.public)
ENTRIES = [f'{{"entry":{number}}}'.encode() for number in range(11)]
LEAVES = [tree.leaf(entry) for entry in ENTRIES]


def write(out: Writer) -> None:
    """Write the suites."""
    inclusion(out)
    consistency(out)
    checkpoints(out)
    cosignatures(out)
    requests(out)
    tiles(out)


def hexes(proof: list[bytes]) -> list[str]:
    """A proof as JSON."""
    return [step.hex() for step in proof]


def inclusion(out: Writer) -> None:
    """Inclusion proofs."""

    def case(name: str, why: str, index: int, size: int, code: str | None = None, /, **change: Any) -> None:
        value = {
            "entry": b64(ENTRIES[index % 11]),
            "index": index,
            "size": size,
            "proof": hexes(tree.inclusion(LEAVES[:size], index)) if index < size else [],
            "root": tree.head(LEAVES[:size]).hex(),
        }
        out.case(
            f"merkle/inclusion-{name}",
            why,
            spec="log.md §2",
            run=["verify-inclusion", "proof.json"],
            expect="reject" if code else "accept",
            code=code,
            bug="FORGED_PROOF" if code else None,
            files={"proof.json": {**value, **change}},
        )

    bad = "log.inclusion"
    case("only-leaf", "A tree of one entry: the proof is empty and the root is the leaf's hash.", 0, 1)
    case("middle-of-eleven", "A tree that is no power of two.", 5, 11)
    case("last-of-eleven", "The last entry of an uneven tree has a short path.", 10, 11)
    case("first-of-eight", "A full tree.", 0, 8)
    good = hexes(tree.inclusion(LEAVES, 5))
    case(
        "forged-step",
        "One hash of the path changed: the log would claim an entry it never had.",
        5,
        11,
        bad,
        proof=[good[0], "00" * 32, *good[2:]],
    )
    case("other-entry", "The path of an entry, shown with another entry.", 5, 11, bad, entry=b64(ENTRIES[6]))
    case("other-index", "The right path at the wrong index.", 5, 11, bad, index=4)
    case("index-is-size", "An index outside the tree.", 5, 11, bad, index=11)
    case("short-proof", "A step is missing: an inner node would pass for the root.", 5, 11, bad, proof=good[:-1])
    case("long-proof", "A step too many: the root would pass for an inner node.", 5, 11, bad, proof=[*good, "11" * 32])
    case("other-root", "A root of an older tree.", 5, 11, bad, root=tree.head(LEAVES[:10]).hex())
    case("other-size", "The size steers the path: nine leaves have another shape.", 5, 11, bad, size=64)
    case("short-hash", "A step of 31 bytes.", 5, 11, bad, proof=[good[0][:-2], *good[1:]])
    inner = LEAVES[0] + LEAVES[1]
    case(
        "inner-node-as-entry",
        "Two leaf hashes shown as an entry: leaves are hashed behind 0x00 and nodes behind 0x01, so it cannot be one.",
        0,
        2,
        bad,
        entry=b64(inner),
        size=1,
        proof=[],
        root=tree.head(LEAVES[:2]).hex(),
    )
    case("empty-tree", "Nothing is in the tree over nothing.", 0, 1, bad, size=0, proof=[], root=tree.head([]).hex())


def consistency(out: Writer) -> None:
    """Consistency proofs."""

    def case(name: str, why: str, old: int, new: int, code: str | None = None, /, **change: Any) -> None:
        value = {
            "old_size": old,
            "old_root": tree.head(LEAVES[:old]).hex(),
            "new_size": new,
            "new_root": tree.head(LEAVES[:new]).hex(),
            "proof": hexes(tree.consistency(LEAVES[:new], old)) if old <= new else [],
        }
        out.case(
            f"merkle/consistency-{name}",
            why,
            spec="log.md §2",
            run=["verify-consistency", "proof.json"],
            expect="reject" if code else "accept",
            code=code,
            bug="REWRITTEN_HISTORY" if code else None,
            files={"proof.json": {**value, **change}},
        )

    bad = "log.consistency"
    case("four-to-eleven", "The old tree is a full subtree of the new one.", 4, 11)
    case("seven-to-eleven", "The old tree is uneven.", 7, 11)
    case("same-size", "A tree extends itself with an empty proof.", 7, 7)
    case("from-nothing", "Every tree extends the empty one.", 0, 11)
    good = hexes(tree.consistency(LEAVES, 7))
    rewritten = [LEAVES[0], tree.leaf(b"rewritten"), *LEAVES[2:]]
    case(
        "rewritten-entry",
        "The new tree changed an old entry: the whole point of a log.",
        7,
        11,
        bad,
        new_root=tree.head(rewritten).hex(),
        proof=hexes(tree.consistency(rewritten, 7)),
    )
    case(
        "removed-entry",
        "The new tree left an entry out.",
        7,
        10,
        bad,
        new_root=tree.head(LEAVES[1:11]).hex(),
        proof=hexes(tree.consistency(LEAVES[1:11], 7)),
    )
    case("shrinking", "A log never gets smaller.", 11, 7, bad)
    case(
        "same-size-other-root",
        "Two trees of one size: a split view.",
        7,
        7,
        bad,
        new_root=tree.head(rewritten[:7]).hex(),
    )
    case("same-size-with-proof", "Equal sizes need no proof; one too many is refused.", 7, 7, bad, proof=good)
    case("forged-step", "A changed step.", 7, 11, bad, proof=["00" * 32, *good[1:]])
    case("short-proof", "A missing step.", 7, 11, bad, proof=good[:-1])
    case("empty-proof", "No proof at all.", 7, 11, bad, proof=[])
    case("from-nothing-with-wrong-root", "The empty tree has one root.", 0, 11, bad, old_root="00" * 32)


def checkpoints(out: Writer) -> None:
    """Signed notes with a checkpoint in them."""
    size, root = 11, tree.head(LEAVES)
    text = notes.checkpoint_text(ORIGIN, size, root)
    signed = notes.log_line(ORIGIN, LOG, text)

    def case(
        name: str,
        why: str,
        note: str | bytes,
        code: str | None = None,
        *,
        expect: str = "reject",
        key: str = LOG_VKEY,
        origin: str = ORIGIN,
    ) -> None:
        out.case(
            f"checkpoint/{name}",
            why,
            spec="checkpoint.md §2",
            run=["verify-checkpoint", "--origin", origin, "--key", key, "checkpoint"],
            expect=expect if code else "accept",
            code=code,
            bug="FORGED_CHECKPOINT" if code else None,
            result=None if code else {"size": size, "root": root.hex()},
            files={"checkpoint": note},
        )

    good = notes.note(text, signed)
    case("signed", "A checkpoint signed by its log.", good)
    extended = notes.checkpoint_text(ORIGIN, size, root, "some extension 1")
    case(
        "extension-lines",
        "Extension lines are covered by the signature and otherwise ignored.",
        notes.note(extended, notes.log_line(ORIGIN, LOG, extended)),
    )
    stranger = notes.log_line("stranger.example", OTHER, text)
    case(
        "unknown-signature-ignored",
        "Signatures by unknown keys are ignored, whatever they are.",
        notes.note(text, stranger, signed),
    )
    case("only-a-stranger-signed", "Nobody we know signed.", notes.note(text, stranger), "note.unsigned")
    case(
        "wrong-key-same-name",
        "Signed under the log's name by another key: the key id tells them apart, and no known key is left.",
        notes.note(text, notes.log_line(ORIGIN, OTHER, text)),
        "note.unsigned",
    )
    forged = notes.line(ORIGIN, notes.LOG_SIGNATURE, LOG.public, OTHER.sign(text.encode()))
    case(
        "forged-signature",
        "The log's name and key id, a stranger's signature.",
        notes.note(text, forged),
        "note.signature",
    )
    case("altered-size", "A larger size under the old signature.", good.replace("\n11\n", "\n12\n"), "note.signature")
    case(
        "altered-root",
        "Another root under the old signature.",
        good.replace(b64(root), b64(tree.head(LEAVES[:10]))),
        "note.signature",
    )
    other_text = notes.checkpoint_text("other.example/9", size, root)
    other = notes.note(other_text, notes.log_line("other.example/9", LOG, other_text))
    case(
        "other-origin",
        "A good checkpoint of another log by the same key: its history is not this one's.",
        other,
        "checkpoint.origin",
        key=notes.vkey("other.example/9", notes.LOG_SIGNATURE, LOG.public),
    )
    as_witness = notes.cosignature_line(ORIGIN, LOG, text, 1767225603)
    case(
        "cosignature-is-no-log-signature",
        "A cosignature by the log's own key bytes does not stand in for the log's signature: types differ.",
        notes.note(text, as_witness),
        "note.unsigned",
    )
    case("no-signature", "An unsigned note.", text + "\n", "note.signature_line", expect="malformed")
    case(
        "no-empty-line", "Nothing separates text from signatures.", text + signed, "note.structure", expect="malformed"
    )
    case(
        "two-lines",
        "Origin and size alone are no checkpoint.",
        _signed(f"{ORIGIN}\n11\n"),
        "checkpoint.lines",
        expect="malformed",
    )
    case(
        "size-with-leading-zero",
        "A second spelling of eleven.",
        _signed(text.replace("\n11\n", "\n011\n")),
        "checkpoint.size",
        expect="malformed",
    )
    case(
        "size-with-sign",
        "Sizes have no sign.",
        _signed(text.replace("\n11\n", "\n+11\n")),
        "checkpoint.size",
        expect="malformed",
    )
    case(
        "size-beyond-63-bits",
        "Sizes fit in 63 bits.",
        _signed(text.replace("\n11\n", "\n9223372036854775808\n")),
        "checkpoint.size",
        expect="malformed",
    )
    case(
        "short-root",
        "A root has 32 bytes.",
        _signed(text.replace(b64(root), b64(root[:31]))),
        "encoding.base64",
        expect="malformed",
    )
    case(
        "url-base64-root",
        "The URL alphabet is a second spelling.",
        _signed(text.replace(b64(root), "-" + b64(root)[1:])),
        "encoding.base64",
        expect="malformed",
    )
    case(
        "carriage-return",
        "Line ends are one byte.",
        good.replace("\n", "\r\n").encode(),
        "note.control",
        expect="malformed",
    )
    case(
        "hyphen-for-dash",
        "A signature line begins with an em dash.",
        good.replace("\u2014", "-"),
        "note.signature_line",
        expect="malformed",
    )
    case(
        "not-utf8",
        "Notes are UTF-8.",
        good.encode().replace(b"log.example", b"log\xff.example"),
        "note.utf8",
        expect="malformed",
    )
    case(
        "vkey-with-wrong-id",
        "The verifier key's id does not belong to its bytes.",
        good,
        "note.vkey",
        expect="malformed",
        key=f"{ORIGIN}+00000000+{LOG_VKEY.split('+', 2)[2]}",
    )
    extension(out, text, signed)


def _signed(text: str) -> str:
    return notes.note(text, notes.log_line(ORIGIN, LOG, text))


def extension(out: Writer, text: str, signed: str) -> None:
    """Two checkpoints of one log: does the later extend the earlier?"""
    old_text = notes.checkpoint_text(ORIGIN, 7, tree.head(LEAVES[:7]))

    def case(name: str, why: str, old: str, new: str, proof: list[bytes], code: str | None = None) -> None:
        out.case(
            f"checkpoint/{name}",
            why,
            spec="checkpoint.md §2(3)",
            run=[
                "verify-extension",
                "--origin",
                ORIGIN,
                "--key",
                LOG_VKEY,
                "--old",
                "old",
                "--proof",
                "proof.json",
                "new",
            ],
            expect="reject" if code else "accept",
            code=code,
            bug="SPLIT_VIEW" if code else None,
            files={"old": old, "new": new, "proof.json": hexes(proof)},
        )

    proof = tree.consistency(LEAVES, 7)
    case("extends", "The log grew.", _signed(old_text), notes.note(text, signed), proof)
    forked = [*LEAVES[:6], tree.leaf(b"another seventh")]
    fork_text = notes.checkpoint_text(ORIGIN, 7, tree.head(forked))
    case(
        "split-view",
        "One log, one size, two roots, two good signatures: evidence that convicts the log, whatever proof comes with it.",
        _signed(old_text),
        _signed(fork_text),
        [],
        "log.equivocation",
    )
    case(
        "fork-of-an-older-tree",
        "The older checkpoint is of a history the newer one does not contain.",
        _signed(fork_text),
        notes.note(text, signed),
        proof,
        "log.consistency",
    )
    case(
        "rollback",
        "A newer answer with a smaller tree.",
        notes.note(text, signed),
        _signed(old_text),
        proof,
        "log.consistency",
    )


def cosignatures(out: Writer) -> None:
    """Cosignatures of witnesses."""
    root = tree.head(LEAVES)
    text = notes.checkpoint_text(ORIGIN, 11, root)
    signed = notes.log_line(ORIGIN, LOG, text)
    names = ("witness-1.example", "witness-2.example")
    vkeys = [notes.vkey(name, notes.COSIGNATURE, key.public) for name, key in zip(names, WITNESSES, strict=True)]
    time = 1767225603
    first, second = (
        notes.cosignature_line(name, key, text, time + number)
        for number, (name, key) in enumerate(zip(names, WITNESSES, strict=True))
    )

    def case(
        name: str, why: str, lines: list[str], found: list[Any] | None, code: str | None = None, body: str = text
    ) -> None:
        out.case(
            f"cosignature/{name}",
            why,
            spec="checkpoint.md §3",
            run=[
                "verify-checkpoint",
                "--origin",
                ORIGIN,
                "--key",
                LOG_VKEY,
                "--cosigner",
                vkeys[0],
                "--cosigner",
                vkeys[1],
                "checkpoint",
            ],
            expect="reject" if code else "accept",
            code=code,
            bug="FORGED_COSIGNATURE" if code else None,
            result=None if found is None else {"cosignatures": found},
            files={"checkpoint": notes.note(body, *lines)},
        )

    both = [[names[0], time], [names[1], time + 1]]
    case("two", "Two witnesses, each with its own time.", [signed, first, second], both)
    case("order-does-not-matter", "Signature lines may come in any order.", [second, signed, first], both)
    case("none", "A checkpoint without cosignatures is still the log's word, and no more.", [signed], [])
    stranger = notes.cosignature_line("stranger.example", OTHER, text, time)
    case(
        "by-a-stranger",
        "A cosignature by somebody we do not know counts for nothing and harms nothing.",
        [signed, stranger],
        [],
    )
    borrowed = notes.cosignature_line(names[0], OTHER, text, time)
    case(
        "borrowed-name",
        "A stranger under a witness's name: another key id, so not that witness.",
        [signed, borrowed],
        [],
    )
    forged = notes.line(names[0], notes.COSIGNATURE, WITNESSES[0].public, time.to_bytes(8, "big") + OTHER.sign(b"x"))
    case(
        "forged",
        "Name and key id of a witness, and a signature that is not its own: somebody tried.",
        [signed, forged],
        None,
        "note.signature",
    )
    shifted = notes.line(
        names[0],
        notes.COSIGNATURE,
        WITNESSES[0].public,
        (time - 86400).to_bytes(8, "big") + WITNESSES[0].sign(f"cosignature/v1\ntime {time}\n{text}".encode()),
    )
    case(
        "altered-time",
        "The time is signed: an attacker cannot make a cosignature older so that a stolen key looks unstolen.",
        [signed, shifted],
        None,
        "note.signature",
    )
    plain = notes.line(names[0], notes.COSIGNATURE, WITNESSES[0].public, WITNESSES[0].sign(text.encode()))
    case("without-time", "A plain signature under a cosignature's key id.", [signed, plain], None, "note.signature")
    late = notes.line(
        names[0],
        notes.COSIGNATURE,
        WITNESSES[0].public,
        (2**63).to_bytes(8, "big") + WITNESSES[0].sign(f"cosignature/v1\ntime {2**63}\n{text}".encode()),
    )
    case(
        "time-beyond-63-bits",
        "A time that a signed reader would see as before 1970.",
        [signed, late],
        None,
        "note.signature",
    )
    other = notes.checkpoint_text(ORIGIN, 10, tree.head(LEAVES[:10]))
    moved = notes.cosignature_line(names[0], WITNESSES[0], other, time)
    case(
        "of-another-checkpoint",
        "A good cosignature, moved here from another checkpoint.",
        [signed, moved],
        None,
        "note.signature",
    )
    case(
        "without-the-log",
        "Witnesses say that a log only grew; they do not speak for the log.",
        [first, second],
        None,
        "note.unsigned",
    )


def requests(out: Writer) -> None:
    """What a log sends to a witness, and verifier keys."""
    text = notes.checkpoint_text(ORIGIN, 11, tree.head(LEAVES))
    note = notes.note(text, notes.log_line(ORIGIN, LOG, text))
    proof = "".join(b64(step) + "\n" for step in tree.consistency(LEAVES, 7))
    good = f"old 7\n{proof}\n{note}"

    def case(name: str, why: str, kind: str, content: str, code: str | None = None, section: str = "§4") -> None:
        out.case(
            f"cosignature/{name}",
            why,
            spec=f"checkpoint.md {section}",
            run=["decode", kind, "input"],
            expect="malformed" if code else "accept",
            code=code,
            bug="SECOND_SPELLING" if code else None,
            files={"input": content},
        )

    case(
        "request",
        "add-checkpoint: the size cosigned last, a consistency proof, the new checkpoint.",
        "add-checkpoint",
        good,
    )
    case("request-first", "A witness that has cosigned nothing needs no proof.", "add-checkpoint", f"old 0\n\n{note}")
    case(
        "request-leading-zero",
        "One spelling of a size.",
        "add-checkpoint",
        good.replace("old 7", "old 07"),
        "witness.request",
    )
    case(
        "request-without-size",
        "The first line names the old size.",
        "add-checkpoint",
        proof + "\n" + note,
        "witness.request",
    )
    case(
        "request-short-hash",
        "A proof line is 32 bytes.",
        "add-checkpoint",
        f"old 7\n{b64(bytes(31))}\n\n{note}",
        "encoding.base64",
    )
    case(
        "request-too-many-lines",
        "At most 63 lines.",
        "add-checkpoint",
        "old 7\n" + (b64(bytes(32)) + "\n") * 64 + "\n" + note,
        "witness.request",
    )
    case(
        "vkey",
        "A witness's verifier key.",
        "vkey",
        notes.vkey("witness-1.example", notes.COSIGNATURE, WITNESSES[0].public),
        section="§1",
    )
    case(
        "vkey-of-unknown-type",
        "A signature type that nobody here checks.",
        "vkey",
        notes.vkey("witness-1.example", 9, WITNESSES[0].public),
        "note.key_type",
        "§1",
    )
    case(
        "vkey-short",
        "An Ed25519 key has 32 bytes.",
        "vkey",
        notes.vkey("witness-1.example", notes.COSIGNATURE, WITNESSES[0].public[:31]),
        "note.key",
        "§1",
    )
    case(
        "vkey-name-with-space",
        "A key name has no spaces: it could hide a second name.",
        "vkey",
        notes.vkey("witness 1", notes.COSIGNATURE, WITNESSES[0].public),
        "note.key_name",
        "§1",
    )
    empty = notes.checkpoint_text(ORIGIN, 0, bytes(32))
    out.case(
        "checkpoint/empty-tree-with-other-root",
        "The tree without entries has one root only: another would promise a history that does not exist yet.",
        spec="checkpoint.md §2",
        run=["verify-checkpoint", "--origin", ORIGIN, "--key", LOG_VKEY, "checkpoint"],
        expect="malformed",
        code="checkpoint.root",
        bug="FORGED_CHECKPOINT",
        files={"checkpoint": notes.note(empty, notes.log_line(ORIGIN, LOG, empty))},
    )


def tiles(out: Writer) -> None:
    """Paths and contents of tiles."""

    def case(name: str, why: str, path: str, content: bytes, code: str | None = None, result: Any = None) -> None:
        out.case(
            f"tiles/{name}",
            why,
            spec="log.md §4",
            run=["read-tile", "--path", path, "tile"],
            expect="malformed" if code else "accept",
            code=code,
            bug="SECOND_SPELLING" if code else None,
            result=result,
            files={"tile": content},
        )

    bundle = b"".join(len(entry).to_bytes(2, "big") + entry for entry in ENTRIES)
    hashes = b"".join(LEAVES)
    root = tree.head(LEAVES).hex()
    case(
        "partial-hashes",
        "Eleven leaf hashes.",
        "tile/0/000.p/11",
        hashes,
        result={"level": 0, "index": 0, "width": 11, "root": root},
    )
    case(
        "partial-entries",
        "The eleven entries under them: their leaf hashes have the same root.",
        "tile/entries/000.p/11",
        bundle,
        result={"index": 0, "width": 11, "root": root},
    )
    full = [tree.leaf(bytes([number])) for number in range(256)]
    case(
        "full",
        "A full tile of 256 hashes, far to the right, high up.",
        "tile/1/x001/x234/067",
        b"".join(full),
        result={"level": 1, "index": 1234067, "width": 256, "root": tree.head(full).hex()},
    )
    case(
        "empty-entry",
        "An entry may be empty.",
        "tile/entries/000.p/2",
        b"\x00\x00\x00\x01a",
        result={"width": 2, "root": tree.head([tree.leaf(b""), tree.leaf(b"a")]).hex()},
    )
    case(
        "entry-missing",
        "Fewer entries than the path says.",
        "tile/entries/000.p/11",
        bundle[: -len(ENTRIES[10]) - 2],
        "tile.bundle",
    )
    case("entry-too-many", "More entries than the path says.", "tile/entries/000.p/10", bundle, "tile.bundle")
    case("entry-cut", "The last entry is cut short.", "tile/entries/000.p/11", bundle[:-1], "tile.bundle")
    case("hash-cut", "A hash is cut short.", "tile/0/000.p/11", hashes[:-1], "tile.hashes")
    case("hash-too-many", "A hash more than the path says.", "tile/0/000.p/10", hashes, "tile.hashes")
    for name, path in (
        ("short-index", "tile/0/00.p/11"),
        ("index-without-x", "tile/0/001/234.p/11"),
        ("leading-zero-group", "tile/0/x000/001.p/11"),
        ("width-zero", "tile/0/000.p/0"),
        ("width-256", "tile/0/000.p/256"),
        ("width-with-zero", "tile/0/000.p/011"),
        ("level-with-zero", "tile/00/000.p/11"),
        ("level-64", "tile/64/000.p/11"),
        ("dots", "tile/0/../000.p/11"),
        ("other-digits", "tile/0/٠٠٠.p/11"),
    ):
        case(
            f"path-{name}",
            "Each tile has one path: a second spelling could be cached with other bytes.",
            path,
            hashes,
            "tile.path",
        )
