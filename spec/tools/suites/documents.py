"""parts, fold, marks: parts.md."""

from __future__ import annotations

import copy
from typing import Any

from reference import parts
from reference.cases import Writer
from reference.signing import Ed25519, Node
from reference.text import SpecError, b64, exact_text, jcs, named, parse, unb64

RUN = "019b7651-c000-7000-8000-0123456789ab"
SECRET = named("documents/secret")


def write(out: Writer) -> None:
    """Write the suites."""
    mapping(out)
    disclosure(out)
    folding(out)
    folding_messages(out)
    marks(out)


# --- mapping --------------------------------------------------------------------------------------------------------

ANSWER = """{
 "id": "chatcmpl-1", "object": "chat.completion", "created": 1767225600, "model": "small-1",
 "choices": [{"index": 0, "message": {"role": "assistant", "content": "It holds.", "refusal": null,
   "annotations": []}, "logprobs": null, "finish_reason": "stop"}],
 "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
}"""


def _map_case(
    out: Writer,
    name: str,
    why: str,
    text: str | bytes,
    *,
    document: str = "response",
    section: str = "§3",
    code: str | None = None,
) -> None:
    data = text.encode() if isinstance(text, str) else text
    result = None
    try:
        bound = parts.Bound(parse(data), document, RUN, SECRET)
        result = {
            "root": bound.root.hex(),
            "size": len(bound.parts),
            "parts": [[label, value.decode()] for label, value in bound.parts],
        }
        if len(bound.parts) > 200:
            del result["parts"]
        found = None
    except SpecError as error:
        found = error.code
    if found != code:
        raise SystemExit(f"parts/{name}: expected {code}, the reference says {found}")
    out.case(
        f"parts/{name}",
        why,
        spec=f"parts.md {section}",
        run=["map-parts", "--document", document, "--run", RUN, "--secret", SECRET.hex(), "document.json"],
        expect="malformed" if code else "accept",
        code=code,
        bug="PARSER_DIFFERENCE" if code else None,
        result=result,
        files={"document.json": data},
    )


