"""Payments in all suites they touch: their form, who may tell of them, what opens them, the lane they feed (statement.md §4.6)."""

from __future__ import annotations

from typing import Any

from reference.cases import Writer
from reference.payment_documents import (
    AUTHORISATION,
    CREDIT,
    FACILITATOR,
    NOT_EVIDENCE_OF,
    PAYEE,
    PAYER,
    RATE,
    REFUND,
    TRANSACTION,
    Payment,
    chain,
    charge,
    document,
    trust_with_facilitator,
)
from reference.text import exact_text, jcs, when
from reference.world import (
    AT,
    GATEWAY,
    HARDWARE_GATEWAY,
    START,
    STRANGER,
    Story,
    Turn,
    admit,
    trust_value,
    usual_trust,
)

from .bundles import GOOD, Bundles
from .kinds import Attesters, Payloads, Traces, put

REFUTED = {**GOOD, "payment": ["refuted", None]}
"""Only the lane of payments moves: nothing that is wrong with one takes anything from the run."""
TRUST = "trust-with-facilitator.json"
"""A shared file: the usual trust, and a facilitator."""
OTHER_DIGEST = "11" * 32


def lane(state: str, basis: str | None) -> dict[str, Any]:
    """The good run's lanes, and this one."""
    return {**GOOD, "payment": [state, basis]}


def write(out: Writer) -> None:
    """Write all of them."""
    out.shared(TRUST, exact_text(trust_with_facilitator()) + "\n")
    documents(out)
    payloads(out)
    attesters(out)
    traces(out)
    bundles = Bundles(out)
    lanes(bundles)
    refused(bundles)
    shapes(bundles)


# --- documents ------------------------------------------------------------------------------------------------------


