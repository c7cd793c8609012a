"""Claims in what people say, found by fixed rules (``spec/memory.md`` §9): no model, the same answer every time.

Rules: only what the user says about themselves is found, sentence by sentence, in the first person or after *remember
that*. What has one value at a time (a home, an employer) gets a slot and one spelling, so that a later claim can
contradict it; everything else stays in its owner's words. Questions and what is put after *if* are no claims.

Not covered: other languages than English, what is said about others, and anything between the lines.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.core.encoding import sha256_hex
from holdfast.core.memory import FRESH_DAYS, KINDS, MAX_CLAIM_BYTES
from holdfast.core.statements import is_code
from holdfast.errors import MalformedError

LANES = {"user": "user_said", "assistant": "model_inferred", "tool": "tool_returned"}
"""Whose words a message of a conversation holds, by its role. Others hold none that are kept."""
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_FIRST_PERSON = re.compile(r"\b(?:i|i'm|i've|i'd|i'll|my|me|mine)\b", re.IGNORECASE)
_NO_CLAIM = re.compile(
    r"\?\s*\Z|\A\s*(?:if|suppose|imagine|what if|should i|could you|can you|please)\b", re.IGNORECASE
)
_REMEMBER = re.compile(r"\A\s*(?:please\s+)?remember(?:\s+that|:)?\s+(?P<what>.+?)[.!]*\s*\Z", re.IGNORECASE)
_AFTER = r"(?:\s+(?:now|these days|at the moment|since\b.*|because\b.*|but\b.*|and (?:i|my)\b.*))?"
"""What may follow a value and is no part of it."""
_VALUE = rf"(?P<value>[^,;.!?]{{1,120}}?){_AFTER}\s*[,;.!?]*\s*\Z"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as text."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A claim that may become a row."""

    claim: str
    kind: str
    categories: tuple[str, ...]
    slot: str | None
    lane: str
    """Whose words the span holds."""
    writer: str
    """Whose words the claim is."""
    span: str
    """SHA-256 of the span's UTF-8 bytes, hex."""


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    claim: str
    slot: str
    category: str


def _rule(pattern: str, claim: str, slot: str, category: str) -> _Rule:
    return _Rule(re.compile(rf"\b{pattern}\s+{_VALUE}", re.IGNORECASE), claim, slot, category)


_RULES = (
    _rule(r"my (?:full )?name is", "Is called {}.", "name", "identity"),
    _rule(r"(?:please )?call me", "Wants to be called {}.", "called", "identity"),
    _rule(r"i (?:now |currently )?live in", "Lives in {}.", "home", "identity"),
    _rule(r"i(?: have|'ve)? (?:just )?moved to", "Lives in {}.", "home", "identity"),
    _rule(r"i(?: a|')m (?:living|based) in", "Lives in {}.", "home", "identity"),
    _rule(r"i (?:now |currently )?work (?:at|for)", "Works at {}.", "employer", "career"),
    _rule(r"i (?:now |currently )?work as an?", "Works as {}.", "occupation", "career"),
    _rule(r"my (?:job title|job|occupation|profession) is", "Works as {}.", "occupation", "career"),
    _rule(r"my (?:birthday|date of birth) is(?: on)?", "Was born on {}.", "birthday", "identity"),
    _rule(r"i was born (?:on|in)", "Was born on {}.", "birthday", "identity"),
    _rule(r"my (?:email|e-mail)(?: address)? is", "Has the e-mail address {}.", "email", "identity"),
    _rule(r"my (?:phone|telephone|mobile)(?: number)? is", "Has the phone number {}.", "phone", "private"),
    _rule(r"my (?:wife|husband|partner|spouse) is(?: called)?", "Has the partner {}.", "partner", "relationships"),
    _rule(r"my (?:native|first) language is", "Has the first language {}.", "first-language", "identity"),
    _rule(r"my time ?zone is", "Has the time zone {}.", "time-zone", "identity"),
)
_FAVOURITE = re.compile(rf"\bmy favou?rite\s+(?P<what>[a-z][a-z ]{{1,30}}?) is\s+{_VALUE}", re.IGNORECASE)
_WORDS: tuple[tuple[str, str], ...] = (
    ("health", r"allerg\w*|diet\w*|vegan|vegetarian|doctor|medic\w*|sleep\w*|diabet\w*|asthma|pregnan\w*|symptom\w*"),
    ("finance", r"budget\w*|mortgage|salary|invest\w*|savings?|loan\w*|bank\w*|pension|debts?|tax\w*"),
    ("career", r"job|work\w*|employ\w*|boss|colleague\w*|career|engineer|manager|company|office|startup"),
    ("learning", r"learn\w*|stud(?:y|ies|ying)|course\w*|degree|university|exam\w*|read(?:ing)? about"),
    ("travel", r"travel\w*|trips?|flight\w*|fly(?:ing)?|holiday\w*|vacation|hotel\w*|visa|train to"),
    ("relationships", r"wife|husband|partner|daughter|son|kids?|child(?:ren)?|mother|father|friends?|sister|brother"),
    ("productivity", r"deadline\w*|meeting\w*|todo|to-do|project\w*|tasks?|remind\w*|schedule\w*|sprint"),
    ("interests", r"like|love|enjoy|hate|prefer|favou?rite|hobb\w*|play(?:ing)?|watch(?:ing)?|listen\w*|collect\w*"),
    ("identity", r"name|born|nationality|religio\w*|language\w*|live|married"),
)
_CATEGORIES = tuple((name, re.compile(rf"\b(?:{words})\b", re.IGNORECASE)) for name, words in _WORDS)
_EPISODIC = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|this (?:week|month|morning|evening|weekend)|next (?:week|month)|right now|"
    r"currently|at the moment|i'm (?:trying|planning|preparing|working on|looking for)|deadline)\b",
    re.IGNORECASE,
)