def mapping(out: Writer) -> None:
    """Documents to labels, bytes and roots."""

    def case(name: str, why: str, text: str | bytes, **more: Any) -> None:
        _map_case(out, name, why, text, **more)

    case("answer", "An ordinary answer: every scalar is a part, so is the empty annotations array.", ANSWER)
    case(
        "message-answer",
        "An answer as a message: texts, thinking, a call and the reason have the types that they have in a chat.",
        """{"id":"m","type":"message","role":"assistant","model":"small-1","content":[
 {"type":"thinking","thinking":"Is it?","signature":"c2ln"},{"type":"redacted_thinking","data":"eA=="},{"type":"text","text":"It holds."},
 {"type":"tool_use","id":"t","name":"f","input":{"a":1.0,"b":{}}}],
 "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":9},"provider_fields":{"created":1}}""",
        section="§5",
    )
    case(
        "message-request",
        "A request as messages: instructions, an image, a call and its result.",
        """{"model":"small-1","max_tokens":9,"system":[{"type":"text","text":"Be brief."}],"messages":[
 {"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}},{"type":"text","text":"What?"}]},
 {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{"a":1}}]},
 {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"x"}]}],"tools":[{"name":"f"}]}""",
        document="request",
        section="§5",
    )
    case(
        "message-request-of-strings",
        "The same where contents and instructions are strings.",
        '{"model":"small-1","system":"Be brief.","messages":[{"role":"user","content":"What?"}]}',
        document="request",
        section="§5",
    )
    shuffled = parse(ANSWER.encode())
    shuffled = dict(reversed(shuffled.items()))
    case(
        "answer-members-in-another-order",
        "The same answer with its members in another order has the same parts and the same root: order of members carries no meaning.",
        exact_text(shuffled),
        section="§3(8)",
    )
    case("empty-document", "An empty object is one part with the empty path.", "{}", section="§3(9)")
    case(
        "only-carriers",
        "What remains after the carriers are gone is an empty object: one part.",
        '{"tee_quote":"x","holdfast":{"run":"y"}}',
        section="§2",
    )
    case("null", "null makes a part.", '{"a":null}', section="§3(1)")
    case(
        "absent", "An absent member makes none; compare the case `null`: the roots differ.", '{"b":1}', section="§3(1)"
    )
    case(
        "empty-array-and-object",
        "Empty containers are parts of their own kinds, so [] and {} and null all differ.",
        '{"a":[],"b":{},"c":[[],{}]}',
        section="§3(3)",
    )
    case(
        "numbers-as-written",
        "Numbers are bound as they were written. A verifier that parses and prints them again would bind other bytes: 1e400 becomes "
        "infinity, 1.00 becomes 1.0, and the large integer loses digits.",
        '{"a":1e400,"b":1.0,"c":1.00,"d":123456789012345678901234567890,"e":-0,"f":1E+2,"g":0.1e-7}',
        section="§3(4)",
    )
    case(
        "same-number-other-spelling",
        "1.0 and 1.00 are different parts bytes: compare the roots of one-zero and two-zeros.",
        '{"a":1.0}',
        section="§3(4)",
    )
    case(
        "same-number-other-spelling-again",
        "1.0 and 1.00 are different part bytes: compare the roots.",
        '{"a":1.00}',
        section="§3(4)",
    )
    case(
        "string-escapes",
        "Escapes are decoded before binding, so two spellings of one string are one part.",
        '{"a":"\\u00fc\\n\\u0000\\/"}',
        section="§3(4)",
    )
    case(
        "string-without-escapes",
        "The same string as in string-escapes where JSON lets it be raw.",
        '{"a":"ü\\n\\u0000/"}',
        section="§3(4)",
    )
    case("unicode-composed", "é as one code point.", '{"a":"é"}', section="§3(4)")
    case(
        "unicode-decomposed",
        "é as e and a combining accent: nothing is normalised, so the root differs from unicode-composed.",
        '{"a":"e\u0301"}',
        section="§3(4)",
    )
    case(
        "unicode-astral",
        "A character outside the BMP, once raw and once as a surrogate pair.",
        '{"a":"😀","b":"\\ud83d\\ude00"}',
        section="§3(4)",
    )
    case(
        "label-order-is-by-bytes",
        "Labels sort by bytes, so type comes before path, /a/10 before /a/2, and U+FF61 before U+10000.",
        '{"a":[0,1,2,3,4,5,6,7,8,9,10],"｡":1,"𐀀":2,"model":"m","B":1,"b":2}',
        section="§3(8)",
    )
    case(
        "pointer-escapes",
        "~ and / in member names are escaped as RFC 6901 says; | needs no escape, since the path comes last.",
        '{"a/b":1,"a~b":2,"a|b":3,"":4,"~1":5}',
        section="§3(2)",
    )
    case(
        "member-that-looks-like-an-index",
        "A member named 0 counts as a decimal segment: a label follows from the path alone. 007 and -1 are not decimal.",
        '{"a":{"0":{"b":1}},"b":{"007":{"1":2}},"c":{"-1":3}}',
        section="§3(5)",
    )
    case(
        "choices-as-an-object",
        "choice is taken from the path, whatever container it runs through.",
        '{"choices":{"0":{"message":{"content":"x"}},"x":{"message":{"content":"y"}}}}',
        section="§3(5)",
    )
    case(
        "choice-and-index",
        "choice from /choices/N, index the first decimal segment after it.",
        '{"choices":[{"index":0,"message":{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}},{"index":1,"message":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}',
        section="§3(5)",
    )
    case(
        "choice-itself",
        "A scalar directly in choices has a choice and no index.",
        '{"choices":["a",[],{}]}',
        section="§3(5)",
    )
    case(
        "unknown-fields",
        "Members nobody has heard of are bound like all others.",
        '{"brand_new":{"nested":[{"deep":true}]},"choices":[{"message":{"x_extra":"y"}}]}',
        section="§5",
    )
    case(
        "carriers",
        "holdfast and tee_* at the top level are removed, deeper they are parts.",
        '{"a":{"holdfast":1,"tee_x":2},"holdfast":{"run":"r"},"tee_":1,"tee_quote":"q","teeth":3}',
        section="§2",
    )
    case(
        "carriers-in-a-request",
        "In a request, holdfast is a part: what a client asks of Holdfast belongs to the question. tee_* is still a carrier.",
        '{"holdfast":{"nonce":"n"},"model":"m","tee_x":1}',
        document="request",
        section="§2",
    )
    case(
        "carriers-in-what-was-sent",
        "In sent, holdfast is a carrier.",
        '{"holdfast":{"nonce":"n"},"model":"m"}',
        document="sent",
        section="§2",
    )
    case(
        "request",
        "A chat request with system prompt, tools, images, audio, a file, tool results, sampling parameters.",
        """{"model":"m","messages":[{"role":"system","content":"Be brief."},{"role":"user","name":"ann","content":[{"type":"text",
        "text":"what?"},{"type":"image_url","image_url":{"url":"data:,"}},{"type":"image_url","image_url":"data:,"},{"type":"input_audio","input_audio":{"data":"AA==",
        "format":"wav"}},{"type":"file","file":{"file_id":"f"}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"t","type":"function",
        "function":{"name":"f","arguments":"{}"}}],"function_call":{"name":"g"}},{"role":"tool","tool_call_id":"t","content":"42"}],
        "tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto","functions":[],"function_call":"none",
        "response_format":{"type":"json_object"},"temperature":0.70,"top_p":1,"stop":null,"n":2,"stream":true}""",
        document="request",
        section="§5",
    )
    case(
        "completions-request",
        "The older endpoint: a prompt, or a list of prompts, is text.",
        '{"model":"m","prompt":["a","b"],"max_tokens":3}',
        document="request",
        section="§5",
    )
    case(
        "completions-prompt-of-tokens",
        "A prompt as nested token lists: /prompt/* is text, deeper is field.",
        '{"prompt":[[1,2],[3]]}',
        document="request",
        section="§5",
    )
    case(
        "every-type-of-answer-part",
        "Each row of the table, in an answer: reasoning, refusal, citations, images, audio, logprobs, fingerprint.",
        """{"model":"m","system_fingerprint":"fp","citations":["u"],"images":[{"b64":"AA=="}],"choices":[{"text":"t","finish_reason":null,
        "logprobs":{"content":[{"token":"a","logprob":-0.10}]},"message":{"role":"assistant","content":"c","reasoning":"r",
        "reasoning_content":"rc","reasoning_details":[{"text":"d"}],"refusal":"no","tool_calls":[],"function_call":{"name":"f","arguments":""},
        "citations":[{"url":"u"}],"annotations":[{"type":"url_citation"}],"images":[{"image_url":{"url":"data:,"}}],"audio":{"data":""}}}],
        "usage":{"total_tokens":1,"prompt_tokens_details":{"cached_tokens":0}}}""",
        section="§5",
    )
    case(
        "answer-of-images",
        "Images that were made: their bytes, and the prompt as the upstream changed it.",
        '{"created":1,"data":[{"b64_json":"AA==","revised_prompt":"A dot."},{"b64_json":"AQ=="}],"usage":{"input_tokens":1}}',
        section="§5",
    )
    case(
        "types-need-the-right-depth",
        "The table's rows match from the top of the document: the same names deeper down are fields.",
        '{"x":{"choices":[{"message":{"content":"c"}}],"usage":{"a":1},"model":"m"},"usage":1,"tools":{}}',
        section="§5",
    )
    case(
        "zero-in-member-name",
        "U+0000 separates label from salt in a leaf; a member name that holds one would give a leaf two readings.",
        '{"a\\u0000b":1}',
        section="§4",
        code="parts.label",
    )
    case("zero-in-string", "U+0000 in a string is text like any other.", '{"a":"\\u0000"}', section="§4")
    case(
        "duplicate-key",
        "Two members of one name: which one was asked?",
        '{"model":"a","model":"b"}',
        section="§1",
        code="json.duplicate_key",
    )
    case("lone-surrogate", "Nothing to bind.", '{"a":"\\ud800"}', section="§1", code="json.surrogate")
    case("deep-nesting", "Beyond depth 64.", '{"a":' + "[" * 64 + "]" * 64 + "}", section="§1", code="json.depth")
    case("nesting-of-64", "Depth 64 is allowed.", '{"a":' + "[" * 63 + "]" * 63 + "}", section="§1")
    case("nan", "Not JSON.", '{"a":NaN}', section="§1", code="json.number")
    case("not-an-object", "A document is an object.", '["a"]', section="§1", code="parts.document")
    case("most-parts", "65,536 parts are allowed.", '{"a":[' + ",".join(["0"] * 65536) + "]}", section="§3(9)")
    case(
        "too-many-parts",
        "One more is refused.",
        '{"a":[' + ",".join(["0"] * 65537) + "]}",
        section="§3(9)",
        code="parts.count",
    )
    case(
        "long-member-name-over-many-parts",
        "A member name of 4,096 bytes stands in 4,096 labels: together they are too long.",
        '{"' + "x" * 4096 + '":[' + ",".join(["0"] * 4096) + "]}",
        section="§3(9)",
        code="parts.labels",
    )


