"""A conversation in, an answer out: calculation first, then follow-ups, then retrieval, else an honest "I don't know".

Only what the user wrote is read. A short follow-up ("tell me more", "and the next one?", "what about memory?") is
understood from the topic of the user's message before it; nothing else is remembered, and nothing is made up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from holdfast.adapters.builtin.arithmetic import answer_arithmetic
from holdfast.adapters.builtin.corpus import Topic, load_topics
from holdfast.adapters.builtin.dates import answer_date, find_today
from holdfast.adapters.builtin.retrieval import THRESHOLD, Index, Match
from holdfast.adapters.builtin.units import answer_units

DONT_KNOW = "unknown"
"""The topic id of an answer that says it does not know."""
NEAR = 0.34
"""From this score a topic is named as "the nearest thing I do know"; below it, it would only confuse."""
_LOOK_BACK = 6
"""User messages before the last that may give a follow-up its topic."""
_MAX_TEXT = 2000
_MAX_SENTENCES = 6

_FLAGS = re.IGNORECASE | re.VERBOSE
_SMALL_WORDS = r"(?: (?:ok|okay|yes|please|and|then|so|thanks) [\s,]+ )*"
_END = r"(?: [\s,]+ please )? [\s.?!]* \Z"
_GREETING = re.compile(
    r"\A (?: (?: hi|hello|hey|good\ (?:morning|afternoon|evening)|thanks|thank\ you|ok|okay|great|so )\b [\s,.!]* )+",
    _FLAGS,
)
_SENTENCE = re.compile(r"\S(?:[^.?!\n]|[.?!](?=\S))*[.?!]*")
_MORE = re.compile(
    rf"""\A {_SMALL_WORDS}
    (?: (?: (?:can|could)\ you\ )? (?: tell\ me|say|explain|give\ me )\ (?: a\ bit\ |some\ |a\ little\ )? more
        (?: \ about\ (?:it|that|this) )?
      | more (?: \ (?:details?|info(?:rmation)?) )? | (?:any\ |some\ )? details? | in\ more\ detail
      | go\ on | continue | elaborate | expand\ on\ (?:it|that) | how\ so | why (?: \ is\ that | \ not )?
      | (?:what|anything)\ (?:else|more) (?: \ about\ (?:it|that) )?
    ) {_END}""",
    _FLAGS,
)
_NEXT = re.compile(
    rf"""\A {_SMALL_WORDS}
    (?: what(?:'s|\ is|\ about|\ comes)?\ | how\ about\ | show\ me\ | tell\ me\ (?:about\ )? )? (?:the\ )?
    (?: next (?: \ (?:one|lane|state|basis|step|command) )? | one\ after (?:\ that)? | following\ one | after\ that )
    {_END}""",
    _FLAGS,
)
_BEFORE = re.compile(
    rf"""\A {_SMALL_WORDS}
    (?: what(?:'s|\ is|\ about)?\ | how\ about\ )? (?:the\ )?
    (?: previous|prior|one\ before ) (?: \ (?:one|lane|state|basis) )? {_END}""",
    _FLAGS,
)
_ABOUT = re.compile(
    r"""\A (?: (?:ok|okay|so) [\s,]+ )*
    (?: and (?: \ (?:what|how)\ about )? | (?:what|how)\ about | same\ for | or ) \s+
    (?:the\ )? (?P<rest> [\w'\ -]{2,60}? ) [\s.?!]* \Z""",
    _FLAGS,
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation, as far as this responder reads it."""

    role: str
    text: str
    unread: bool = False
    """It also held something that is not text (an image, a file, audio)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer and where it came from."""

    text: str
    topic: str
    """A topic's id, ``arithmetic``, ``units``, ``date`` or :data:`DONT_KNOW`."""


@cache
def _index() -> Index:
    return Index(load_topics())


@cache
def _by_id() -> dict[str, Topic]:
    return {topic.id: topic for topic in load_topics()}


@cache
def _before() -> dict[str, str]:
    return {topic.next: topic.id for topic in load_topics() if topic.next}


def respond(turns: Sequence[Turn]) -> Reply:
    """Answer the last user message of a conversation."""
    asked = [turn for turn in turns if turn.role == "user"]
    if not asked:
        return _reply(_by_id()["talk.hello"])
    last = asked[-1]
    text = last.text.strip()[:_MAX_TEXT]
    if not text:
        return _reply(_by_id()["talk.images" if last.unread else "talk.silence"])
    today = find_today([turn.text[:_MAX_TEXT] for turn in turns])
    for name, answer in (
        ("arithmetic", answer_arithmetic(text)),
        ("units", answer_units(text)),
        ("date", answer_date(text, today)),
    ):
        if answer is not None:
            return Reply(answer, name)
    before: Topic | None = None
    if any(pattern.match(text) for pattern in (_MORE, _NEXT, _BEFORE, _ABOUT)):
        for turn in asked[-1 - _LOOK_BACK : -1]:
            found = _resolve(turn.text.strip()[:_MAX_TEXT], before)
            before = found.topic if found is not None else before
    if before is not None and _MORE.match(text):
        return _more(before)
    found = _resolve(text, before)
    return _reply(found.topic) if found is not None else Reply(_dont_know(text), DONT_KNOW)


def prepare() -> None:
    """Read the corpus and build the index now (about a tenth of a second), so that no first question waits for it."""
    _index()
    _by_id()
    _before()


def find_topic(text: str) -> Match | None:
    """The topic a single question is about, or ``None``; what the accuracy tests measure."""
    return _resolve(text, None)


def _resolve(text: str, before: Topic | None) -> Match | None:
    """The topic of one message, given the topic before it."""
    if not text:
        return None
    if before is not None:
        if _MORE.match(text):
            return Match(before, 1.0)
        if (step := _step(text, before)) is not None:
            return Match(step, 1.0)
        about = _ABOUT.match(text)
        if about is not None and before.family:
            completed = _index().best(f"{about['rest']} {before.family}")
            if completed is not None and completed.topic.family == before.family:
                return completed
    return _search(text)


def _step(text: str, before: Topic) -> Topic | None:
    if _NEXT.match(text) and before.next:
        return _by_id()[before.next]
    if _BEFORE.match(text) and before.id in _before():
        return _by_id()[_before()[before.id]]
    return None


def _search(text: str) -> Match | None:
    """The whole message; if that says nothing, without its greeting; then its best single sentence."""
    whole = _index().best(text)
    rest = _GREETING.sub("", text)
    tries = [rest] if rest and rest != text else []
    sentences = _SENTENCE.findall(rest)
    if len(sentences) > 1:
        tries += [sentence.strip() for sentence in sentences[:_MAX_SENTENCES]]
    found = [match for match in map(_index().best, tries) if match is not None and _is_about_something(match)]
    best = max(found, key=lambda match: match.score, default=None)
    if whole is not None and (best is None or whole.score >= best.score):
        return whole
    return best


def _is_about_something(match: Match) -> bool:
    """Part of a message may be small talk without the message being that."""
    return not match.topic.id.startswith("talk.")


def _reply(topic: Topic) -> Reply:
    return Reply(topic.answer, topic.id)


def _more(topic: Topic) -> Reply:
    if topic.more:
        return Reply(topic.more, topic.id)
    following = f" The next one in order is {_by_id()[topic.next].title}." if topic.next else ""
    return Reply(f"That is all that was written for me about {topic.title}.{following}", topic.id)


def _dont_know(text: str) -> str:
    near = [match.topic.title for match in _index().search(text, limit=3) if NEAR <= match.score < THRESHOLD]
    nearest = f" The nearest things I do know: {'; '.join(near)}." if near else ""
    return (
        f"I don't know.{nearest}\n\n"
        "I am Holdfast's built-in responder: I look up answers that people wrote, and I am not a language model. "
        "I can explain Holdfast (lanes, states, rounds, bundles, the command line, connecting a real model), "
        'calculate, and convert units. For anything else, connect a model; ask me "how do I connect a model?".'
    )