def extract_claims(messages: Sequence[Message]) -> tuple[Candidate, ...]:
    """Claims in what the user says, in order, each once."""
    found: dict[str, Candidate] = {}
    for message in messages:
        if message.role == "user":
            for match in _SENTENCE.finditer(message.content):
                candidate = _claim_in(match[0].strip())
                if candidate is not None:
                    found.setdefault(candidate.claim, candidate)
    return tuple(found.values())


def _claim_in(sentence: str) -> Candidate | None:
    told = _REMEMBER.match(sentence)
    if told is not None:
        return _candidate(sentence, *(_slotted(told["what"]) or (told["what"], None, None)))
    if _NO_CLAIM.search(sentence) or not _FIRST_PERSON.search(sentence) or len(sentence.split()) < 3:
        return None
    return _candidate(sentence, *(_slotted(sentence) or (sentence, None, None)))


def _slotted(sentence: str) -> tuple[str, str | None, str | None] | None:
    """The claim in one spelling, its slot and its category, where a rule knows it."""
    for rule in _RULES:
        match = rule.pattern.search(sentence)
        if match is not None:
            return rule.claim.format(match["value"].strip()), rule.slot, rule.category
    match = _FAVOURITE.search(sentence)
    if match is None:
        return None
    what = " ".join(match["what"].lower().split())
    return f"Has the favourite {what} {match['value'].strip()}.", f"favourite-{what.replace(' ', '-')}", "interests"


def _candidate(sentence: str, claim: str, slot: str | None, category: str | None) -> Candidate | None:
    if len(claim.encode()) > MAX_CLAIM_BYTES:
        return None
    kind = "episodic" if slot is None and _EPISODIC.search(sentence) else "semantic"
    categories = (category,) if category is not None else categories_of(claim)
    return Candidate(claim, kind, categories, slot, "user_said", "user_said", sha256_hex(sentence.encode()))


def categories_of(claim: str) -> tuple[str, ...]:
    """Categories by the words of a claim, at most two of them, sorted."""
    found = [name for name, words in _CATEGORIES if words.search(claim)]
    return tuple(sorted(found[:2]))


def parse_claims(value: Any, messages: Sequence[Message]) -> tuple[Candidate, ...]:
    """What a model says that it found: an object with exactly ``memories``, a list of objects with exactly ``message``
    (index), ``quote``, ``kind``, ``categories`` and ``slot``. A claim is the quote, word for word: one that does not
    stand in its message is left out, so a model can choose and cannot put words into anybody's mouth.

    Raises ``memory.extraction`` for another form.
    """
    if not isinstance(value, dict) or not isinstance(value.get("memories"), list):
        raise _no_claims("the answer is an object with a list of memories")
    found: dict[str, Candidate] = {}
    for item in value["memories"]:
        candidate = _parse_claim(item, messages)
        if candidate is not None:
            found.setdefault(candidate.claim, candidate)
    return tuple(found.values())


def _parse_claim(item: Any, messages: Sequence[Message]) -> Candidate | None:
    if not isinstance(item, dict) or not {"message", "quote"} <= item.keys():
        raise _no_claims("each memory names a message and a quote")
    index, quote = item["message"], item["quote"]
    if type(index) is not int or not isinstance(quote, str):
        raise _no_claims("message is a number and quote is text")
    if not 0 <= index < len(messages) or not 0 < len(quote.strip().encode()) <= MAX_CLAIM_BYTES:
        return None
    message, quote = messages[index], quote.strip()
    lane = LANES.get(message.role)
    if lane is None or quote not in message.content:
        return None
    given = item.get("categories")
    categories = {name for name in given if name in FRESH_DAYS} if isinstance(given, list) else set()
    kind = item.get("kind") if item.get("kind") in KINDS else "semantic"
    slot = item.get("slot") if is_code(item.get("slot")) else None
    return Candidate(quote, str(kind), tuple(sorted(categories)), slot, lane, lane, sha256_hex(quote.encode()))


def _no_claims(message: str) -> MalformedError:
    return MalformedError("memory.extraction", message, hint="see the model's answer in the node's log", status=502)