def disclosure(out: Writer) -> None:
    """Single parts shown against a root (§8)."""
    bound = parts.Bound(parse(ANSWER.encode()), "response", RUN, SECRET)
    good = bound.disclose("/choices/0/message/content")
    counted = bound.disclose("/usage/total_tokens")

    def case(
        name: str, why: str, change: dict[str, Any], code: str | None = None, expect: str = "reject", size: int = 0
    ) -> None:
        shown = {**copy.deepcopy(good), **change}
        out.case(
            f"parts/disclosed-{name}",
            why,
            spec="parts.md §8",
            run=["verify-part", "--root", bound.root.hex(), "--size", str(size or len(bound.parts)), "part.json"],
            expect=expect if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            files={"part.json": shown},
        )

    case("text", "One part shown; the rest stays hidden.", {})
    case("number", "A usage number shown.", counted)
    case(
        "number-with-words",
        "A number part holds a number, whatever tree it is in.",
        {**counted, "bytes": b64(b"24 (proven)")},
        "parts.bytes",
    )
    case("altered-text", "Other words than were signed.", {"bytes": b64(b"It folds.")}, "parts.root")
    case(
        "altered-salt",
        "With a salt of his choice an attacker could look for another text that fits.",
        {"salt": b64(bytes(16))},
        "parts.root",
    )
    moved = bytes(unb64(good["salt"])[:15])
    case(
        "short-salt",
        "A byte moved from salt to bytes would leave the leaf unchanged: the salt has exactly 16 bytes.",
        {"salt": b64(moved), "bytes": b64(unb64(good["salt"])[15:] + unb64(good["bytes"]))},
        "encoding.base64",
        "malformed",
    )
    case("altered-position", "The right part in the wrong place.", {"position": good["position"] + 1}, "parts.root")
    case("position-outside", "A position beyond the tree.", {"position": len(bound.parts)}, "parts.root")
    case(
        "altered-label",
        "The assistant's words shown as reasoning: the label does not fit its path.",
        {"label": good["label"].replace("text|", "reasoning|")},
        "parts.label",
    )
    case(
        "label-of-another-choice",
        "Words of choice 0 shown as those of choice 1.",
        {"label": good["label"].replace("|0|", "|1|")},
        "parts.label",
    )
    case(
        "label-with-an-index",
        "An index that the path does not have.",
        {"label": good["label"].replace("|-|", "|0|")},
        "parts.label",
    )
    case(
        "label-of-another-path",
        "A whole label of another path, consistent in itself: it is not what was hashed.",
        {"label": "text|1|-|s|/choices/1/message/content"},
        "parts.root",
    )
    case(
        "label-of-another-kind",
        "A number shown as the string of its digits.",
        {**counted, "label": counted["label"].replace("|n|", "|s|")},
        "parts.root",
    )
    case(
        "unknown-kind",
        "There are five value kinds.",
        {"label": good["label"].replace("|s|", "|x|")},
        "parts.label",
        "malformed",
    )
    case("short-proof", "A proof with its last step missing.", {"proof": good["proof"][:-1]}, "parts.root")
    case("long-proof", "A proof with a step too many.", {"proof": [*good["proof"], "00" * 32]}, "parts.root")
    case("wrong-size", "The tree size steers the path: another size is another tree.", {}, "parts.root", size=3)
    case("unknown-member", "A disclosed part has exactly six members.", {"note": "x"}, "parts.disclosure", "malformed")
    case("unknown-document", "There are three documents.", {"document": "answer"}, "parts.disclosure", "malformed")
    node = {
        "label": good["label"],
        "bytes": "",
        "salt": b64(bytes(16)),
        "proof": good["proof"][1:],
        "position": good["position"] // 2,
    }
    case(
        "inner-node-as-leaf",
        "A shorter path that starts at an inner node: leaves and nodes are hashed apart.",
        node,
        "parts.root",
    )