def documents(out: Writer) -> None:
    """The payment document (§4.6(1), (3), (4)), and whether it adds up ((5))."""
    turn = Turn()

    def case(
        name: str,
        why: str,
        code: str | None = None,
        event: str = "charged",
        *,
        raw: bytes | None = None,
        expect: str = "malformed",
        **change: Any,
    ) -> None:
        out.case(
            f"statement/payment-document-{name}",
            why,
            spec="statement.md §4.6",
            run=["decode", "payment-document", "document.json"],
            expect=expect if code else "accept",
            code=code,
            bug=("FALSE_PAYMENT" if expect == "reject" else "MALFORMED_PAYMENT") if code else None,
            files={"document.json": jcs(document(turn, event, **change)) if raw is None else raw},
        )

    case("offered", "An offer: nobody has agreed to it yet.", event="offered")
    case("authorised", "A payer signed; nothing is owed yet.", event="authorised")
    case("charged", "A charge, line by line, at its rate, under its cap.")
    case("captured", "What was charged is taken, by a transaction.", event="captured")
    case("lapsed", "Nothing is taken, and why.", event="lapsed")
    case("failed", "Taking it failed, and why.", event="failed")
    case("refund-due", "The run was refuted after it was paid: a debt.", event="refund_due")
    case("refunded", "The debt is paid.", event="refunded")
    case("credit", "Paid from an account; nobody signs and no chain moves it.", **CREDIT)
    case("undelivered", "Nothing was answered.", response="undelivered")
    case("capture-of-nothing", "A charge of zero needs no transaction.", event="captured",
         charge=charge(0, 0), captured="0", transaction=None)  # fmt: skip
    capped = {**charge(), "amount": "60", "capped": charge()["amount"]}
    case("capped", "The lines come to more than the cap: the cap is charged, and both are shown.", charge=capped)

    case("unknown-member", "A tip is none of its members.", "payment_document.fields", tip="1")
    case("unknown-event", "Eight events.", "payment_document.fields", raw=jcs(document(turn) | {"event": "paid"}))
    case("unknown-timing", "Three timings.", "payment_document.fields", timing="later")
    case("unknown-scheme", "Three schemes.", "payment_document.fields", scheme="deferred")
    case("without-scope", "A payment that does not say what it is no evidence of.", "payment_document.scope",
         not_evidence_of=[])  # fmt: skip
    less = [name for name in NOT_EVIDENCE_OF if name != "computation"]
    case("as-proof-of-computation", "A payment that may be read as proof that something was computed.",
         "payment_document.scope", not_evidence_of=less)  # fmt: skip
    case("amount-as-number", "Amounts outgrow the integers of JSON.", "payment_document.number", asked=500)
    case("amount-with-zero", "One spelling of a number.", "payment_document.number", authorised="0500")
    case("amount-negative", "Nobody is paid for asking.", "payment_document.number", asked="-1")
    case("amount-too-large", "No asset counts so far.", "payment_document.number", authorised=str(2**256))
    case("payer-in-capitals", "One spelling of an address.", "evm.address", payer=PAYER.upper())
    case("payer-by-name", "A chain pays nobody by name.", "evm.address", payer="claims")
    case("network-by-name", "A network is eip155 and a chain id.", "payment_document.scheme", network="base", rate=None)
    case("without-payee", "Paid to whom?", "payment_document.scheme", payee=None)
    case("without-cap", "The most that it can cost is known before.", "payment_document.scheme", asked=None)
    case("unsigned", "A charge that nobody authorised.", "payment_document.scheme", authorisation=None)
    case("offer-by-payer", "An offer is the seller's.", "payment_document.scheme", "offered", payer=PAYER)
    case("signed-credit", "Nobody signs for credit.", "payment_document.scheme",
         **{**CREDIT, "authorisation": AUTHORISATION})  # fmt: skip
    case("credit-on-chain", "No chain moves credit.", "payment_document.scheme", "captured",
         **{**CREDIT, "transaction": TRANSACTION})  # fmt: skip
    case("credit-on-proof", "Credit is both the scheme and the timing.", "payment_document.scheme", timing="credit")
    case("rate-of-another-asset", "The rate is of another asset.", "payment_document.rate",
         rate={**RATE, "asset": PAYEE})  # fmt: skip
    case("charge-missing", "Charged what?", "payment_document.event", charge=None)
    case("charge-before-answer", "A charge before anything was authorised.", "payment_document.event", "offered",
         charge=charge())  # fmt: skip
    case("captured-by-charge", "A charge takes nothing.", "payment_document.event", captured="60")
    case("captured-without-transaction", "Money moved, and no transaction moved it.", "payment_document.event",
         "captured", transaction=None)  # fmt: skip
    case("lapsed-without-reason", "Why?", "payment_document.event", "lapsed", reason=None)
    case("captured-with-reason", "Success needs no excuse.", "payment_document.event", "captured", reason="because")
    case("answered-before-charge", "An offer for an answer that is there.", "payment_document.event", "authorised",
         response=turn.bound["response"].named())  # fmt: skip
    case("reason-is-a-sentence", "A reason is a code.", "payment_document.reason", "failed", reason="No money left.")
    case("transaction-short", "A transaction has 32 bytes.", "payment_document.transaction", "captured",
         transaction=TRANSACTION[:-2])  # fmt: skip
    case("line-of-goodwill", "A line that no card prices.", "payment_document.charge",
         charge={**charge(), "lines": [{**charge()["lines"][0], "what": "goodwill"}]})  # fmt: skip
    case("line-per-token", "Tokens are priced by the million.", "payment_document.charge",
         charge={**charge(), "lines": [{**charge()["lines"][0], "per": 1}]})  # fmt: skip
    case("charge-without-lines", "A charge is explained line by line.", "payment_document.charge",
         charge={**charge(), "lines": []})  # fmt: skip
    case("white-space", "The record commits to bytes, so a document has one spelling.", "json.spelling",
         raw=exact_text(document(turn)).replace(",", ", ").encode())  # fmt: skip
    case(
        "too-large", "At most 65,536 bytes are read.", "payment_document.size", raw=jcs(document(turn)) + b" " * 65_536
    )

    def refused(name: str, why: str, code: str, event: str = "charged", **change: Any) -> None:
        case(name, why, f"payment_document.{code}", event, expect="reject", **change)

    first, second = charge()["lines"]
    refused("line-not-product", "A line is not quantity times price.", "sum",
            charge={**charge(), "lines": [{**first, "usd": "0.0001"}, second]})  # fmt: skip
    refused("lines-not-sum", "The lines do not add up.", "sum", charge={**charge(), "usd": "0.0001"})
    refused("lines-exchanged", "Lines stand in the order of a card.", "sum",
            charge={**charge(), "lines": [second, first]})  # fmt: skip
    refused("line-twice", "The input is charged twice.", "sum", charge={**charge(), "lines": [first, first]})
    one_more = str(int(charge()["amount"]) + 1)
    refused("rounded-twice", "One base unit above what the rate gives.", "sum", charge={**charge(), "amount": one_more})
    refused("capped-for-nothing", "Capped, at what the lines come to.", "sum",
            charge={**charge(), "capped": charge()["amount"]})  # fmt: skip
    refused("above-asked", "Charged above the cap that was offered.", "cap", asked="60")
    refused("above-authorised", "Charged above what the payer signed.", "cap", authorised="60")
    refused("captured-above-authorised", "Taken above what the payer signed.", "cap", "captured", captured="501")
    refused("captured-above-charge", "Taken above the charge, within the cap.", "overcharge", "captured",
            captured=one_more)  # fmt: skip
    refused("exact-in-part", "Exact takes all that was signed.", "overcharge", "captured", scheme="exact")
    refused("credit-above-charge", "More credit is taken than was charged.", "overcharge", "captured",
            **{**CREDIT, "captured": one_more})  # fmt: skip


