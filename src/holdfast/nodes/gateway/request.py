"""What a caller asks: strict parsing of a request into an :class:`Ask`, with its parts committed.

Everything a client can send is either used, passed on, or refused here; nothing is dropped silently. The ``holdfast``
member of a request is the caller's word to us: it is bound as part of the request and not sent on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote_to_bytes

from holdfast.core import canonical
from holdfast.core.admissions import Presented
from holdfast.core.canonical import NumberText
from holdfast.core.content_credentials import REWRITE as CREDENTIALS
from holdfast.core.context import REWRITE, Block, add_context
from holdfast.core.decisions import MAX_TEXT
from holdfast.core.dialects import Dialect, Prepared
from holdfast.core.dialects.openai import PLAIN
from holdfast.core.files import REWRITE as FILES
from holdfast.core.images import parse_request
from holdfast.core.inference import parse_inference
from holdfast.core.memory import is_text
from holdfast.core.messages import ENDPOINT as MESSAGES
from holdfast.core.messages.request import REWRITE as TRANSLATED
from holdfast.core.messages.request import Chat, to_chat
from holdfast.core.opengradient import ENDPOINTS as SIGNED
from holdfast.core.parts import CARRIER_PREFIX, MAX_PARTS, Commitment, commit_parts, map_parts, pseudo_random_key
from holdfast.core.statements import SETTLEMENTS, is_code, is_nonce, is_run_id
from holdfast.core.texts import parse_texts
from holdfast.core.vectors import ENDPOINT as VECTORS
from holdfast.core.vectors import parse_vectors_request
from holdfast.errors import MalformedError, UsageError
from holdfast.nodes.gateway.admit_tool import OFFERED, check_tools, offer_tool, parse_offer
from holdfast.nodes.gateway.admit_tool import Offer as AdmitOffer
from holdfast.nodes.gateway.admitting import Reference, Taken, parse_asked, put_in
from holdfast.nodes.gateway.attaching import Attached
from holdfast.nodes.gateway.opengradient import (
    SETTLEMENT_HEADER,
    Signs,
    ask_usage,
    change_sent,
    hash_request,
    parse_settlement,
)
from holdfast.review.events import parse_text
from holdfast.verifier.route_policy import RoutePolicy, parse_route_policy

COMPUTED = ("inference", "embeddings", "classifications")
"""Endpoints whose models an inference node runs (``inference.md``)."""
IMAGES = "images.generations"
"""The endpoint whose answers are images (``images.md``)."""
OPTION_HEADERS = {
    b"x-holdfast-nonce": "nonce",
    b"x-holdfast-parent": "parent_run",
    b"x-holdfast-queue": "queue",
    b"x-holdfast-sealed": "sealed",
    b"x-holdfast-settlement": "settlement",
    b"x-holdfast-subject": "subject",
}
"""Headers that say the same as members of the ``holdfast`` field."""
MEMORY_KEY = b"x-holdfast-memory-key"
"""The header with a user's key at the memory node (``recall.md`` §5(1)): no part of the request."""
_MEMBERS = frozenset(
    {
        *OPTION_HEADERS.values(),
        "admissions",
        "admit",
        "cache",
        "credentials",
        "decision_rule",
        "memory",
        "require_parameters",
        "route",
    }
)
ROUTE_HEADER = b"x-holdfast-route"
"""The header with a conversation's route policy (``routes.md`` §2), which holds beside the request's own."""
_RULES = ("rule", "threshold", "framing")
_SEALED = {"true": True, "false": False}
"""How the header says it."""