# --- fold -----------------------------------------------------------------------------------------------------------


def chunk(delta: str | None, *, index: int = 0, finish: str = "null", extra: str = "") -> str:
    """One chat chunk as text; ``delta`` None leaves the choice out."""
    choice = "" if delta is None else f'{{"index":{index},"delta":{delta},"finish_reason":{finish}}}'
    return f'{{"id":"c1","object":"chat.completion.chunk","created":1767225600,"model":"small-1","choices":[{choice}]{extra}}}'


START = (
    '{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"small-1","content":[],'
    '"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"output_tokens":0}}}'
)
STOP = '{"type":"message_stop"}'


def opens(block: str, index: int = 0) -> str:
    """content_block_start."""
    return f'{{"type":"content_block_start","index":{index},"content_block":{block}}}'


def adds(delta: str, index: int = 0) -> str:
    """content_block_delta."""
    return f'{{"type":"content_block_delta","index":{index},"delta":{delta}}}'


def closes(index: int = 0) -> str:
    """content_block_stop."""
    return f'{{"type":"content_block_stop","index":{index}}}'


def ends(reason: str, more: str = "") -> str:
    """message_delta."""
    return (
        f'{{"type":"message_delta","delta":{{"stop_reason":{reason},"stop_sequence":null}},'
        f'"usage":{{"input_tokens":9,"output_tokens":2}}{more}}}'
    )