# --- payloads -------------------------------------------------------------------------------------------------------


def payloads(out: Writer) -> None:
    """The predicate (§4.6)."""
    turn = Turn()
    good = Payment(turn).statement

    case = Payloads(out, good, GATEWAY, spec="statement.md §4.6")

    case("", "A payment: which step, and a commitment. Not who, not how much.")
    case("unknown-event", "Eight events.", put("event", "paid"), "statement.payment")
    case("names-an-amount", "An amount is no word for the log.", put("amount", "60"), "statement.predicate")
    case("names-a-payer", "An address is no word for the log.", put("payer", PAYER), "statement.predicate")
    case("names-a-transaction", "Nor is what links to a chain.", put("transaction", TRANSACTION), "statement.predicate")
    case("without-event", "Which step?", lambda value: value["predicate"].pop("event"), "statement.predicate")
    case("short-record", "A record has 32 bytes.", put("record", "11" * 31), "encoding.hex")
    case(
        "subject-is-not-the-record",
        "in-toto tools would show another record than the predicate.",
        lambda value: value["subject"][0].update(digest={"holdfast-record-v1": OTHER_DIGEST}),
        "statement.subject",
    )
    case(
        "subject-as-parts",
        "A record is no tree of parts.",
        lambda value: value["subject"][0].update(digest={"holdfast-parts-v1": good.value["predicate"]["record"]}),
        "statement.subject",
    )
    case(
        "subject-with-another-name",
        "The subject of a payment is called payment.",
        lambda value: value["subject"][0].update(name="request"),
        "statement.subject",
    )


# --- attesters and traces -------------------------------------------------------------------------------------------


def attesters(out: Writer) -> None:
    """Who may tell of a payment (§6, §7)."""
    turn = Turn()

    case = Attesters(out, "payment", TRUST)
    case("by-a-gateway", "Signed by an admitted gateway.", Payment(turn).statement)
    case(
        "by-a-facilitator", "Signed by an admitted facilitator.", Payment(turn, "captured", node=FACILITATOR).statement
    )
    case(
        "in-the-facilitators-name",
        "The facilitator is named, the signature is a stranger's.",
        Payment(turn, "captured", node=FACILITATOR, signer=STRANGER.statement_key).statement,
        "statement.signature",
    )
    case(
        "by-an-unknown-node",
        "Nobody whom trust knows.",
        Payment(turn, node=STRANGER).statement,
        "statement.unknown-key",
    )
    case(
        "by-a-suspect-facilitator",
        "The facilitator's key is suspect since before.",
        Payment(turn, "captured", node=FACILITATOR).statement,
        "statement.key-revoked",
        trust=trust_with_facilitator(revoked={"at": AT, "suspect_since": START, "reason": "key-stolen"}),
    )