_PERCENT = re.compile(rb"(?:[\x20-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})*")
_MAY_OPEN = re.compile(rb"(?i)admission|\\\\u00")
"""A text that holds no block's mark, and no escape that could spell one, needs no closer look."""
_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""JSON strings, the last one also where it has no end. Possessive, so that no text makes it go back."""


@dataclass(frozen=True, slots=True)
class MemoryAsk:
    """Memory that a request asks for (``recall.md`` §5(1))."""

    user: str
    """Whose rows."""
    recall: bool = True
    """Whether rows are carried in."""
    remember: bool = False
    """Whether what the user says is handed over afterwards."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller asks of Holdfast itself."""

    nonce: str | None
    parent_run: str | None
    settlement: str
    queue: str | None = None
    """The review queue that takes the run in; in every settlement mode, for a private run's statements can be reviewed
    too."""
    sealed: bool = False
    """Whether the answer stays closed until the queue's gate lets the case go (``sealed.md`` §5)."""
    subject: str | None = None
    """What the case of the run is about (``case.md`` §1), in the caller's words."""
    memory: MemoryAsk | None = None
    """Rows of memory to be carried in."""
    admissions: tuple[Reference | Presented, ...] = ()
    """Facts from outside that go before the model (``admission.md`` §8)."""
    admit: AdmitOffer | None = None
    """What the model may ask for while it answers."""
    require_parameters: bool = False
    """Whether an upstream that does not heed all of the request's parameters is not to be asked."""
    route: tuple[tuple[str, RoutePolicy], ...] = ()
    """The route policies of its conversation and its own (``routes.md`` §2)."""
    credentials: bool | None = None
    """Whether images are to carry content credentials (``images.md`` §6(4)); None: as the gateway does it."""
    cache: bool = False
    """Whether an answer may be one that is kept (``routes.md`` §8), and may be kept."""


@dataclass(slots=True)
class Ask:
    """A request, parsed: what was asked, decoded (numbers as text), and what Holdfast was asked to do with it."""

    endpoint: str
    text: bytes
    value: dict[str, Any]
    model: str
    streamed: bool
    options: Options
    signed: bytes | None = None
    """Where the answer is to carry OpenGradient's signature: the request hash that it covers."""
    chat: Chat | None = None
    """What a Messages request comes to as a chat (``messages.md`` §2); None for every other."""
    memory_key: str | None = field(default=None, repr=False)
    """The caller's key at the memory node. Passed on, and kept nowhere."""


@dataclass(slots=True)
class BoundRequest:
    """The request document committed under a run's secret."""

    key: bytes
    """Pseudo-random key of the run (``parts.md`` §4)."""
    request: Commitment
    sent: Commitment
    """The same object as ``request`` when nothing was rewritten."""
    sent_text: bytes
    sent_value: dict[str, Any]
    """What ``sent_text`` says."""
    rewrites: tuple[str, ...]
    endpoint: str
    document: dict[str, Any]
    """What is asked, OpenAI-shaped, before the upstream's dialect made ``sent_value`` of it."""
    dialect: Dialect = PLAIN
    path: str = ""
    """Where ``sent_text`` goes, below the upstream's base URL."""
    ignored: tuple[str, ...] = ()
    """Parameters that the upstream is known not to heed."""
    left_out: tuple[str, ...] = ()
    """Those of them that never reach its dialect: they have no place in a chat (``messages.md`` §2(1))."""

    def ignoring(self, prepared: Prepared) -> tuple[str, ...]:
        """All that is not heeded where this is what leaves."""
        return tuple(sorted({*self.left_out, *prepared.ignored}))


