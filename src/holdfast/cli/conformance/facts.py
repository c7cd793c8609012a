"""Commands of admitted facts and of memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, fields_of
from holdfast.core import memory
from holdfast.core.addresses import check_address, parse_address, parse_network
from holdfast.core.dns_reads import TYPES, DnsRead, read_answer
from holdfast.core.encoding import time_decode, time_encode
from holdfast.core.expectations import admit_value, parse_expectation
from holdfast.core.extraction import extract, parse_extraction
from holdfast.core.sources import parse_registry, parse_registry_toml
from holdfast.errors import MalformedError, UsageError


def _memory_standing(arguments: Arguments) -> Answer:
    """``memory.md`` §3 and §5: a history to its row, and how that stands at a time."""
    at = time_decode(arguments.one("at"))
    value = fields_of(arguments.file(), "history")
    row = memory.parse_history([event.encode() for event in value["history"]])
    return {
        "standing": memory.standing_of(row, at),
        "authority": row.authority,
        "digest": row.digest,
        "head": row.head,
        "earned": None if row.earned is None else time_encode(row.earned),
        "valid_until": None if row.valid_until is None else time_encode(row.valid_until),
    }


def _parse_sources(arguments: Arguments) -> Answer:
    """``sources.md`` §1 to §5: a registry in either form."""
    form, raw = arguments.one("form"), arguments.file()
    found = parse_registry(raw) if form == "json" else parse_registry_toml(raw.decode("utf-8"))
    return {"digest": found.digest, "sources": {name: item.digest for name, item in found.sources.items()}}


def _read_dns(arguments: Arguments) -> Answer:
    """``sources.md`` §4(9): what the message of a resolver's answer means."""
    record = arguments.one("record")
    if record not in TYPES:
        raise UsageError("sources.request", f"a record is one of {', '.join(sorted(TYPES))}")
    return read_answer(DnsRead("", "", record, 1), arguments.file())


def _extract_value(arguments: Arguments) -> Answer:
    """``sources.md`` §6 and §7: the value in a body."""
    rules = fields_of(arguments.read(arguments.one("rules")), "extract", "expect")
    found = extract(parse_extraction(rules["extract"]), arguments.file())
    return {"value": admit_value(parse_expectation(rules["expect"]), found.value)}


def _check_address(arguments: Arguments) -> Answer:
    """``sources.md`` §5."""
    value = fields_of(arguments.file(), "address", "ranges")
    address = parse_address(value["address"])
    if address is None:
        raise MalformedError("sources.address", "not an address")
    check_address(address, [parse_network(item) for item in value["ranges"]])
    return {}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "memory-standing": _memory_standing,
    "parse-sources": _parse_sources,
    "extract-value": _extract_value,
    "read-dns": _read_dns,
    "check-address": _check_address,
}