def folding_messages(out: Writer) -> None:
    """Streams of messages to documents (§9)."""

    def case(name: str, why: str, events: list[str], code: str | None = None) -> None:
        _fold_case(out, f"message-{name}", why, events, code, message=True)

    empty = '{"type":"text","text":""}'
    holds = adds('{"type":"text_delta","text":"It holds."}')
    call = '{"type":"tool_use","id":"t","name":"f","input":{}}'
    argument = '{"type":"input_json_delta","partial_json":'
    case(
        "text",
        "A text arrives in pieces; counts of the end replace those of the beginning.",
        [
            START,
            '{"type":"ping"}',
            opens(empty),
            adds('{"type":"text_delta","text":"It "}'),
            adds('{"type":"text_delta","text":"holds."}'),
            closes(),
            ends('"end_turn"'),
            STOP,
        ],
    )
    case(
        "thinking-and-call",
        "Three blocks, one after the other: thinking with its signature, a text, a call whose input arrives as text. Numbers of the input keep their text.",
        [
            START,
            opens('{"type":"thinking","thinking":"","signature":""}'),
            adds('{"type":"thinking_delta","thinking":"Is it?"}'),
            adds('{"type":"signature_delta","signature":"c2ln"}'),
            closes(),
            opens(empty, 1),
            adds('{"type":"text_delta","text":"Let me see."}', 1),
            closes(1),
            opens(call, 2),
            adds(argument + '"{\\"a\\": 1.0"}', 2),
            adds(argument + '"0}"}', 2),
            closes(2),
            ends('"tool_use"'),
            STOP,
        ],
    )
    case(
        "call-without-input",
        "No text of an input: it stays what it was.",
        [START, opens(call), closes(), ends('"tool_use"'), STOP],
    )
    case("cut-in-a-text", "What arrived of a block that was never closed counts.", [START, opens(empty), holds])
    case(
        "cut-in-an-input",
        "An input that was never whole is the text of it, and no guess at what it would have said.",
        [START, opens(call), adds(argument + '"{\\"a\\": 1"}')],
    )
    case(
        "members-beside",
        "What stands beside the message is the document's: what the upstream said besides, which facts were admitted. Carriers are not.",
        [
            START[:-1] + ',"admissions":["ab"],"holdfast":{"run":"x"}}',
            ends('"end_turn"', ',"provider_fields":{"system_fingerprint":"fp"},"tee_note":"x"'),
            STOP,
        ],
    )
    case(
        "no-reason",
        "A message whose upstream gave no reason, with counts that nobody told: null replaces 0.",
        [START, ends("null").replace("9", "null"), STOP],
    )
    no = "stream.fold"
    case("chunk_fail", "A chunk of a chat completion is no event of a message.", [START, chunk('{"content":"x"}')], no)
    case("twice-started_fail", "A second beginning would take back what was read.", [START, START], no)
    case("not-started_fail", "A block of no message.", [opens(empty), holds], no)
    case("after-the-end_fail", "Nothing is said after the end.", [START, ends('"end_turn"'), STOP, opens(empty)], no)
    case(
        "begins-with-content_fail",
        "A reader that waits for blocks would not show it.",
        [START.replace('"content":[]', f'"content":[{empty}]')],
        no,
    )
    case("two-blocks-open_fail", "Whose piece would the next one be?", [START, opens(empty), opens(empty, 1)], no)
    case("block-out-of-place_fail", "A block that names another place.", [START, opens(empty, 1)], no)
    case(
        "piece-of-a-closed-block_fail",
        "A block that was closed grows no more.",
        [START, opens(empty), closes(), holds],
        no,
    )
    case(
        "piece-of-another-kind_fail",
        "A piece of thinking in a block of text.",
        [START, opens(empty), adds('{"type":"thinking_delta","thinking":"x"}')],
        no,
    )
    case(
        "unknown-piece_fail",
        "A kind of piece that this text does not know: some clients would show it.",
        [START, opens(empty), adds('{"type":"citations_delta","citation":{}}')],
        no,
    )
    case(
        "piece-with-more_fail",
        "A piece with a second text in it.",
        [START, opens(empty), adds('{"type":"text_delta","text":"a","also":"b"}')],
        no,
    )
    case(
        "number-as-piece_fail",
        "A piece is a string.",
        [START, opens(empty), adds('{"type":"text_delta","text":1}')],
        no,
    )
    case(
        "unknown-event_fail",
        "An event of a type that is not listed.",
        [START, '{"type":"message_update","text":"x"}'],
        no,
    )
    case(
        "event-with-more_fail",
        "An event with a member that is not listed: nothing would bind where it belongs.",
        [START, opens(empty)[:-1] + ',"text":"x"}'],
        no,
    )
    case(
        "role-changes_fail",
        "What a message is does not change.",
        [START, '{"type":"message_delta","delta":{"role":"user"}}'],
        no,
    )
    case("content-beside_fail", "Content beside the message.", [START[:-1] + ',"content":[]}'], no)
    case("ends-in-a-block_fail", "An end while a block is open.", [START, opens(empty), ends('"end_turn"')], no)
    case(
        "input-not-json_fail",
        "A call is made with what its input says; this says nothing.",
        [START, opens(call), adds(argument + '"{"}'), closes()],
        no,
    )
    case(
        "input-not-an-object_fail",
        "An input is an object.",
        [START, opens(call), adds(argument + '"[]"}'), closes()],
        no,
    )
    case(
        "input-with-duplicate-key_fail",
        "Two programs would call with two inputs.",
        [START, opens(call), adds(argument + '"{\\"a\\":1,\\"a\\":2}"}'), closes()],
        no,
    )
    case(
        "input-already-there_fail",
        "A block that brings a text of an input along.",
        [START, opens(call[:-1] + ',"partial_json":"{"}')],
        no,
    )