def parse_ask(
    endpoint: str,
    text: bytes,
    headers: Mapping[bytes, bytes],
    *,
    default_model: str | None,
    settlement: str,
    signs: Signs = "never",
) -> Ask:
    """Strictly parse one request body; raises ``json.*``, ``request.*`` and, for an answer that is to be signed,
    ``opengradient.*``. ``signs`` says for whom answers are (``spec/opengradient.md`` §9)."""
    refuse_too_many(text)
    value = canonical.decode_exact(text)
    if not isinstance(value, dict):
        raise MalformedError("request.object", "a request body is a JSON object")
    for name in value:
        if name.startswith(CARRIER_PREFIX):  # no part of any document (parts.md §2), yet an upstream would read it
            raise UsageError(
                "request.carrier",
                f"members that begin with {CARRIER_PREFIX} carry evidence in answers; in a request nothing binds them",
                param=name[:64],
                hint="leave it out",
            )
    model = value.get("model", default_model)
    if not _is_text(model) or not model:
        raise MalformedError("request.model", "model is a string", param="model", hint="GET /v1/models lists them")
    streamed = value.get("stream", False)
    if streamed is None:
        streamed = False
    if not isinstance(streamed, bool):
        raise MalformedError("request.stream", "stream is true or false", param="stream")
    if endpoint == "inference":
        parse_inference(value)
    elif endpoint == VECTORS:
        parse_vectors_request(value)
    elif endpoint in COMPUTED:
        parse_texts(endpoint, value)
    elif endpoint == IMAGES:
        parse_request(value)
    elif endpoint in ("chat.completions", MESSAGES):
        _check_messages(value.get("messages"))
    elif not _is_prompt(value.get("prompt")):
        raise MalformedError("request.prompt", "prompt is a string or a list of them", param="prompt")
    options = parse_options(value, headers, settlement)
    chat = to_chat({**value, "model": model}) if endpoint == MESSAGES else None
    if chat is not None and options.admit is not None:
        raise UsageError("request.admit", "only a chat can ask while it answers", param="holdfast.admit")
    if options.memory is not None and endpoint != "chat.completions":
        raise UsageError("request.memory", "memory is carried into chats", param="holdfast.memory")
    if streamed and endpoint in (*COMPUTED, IMAGES):
        what = "images come" if endpoint == IMAGES else "what a model computes comes"
        raise UsageError("request.stream", f"{what} in one piece", param="stream", hint="leave stream out")
    if endpoint in COMPUTED:
        if value.get("mode") == "ZKML" and options.settlement == "private":
            raise UsageError(
                "infer.private",
                "a proof shows inputs and outputs to full nodes; a private run shows nothing",
                param="mode",
            )
        return Ask(endpoint, text, value, model, streamed, options)
    wanted = endpoint in SIGNED and (signs == "always" or (signs == "asked" and SETTLEMENT_HEADER in headers))
    signed = hash_request(endpoint, {**value, "model": model}) if wanted and not options.sealed else None
    key = headers[MEMORY_KEY].decode("latin-1") if MEMORY_KEY in headers else None
    return Ask(endpoint, text, value, model, streamed, options, signed, chat, key)


def refuse_too_many(text: bytes) -> None:
    """Refuse what must have too many parts before seconds are spent on parsing it: every comma outside strings stands
    between two of them."""
    if text.count(b",") >= MAX_PARTS and _STRINGS.sub(b"", text).count(b",") >= MAX_PARTS:
        raise MalformedError("parts.count", f"a document has at most {MAX_PARTS} parts")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not isinstance(value, NumberText)


def _is_prompt(value: object) -> bool:
    if isinstance(value, list):
        return bool(value)
    return _is_text(value)


def _check_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise MalformedError("request.messages", "messages is a list of at least one message", param="messages")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or not _is_text(message.get("role")):
            raise MalformedError(
                "request.messages", "a message is an object with a role", param=f"messages.{number}.role"
            )


