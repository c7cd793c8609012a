"""``holdfast proxy``: OpenAI's API on this machine, each answer checked before it is handed on (``spec/client.md`` §7).

Programs that speak to OpenAI are pointed at it and change in nothing else. It listens once the gateway has been
checked; it stops with Ctrl-C.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import click

from holdfast.adapters.clock_system import SystemClock
from holdfast.cli.listening import open_listener
from holdfast.cli.network import Network, network_options, read_key
from holdfast.cli.output import clean_line, emit, emit_json
from holdfast.cli.proxy_app import STATUS, ProxyApp
from holdfast.cli.wallets import find_wallet, wallet_option
from holdfast.cli.ways import RELAY_KEY_VARIABLE, choose_trust, direct_way, sealed_way
from holdfast.client.channels import is_loopback
from holdfast.client.gateway import GatewayClient
from holdfast.client.release import ReleaseRules
from holdfast.client.run_journal import RunJournal
from holdfast.errors import UsageError
from holdfast.nodes.edge import Edge, Limits
from holdfast.nodes.messages import MessagesErrors
from holdfast.nodes.server import make_server, split_listen
from holdfast.ports.settings import Secret
from holdfast.verifier.identity import ATTESTED, Attested
from holdfast.verifier.policy import parse_requirement

BODY_BYTES = 16 << 20
"""Largest request: a gateway takes less unless it is told otherwise."""


@click.command()
@network_options
@click.option("--listen", default="127.0.0.1:8788", show_default=True, metavar="HOST:PORT", help="Where programs ask.")
@click.option(
    "--insecure-listen", is_flag=True, help="Listen on an address that other machines reach, with a token all the same."
)
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE", help="Callers have to show this token.")
@click.option("--private", is_flag=True, help="Through the network's relay: it sees no text, the gateway no address.")
@click.option("--relay", metavar="URL", help="As --private, through this relay.")
@click.option(
    "--relay-key",
    metavar="REF",
    help=f"What the relay knows you by: file:PATH or env:NAME; else ${RELAY_KEY_VARIABLE}.",
)
@click.option("--or-direct", is_flag=True, help="Where the relay is not there, ask directly and say so in each answer.")
@click.option("--pay", is_flag=True, help="Without a key: pay from a wallet, within the limits in its file.")
@wallet_option
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--trust-pin", metavar="HEX", help="SHA-256 that the first trust version must have.")
@click.option(
    "--require-enclave",
    type=click.Choice(ATTESTED),
    help="What the gateway's attestation must come to, before anything is sent.  [default: what trust is for]",
)
@click.option("--require", multiple=True, metavar="LANE=STATE[:BASIS]", help="Refuse answers whose lane is another.")
@click.option("--no-fallback", is_flag=True, help="Refuse answers of an upstream that stood in for another.")
@click.option("--same-upstream", is_flag=True, help="Refuse answers of another upstream than a model's first one.")
@click.option("--same-model", is_flag=True, help="Refuse answers that name another model than was asked for.")
@click.option(
    "--journal", type=click.Path(path_type=Path), metavar="FILE", help="Keep runs and their capabilities there."
)
@click.option("--insecure-plain-http", is_flag=True, help="Ask a gateway elsewhere over http:// all the same.")
@click.option(
    "--json", "as_json", is_flag=True, help="Say where it listens, and what was checked, as one JSON document."
)
def proxy(
    network: Network,
    listen: str,
    insecure_listen: bool,
    token_file: Path | None,
    private: bool,
    relay: str | None,
    relay_key: str | None,
    or_direct: bool,
    pay: bool,
    wallet_path: Path | None,
    trust_file: str | None,
    trust_pin: str | None,
    require_enclave: Attested | None,
    require: tuple[str, ...],
    no_fallback: bool,
    same_upstream: bool,
    same_model: bool,
    journal: Path | None,
    insecure_plain_http: bool,
    as_json: bool,
) -> None:
    """Answer OpenAI's clients on this machine, each answer checked before it is handed on.

    Text of a stream goes on as soon as a signed mark covers it; its end, and a whole answer, once the signed statements
    name it and every rule holds. What fails is an error, and the rest of it is not handed on.
    """
    found = replace(network, attested=require_enclave, insecure_plain_http=insecure_plain_http)
    rules = ReleaseRules(tuple(map(parse_requirement, require)), no_fallback, same_upstream, same_model)
    host, port = split_listen(listen)
    token = None if token_file is None else read_key(f"file:{token_file}")
    _refuse_elsewhere(host, token, insecure=insecure_listen)
    through = relay or (found.relay if private else None)
    if private and through is None:
        raise UsageError("proxy.relay", f"{found.described_by} names no relay", hint="name one with --relay URL")
    if through is None and (relay_key is not None or or_direct):
        raise UsageError("proxy.relay", "--relay-key and --or-direct belong to --private or --relay")
    if (pay and through is not None) or (wallet_path is not None and not pay):
        raise UsageError(
            "proxy.pay", "--wallet belongs to --pay, and --pay to the direct way: on the private path the relay pays"
        )
    trust = choose_trust(found, trust_file, trust_pin, private=through is not None)
    if through is not None:
        way = sealed_way(found, trust, through, relay_key=relay_key, or_direct=or_direct)
    else:
        way = direct_way(found, trust, find_wallet(found, wallet_path) if pay else None)
    about = {"gateway": found.gateway if through is None else None, "relay": through, "or_direct": or_direct}
    kept = None if journal is None else RunJournal(journal)
    try:
        asyncio.run(_serve(way, rules, (host, port), kept, token, about, as_json=as_json))
    finally:
        if kept is not None:
            kept.close()


def _refuse_elsewhere(host: str, token: Secret | None, *, insecure: bool) -> None:
    """Raises ``proxy.listen``: whoever reaches the proxy asks with its owner's key."""
    if is_loopback(host) or (insecure and token is not None):
        return
    raise UsageError(
        "proxy.listen",
        f"{host} is not this machine alone: whoever reaches the proxy asks on your account, without TLS",
        hint="listen on 127.0.0.1; or say --insecure-listen with a --token-file",
        param="listen",
    )


async def _serve(
    way: AbstractAsyncContextManager[GatewayClient],
    rules: ReleaseRules,
    address: tuple[str, int],
    journal: RunJournal | None,
    token: Secret | None,
    about: dict[str, str | bool | None],
    *,
    as_json: bool,
) -> None:
    async with way as client:
        app = ProxyApp(
            client,
            rules,
            SystemClock(),
            journal=journal,
            token=token,
            elsewhere=not is_loopback(address[0]),
            about=about,
        )
        listener, url = open_listener(*address)
        checked = (await client.attester()).checked
        if as_json:
            emit_json({"url": f"{url}/v1", "status": url + STATUS, "checked": checked.to_json()})
        else:
            emit(clean_line(checked.says))
            emit(f"listening: OPENAI_BASE_URL={url}/v1; what was checked: {url}{STATUS}")
        await make_server(MessagesErrors(Edge(app, Limits(body_bytes=BODY_BYTES)))).serve(sockets=[listener])
