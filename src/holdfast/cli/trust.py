"""``holdfast trust``: hand the trust document of a network on, show what one says, and make the next version."""

from __future__ import annotations

import click

from holdfast.cli.network import Network, network_options
from holdfast.cli.output import clean, emit, emit_json, read_file, write_file, written_option
from holdfast.cli.trust_drafts import adopt, draft, sign
from holdfast.core.encoding import time_encode
from holdfast.core.trust import Admission, Trust, parse_trust_chain, verify_trust
from holdfast.errors import UsageError


@click.group()
def trust() -> None:
    """Export and show trust documents, and make their next versions: who is believed, for what, and for how long."""


trust.add_command(draft)
trust.add_command(sign)
trust.add_command(adopt)


@trust.command("export")
@network_options
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first version must have.")
@written_option
def export(network: Network, output: str, trust_pin: str | None, as_json: bool) -> None:
    """Write the trust document of a network to a file.

    It is checked before it is written. Hand it over by a way of its own, not together with the bundle: who supplies
    both can make them fit. What to compare over a second way is the digest of its first version.
    """
    raw = network.trust_bytes()
    found = verify_trust(parse_trust_chain(raw), pin=trust_pin)
    write_file(output, raw)
    if as_json:
        names = {"digest": found.digest, "version": found.version, "first_version": found.first_digest}
        emit_json({"trust": names, "pin": found.pin, "development": found.development, "written": output})
        return
    pinned = "as pinned" if found.pin == "digest" else "not compared with anything: taken on first use"
    click.echo(f"trust {found.digest}, version {found.version}", err=True)
    click.echo(f"first version {found.first_digest}: {pinned}", err=True)
    if found.development:
        click.echo("development: everything it admits is a stand-in", err=True)


@trust.command("show")
@click.argument("file")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first version must have.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def show(file: str, trust_pin: str | None, as_json: bool) -> None:
    """Check a trust file and show whom it admits: nodes, logs, epochs of stake, chains.

    FILE is a trust file, - for standard input. No clock is read: spans are printed, not judged.
    """
    found = verify_trust(parse_trust_chain(read_file(file)), pin=trust_pin)
    if as_json:
        emit_json(trust_json(found))
        return
    for line in _lines(found):
        emit(clean(line))


def open_trust(name: str | None, pin: str | None) -> Trust | None:
    """A verified trust file by name; raises ``usage.pin``, ``usage.file`` and whatever the file deserves."""
    if name is None:
        if pin is not None:
            raise UsageError("usage.pin", "--trust-pin says nothing without --trust")
        return None
    return verify_trust(parse_trust_chain(read_file(name)), pin=pin)


def trust_json(found: Trust) -> dict[str, object]:
    """What ``trust show --json`` prints."""
    current = found.current
    return {
        "digest": found.digest,
        "version": found.version,
        "first_digest": found.first_digest,
        "pinned": found.pin,
        "development": found.development,
        "issued_at": time_encode(current.issued_at),
        "expires_at": time_encode(current.expires_at),
        "root": {"threshold": current.threshold, "keys": [key.key_id for key in current.root_keys]},
        "nodes": [_node_json(node) for node in current.nodes],
        "logs": [
            {
                "origin": log.origin,
                "node": log.node,
                "valid_from": time_encode(log.valid_from),
                "valid_until": time_encode(log.valid_until),
            }
            for log in current.logs
        ],
        "epochs": [
            {
                "origin": epoch.origin,
                "number": epoch.number,
                "first_round": epoch.first_round,
                "stakes": dict(epoch.stakes),
                "valid_from": time_encode(epoch.valid_from),
                "valid_until": time_encode(epoch.valid_until),
            }
            for epoch in current.epochs
        ],
        "chains": [
            {
                "origin": chain.origin,
                "chain_id": chain.chain_id,
                "contract": chain.contract,
                "finality_depth": chain.finality_depth,
                "development": chain.development,
            }
            for chain in current.chains
        ],
        "enclave_roots": [{"kind": root.kind, "development": root.development} for root in current.enclave_roots],
    }


def _node_json(node: Admission) -> dict[str, object]:
    revoked = node.revoked
    return {
        "node": node.key_document.digest,
        "name": node.key_document.name,
        "roles": list(node.key_document.roles),
        "valid_from": time_encode(node.valid_from),
        "valid_until": time_encode(node.valid_until),
        "revoked": revoked
        and {
            "at": time_encode(revoked.at),
            "suspect_since": time_encode(revoked.suspect_since),
            "reason": revoked.reason,
        },
    }


def _lines(found: Trust) -> list[str]:
    current = found.current
    names = {node.key_document.digest: node.key_document.name for node in current.nodes}
    lines = [
        f"trust    {found.digest}",
        f"version  {found.version}, issued {time_encode(current.issued_at)}",
        f"         runs out {time_encode(current.expires_at)}",
        f"first    {found.first_digest}, {'as pinned' if found.pin == 'digest' else 'taken on first use'}",
        f"signed   by {current.threshold} of {len(current.root_keys)} root keys",
    ]
    if found.development:
        lines.append("         development: everything it admits is a stand-in")
    lines += ["", "nodes"]
    for node in current.nodes:
        document = node.key_document
        lines.append(f"  {document.digest[:16]}  {document.name:<16} {', '.join(document.roles)}")
        lines.append(f"  {'':16}  {time_encode(node.valid_from)} to {time_encode(node.valid_until)}")
        if node.revoked is not None:
            since = time_encode(node.revoked.suspect_since)
            lines.append(f"  {'':16}  revoked ({node.revoked.reason}); suspect since {since}")
    lines += ["", "logs"]
    lines += [f"  {log.origin}, kept by {names.get(log.node, log.node[:16])}" for log in current.logs]
    lines += ["", "stake"]
    for epoch in current.epochs:
        lines.append(f"  {epoch.origin}, epoch {epoch.number}, from round {epoch.first_round}, {epoch.total} units")
        lines += [f"    {stake:>12}  {names.get(node, node[:16])}" for node, stake in epoch.stakes.items()]
    lines += ["", "chains"]
    for chain in current.chains:
        mark = ", a development chain" if chain.development else ""
        lines.append(f"  {chain.origin}: contract {chain.contract} on chain {chain.chain_id}{mark}")
    return lines
