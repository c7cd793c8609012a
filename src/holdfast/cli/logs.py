"""``holdfast log``: the log's newest checkpoint and its entries, checked against trust before they are shown."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.network import Network, missing_trust, network_options, with_http
from holdfast.cli.output import clean, emit, emit_json
from holdfast.cli.trust import open_trust
from holdfast.core import canonical, notes
from holdfast.core.encoding import sha256_hex, time_encode
from holdfast.core.notes import COSIGNATURE, ED25519, VerifiedCheckpoint, VerifierKey
from holdfast.core.statements import Statement, parse_commitment, parse_envelope, parse_statement
from holdfast.core.trust import Trust
from holdfast.errors import MalformedError, UndecidedError
from holdfast.verifier.identities import ToldIdentity, find_split_keys, read_identities

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP
    from holdfast.client.log import LogClient

_BATCH = 4096
"""Entries read in one go."""


@click.group()
def log() -> None:
    """Show the log's checkpoint and entries, checked."""


@log.command("show")
@network_options
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def show(network: Network, trust_file: str | None, as_json: bool) -> None:
    """Print the newest checkpoint: origin, size, root, and who cosigned it when."""
    trust = open_trust(trust_file, None) or network.find_trust()

    async def fetch(http: AiohttpHTTP) -> tuple[str, VerifiedCheckpoint]:
        client, origin = await log_client(network, http, trust)
        return origin, await client.latest()

    origin, checkpoint = with_http(fetch)
    cosigned = [] if trust is None else cosigners(checkpoint, trust)
    if as_json:
        emit_json(
            {
                "origin": origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "cosignatures": [{"name": name, "at": time_encode(moment)} for name, moment in cosigned],
                "note": checkpoint.raw.decode(),
            }
        )
        return
    emit(f"origin     {clean(origin)}, signed by the key that trust names")
    emit(f"size       {checkpoint.size} entries")
    emit(f"root       {checkpoint.root.hex()}")
    if not cosigned:
        emit("cosigned   by nobody that trust admits")
    for number, (name, moment) in enumerate(cosigned):
        emit(f"{'' if number else 'cosigned':<10} {name} at {time_encode(moment)}")


@log.command("entry")
@click.argument("index", metavar="N", type=click.IntRange(min=0))
@network_options
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def entry(network: Network, index: int, trust_file: str | None, as_json: bool) -> None:
    """Print log entry N, its inclusion checked. What an entry claims is not checked here."""
    trust = open_trust(trust_file, None) or network.find_trust()

    async def fetch(http: AiohttpHTTP) -> tuple[bytes, VerifiedCheckpoint]:
        client, _ = await log_client(network, http, trust)
        checkpoint = await client.latest()
        return await client.entry(index, checkpoint), checkpoint

    raw, checkpoint = with_http(fetch)
    shown = describe_entry(raw)
    if as_json:
        emit_json({"index": index, "size": checkpoint.size, "root": checkpoint.root.hex(), **shown})
        return
    emit(f"entry   {index}, in the log of {checkpoint.size} entries")
    for name in ("type", "digest", "run", "attester", "claimed_at"):
        if name in shown:
            emit(clean(f"{name.replace('_at', ''):<7} {shown[name]}"))
    emit("entry says, and nothing more is checked here than that it stands in the log:")
    emit(clean(json.dumps(shown["content"], ensure_ascii=False, indent=2)))


