"""``holdfast trust draft | sign | adopt``: make the next version of a trust document, one root key's owner at a time.

No root key ever has to be where another one is: the draft travels, the keys do not.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.signer_files import load_signer
from holdfast.cli.output import emit_json, read_file, write_file, written_option
from holdfast.cli.times import parse_moment
from holdfast.core import canonical
from holdfast.core.encoding import b64_encode
from holdfast.core.keys import parse_key_document
from holdfast.core.trust import TrustVersion, parse_trust_chain, verify_trust
from holdfast.core.trust_draft import (
    Changes,
    Revoked,
    add_signature,
    adopt_draft,
    build_draft,
    draft_message,
    parse_draft,
)
from holdfast.errors import UsageError


@click.command("draft")
@click.argument("trust_file", metavar="TRUST")
@click.option("--admit", multiple=True, metavar="FILE", help="A key document to admit. May be given several times.")
@click.option("--from", "start", metavar="TIME", help="When what is admitted begins to hold.  [default: now]")
@click.option("--until", metavar="TIME", help="When it ends.  [default: when the trust document runs out]")
@click.option("--end", multiple=True, metavar="NODE=TIME", help="A node that holds until then and no longer.")
@click.option("--revoke", multiple=True, metavar="NODE", help="A node to take back, by its key document's digest.")
@click.option("--suspect-since", metavar="TIME", help="Since when its keys are suspect.  [default: now]")
@click.option("--reason", metavar="CODE", default="key-compromised", show_default=True, help="Why it is taken back.")
@click.option("--measurement", multiple=True, metavar="FILE", help="A reference value to add: one entry as JSON.")
@click.option("--enclave-root", multiple=True, metavar="KIND=FILE", help="A root that evidence may end at (DER).")
@click.option("--expires", metavar="TIME", help="When the new version runs out.  [default: as before]")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@written_option
def draft(  # one option a change; click hands them over one by one
    trust_file: str,
    admit: tuple[str, ...],
    start: str | None,
    until: str | None,
    end: tuple[str, ...],
    revoke: tuple[str, ...],
    suspect_since: str | None,
    reason: str,
    measurement: tuple[str, ...],
    enclave_root: tuple[str, ...],
    expires: str | None,
    output: str,
    as_json: bool,
) -> None:
    """Write the next version of a trust document, unsigned.

    TRUST is the trust file as it is. Nothing is believed differently until enough root keys have signed the draft
    (holdfast trust sign) and it was put behind the version before it (holdfast trust adopt).
    """
    now = SystemClock().now()
    last = _versions(trust_file)[-1]
    expires_at = _time(expires, last.expires_at)
    span = _time(start, now), _time(until, expires_at)
    changes = Changes(
        admit=[(parse_key_document(read_file(name)), *span) for name in admit],
        end={node: parse_moment(moment) for node, moment in map(_pair, end)},
        revoke=[Revoked(node, _time(suspect_since, now), reason) for node in revoke],
        measurements=[canonical.decode_object(read_file(name)) for name in measurement],
        enclave_roots=[
            {"kind": kind, "certificate": b64_encode(read_file(name)), "development": last.development}
            for kind, name in map(_pair, enclave_root)
        ],
        expires_at=expires_at,
    )
    write_file(output, build_draft(last, changes, now))
    if as_json:
        emit_json({"version": last.version + 1, "signatures": 0, "threshold": last.threshold, "written": output})
        return
    click.echo(f"version {last.version + 1}, unsigned: {last.threshold} of its root keys have to sign", err=True)


@click.command("sign")
@click.argument("draft_file", metavar="DRAFT")
@click.option("--key", required=True, metavar="FILE", type=click.Path(path_type=Path), help="A root key (PEM).")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@written_option
def sign(draft_file: str, key: Path, output: str, as_json: bool) -> None:
    """Add one root key's signature to a draft.

    Read the draft first: 'holdfast trust show' prints the file that it came from, and the draft's payload is JSON.
    """
    version = parse_draft(read_file(draft_file))
    signer = load_signer(key, "root")
    if signer.key.key_id not in {item.key_id for item in version.root_keys}:
        raise UsageError("trust_draft.root", f"{key} is no root key of version {version.version}")
    raw = add_signature(version, signer.key, signer.sign(draft_message(version)))
    write_file(output, raw)
    signed = len(parse_draft(raw).signatures)
    if as_json:
        emit_json({"version": version.version, "signatures": signed, "threshold": version.threshold, "written": output})
        return
    click.echo(f"version {version.version}: {signed} of {version.threshold} signatures", err=True)


@click.command("adopt")
@click.argument("trust_file", metavar="TRUST")
@click.argument("draft_file", metavar="DRAFT")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@written_option
def adopt(trust_file: str, draft_file: str, output: str, as_json: bool) -> None:
    """Put a signed draft behind the last version of its trust file.

    TRUST may be written over: verifiers accept a longer chain, and refuse a shorter one.
    """
    raw, found = adopt_draft(_versions(trust_file), parse_draft(read_file(draft_file)))
    write_file(output, raw)
    if as_json:
        emit_json({"trust": {"digest": found.digest, "version": found.version}, "written": output})
        return
    click.echo(f"trust {found.digest}, version {found.version}", err=True)


def _versions(name: str) -> tuple[TrustVersion, ...]:
    versions = parse_trust_chain(read_file(name))
    verify_trust(versions)
    return versions


def _time(text: str | None, otherwise: dt.datetime) -> dt.datetime:
    return otherwise if text is None else parse_moment(text)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UsageError("usage.option", f"{text!r} is no NAME=VALUE")
    return name, value
