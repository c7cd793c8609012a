"""Labels around a run that an inference node computed: lanes.md §3.1, and the item that opens a change (bundle.md §2)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from reference import world
from reference.artifacts import HUB, LABEL, OTHER_HUB, A, B, Change, continuity
from reference.cases import Writer
from reference.text import exact_text, jcs, named, when
from reference.world import GATEWAY, START, STRANGER, Story, Turn, admit

from .bundles import GOOD, Bundles
from .inferences import INFERENCE, REQUEST, RESPONSE, executed

TRUST = "trust-with-label.json"
"""A shared file: the usual trust, an inference node, and one hub."""
TWO_HUBS = "trust-with-two-hubs.json"
RAN = named("artifact", 32).hex()
"""What the inference node names."""
HOUR = 3_600_000
AGO = when(START, plus_ms=-HOUR)
AFTER = when(START, plus_ms=60_000)
SPEC = "lanes.md §3.1"
ASKED = LABEL["name"]
SAME = {**GOOD, "artifact": ["proven", "signature"]}
OTHER = {**GOOD, "artifact": ["unknown", "signature"]}
REFUTED = {**GOOD, "artifact": ["refuted", None]}
"""Only this lane moves: what is wrong with a history takes nothing from the run."""


def write(out: Writer) -> None:
    """Write all of them."""
    nodes = [*world.trust_value(2)["nodes"], admit(INFERENCE), admit(HUB)]
    out.shared(TRUST, exact_text(world.usual_trust(nodes=nodes)) + "\n")
    out.shared(TWO_HUBS, exact_text(world.usual_trust(nodes=[*nodes, admit(OTHER_HUB)])) + "\n")
    bundles = Bundles(out)
    meant(bundles)
    meant_otherwise(bundles)
    no_history(bundles)
    shapes(bundles)


def first(**more: Any) -> Change:
    """The label's first change: to what ran, an hour before."""
    return Change(**{"name": "first", "artifact": RAN, "made_at": AGO, **more})


def to(artifact: str, after: Change, at: str = AFTER, **more: Any) -> Change:
    """The label means something else from then on."""
    before = after.value["artifact"]
    kind = "byte_identical" if artifact == before else "same_name"
    usual = {
        "name": artifact + at,
        "artifact": artifact,
        "before": before,
        "made_at": at,
        "continuity": continuity(kind),
    }
    return Change(after=after, **{**usual, **more})


def turn_of(model: str = ASKED, computed: bool = True) -> tuple[Turn, list[Any]]:
    """A run of a label, and the statement of who computed it."""
    texts = {
        "request": REQUEST.replace("scores", model),
        "sent": REQUEST.replace("scores", model),
        "response": RESPONSE.replace("scores", model),
    }
    plain = Turn(**texts)
    if not computed:
        return plain, []
    made = executed(plain)
    route = Turn(**texts, parents=[made.digest]).route
    return Turn(**texts, parents=[made.digest], execution_parents=[route.digest, made.digest]), [made]


def story_of(
    logged: Sequence[Change] = (),
    beside: Sequence[Change] = (),
    *,
    model: str = ASKED,
    computed: bool = True,
    behind: Sequence[Change] = (),
    opened: bool = True,
    **story: Any,
) -> Story:
    """A run with changes of a label: in the log before it, shown without a place in it, in the log behind it."""
    turn, made = turn_of(model, computed)
    entries = [change.statement.entry for change in logged] + [item.entry for item in made]

    def order(own: list[bytes]) -> list[bytes]:
        return [*entries, *own[:2], *(change.statement.entry for change in behind)]

    extra = [*made, *(change.statement for change in (*logged, *behind))]
    told = Story(turn, extra=extra, order=order, **story)
    for change in beside:
        told.add("statement", 61_000, envelope=change.statement.envelope)
    for change in (*logged, *behind, *beside) if opened else ():
        told.add("change", 61_000, **opening(change))
    return told


def opening(change: Change) -> dict[str, Any]:
    """The members of the item that opens a change."""
    return {"digest": change.statement.digest, "document": change.raw.decode(), "salt": change.salt.hex()}


# --- it meant what ran ------------------------------------------------------------------------------------------------