def traces(out: Writer) -> None:
    """Where a payment stands (trace.md §2(6), §4) and that each step is told once (statement.md §7(11))."""
    turn = Turn()
    both = [turn.route.entry, turn.execution.entry]
    charged = Payment(turn)
    captured = Payment(turn, "captured", after=charged)

    case = Traces(out, "payment", TRUST, spec="trace.md §2(6)")

    def after(*made: Payment) -> list[bytes]:
        return [*both, *(item.statement.entry for item in made)]

    ok = ["ok"] * 2
    steps = chain(turn, "charged", "captured", "refund_due", "refunded")
    case("whole", "Charged, taken, owed back and given back, each after the one before.", after(*steps), ["ok"] * 6)
    first = chain(turn, "offered", "authorised")
    last = Payment(turn, after=first[-1])
    case(
        "from-its-offer",
        "Offered and authorised before the question, and charged after the answer.",
        [*(item.statement.entry for item in first), *both, last.statement.entry],
        ["ok"] * 5,
    )
    case("charged-twice", "Two charges for one run.", after(charged, Payment(turn, name="second")),
         [*ok, "ok", "refuted:duplicate-payment"], "statement.md §7(11)")  # fmt: skip
    again = Payment(turn, "captured", "second", after=charged, transaction=REFUND)
    case("captured-twice", "Two captures of one charge.", after(charged, captured, again),
         [*ok, "ok", "ok", "refuted:duplicate-payment"], "statement.md §7(11)")  # fmt: skip
    lapsed = Payment(turn, "lapsed", after=charged)
    case("captured-and-lapsed", "Taken, and said to have lapsed.", after(charged, captured, lapsed),
         [*ok, "ok", "ok", "refuted:duplicate-payment"], "statement.md §7(11)")  # fmt: skip
    case("logged-again", "The same statement again is no second charge.", after(charged, charged), [*ok, "ok", "ok"],
         "statement.md §7(11)")  # fmt: skip
    told = Payment(turn, "captured", "told", after=charged, node=FACILITATOR)
    case("told-by-a-facilitator", "The facilitator tells of the capture, and so does the gateway.",
         after(charged, told, captured), [*ok, "ok", "ok", "ok"], "statement.md §7(11)")  # fmt: skip
    rival = Payment(turn, "captured", "rival", after=charged, node=HARDWARE_GATEWAY)
    case("by-another-gateway", "A gateway that charged nothing says that it took the money.", after(charged, rival),
         [*ok, "ok", "refuted:payment"], "statement.md §7(11)")  # fmt: skip
    case("charged-by-another-gateway", "A gateway charges for another's answer.",
         after(Payment(turn, node=HARDWARE_GATEWAY)), [*ok, "refuted:trace"])  # fmt: skip
    case("charged-by-a-facilitator", "Only who answered charges.", after(Payment(turn, node=FACILITATOR)),
         [*ok, "refuted:trace"])  # fmt: skip
    case("charged-on-a-route", "Charged before it was answered.", after(Payment(turn, parents=[turn.route.digest])),
         [*ok, "refuted:trace"])  # fmt: skip
    case("charged-on-nothing", "Charged for nothing.", after(Payment(turn, parents=[])), [*ok, "refuted:trace"])
    case("captured-without-charge", "Taken without a charge.", after(Payment(turn, "captured")), [*ok, "refuted:trace"])
    debt = Payment(turn, "refund_due", after=charged)
    case("debt-without-capture", "Nothing was taken, and it is owed back.", after(charged, debt),
         [*ok, "ok", "refuted:trace"])  # fmt: skip
    refund = Payment(turn, "refunded", after=captured)
    case("refund-without-debt", "Given back, and nobody owed it.", after(charged, captured, refund),
         [*ok, "ok", "ok", "refuted:trace"])  # fmt: skip
    case("offer-after-answer", "An offer follows nothing.",
         after(Payment(turn, "offered", parents=[turn.execution.digest])), [*ok, "refuted:trace"])  # fmt: skip
    case("authorised-by-an-answer", "An answer authorises nothing.",
         after(Payment(turn, "authorised", parents=[turn.execution.digest])), [*ok, "refuted:trace"])  # fmt: skip
    case("before-execution", "It stands in the log before what it charges for.",
         [turn.route.entry, charged.statement.entry, turn.execution.entry],
         ["ok", "refuted:parent", "ok"], "trace.md §4")  # fmt: skip
    other = Turn("other")
    case("of-another-run", "A charge for another run's answer, under this run's id.",
         [*both, other.route.entry, other.execution.entry,
          Payment(turn, parents=[other.execution.digest]).statement.entry],
         ["ok"] * 4 + ["refuted:trace"], "trace.md §2(1)")  # fmt: skip
    liar = Turn("good", execution_signer=STRANGER.statement_key)
    paid = chain(liar, "charged", "captured", "refund_due")
    case("on-a-refuted-execution",
         "The answer is refuted, and what was paid for it is not: it has to be told, and owed back.",
         [liar.route.entry, liar.execution.entry, *(item.statement.entry for item in paid)],
         ["ok", "refuted:signature", "ok", "ok", "ok"], "statement.md §7(7)")  # fmt: skip


