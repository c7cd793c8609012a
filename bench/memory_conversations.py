"""Conversations for measuring recall: many sessions, dated, with questions that known turns answer.

Made by this script from a seed and nothing else, in the shape of LoCoMo (Maharana et al. 2024): two people talk over
a year and a half; questions are of four kinds, and each names the turns that hold its answer, so nobody has to judge.

* ``single``: one turn says it, in other words than the question.
* ``temporal``: several turns are alike, and the question says when.
* ``hop``: one turn names somebody, another says something of them.
* ``update``: something changed; the newer turn is right, the older is stale.

Most turns are small talk. ``junk`` are the turns that answer nothing.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, field

START = dt.datetime(2024, 7, 1, 9, tzinfo=dt.UTC)
NAMES = (
    "Ada",
    "Bram",
    "Cleo",
    "Dina",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "Jule",
    "Kai",
    "Lena",
    "Milo",
    "Nora",
    "Otis",
    "Pia",
    "Quinn",
    "Rosa",
    "Sven",
    "Tess",
    "Uma",
    "Vito",
    "Wren",
    "Yara",
    "Zeno",
)
SURNAMES = (
    "Abelard",
    "Birkett",
    "Castell",
    "Dvorak",
    "Eklund",
    "Fontane",
    "Grieg",
    "Hollis",
    "Ibarra",
    "Jansson",
    "Kessler",
    "Lindqvist",
    "Moreau",
    "Nyberg",
    "Okafor",
    "Pelletier",
    "Quist",
    "Rautio",
    "Sandoval",
    "Thibault",
    "Ueda",
    "Varga",
)
KIN = ("sister", "brother", "cousin", "neighbour", "flatmate", "boss")
CITIES = ["Lisbon", "Ghent", "Porto", "Turin", "Malmo", "Graz", "Bergen", "Lyon", "Cork", "Tartu", "Leiden", "Bilbao"]
JOBS = ("nurse", "welder", "translator", "beekeeper", "tram driver", "chemist", "luthier", "pilot", "baker", "surveyor")
HOBBIES = (
    ("plays the cello", "Which instrument does {} play?"),
    ("collects old maps", "What does {} collect?"),
    ("bakes sourdough on Sundays", "What does {} bake?"),
    ("is learning Estonian", "Which language is {} studying?"),
    ("restores wooden boats", "What does {} repair as a pastime?"),
    ("climbs sea cliffs", "What does {} climb?"),
    ("paints miniature trains", "What does {} paint?"),
    ("keeps two geckos", "Which animals does {} have?"),
)
TRIPS = (
    "hiked across the Dolomites",
    "took a ferry to the Azores",
    "cycled along the Danube",
    "camped near the fjords",
    "joined a pottery class in the hills",
    "ran a half marathon by the sea",
)
TALK = (
    "Good morning, how are you today?",
    "Not bad, thanks. The weather is lovely for once.",
    "Ha, that is so true.",
    "I slept terribly, but the coffee helps.",
    "Did you see the match last night? What a game.",
    "Let me know when you are free to talk.",
    "That sounds great, tell me more about it.",
    "I have to run, speak soon!",
    "The train was late again, of course.",
    "Thanks for listening, it means a lot.",
    "I am thinking about lunch already.",
    "We should really catch up properly one of these days.",
)


@dataclass(frozen=True)
class Turn:
    """One thing that somebody said."""

    id: int
    at: dt.datetime
    text: str


@dataclass(frozen=True)
class Question:
    """A question, when it is asked, and the turns that answer it."""

    kind: str
    text: str
    gold: tuple[int, ...]
    stale: tuple[int, ...] = ()


@dataclass
class Conversations:
    """Everything that was said, and what is asked about it."""

    turns: list[Turn] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    junk: set[int] = field(default_factory=set)
    corrected: dict[int, int] = field(default_factory=dict)
    """A turn that says anew what another said: new to old."""
    end: dt.datetime = START


def make(seed: int, people: int = 20, sessions: int = 60) -> Conversations:
    """Conversations about so many people, in so many sessions over 18 months."""
    chance = random.Random(seed)
    made = Conversations(end=START + dt.timedelta(days=548))
    said: list[tuple[int, str, str]] = []  # (session, key, text)
    asks: list[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = []
    for number in range(people):
        name = f"{NAMES[number % len(NAMES)]}{'' if number < len(NAMES) else ' ' + NAMES[number // len(NAMES)]}"
        _facts(chance, name, number, sessions, said, asks)
    spots: dict[int, list[tuple[str | None, str]]] = {session: [] for session in range(sessions)}
    for session, key, text in said:
        spots[session].append((key, text))
    ids: dict[str, int] = {}
    for session in range(sessions):
        spoken = [*spots[session], *((None, chance.choice(TALK)) for _ in range(2 * len(spots[session]) + 6))]
        chance.shuffle(spoken)
        day = START + dt.timedelta(days=548 * session / sessions)
        for place, (key, text) in enumerate(spoken):
            turn = Turn(len(made.turns), day + dt.timedelta(minutes=place), text)
            made.turns.append(turn)
            if key is None:
                made.junk.add(turn.id)
            else:
                ids[key] = turn.id
    for kind, text, gold, stale in asks:
        filled = text
        for key in gold:
            filled = filled.replace("{month}", made.turns[ids[key]].at.strftime("%B %Y"))
        made.questions.append(Question(kind, filled, tuple(ids[key] for key in gold), tuple(ids[key] for key in stale)))
        if kind == "update":
            made.corrected[ids[gold[0]]] = ids[stale[0]]
    return made


def _facts(
    chance: random.Random,
    name: str,
    number: int,
    sessions: int,
    said: list[tuple[int, str, str]],
    asks: list[tuple[str, str, tuple[str, ...], tuple[str, ...]]],
) -> None:
    def say(key: str, text: str, session: int | None = None) -> str:
        said.append((chance.randrange(sessions) if session is None else session, f"{name}/{key}", text))
        return f"{name}/{key}"

    hobby, question = HOBBIES[number % len(HOBBIES)]
    asks.append(("single", question.format(name), (say("hobby", f"By the way, {name} {hobby}."),), ()))
    job = chance.choice(JOBS)
    asks.append(
        ("single", f"How does {name} earn a living?", (say("job", f"{name} works as a {job} these days."),), ())
    )
    kin, other = (
        chance.choice(KIN),
        f"{chance.choice([item for item in NAMES if item != name])} {SURNAMES[number % len(SURNAMES)]}",
    )
    thing, about = HOBBIES[(number + 3) % len(HOBBIES)]
    first = say("kin", f"{name} introduced me to a {kin}, {other}.")
    second = say("kin fact", f"{other} {thing}, would you believe it.")
    asks.append(("hop", about.format(f"the {kin} of {name}"), (first, second), ()))
    for place, session in enumerate(sorted(chance.sample(range(sessions), 3))):
        trip = TRIPS[(number + place) % len(TRIPS)]
        key = say(f"trip {place}", f"{name} {trip} with some friends.", session)
        asks.append(("temporal", f"What did {name} do in {{month}}?", (key,), ()))
    before, after = chance.sample(CITIES, 2)
    early = chance.randrange(sessions // 2)
    old = say("home", f"{name} has a flat in {before}.", early)
    new = say("new home", f"{name} moved and has a flat in {after}.", chance.randrange(early + 1, sessions))
    asks.append(("update", f"In which city does {name} live now?", (new,), (old,)))
