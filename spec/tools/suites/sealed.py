"""Wraps and sealed answers: sealed.md §2, §5."""

from __future__ import annotations

from typing import Any

from reference import sealed
from reference.cases import Writer
from reference.text import b64, named

RUN, OTHER_RUN = "019b7651-c000-7000-8000-0123456789ab", "019b7651-c000-7000-8000-0123456789ac"
SECRET, EPHEMERAL = named("sealed/secret"), named("sealed/ephemeral")
PANEL, OTHER_PANEL = named("sealed/panel"), named("sealed/other panel")
TEXT = b'{"model":"small-1","choices":[{"index":0,"message":{"role":"assistant","content":"It holds."}}]}'


def write(out: Writer) -> None:
    """Write the suite."""
    wraps(out)
    answers(out)


def wraps(out: Writer) -> None:
    """§2."""
    good = sealed.wrap(sealed.public_of(PANEL), EPHEMERAL, RUN, SECRET)

    def case(name: str, why: str, wrap: bytes, code: str | None = None, *, key: bytes = PANEL, **more: Any) -> None:
        expect = "malformed" if code == "wrap.size" else "reject" if code else "accept"
        out.case(
            f"wrap/{name}",
            why,
            spec="sealed.md §2",
            run=["open-wrap", "--private", key.hex(), "--run", RUN, "wrap.b64"],
            expect=expect,
            code=code,
            result=None if code else {"secret": SECRET.hex()},
            files={"wrap.b64": b64(wrap)},
            **more,
        )

    case("for-the-panel", "The panel that the workspace names opens the wrap and has the run secret.", good)
    other = sealed.wrap(sealed.public_of(PANEL), EPHEMERAL, OTHER_RUN, SECRET)
    case(
        "of-another-run",
        "A wrap that was made for another run. Whoever could have it opened as this one would let a panel show the texts of one run in the case of another.",
        other,
        "wrap.open",
        bug="SUBSTITUTION",
    )
    case(
        "for-another-panel",
        "A wrap to another panel's key. Only the workspace's own panel reads a run.",
        sealed.wrap(sealed.public_of(OTHER_PANEL), EPHEMERAL, RUN, SECRET),
        "wrap.open",
        bug="SUBSTITUTION",
    )
    case(
        "of-another-suite",
        "AES-128-GCM instead of AES-256-GCM. One suite, so that nobody talks two programs into a weaker one.",
        sealed.wrap(sealed.public_of(PANEL), EPHEMERAL, RUN, SECRET, aead=1),
        "wrap.open",
        bug="DOWNGRADE",
    )
    flipped = bytearray(good)
    flipped[40] ^= 1
    case("changed-in-one-bit", "One bit of the ciphertext.", bytes(flipped), "wrap.open", bug="TAMPERING")
    flipped = bytearray(good)
    flipped[0] ^= 1
    case("changed-encapsulated-key", "One bit of the encapsulated key.", bytes(flipped), "wrap.open", bug="TAMPERING")
    case("cut-short", "A byte is missing.", good[:-1], "wrap.size", bug="PARSER_DIFFERENCE")
    case("with-more", "A byte too many.", good + b"\x00", "wrap.size", bug="PARSER_DIFFERENCE")
    short = sealed.wrap(sealed.public_of(PANEL), EPHEMERAL, RUN, SECRET[:31])
    case("of-a-short-secret", "What was wrapped is no run secret.", short, "wrap.size", bug="PARSER_DIFFERENCE")


def answers(out: Writer) -> None:
    """§5."""
    ciphertext = sealed.seal_document(RUN, SECRET, "response", TEXT)
    member = {"document": "response", "suite": "A256GCM", "ciphertext": b64(ciphertext)}
    good = {"object": "holdfast.sealed", "choices": [], "holdfast": {"run": RUN, "sealed": member}}

    def case(name: str, why: str, body: Any, code: str | None = None, **more: Any) -> None:
        expect = "malformed" if code and code != "run.capability" else "reject" if code else "accept"
        out.case(
            f"sealed/{name}",
            why,
            spec="sealed.md §5",
            run=["open-sealed", "--secret", SECRET.hex(), "answer.json"],
            expect=expect,
            code=code,
            result=None if code else {"text": TEXT.decode()},
            files={"answer.json": body},
            **more,
        )

    def changed(**change: Any) -> dict[str, Any]:
        return {**good, "holdfast": {"run": RUN, "sealed": {**member, **change}}}

    case("answer", "Whoever learned the run secret opens the answer and has the response document's text.", good)
    case(
        "of-another-run",
        "The same ciphertext under another run id: its key is that of another run.",
        {**good, "holdfast": {"run": OTHER_RUN, "sealed": member}},
        "run.capability",
        bug="SUBSTITUTION",
    )
    flipped = bytearray(ciphertext)
    flipped[3] ^= 1
    case(
        "changed-in-one-bit",
        "One bit of the ciphertext.",
        changed(ciphertext=b64(bytes(flipped))),
        "run.capability",
        bug="TAMPERING",
    )
    request = sealed.seal_document(RUN, SECRET, "request", TEXT)
    case(
        "of-the-request",
        "What was stored of the request, offered as the answer: each document has its key.",
        changed(ciphertext=b64(request)),
        "run.capability",
        bug="SUBSTITUTION",
    )
    case("another-suite", "A suite that is not the one.", changed(suite="A128GCM"), "sealed.fields", bug="DOWNGRADE")
    case(
        "more-members",
        "A member that nobody reads.",
        changed(key="00"),
        "sealed.fields",
        bug="PARSER_DIFFERENCE",
    )
    case(
        "plain-answer",
        "An answer that was never sealed.",
        {"object": "chat.completion", "choices": [], "holdfast": {"run": RUN}},
        "sealed.fields",
        bug="PARSER_DIFFERENCE",
    )