@log.command("identities")
@network_options
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def identities(network: Network, trust_file: str | None, as_json: bool) -> int:
    """Read the whole log for the keys that nodes are reached under, and look for keys of one caller's own.

    Exit code 1 when a node shows two sets of OHTTP keys at once: it can tell callers apart by them.
    """
    trust = open_trust(trust_file, None) or network.find_trust()

    async def fetch(http: AiohttpHTTP) -> tuple[list[tuple[int, Statement]], dict[int, list[str]], VerifiedCheckpoint]:
        client, _ = await log_client(network, http, trust)
        checkpoint = await client.latest()
        found = await _identities(client, checkpoint)
        proofs = {index: (await client.inclusion(index, checkpoint)).proof for index, _ in found}
        return found, {index: [step.hex() for step in proof] for index, proof in proofs.items()}, checkpoint

    found, proofs, checkpoint = with_http(fetch)
    if trust is None:
        raise missing_trust()
    told = read_identities(found, trust)
    split = find_split_keys(told)
    if as_json:
        emit_json(
            {
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "identities": [{**_identity_json(one), "proof": proofs[one.index]} for one in told],
                "split_keys": [{"name": one.name, "indices": [one.first.index, one.second.index]} for one in split],
            }
        )
        return 1 if split else 0
    emit(f"{len(told)} identities in the log of {checkpoint.size} entries; each is shown to stand in it")
    for one in told:
        emit(f"entry {one.index:<7} {clean(one.name or 'a node that trust does not know')}  {one.attester[:16]}")
        until = "" if one.until is None else f" until {time_encode(one.until)}"
        state = f"refused ({one.refusal})" if one.refusal else f"in force from {time_encode(one.since)}{until}"
        ohttp, tls = one.body.ohttp or "none", one.body.tls or "none"
        emit(f"              {state}; OHTTP keys {ohttp[:16]}, TLS key {tls[:16]}")
    for pair in split:
        emit(
            f"split keys    {clean(pair.name)} shows two sets of OHTTP keys at once (entries {pair.first.index} and "
            f"{pair.second.index}): it can tell callers apart by them"
        )
    if not split:
        emit("no node shows two sets of OHTTP keys at once")
    return 1 if split else 0


async def _identities(client: LogClient, checkpoint: VerifiedCheckpoint) -> list[tuple[int, Statement]]:
    """Every ``identity`` statement of the log, with its index."""
    found = []
    for begin in range(0, checkpoint.size, _BATCH):
        entries = await client.entries(begin, min(begin + _BATCH, checkpoint.size), checkpoint)
        for index, raw in enumerate(entries, begin):
            with contextlib.suppress(MalformedError):
                if parse_commitment(raw) is None and (item := parse_statement(parse_envelope(raw))).kind == "identity":
                    found.append((index, item))
    return found


def _identity_json(one: ToldIdentity) -> dict[str, Any]:
    return {
        "index": one.index,
        "statement": one.digest,
        "node": one.attester,
        "name": one.name,
        "since": time_encode(one.since),
        "until": None if one.until is None else time_encode(one.until),
        "refused": one.refusal,
        "ohttp": one.body.ohttp,
        "tls": one.body.tls,
        "predecessor": one.body.predecessor,
    }


async def log_client(network: Network, http: AiohttpHTTP, trust: Trust | None) -> tuple[Any, str]:
    """A verifying client of the network's log; raises ``trust.missing`` or ``trust.unknown_log``."""
    from holdfast.client.log import LogClient, LogReader  # noqa: PLC0415 - lazily, like everything with a network

    if trust is None:
        raise missing_trust()
    found = await network.completed(http)
    url, origin = found.require("log"), found.require("origin")
    trusted = trust.log(origin)
    admission = trust.admission(trusted.node) if trusted else None
    key = admission.key_document.key_for("log") if admission else None
    if key is None:
        raise UndecidedError("trust.unknown_log", f"trust knows no log {origin}")
    return LogClient(LogReader(http, url), origin, [VerifierKey(origin, ED25519, key.public)]), origin


def cosigners(checkpoint: VerifiedCheckpoint, trust: Trust) -> list[tuple[str, dt.datetime]]:
    """(name, time) of each cosignature by a full node that trust admits, oldest first."""
    keys = []
    for admission in trust.current.nodes:
        key = admission.key_document.key_for("cosignature")
        if key is not None and "full" in admission.key_document.roles:
            keys.append(VerifierKey(admission.key_document.name, COSIGNATURE, key.public))
    found = notes.verify_cosignatures(checkpoint.note, keys)
    stamps = [
        (item.key.name, dt.datetime.fromtimestamp(min(item.time or 0, 253_402_300_799), dt.UTC)) for item in found
    ]
    return sorted(stamps, key=lambda stamp: (stamp[1], stamp[0]))


def describe_entry(raw: bytes) -> dict[str, Any]:
    """An entry's kind, the digest the log knows it by, and its content; malformed entries are described too."""
    try:
        if parse_commitment(raw) is not None:
            return {
                "type": "private commitment",
                "digest": sha256_hex(raw),
                "content": canonical.decode(raw),
            }
        statement = parse_statement(parse_envelope(raw))
    except MalformedError as error:
        return {"type": "malformed", "digest": sha256_hex(raw), "content": {"code": error.code, "bytes": len(raw)}}
    return {
        "type": f"{statement.kind} statement",
        "digest": statement.digest,
        "run": statement.run,
        "attester": statement.attester,
        "claimed_at": time_encode(statement.claimed_at),
        "content": dict(statement.predicate),
    }