def parse_options(value: dict[str, Any], headers: Mapping[bytes, bytes], settlement: str) -> Options:
    """What headers and the member ``holdfast`` of a request ask of Holdfast; raises ``request.*``."""
    given = value.get("holdfast", {})
    if not isinstance(given, dict):
        raise MalformedError("request.holdfast", "holdfast is an object", param="holdfast")
    found: dict[str, object] = dict(given)
    for header, name in OPTION_HEADERS.items():
        if header in headers:
            word = _word(name, headers[header])
            if found.get(name, word) != word:
                raise UsageError("request.conflict", f"header and body disagree about {name}", param=f"holdfast.{name}")
            found[name] = word
    if SETTLEMENT_HEADER in headers:
        theirs = parse_settlement(headers[SETTLEMENT_HEADER])
        if found.setdefault("settlement", theirs) != theirs:
            message = "X-SETTLEMENT-TYPE and holdfast.settlement disagree"
            raise UsageError("request.conflict", message, param="holdfast.settlement")
    unknown = found.keys() - _MEMBERS
    if unknown:
        name = min(unknown)
        raise UsageError("request.holdfast", f"holdfast has no member {name!r}", param=f"holdfast.{name}")
    nonce, parent_run = found.get("nonce"), found.get("parent_run")
    if nonce is not None and not (is_nonce(nonce) and _is_text(nonce)):
        raise MalformedError(
            "request.nonce", "a nonce is 16 to 64 letters, digits, hyphens or underscores", param="holdfast.nonce"
        )
    if parent_run is not None and not (is_run_id(parent_run) and _is_text(parent_run)):
        raise MalformedError("request.parent_run", "parent_run is a run id", param="holdfast.parent_run")
    queue = found.get("queue")
    if queue is not None and not (is_code(queue) and _is_text(queue)):
        raise MalformedError("request.queue", "queue is the name of a review queue: a code", param="holdfast.queue")
    subject = _subject(found.get("subject"), queue)
    mode = found.get("settlement", settlement)
    if mode not in SETTLEMENTS:
        raise MalformedError(
            "request.settlement", f"settlement is one of {', '.join(SETTLEMENTS)}", param="holdfast.settlement"
        )
    _check_rule(found.get("decision_rule"))
    sealed = found.get("sealed", False)
    if not isinstance(sealed, bool):
        raise MalformedError("request.sealed", "sealed is true or false", param="holdfast.sealed")
    if sealed and (queue is None or mode != "batch" or value.get("stream")):
        raise UsageError(
            "request.sealed",
            "a sealed answer belongs to a queue, comes in one piece and settles in batches",
            hint="name a queue, leave stream out, and settle batch",
            param="holdfast.sealed",
        )
    required = found.get("require_parameters", False)
    if not isinstance(required, bool):
        raise MalformedError(
            "request.parameters", "require_parameters is true or false", param="holdfast.require_parameters"
        )
    return Options(
        nonce if isinstance(nonce, str) else None,
        parent_run if isinstance(parent_run, str) else None,
        str(mode),
        queue if isinstance(queue, str) else None,
        sealed,
        subject,
        _memory(found.get("memory"), mode),
        _admissions(found.get("admissions"), value),
        _admit(found.get("admit"), value),
        required,
        _route(found.get("route"), headers, streamed=bool(value.get("stream"))),
        _credentials(found.get("credentials")),
        _cache(found.get("cache")),
    )