# --- bundles --------------------------------------------------------------------------------------------------------


def told(*payments: Payment, turn: Turn | None = None, shown: bool = True, **more: Any) -> Story:
    """The good story and payments for it, logged and opened."""
    more = {"disclose": (), **more}
    story = Story(turn or Turn(), extra=[item.statement for item in payments], **more)
    if shown:
        for item in payments:
            story.add("payment", 2400, **item.opening())
    return story


def lanes(b: Bundles) -> None:
    """What the lane says (lanes.md §3(9))."""
    turn = Turn()

    def case(name: str, why: str, story: Story, expected: dict[str, Any], code: str | None = None, **more: Any) -> None:
        more = {"trust": TRUST, "spec": "lanes.md §3(9)", "suite": "lanes", **more}
        b.case(f"payment-{name}", why, story, expected, code, **more)

    offered, authorised = chain(turn, "offered", "authorised")
    before = {"order": lambda entries: [*entries[2:], *entries[:2]]}
    case("offered", "Offered, and not authorised.", told(offered, **before), lane("pending", None))
    case("authorised", "Authorised: nothing is owed yet.", told(offered, authorised, **before), lane("pending", None))
    case("charged", "Charged; nothing is taken yet.", told(Payment(turn)), lane("pending", None))
    paid = chain(turn, "charged", "captured")
    case("captured", "Taken, by a transaction that the gateway names.", told(*paid), lane("proven", "signature"),
         require=["payment=proven:signature"])  # fmt: skip
    by_facilitator = Payment(turn, "captured", after=paid[0], node=FACILITATOR)
    case("captured-by-a-facilitators-word", "Taken, by the facilitator's word.", told(paid[0], by_facilitator),
         lane("proven", "signature"))  # fmt: skip
    case("captured-by-two-words", "Gateway and facilitator tell the same.", told(*paid, by_facilitator),
         lane("proven", "signature"))  # fmt: skip
    case("captured-on-a-development-chain", "The same under a trust document for development.", told(*paid),
         {"payment": ["proven", "development"]},
         trust=trust_development())  # fmt: skip
    case("credit", "Paid from credit: the operator's own account.", told(Payment(turn, **CREDIT)),
         lane("proven", "operator_claim"))  # fmt: skip
    case("lapsed", "Nothing was taken.", told(*chain(turn, "charged", "lapsed")), lane("unknown", "signature"))
    case("failed", "Taking it failed.", told(*chain(turn, "charged", "failed")), lane("unknown", "signature"))
    owed = chain(turn, "charged", "captured", "refund_due")
    case("owed-back", "Taken, and owed back.", told(*owed), lane("unknown", "signature"))
    case("given-back", "Taken, and given back: nobody may read that as paid.",
         told(*owed, Payment(turn, "refunded", after=owed[-1])), lane("unknown", "signature"))  # fmt: skip
    case("not-shown", "Something was taken; how much of what is not shown.", told(*paid, shown=False),
         lane("unknown", None))  # fmt: skip
    case("not-shown-is-not-paid", "The same, when a payment is asked for: no answer yet.", told(*paid, shown=False),
         lane("unknown", None), require=["payment=proven"], expect="undecided", spec="lanes.md §5")  # fmt: skip
    case("charged-is-not-paid", "Charged, when a payment is asked for: not yet.", told(Payment(turn)),
         lane("pending", None), require=["payment=proven"], expect="undecided", spec="lanes.md §5")  # fmt: skip
    half = told(*paid)
    half.journal.remove(half.items("statement")[2])
    case("without-its-charge", "What it follows from is not here.", half, lane("unknown", None))
    case("compared-with-the-answer", "The answer is shown: it reports what was charged.",
         told(*paid, disclose=("response",)), lane("proven", "signature"), spec="statement.md §4.6(7)")  # fmt: skip
    less = charge(16, 3)
    cheap = chain(turn, "charged", charge=less)
    cheap.append(Payment(turn, "captured", after=cheap[0], charge=less, captured=less["amount"]))
    case("charged-less", "Charged for less than the answer reports.", told(*cheap, disclose=("response",)),
         lane("proven", "signature"), spec="statement.md §4.6(7)")  # fmt: skip
    refuted = told(*paid, codes={3: "refuted:signature"})
    case("on-a-refuted-run", "A quorum refuted the run, and it was paid: each lane says its own.", refuted,
         {**lane("proven", "signature"), "settlement": ["refuted", "proof"]}, "round.refuted", bug="REFUTED")  # fmt: skip
    case("without-trust", "Nobody to judge whose word it is.", told(*paid),
         {"payment": ["unknown", None], "bytes": ["unknown", None]}, trust=False, expect="undecided",
         spec="trust.md §5")  # fmt: skip
    case("known-before-it-was-taken", "The same bundle, before the capture was known.",
         late(*paid), lane("pending", None), known=late(*paid).position("payment") - 2, spec="bundle.md §4")  # fmt: skip
    case("not-taken-yet", "Asked about a time before the payment: nothing had been taken then.",
         told(*chain_later(turn), cosigned_at=when(START, plus_ms=501_000)),
         {"payment": ["not_applicable", None]}, at=when(START, plus_ms=300_000), spec="lanes.md §2.1")  # fmt: skip