def folding(out: Writer) -> None:
    """Streams to documents (§6)."""

    def case(name: str, why: str, events: list[str], code: str | None = None) -> None:
        _fold_case(out, name, why, events, code)

    _fold_cases(case)


def _fold_case(out: Writer, name: str, why: str, events: list[str], code: str | None, *, message: bool = False) -> None:
    result = None
    try:
        fold = parts.fold_message if message else parts.fold
        document = fold([parse(event.encode()) for event in events])
        bound = parts.Bound(document, "response", RUN, SECRET)
        result = {"parts": [[label, value.decode()] for label, value in bound.parts]}
        found = None
    except SpecError as error:
        found = error.code
    if found != code:
        raise SystemExit(f"fold/{name}: expected {code}, the reference says {found}")
    out.case(
        f"fold/{name}",
        why,
        spec="parts.md §9" if message else "parts.md §6",
        run=["fold", *(["--endpoint", "messages"] if message else []), "events.jsonl"],
        expect="malformed" if code else "accept",
        code=code,
        bug="SUBSTITUTION" if code else None,
        result=result,
        files={"events.jsonl": "".join(event + "\n" for event in events)},
    )


def _fold_cases(case: Any) -> None:
    """Of chats and completions."""
    usage = ',"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}'
    case(
        "text",
        "Words arrive in pieces, usage in a last event without choices.",
        [
            chunk('{"role":"assistant","content":""}'),
            chunk('{"content":"It "}'),
            chunk('{"content":"holds."}'),
            chunk("{}", finish='"stop"'),
            chunk(None, extra=usage),
        ],
    )
    case(
        "two-choices-interleaved",
        "n=2: the pieces of two choices alternate, and the second choice comes first.",
        [
            chunk('{"role":"assistant","content":"B"}', index=1),
            chunk('{"role":"assistant","content":"A"}'),
            chunk('{"content":"b"}', index=1),
            chunk('{"content":"a"}'),
            chunk("{}", finish='"stop"'),
            chunk("{}", index=1, finish='"length"'),
        ],
    )
    case(
        "split-tool-calls",
        "Arguments arrive in pieces, two calls interleaved; id, type and name do not concatenate.",
        [
            chunk(
                '{"role":"assistant","content":null,"tool_calls":[{"index":1,"id":"t1","type":"function","function":{"name":"g","arguments":""}}]}'
            ),
            chunk(
                '{"tool_calls":[{"index":0,"id":"t0","type":"function","function":{"name":"f","arguments":"{\\"a\\""}}]}'
            ),
            chunk(
                '{"tool_calls":[{"index":1,"function":{"arguments":"{}"}},{"index":0,"function":{"arguments":":1}"}}]}'
            ),
            chunk("{}", finish='"tool_calls"'),
        ],
    )
    case(
        "names-said-again",
        "Some providers repeat id, type and name in every piece, or send them empty: neither changes them.",
        [
            chunk(
                '{"role":"assistant","tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":"{"}}]}'
            ),
            chunk(
                '{"role":"","tool_calls":[{"index":0,"id":"","type":"function","function":{"name":"","arguments":"}"}}]}'
            ),
            chunk("{}", finish='"tool_calls"'),
        ],
    )
    case(
        "another-tool-name",
        "The name of a function in two pieces: one client calls the first, the next the last, a third both together.",
        [
            chunk(
                '{"role":"assistant","tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"show_"}}]}'
            ),
            chunk('{"tool_calls":[{"index":0,"function":{"name":"delete_all"}}]}'),
        ],
        "stream.fold",
    )
    case(
        "another-role",
        "An assistant that becomes the system in the middle of its answer.",
        [chunk('{"role":"assistant","content":"a"}'), chunk('{"role":"system","content":"b"}')],
        "stream.fold",
    )
    case(
        "same-index-twice-in-one-event",
        "Two elements of one index in one event are merged too.",
        [chunk('{"tool_calls":[{"index":0,"function":{"arguments":"a"}},{"index":0,"function":{"arguments":"b"}}]}')],
    )
    case(
        "function-call",
        "The older form: arguments concatenate, the name does not.",
        [
            chunk('{"function_call":{"name":"f","arguments":"{"}}'),
            chunk('{"function_call":{"name":"f","arguments":"}"}}'),
        ],
    )
    case(
        "reasoning",
        "Reasoning text and details, and an unknown string member, concatenate.",
        [
            chunk('{"reasoning":"a","reasoning_details":[{"type":"t","text":"x","index":0}],"x_new":"1"}'),
            chunk('{"reasoning":"b","reasoning_details":[{"type":"t","text":"y","index":0}],"x_new":"2"}'),
        ],
    )
    case(
        "arrays-without-index",
        "Arrays whose elements have no index are concatenated.",
        [chunk('{"annotations":[{"url":"a"}]}'), chunk('{"annotations":[{"url":"b"}]}')],
    )
    case(
        "one-array-with-index-one-without",
        "Two sorts of array under one name cannot be merged without guessing.",
        [chunk('{"x":[{"index":0,"a":"1"}]}'), chunk('{"x":[{"a":"2"}]}')],
        "stream.fold",
    )
    case(
        "empty-array-then-indexed",
        "An empty array goes with both sorts.",
        [
            chunk('{"x":[],"y":[{"index":0}]}'),
            chunk('{"x":[{"index":0,"a":"1"}],"y":[]}'),
            chunk('{"x":[{"index":0,"a":"2"}]}'),
        ],
    )
    case(
        "null-then-value",
        "Null gives way to a value and never overwrites one.",
        [chunk('{"content":null,"refusal":null}'), chunk('{"content":"a"}'), chunk('{"content":null}')],
    )
    case("empty-delta", "A choice whose deltas were all empty has an empty message.", [chunk("{}", finish='"stop"')])
    case("null-delta", "A null delta counts as absent: no message.", [chunk("null", finish='"stop"')])
    case(
        "no-choices",
        "Events without choices: the document has none either.",
        ['{"id":"x","object":"chat.completion.chunk"}', '{"id":"y"}'],
    )
    case("empty-choices", "Choices that were always empty are an empty array.", [chunk(None), chunk(None)])
    case(
        "completions",
        "The older endpoint concatenates text.",
        [
            '{"object":"text_completion","choices":[{"index":0,"text":"It ","finish_reason":null}]}',
            '{"object":"text_completion","choices":[{"index":0,"text":"holds.","finish_reason":"stop"}]}',
        ],
    )
    case(
        "numbers-as-written",
        "Numbers keep their text; the last one wins.",
        [chunk('{"x":1.0}'), chunk('{"x":1.00}', extra=',"y":1e400'), chunk('{"b":true}'), chunk('{"b":false}')],
    )
    case(
        "top-level-null",
        "A member that was only ever null is null; null never overwrites.",
        ['{"a":null,"b":1}', '{"a":null,"b":null}'],
    )
    case(
        "carriers",
        "Carrier fields of each event are gone before folding.",
        [
            chunk('{"content":"a"}', extra=',"holdfast":{"mark":{}},"tee_x":1'),
            chunk('{"content":"b"}', extra=',"tee_x":[]'),
        ],
    )
    case(
        "kinds-differ",
        "A string and then an object under one name: whichever is shown, the other was shown too. Refused.",
        [chunk('{"content":"a"}'), chunk('{"content":{"b":1}}')],
        "stream.fold",
    )
    case("number-then-string", "Also for scalars.", [chunk('{"x":1}'), chunk('{"x":"1"}')], "stream.fold")
    case(
        "choice-without-index",
        "Some upstreams leave the index of an only choice out: it counts as 0.",
        ['{"choices":[{"delta":{"content":"a"}}]}'],
    )
    case(
        "choice-with-null-index",
        "Null is not a missing index.",
        ['{"choices":[{"index":null,"delta":{"content":"a"}}]}'],
        "stream.fold",
    )
    case(
        "huge-index",
        "An index that would ask a reader for a billion choices.",
        ['{"choices":[{"index":1000000000,"delta":{}}]}'],
        "stream.fold",
    )
    case(
        "array-index-as-text",
        "An array element whose index is a string.",
        [chunk('{"x":[{"index":"0"}]}')],
        "stream.fold",
    )
    case(
        "choice-with-fraction",
        "An index is an integer; 0.0 is a second spelling.",
        ['{"choices":[{"index":0.0,"delta":{"content":"a"}}]}'],
        "stream.fold",
    )
    case("choices-not-an-array", "choices is an array.", ['{"choices":{"index":0}}'], "stream.fold")
    case("delta-not-an-object", "A delta is an object.", [chunk('"a"')], "stream.fold")
    case(
        "text-kinds-differ",
        "text is a string throughout.",
        ['{"choices":[{"index":0,"text":"a"}]}', '{"choices":[{"index":0,"text":7}]}'],
        "stream.fold",
    )
    case("duplicate-key-in-an-event", "Each event is strict JSON.", ['{"a":1,"a":2}'], "json.duplicate_key")
    case("event-not-an-object", "Each event is an object.", ["[]"], "stream.fold")