def meant(b: Bundles) -> None:
    """Histories that the run fits."""

    def case(name: str, why: str, story: Story, lanes: Any = None, **more: Any) -> None:
        b.case(
            f"label-{name}", why, story, lanes or SAME, trust=more.pop("trust", TRUST), suite="lanes", spec=SPEC, **more
        )

    begun = first()
    case("first", "The label meant what ran, and never anything before.", story_of([begun]),
         require=["artifact=proven:signature"])  # fmt: skip
    before = first(artifact=A)
    moved = to(RAN, before, when(START, plus_ms=-HOUR // 2))
    case("moved-before", "It meant something else before, and what ran by then.", story_of([before, moved]))
    case("moved-since", "It means something else since.", story_of([before, moved], [to(B, moved)]))
    case("moved-twice-since", "And then something else again.",
         story_of([begun], [to(B, begun), to(A, to(B, begun), when(AFTER, plus_ms=10))]))  # fmt: skip
    case("set-again", "The same bytes again are no move.", story_of([begun], [to(RAN, begun)]))
    case("oldest-left-out", "What it was before is in the oldest change that is shown.", story_of([], [to(B, begun)]))
    case("without-its-place", "Where the log has it is not shown: the hub's word alone.", story_of([], [begun]))
    close = to(B, begun, when(START, plus_ms=5000))
    case(
        "moved-meanwhile",
        "It moved within the bound of clocks: the run may have been before.",
        story_of([begun], [close]),
    )
    newly = to(RAN, before, when(START, plus_ms=-5000))
    case("moved-just-before", "It came to mean what ran within the bound of clocks.", story_of([before, newly]))
    late = to(B, begun, when(START, plus_ms=-HOUR // 2))
    case("logged-behind-the-run", "A change claims a time before the run, and stands behind it in the log: it may not have counted yet.",
         story_of([begun], behind=[late]))  # fmt: skip
    named_latest = first(label={**LABEL, "name": "acme/risk:latest"})
    case("latest", "A model's name alone is its label latest.", story_of([named_latest], model="acme/risk"))
    later = to(B, begun)
    told = story_of([begun], [later])
    case(
        "known-before-it-was-shown", "What was not known yet moves nothing.", told, known=told.position("change", 0) - 2
    )
    case("before-it-moved", "Asked about a time before the label moved.", told, at=when(START, plus_ms=20_000))
    theirs = first(artifact=B, node=OTHER_HUB)
    case("by-either-hub", "Of two hubs one says that it meant what ran.",
         story_of([theirs, begun], [to(A, theirs, node=OTHER_HUB)]), trust=TWO_HUBS)  # fmt: skip


# --- it meant something else ------------------------------------------------------------------------------------------


def meant_otherwise(b: Bundles) -> None:
    """Histories that the run does not fit, or that are none."""

    def case(name: str, why: str, story: Story, code: str, **more: Any) -> None:
        b.case(
            f"label-{name}", why, story, REFUTED, code, trust=more.pop("trust", TRUST), suite="lanes", spec=SPEC, **more
        )

    before = first(artifact=A)
    case("meant-another", "The label meant another artifact before the run and until after it.",
         story_of([before], [to(RAN, before)]), "artifact_change.meant")  # fmt: skip
    case("not-begun", "The label meant nothing yet.", story_of([], [first(made_at=AFTER)]), "artifact_change.meant")
    begun = first()
    second = to(B, begun, when(START, plus_ms=-HOUR // 2))
    third = to(RAN, second, when(START, plus_ms=-HOUR // 4))
    case("gap", "A change was left out in the middle.", story_of([begun, third]), "artifact_change.history")
    fork = to(A, begun, when(START, plus_ms=-HOUR // 3))
    case("fork", "Two changes after the same one.", story_of([begun], [second, fork]), "artifact_change.history")
    lied = to(B, begun, before=A)
    case("about-the-past", "It says that the label meant something else before.", story_of([begun], [lied]),
         "artifact_change.history")  # fmt: skip
    altered = story_of([begun])
    altered.items("change")[0]["document"] = jcs({**begun.value, "artifact": B}).decode()
    case("document-altered", "Another artifact than the one that was committed to.", altered, "artifact_change.record")
    salted = story_of([begun])
    salted.items("change")[0]["salt"] = "11" * 32
    case("another-salt", "The record does not open.", salted, "artifact_change.record")
    said = first(predicate={"continuity": "same_name"})
    case("said-otherwise", "The log was told another kind of continuity.", story_of([said]), "artifact_change.said")
    published = Change("published", artifact=RAN, made_at=AGO)
    case("of-a-publication", "A publication is no change of a label.", story_of([published]), "artifact_change.history")
    case(
        "by-a-gateway", "A gateway has no say in what a label means.", story_of([first(node=GATEWAY)]), "statement.role"
    )
    case("by-a-stranger", "Trust does not know who says it.", story_of([first(node=STRANGER)]), "statement.unknown-key")
    case("in-the-hubs-name", "Signed by another.", story_of([first(signer=OTHER_HUB.statement_key)]),
         "statement.signature")  # fmt: skip
    place = 2
    case("refuted-by-full-nodes", "Full nodes refused it: another change came first.",
         story_of([begun], codes={place: "refuted:duplicate-artifact"}), "round.refuted")  # fmt: skip
    elsewhere = story_of([begun])
    for item in elsewhere.items("inclusion"):
        if item["digest"] == begun.statement.digest:
            item["proof"] = item["proof"][::-1]
    case("elsewhere-in-the-log", "Its path leads to no tree.", elsewhere, "log.inclusion")
    moved = to(RAN, before, when(START, plus_ms=-HOUR // 2))
    case("before-its-parent", "It stands before the change that it follows.", story_of([moved, before]), "trace.order")
    ahead = first(edit=lambda value: value["predicate"].update(claimed_at=when(START, plus_ms=40_000)))
    case("from-the-future", "A quorum saw it before it says that it was made.", story_of([ahead]), "statement.future")


def no_history(b: Bundles) -> None:
    """What cannot be told, and what is not compared."""

    def case(name: str, why: str, story: Story, lanes: Any, **more: Any) -> None:
        b.case(f"label-{name}", why, story, lanes, trust=more.pop("trust", TRUST), suite="lanes", spec=SPEC, **more)

    before = first(artifact=A)
    case("other-and-open", "It meant something else by the newest change that is shown; a later one may be missing.",
         story_of([before]), OTHER)  # fmt: skip
    case("other-and-open-is-not-proven", "Whoever asks for proof gets no answer.", story_of([before]), OTHER,
         expect="undecided", require=["artifact=proven"])  # fmt: skip
    other = story_of([before], [to(RAN, before)])
    case("other-by-one-of-two-hubs", "One hub says so, and another may have been asked.", other, OTHER, trust=TWO_HUBS)
    case(
        "not-asked-for",
        "The history of another label.",
        story_of([before], [to(B, before)], model="acme/risk:test"),
        SAME,
    )
    case("name-not-disclosed", "Nobody sees which label was asked for.",
         story_of([before], [to(B, before)], disclose=()), SAME)  # fmt: skip
    remote = {**GOOD, "artifact": ["unknown", "provider_claim"]}
    case("of-a-provider", "No inference node says what ran.", story_of([before], computed=False), remote)
    case("not-opened", "A change whose document is not shown says nothing.", story_of([before], opened=False), SAME)
    unbound = story_of([first()])
    unbound.add("change", 61_000, **opening(Change(name="absent", label={**LABEL, "name": "acme/risk:test"})))
    case("change-not-there", "A document without its statement says nothing.", unbound, SAME)
    none = {"artifact": ["unknown", None]}
    case("without-trust", "Nobody to judge the hub by.", story_of([first()]), none, trust=False, expect="undecided")


# --- the item ---------------------------------------------------------------------------------------------------------


def shapes(b: Bundles) -> None:
    """Items that do not parse (bundle.md §2)."""
    good = first()

    def case(name: str, why: str, code: str, times: int = 1, **change: Any) -> None:
        story = story_of([good])
        story.items("change")[0].update(change)
        story.journal += copy.deepcopy(story.items("change")) * (times - 1)
        b.case(f"change-item-{name}", why, story, None, code, expect="malformed", spec="bundle.md §2", bug="MALFORMED_BUNDLE",
               trust=TRUST)  # fmt: skip

    case("with-more", "An item has exactly its members.", "bundle.fields", label=ASKED)
    case("short-salt", "A salt has 32 bytes.", "encoding.hex", salt="00" * 31)
    case("document-as-object", "The record commits to the bytes of a text.", "bundle.text", document=good.value)
    case("another-spelling", "One spelling of a document.", "json.spelling", document=exact_text(good.value))
    case("too-many", "Whoever hands a bundle over must not be able to keep its reader busy.", "bundle.count", times=65)