def trust_development() -> dict[str, Any]:
    """The facilitator's trust, marked for development in its newest version."""
    return usual_trust(development=True, nodes=[*trust_value(2)["nodes"], admit(FACILITATOR)])


def chain_later(turn: Turn) -> list[Payment]:
    """Charged some minutes after the answer."""
    return [Payment(turn, at=when(START, plus_ms=500_000))]


def late(*payments: Payment) -> Story:
    """The good story; then each payment becomes known with what opens it, in no log yet."""
    story = Story(disclose=())
    for number, item in enumerate(payments):
        story.add("statement", 9000 + number, envelope=item.statement.envelope)
        story.add("payment", 9000 + number, **item.opening())
    return story


def refused(b: Bundles) -> None:
    """Payments that are not what they are shown as. The run keeps every lane it had."""
    turn = Turn()
    charged, captured = chain(turn, "charged", "captured")

    def case(name: str, why: str, story: Story, code: str, **more: Any) -> None:
        more = {"trust": TRUST, "spec": "lanes.md §3(9)", "bug": "FALSE_PAYMENT", **more}
        b.case(f"payment-{name}", why, story, REFUTED, code, **more)

    def signed(
        name: str, why: str, code: str, event: str = "charged", spec: str = "statement.md §4.6", **change: Any
    ) -> None:
        case(name, why, told(Payment(turn, event, **change)), code, spec=spec)

    def second(name: str, why: str, code: str, event: str = "captured", **change: Any) -> None:
        case(name, why, told(charged, Payment(turn, event, after=charged, **change)), code, spec="statement.md §4.6")

    def altered(name: str, why: str, **change: Any) -> None:
        story = told(charged, captured, shown=False)
        story.add("payment", 2400, **charged.opening())
        story.add("payment", 2400, **captured.opening(document=jcs({**captured.value, **change}).decode()))
        case(name, why, story, "payment_document.record", spec="statement.md §4.6(2)")

    # Who says so
    case(
        "by-an-unknown-node",
        "A node that trust does not admit says that it took the money.",
        told(charged, Payment(turn, "captured", after=charged, node=STRANGER)),
        "statement.unknown-key",
        spec="statement.md §7",
    )
    signed("in-the-gateways-name", "Signed by a stranger in the gateway's name.", "statement.signature",
           signer=STRANGER.statement_key, spec="statement.md §7")  # fmt: skip
    signed("by-another-gateway", "A gateway charges for another's answer.", "trace.rules", node=HARDWARE_GATEWAY,
           spec="trace.md §2(6)")  # fmt: skip
    case("taken-by-another-gateway", "A gateway that charged nothing says that it took the money.",
         told(charged, Payment(turn, "captured", after=charged, node=HARDWARE_GATEWAY)), "statement.payment",
         spec="statement.md §7(11)")  # fmt: skip
    # Where and when
    signed("on-a-route", "Charged before it was answered.", "trace.rules", parents=[turn.route.digest],
           spec="trace.md §2(6)")  # fmt: skip
    signed("with-another-nonce", "It answers to another client's nonce.", "trace.rules", nonce="nonce-of-a-client-2",
           spec="trace.md §2(1)")  # fmt: skip
    foreign = Payment(Turn("other"))
    story = Story(disclose=())
    story.add("statement", 9000, envelope=foreign.statement.envelope)
    case("of-another-run", "Another run was paid.", story, "trace.run", spec="trace.md §2(1)")
    signed("before-the-answer", "Charged a minute before there was an answer.", "payment_document.early",
           at=when(START, plus_ms=-58_150))  # fmt: skip
    case("logged-before-the-answer", "It stands in the log before what it charges for.",
         told(charged, order=lambda entries: [entries[0], entries[2], entries[1]]), "trace.order",
         spec="trace.md §4")  # fmt: skip
    signed("signed-before-it-happened", "Signed, by its own account, before it happened.", "payment_document.at",
           claimed_at=when(START, plus_ms=1_899))  # fmt: skip
    # What was signed
    altered("amount-lowered", "Afterwards, less was taken.", captured="1")
    altered("payer-swapped", "Somebody else is said to have paid.", payer=PAYEE)
    altered("transaction-swapped", "Another transaction is said to have paid.", transaction=REFUND)
    altered("answer-dropped", "Paid for nothing, afterwards.", response="undelivered")
    story = told(charged, shown=False)
    story.add("payment", 2400, **charged.opening(salt="00" * 32))
    case("other-salt", "A salt that opens nothing.", story, "payment_document.record", spec="statement.md §4.6(2)")
    story = told(charged, captured, shown=False)
    story.add("payment", 2400, **charged.opening(document=captured.raw.decode(), salt=captured.salt.hex()))
    case("documents-exchanged", "A capture is shown as the charge.", story, "payment_document.record",
         spec="statement.md §4.6(2)")  # fmt: skip
    signed("signed-for-another-run", "The document is of another run.", "payment_document.run",
           told_of=Turn("other").run)  # fmt: skip
    signed("signed-for-another-step", "The statement says charged, and the document lapsed.",
           "payment_document.event", "lapsed", predicate={"event": "charged"},
           parents=[turn.execution.digest])  # fmt: skip
    # For what
    other = Turn("other")
    signed("for-another-request", "Charged for another request.", "payment_document.request",
           request=other.bound["request"].named())  # fmt: skip
    signed("for-another-response", "Charged for another answer.", "payment_document.response",
           response=other.bound["response"].named())  # fmt: skip
    # How much
    more = charge(18, 3)
    dear = [Payment(turn, charge=more)]
    dear.append(Payment(turn, "captured", after=dear[0], charge=more, captured=more["amount"]))
    case("overcharge-within-the-cap",
         "One token more is charged than the answer reports, far below the cap. Both are the gateway's own signed words.",
         told(*dear, disclose=("response",)), "payment_document.overcharge", spec="statement.md §4.6(7)")  # fmt: skip
    parts = told(*dear)
    shown = [turn.bound["response"].disclose("/usage/prompt_tokens")]
    parts.add("parts", 2300, parts=[part if "document" in part else {"document": "response", **part} for part in shown])
    case("overcharge-shown-by-one-part", "The same, and nothing of the answer is shown but how much was asked.",
         parts, "payment_document.overcharge", spec="statement.md §4.6(7)")  # fmt: skip
    signed("sum-wrong", "The lines do not add up.", "payment_document.sum", charge={**charge(), "usd": "1"})
    signed("above-the-cap", "Charged above what was asked.", "payment_document.cap", asked="60")
    second("taken-above-the-charge", "More is taken than was charged.", "payment_document.overcharge", captured="499")
    second("taken-above-what-was-signed", "More is taken than was signed.", "payment_document.cap", captured="501")
    # One after the other
    second("to-somebody-else", "Another payee than was charged for.", "payment_document.terms", payee=PAYER)
    second("by-another-authorisation", "Another authorisation than was charged to.", "payment_document.terms",
           authorisation=OTHER_DIGEST)  # fmt: skip
    second("for-a-dearer-charge", "The charge grew before it was taken.", "payment_document.terms",
           charge=more, captured=more["amount"])  # fmt: skip
    second("taken-before-it-was-charged", "Taken before it was charged.", "payment_document.terms",
           at=when(START, plus_ms=1_890), claimed_at=when(START, plus_ms=2_100))  # fmt: skip
    case("charged-twice", "Two charges for one run.", told(charged, Payment(turn, name="second")),
         "payment_document.twice", spec="statement.md §7(11)")  # fmt: skip
    again = Payment(turn, "captured", "second", after=charged, transaction=REFUND)
    case("captured-twice", "One authorisation is captured by two transactions.", told(charged, captured, again),
         "payment_document.twice", spec="statement.md §4.6(8)")  # fmt: skip
    differs = Payment(turn, "captured", "told", after=charged, node=FACILITATOR, transaction=REFUND)
    case("captured-in-two-ways", "Gateway and facilitator name different transactions.",
         told(charged, captured, differs), "payment_document.twice", spec="statement.md §4.6(8)")  # fmt: skip
    case("taken-and-lapsed", "Taken, and said to have lapsed.",
         told(charged, captured, Payment(turn, "lapsed", after=charged)), "payment_document.twice",
         spec="statement.md §7(11)")  # fmt: skip
    debt = Payment(turn, "refund_due", after=captured, captured="1", transaction=TRANSACTION)
    case("debt-too-small", "Less is owed back than was taken.", told(charged, captured, debt), "payment_document.terms",
         spec="statement.md §4.6(6)")  # fmt: skip
    # What the log and the full nodes say
    story = told(charged)
    story.items("inclusion")[2]["proof"][0] = OTHER_DIGEST
    case("forged-inclusion", "It was never in the log.", story, "log.inclusion", spec="bundle.md §3")
    case("refuted-by-a-quorum", "Full nodes found that it does not hold. That says nothing about the run.",
         told(charged, codes={4: "refuted:duplicate-payment"}), "round.refuted", spec="round.md §5")  # fmt: skip


def shapes(b: Bundles) -> None:
    """Items that do not parse (bundle.md §2)."""
    good = Payment(Turn())

    def case(name: str, why: str, code: str, **change: Any) -> None:
        story = told(good)
        story.items("payment")[0].update(change)
        b.case(
            f"payment-item-{name}",
            why,
            story,
            None,
            code,
            expect="malformed",
            spec="bundle.md §2",
            bug="MALFORMED_BUNDLE",
            trust=TRUST,
        )

    case("with-more", "An item has exactly its members.", "bundle.fields", amount="60")
    case("short-salt", "A salt has 32 bytes.", "encoding.hex", salt="00" * 31)
    case("document-as-object", "The document is a text: the record commits to its bytes.", "bundle.text",
         document=good.value)  # fmt: skip
    case("another-spelling", "One spelling of a document.", "json.spelling", document=exact_text(good.value))
    case("without-scope", "A document that does not say what it is no evidence of.", "payment_document.scope",
         document=jcs({**good.value, "not_evidence_of": []}).decode())  # fmt: skip