def _credentials(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise MalformedError("request.credentials", "credentials is true or false", param="holdfast.credentials")
    return value


def _cache(value: object) -> bool:
    if value is not None and not isinstance(value, bool):
        raise MalformedError("request.cache", "cache is true or false", param="holdfast.cache")
    return bool(value)


def _route(asked: object, headers: Mapping[bytes, bytes], *, streamed: bool) -> tuple[tuple[str, RoutePolicy], ...]:
    """The policies of a conversation and of a request. Raises ``route.fields`` or ``route.stream``."""
    given: list[tuple[str, RoutePolicy]] = []
    if ROUTE_HEADER in headers:
        given.append(("conversation", parse_route_policy(canonical.decode_exact(headers[ROUTE_HEADER]))))
    if asked is not None:
        given.append(("request", parse_route_policy(asked)))
    if streamed:
        refuse_streamed(policy for _, policy in given)
    return tuple(given)


def refuse_streamed(policies: Iterable[RoutePolicy]) -> None:
    """No lane of a run can hold before its first byte (``routes.md`` §6). Raises ``route.stream``."""
    if any(policy.show_after for policy in policies):
        raise UsageError(
            "route.stream",
            "lanes have to hold before the answer is shown, and a stream is shown as it comes",
            hint="ask for the answer in one piece, or take show_after out of the route policy",
            param="stream",
        )


def _memory(value: object, settlement: object) -> MemoryAsk | None:
    """What a request asks of memory (``recall.md`` §5(1), §5(3))."""
    if value is None:
        return None
    wanted = value.keys() - {"user"} if isinstance(value, dict) else set()
    if not isinstance(value, dict) or not wanted or not wanted <= {"recall", "remember"} or "user" not in value:
        raise _no_memory()
    if any(value[name] is not True for name in wanted):
        raise _no_memory()
    user = value["user"]
    if not _is_text(user) or not is_text(user, 256):
        raise MalformedError("request.memory", "user is 1 to 256 bytes of text", param="holdfast.memory.user")
    if settlement == "individual":
        raise UsageError(
            "request.memory",
            "individual settlement publishes what is asked, and memory is not published",
            param="holdfast.memory",
        )
    return MemoryAsk(user, "recall" in wanted, "remember" in wanted)


def _no_memory() -> MalformedError:
    says = "memory is an object of user, and recall, remember or both, each true"
    return MalformedError("request.memory", says, param="holdfast.memory")


def _admit(asked: object, value: Mapping[str, Any]) -> AdmitOffer | None:
    if asked is None:
        return None
    if not isinstance(value.get("messages"), list) or value.get("n", "1") not in (None, "1"):
        raise UsageError(
            "request.admit", "only a chat with one choice can ask while it answers", param="holdfast.admit"
        )
    check_tools(value.get("tools"))
    return parse_offer(asked)


def _admissions(asked: object, value: Mapping[str, Any]) -> tuple[Reference | Presented, ...]:
    if asked is None:
        return ()
    if not isinstance(value.get("messages"), list):
        raise UsageError(
            "request.admissions", "only what has messages has a place for admissions", param="holdfast.admissions"
        )
    try:
        return parse_asked(asked)
    except MalformedError as error:
        raise MalformedError("request.admissions", error.message, param="holdfast.admissions") from error


def _check_rule(rule: object) -> None:
    """What a decision about the run is to be made by (``statement.md`` §4.3(5)): bound as it stands, for reviewers."""
    if rule is None:
        return
    if not isinstance(rule, dict) or not rule or not rule.keys() <= set(_RULES):
        raise MalformedError(
            "request.decision_rule",
            f"decision_rule is an object of any of {', '.join(_RULES)}",
            param="holdfast.decision_rule",
        )
    for name, text in rule.items():
        if not _is_text(text) or not 0 < len(text) <= MAX_TEXT:
            raise MalformedError(
                "request.decision_rule",
                f"{name} is a text of 1 to {MAX_TEXT} characters",
                param=f"holdfast.decision_rule.{name}",
            )


def _word(name: str, header: bytes) -> object:
    """What a header says, as the member of the body would."""
    if name == "subject":
        return _subject_of(header)
    text = header.decode("latin-1")
    return _SEALED.get(text, text) if name == "sealed" else text


def _subject_of(header: bytes) -> str:
    """A subject from its header: percent-encoded UTF-8 (RFC 3986 §2.1), one spelling of nothing but ASCII."""
    if _PERCENT.fullmatch(header) is None:
        hint = "encode everything but visible ASCII, and the percent sign, as %XX of its UTF-8 bytes"
        raise MalformedError("request.subject", "this header is not percent-encoded", param="subject", hint=hint)
    try:
        return unquote_to_bytes(header).decode()
    except UnicodeDecodeError as error:
        raise MalformedError("request.subject", "this header is no UTF-8", param="subject") from error


def _subject(value: object, queue: object) -> str | None:
    """What a case is about, as the panel takes it in (``case.md`` §1). Raises ``request.subject``."""
    if value is None:
        return None
    if queue is None:
        hint = "name the queue too, with x-holdfast-queue"
        raise UsageError(
            "request.subject", "a subject is of a case, and this run opens none", param="subject", hint=hint
        )
    if not _is_text(value):
        raise MalformedError("request.subject", "subject is a text", param="holdfast.subject")
    try:
        return parse_text(value, "subject")
    except MalformedError as error:
        raise MalformedError("request.subject", error.message, param="holdfast.subject") from error


def bind_request(
    ask: Ask,
    run: str,
    secret: bytes,
    provider_model: str,
    *,
    paid: bool = False,
    blocks: Sequence[Block] = (),
    taken: Sequence[Taken] = (),
    attached: Attached | None = None,
    dialect: Dialect = PLAIN,
    credited: bool = False,
) -> BoundRequest:
    """Commit the request and what is sent on. ``provider_model`` is what the upstream calls the model, ``dialect`` how
    it wants to be asked; a run that is ``paid`` for has to report what it used; ``blocks`` are what was looked up for
    it, ``taken`` what was admitted from outside, ``attached`` what its files come to; ``credited`` says that its images
    get content credentials.

    Nothing is rewritten unless it must be: then the sent document is one of its own and says why. Raises
    ``request.dialect`` for what this upstream cannot be asked, and ``request.parameters`` where the caller requires
    parameters that it does not heed.
    """
    key = pseudo_random_key(run, secret)
    request = commit_parts("request", map_parts("request", ask.value), key)
    rewrites = []
    sent_value = ask.value
    if ask.chat is not None:
        sent_value = ask.chat.document
        rewrites.append(TRANSLATED)
    if "holdfast" in sent_value:
        sent_value = {name: item for name, item in sent_value.items() if name != "holdfast"}
        rewrites.append("holdfast-removed")
    if attached is not None:
        sent_value = {**sent_value, "messages": attached.messages}
        blocks = [*blocks, *attached.blocks]
        rewrites.append(FILES)
    if taken or attached is not None or _MAY_OPEN.search(ask.text):
        sent_value, changed = put_in(sent_value, taken)
        rewrites += changed
    if ask.options.admit is not None:
        sent_value = offer_tool(sent_value, ask.options.admit)
        rewrites.append(OFFERED)
    if blocks:
        sent_value = {**sent_value, "messages": add_context(sent_value["messages"], blocks)}
        rewrites.append(REWRITE)
    if ask.signed is not None:
        sent_value, changed = change_sent(sent_value)
        rewrites += changed
    elif paid:
        sent_value, changed = ask_usage(sent_value)
        rewrites += changed
    if sent_value.get("model") != provider_model:
        sent_value = {**sent_value, "model": provider_model}
        rewrites.append("model")
    if credited:
        rewrites.append(CREDENTIALS)
    endpoint, left_out = (ask.endpoint, ()) if ask.chat is None else ("chat.completions", ask.chat.ignored)
    bound = BoundRequest(
        key,
        request,
        request,
        ask.text,
        ask.value,
        tuple(rewrites),
        endpoint,
        sent_value,
        dialect,
        left_out=left_out,
    )
    return _prepare(bound, ask.options.require_parameters)


def bind_again(bound: BoundRequest, document: dict[str, Any], rewrites: Sequence[str]) -> BoundRequest:
    """The same request with another document for the upstream: of the next turn of a model that asked for facts."""
    found = tuple(dict.fromkeys((*bound.rewrites, *rewrites)))
    return _prepare(replace(bound, document=document, rewrites=found))


def _prepare(bound: BoundRequest, required: bool = False) -> BoundRequest:
    """Have the dialect make of the document what leaves, and commit that."""
    prepared = bound.dialect.prepare(bound.endpoint, bound.document)
    ignored = bound.ignoring(prepared)
    if required and ignored:
        raise UsageError(
            "request.parameters",
            f"the upstream of this model does not heed {', '.join(ignored)[:200]}",
            param=ignored[0][:64],
            hint="leave it out, ask another model, or do not require it",
        )
    more = replace(bound, path=prepared.path, ignored=ignored)
    found = tuple(dict.fromkeys((*bound.rewrites, *prepared.rewrites)))
    if not found:
        return more
    sent = commit_parts("sent", map_parts("sent", prepared.document), bound.key)
    text = canonical.encode_exact(prepared.document)
    return replace(more, sent=sent, sent_text=text, sent_value=prepared.document, rewrites=found)