# --- marks ----------------------------------------------------------------------------------------------------------


def marks(out: Writer) -> None:
    """Chains of marks over streams (§7)."""
    gateway = Node("gateway.marks", ["gateway"], ["statement"])
    stranger = Ed25519("marks/stranger")
    texts = [
        chunk('{"role":"assistant","content":"It "}'),
        chunk('{"content":"holds"}'),
        chunk('{"content":"."}'),
        chunk("{}", finish='"stop"'),
    ]
    windows = [texts[:1], texts[1:3], texts[3:]]

    def stream(signer: Any = gateway.statement_key, run: str = RUN) -> list[dict[str, Any]]:
        marker = parts.Marker(run, SECRET, signer.sign)
        events = []
        for window in windows:
            parsed = [parse(text.encode()) for text in window]
            mark = marker.mark(parsed)
            parsed[-1]["holdfast"] = {"mark": mark}
            events += parsed
        return events

    def case(
        name: str, why: str, events: list[Any], code: str | None = None, expect: str = "reject", result: Any = None
    ) -> None:
        out.case(
            f"marks/{name}",
            why,
            spec="parts.md §7",
            run=[
                "verify-marks",
                "--run",
                RUN,
                "--secret",
                SECRET.hex(),
                "--key-document",
                "key-document.json",
                "events.jsonl",
            ],
            expect=expect if code else "accept",
            code=code,
            bug="SUBSTITUTION" if code else None,
            result=result,
            files={"key-document.json": gateway.raw, "events.jsonl": "".join(_line(event) + "\n" for event in events)},
        )

    good = stream()
    last = good[-1]["holdfast"]["mark"]
    case(
        "chain",
        "Three marks over four events; everything up to the end is covered.",
        good,
        result={"seq": 3, "parts": last["parts"], "covered": 4},
    )
    unmarked = copy.deepcopy(good)
    del unmarked[-1]["holdfast"]
    case(
        "tail-not-covered",
        "The stream ended before its last mark: what is covered is the first three events, and a reader shows no more.",
        unmarked,
        result={"seq": 2, "covered": 3},
    )
    altered = copy.deepcopy(good)
    altered[1]["choices"][0]["delta"]["content"] = "folds"
    case(
        "altered-text", "A relay changes a word inside a window: the chain value no longer fits.", altered, "mark.chain"
    )
    dropped = copy.deepcopy(good)
    del dropped[1]
    case("dropped-event", "An event is missing from a window.", dropped, "mark.chain")
    swapped = copy.deepcopy(good)
    swapped[1]["choices"], swapped[2]["choices"] = swapped[2]["choices"], swapped[1]["choices"]
    case("swapped-events", "Two events of a window in another order.", swapped, "mark.chain")
    skipped = [event for position, event in enumerate(copy.deepcopy(good)) if position not in (1, 2)]
    case(
        "skipped-mark",
        "A whole window with its mark is cut out: the next mark's seq and previous do not follow.",
        skipped,
        "mark.chain",
    )
    first_gone = copy.deepcopy(good)[1:]
    case("first-mark-missing", "The chain begins at seq 1 from the run's own start value.", first_gone, "mark.chain")
    repeated = copy.deepcopy(good)
    repeated[1:1] = [copy.deepcopy(good[0])]
    case("repeated-window", "A window replayed: the same words twice.", repeated, "mark.chain")
    forged = copy.deepcopy(good)
    forged[0]["holdfast"]["mark"]["signature"] = b64(stranger.sign(b"x"))
    case("forged-signature", "A mark that the gateway did not sign.", forged, "mark.signature")
    case("signed-by-a-stranger", "A whole consistent chain by another key.", stream(stranger), "mark.signature")
    other = stream(run="019b7651-c000-7000-8000-ffffffffffff")
    case(
        "mark-of-another-run",
        "Marks of another run, replayed here: run id and start value are bound.",
        other,
        "mark.chain",
    )
    counted = copy.deepcopy(good)
    marker = parts.Marker(RUN, SECRET, gateway.statement_key.sign)
    marker.mark([parse(text.encode()) for text in windows[0]])
    real = counted[2]["holdfast"]["mark"]
    counted[2]["holdfast"]["mark"] = marker.signed(2, bytes.fromhex(real["previous"]), bytes.fromhex(real["parts"]), 1)
    case("wrong-event-count", "The mark's own count of events is not the window's.", counted, "mark.chain")
    for name, member, value in (
        ("seq-zero", "seq", 0),
        ("seq-as-text", "seq", "1"),
        ("upper-case-parts", "parts", good[0]["holdfast"]["mark"]["parts"].upper()),
    ):
        broken = copy.deepcopy(good)
        broken[0]["holdfast"]["mark"][member] = value
        case(
            name,
            "A mark has one spelling.",
            broken,
            "encoding.hex" if member == "parts" else "mark.fields",
            "malformed",
        )
    extra = copy.deepcopy(good)
    extra[0]["holdfast"]["mark"]["text"] = "It "
    case("unknown-member", "A mark has exactly five members.", extra, "mark.fields", "malformed")


def _line(event: Any) -> str:
    """One event as text; marks hold plain integers, events hold numbers as written."""
    carried = event.get("holdfast")
    rest = exact_text({member: value for member, value in event.items() if member != "holdfast"})
    return rest if carried is None else rest[:-1] + ',"holdfast":' + jcs(carried).decode() + "}"
