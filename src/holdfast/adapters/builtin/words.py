"""From text to words, stems and tokens: small English rules, no tables to download.

The stemmer over-stems on purpose; it only has to send the forms of one word to one place inside a corpus of a few
thousand sentences.
"""

from __future__ import annotations

import re
import unicodedata

_WORD = re.compile(r"[a-z0-9]+(?:[.'][a-z0-9]+)*")
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s])|\s+\Z")

IRREGULAR = {
    "proof": "prov",
    "proofs": "prov",
    "ran": "run",
    "saw": "see",
    "seen": "see",
    "said": "say",
    "kept": "keep",
    "paid": "pay",
    "made": "mak",
    "sent": "send",
    "known": "know",
    "knew": "know",
    "stood": "stand",
    "done": "do",
    "does": "do",
    "did": "do",
    "has": "hav",
    "had": "hav",
    "was": "be",
    "were": "be",
    "is": "be",
    "are": "be",
    "am": "be",
    "'s": "be",
    "been": "be",
    "went": "go",
    "gone": "go",
    "took": "tak",
    "taken": "tak",
    "wrote": "writ",
    "written": "writ",
    "lost": "los",
    "told": "tell",
    "meant": "mean",
    "thanks": "thank",
    "bye": "bye",
    "keys": "key",
    "payment": "pay",
    "payments": "pay",
    "payer": "pay",
    "user": "us",
    "users": "us",
    "voter": "vot",
    "action": "act",
    "option": "option",
    "options": "option",
    "people": "person",
    "ai": "ai",
    "chose": "choos",
    "chosen": "choos",
    "stolen": "steal",
    "broke": "break",
    "broken": "break",
    "setup": "setup",
    "sums": "sum",
    "statement": "statement",
    "statements": "statement",
    "signature": "sign",
    "signatures": "sign",
    "proven": "prov",
    "finality": "final",
    "finalise": "final",
    "finalised": "final",
    "finalize": "final",
    "finalized": "final",
    "finalises": "final",
    "finalizes": "final",
    "privacy": "privat",
    "private": "privat",
    "privately": "privat",
    "attester": "attester",
    "attesters": "attester",
    "verifier": "verifier",
    "admission": "admit",
    "admissions": "admit",
    "analysis": "analys",
    "refutation": "refut",
    "colour": "color",
    "colours": "color",
    "licence": "licens",
}
"""Forms that the suffix rules would send elsewhere."""

CONTRACTIONS = {
    "what's": "what is",
    "whats": "what is",
    "who's": "who is",
    "where's": "where is",
    "how's": "how is",
    "it's": "it is",
    "that's": "that is",
    "i'm": "i am",
    "i've": "i have",
    "you're": "you are",
    "don't": "do not",
    "dont": "do not",
    "doesn't": "does not",
    "doesnt": "does not",
    "can't": "can not",
    "cant": "can not",
    "cannot": "can not",
    "won't": "will not",
    "isn't": "is not",
    "aren't": "are not",
    "didn't": "did not",
    "couldn't": "could not",
    "let's": "let us",
    "u": "you",
    "ur": "your",
    "pls": "please",
    "plz": "please",
}

_SUFFIXES = (
    "ifications",
    "ification",
    "izations",
    "ization",
    "ations",
    "ation",
    "ments",
    "ment",
    "ities",
    "ity",
    "ings",
    "ing",
    "ions",
    "ion",
    "iers",
    "ier",
    "ifies",
    "ify",
    "ers",
    "er",
    "ies",
    "ied",
    "ed",
    "able",
    "ible",
    "ly",
    "es",
    "s",
    "e",
    "y",
)
_MIN_STEM = 3
_MIN_LONG_STEM = 5
_LONG = frozenset(
    {"ation", "ations", "ion", "ions", "ment", "ments", "able", "ible", "er", "ers", "ly", "ity", "ities"}
)
"""Suffixes that belong to the word itself when little is left before them: "station", "paper", "table"."""


def words(text: str) -> list[str]:
    """Lower-case ASCII-folded words in order, contractions written out."""
    folded = unicodedata.normalize("NFKD", text.replace("\u2019", "'")).encode("ascii", "ignore").decode().lower()
    found: list[str] = []
    for word in _WORD.findall(folded.replace("_", " ").replace("-", " ")):
        written_out = CONTRACTIONS.get(word)
        if written_out is not None:
            found += written_out.split()
        elif word.endswith("'s"):
            found.append(word[:-2])
        else:
            found.append(word.replace("'", ""))
    return found


def stem(word: str) -> str:
    """The shared beginning of a word's forms: ``verify``, ``verified``, ``verification`` give ``verif``."""
    fixed = IRREGULAR.get(word)
    if fixed is not None:
        return fixed
    if len(word) <= _MIN_STEM or word[0].isdigit():
        return word
    for suffix in _SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= _MIN_STEM:
            if suffix == "s" and word.endswith(("ss", "us", "is")):
                return word
            base = word[: -len(suffix)]
            if len(base) < _MIN_LONG_STEM and suffix in _LONG:
                continue
            if suffix in {"ification", "ifications", "ify", "ifies", "ier", "iers", "ied", "ies"}:
                return base + ("if" if suffix.startswith("if") else "i").removesuffix("i")
            if len(base) > _MIN_STEM and base[-1] == base[-2] and base[-1] not in "lsez":
                base = base[:-1]
            return base.removesuffix("e") if len(base) > _MIN_STEM else base
    return word


def tokens(text: str) -> list[str]:
    """The responder's tokens: a word or one other sign, each with the white space before it. They join to ``text``."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """How many :func:`tokens` a text has; what ``usage`` counts and ``max_tokens`` limits."""
    return len(_TOKEN.findall(text))
