"""``holdfast round``: how rounds stand, asked of every full node and checked against trust.

Votes and finality messages are counted here, by verified signature; a node that does not answer is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.network import Network, missing_trust, network_options, with_http
from holdfast.cli.output import clean, emit, emit_json
from holdfast.cli.trust import open_trust
from holdfast.core import rounds as core
from holdfast.core.evm import address_of
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UndecidedError

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP
    from holdfast.client.full import HTTPFullNode, RoundView


@click.group("round")
def rounds() -> None:
    """Show rounds: candidates, votes, finality."""


@dataclass(slots=True)
class RoundTold:
    """One round as the full nodes tell it, signatures verified."""

    number: int
    candidate: core.Candidate | None = None
    state: str = "open"
    votes: dict[str, int] = field(default_factory=dict)
    """Address to stake, for the newest candidate."""
    finality: dict[str, int] = field(default_factory=dict)
    total: int = 0
    names: dict[str, str] = field(default_factory=dict)
    """Address to node name."""

    def to_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "number": self.number,
            "state": self.state,
            "candidate": None if self.candidate is None else self.candidate.to_json(),
            "content": None if self.candidate is None else self.candidate.content.hex(),
            "votes": [self._signer(address, stake) for address, stake in sorted(self.votes.items())],
            "finality": [self._signer(address, stake) for address, stake in sorted(self.finality.items())],
            "stake_total": self.total,
        }

    def _signer(self, address: str, stake: int) -> dict[str, Any]:
        return {"node": self.names.get(address), "address": address, "stake": stake}


@rounds.command("show")
@click.argument("number", metavar="[N]", required=False, type=click.IntRange(min=1))
@network_options
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def show(network: Network, number: int | None, trust_file: str | None, as_json: bool) -> None:
    """Print round N (default: the newest): its candidate, who voted, who calls it final."""
    trust = open_trust(trust_file, None) or network.find_trust()
    found, silent = with_http(lambda http: _gather(network, http, trust, number))
    begun = [item for item in found if item.candidate is not None]
    told = begun[-1] if begun else None
    if told is None:
        raise RefusedError("round.unknown", "no full node knows a candidate of this round", status=404)
    if as_json:
        emit_json({**told.to_json(), "silent": silent})
        return
    for line in _lines(told):
        emit(clean(line))
    _say_silent(silent)


@rounds.command("list")
@network_options
@click.option("--limit", default=20, type=click.IntRange(1, 100), show_default=True, help="How many, newest last.")
@click.option("--trust", "trust_file", metavar="FILE", help="Trust file.  [default: the network's own]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def list_rounds(network: Network, limit: int, trust_file: str | None, as_json: bool) -> None:
    """List the newest rounds."""
    trust = open_trust(trust_file, None) or network.find_trust()
    found, silent = with_http(lambda http: _gather(network, http, trust, None, limit))
    if as_json:
        emit_json({"rounds": [told.to_json() for told in found[-limit:]], "silent": silent})
        return
    if not found:
        emit("no rounds yet")
    for told in found[-limit:]:
        words = [f"{told.number:>6}  {told.state:<9}"]
        if told.candidate is not None:
            words.append(f"{told.candidate.size} entries, attempt {told.candidate.attempt},")
        if told.state != "final":
            words.append(f"{len(told.votes)} have voted,")
        words.append(f"final for {sum(told.finality.values())} of {told.total} units of stake")
        emit(" ".join(words))
    _say_silent(silent)


def _say_silent(silent: Sequence[str]) -> None:
    if silent:
        click.echo(clean(f"no answer from {', '.join(silent)}"), err=True)


def _lines(told: RoundTold) -> list[str]:
    lines = [f"round     {told.number}, {told.state}"]
    candidate = told.candidate
    if candidate is not None:
        lines += [
            f"covers    {candidate.origin} up to {candidate.size} entries",
            f"attempt   {candidate.attempt}, epoch {candidate.epoch}",
            f"root      {candidate.root.hex()}",
            f"verdicts  {candidate.verdict_root.hex()}",
            f"content   {candidate.content.hex()}",
        ]
    shown = (("voted", told.votes), ("final", told.finality))
    for label, signed in shown if told.votes else shown[1:]:
        stake = sum(signed.values())
        more = "more" if core.quorum(stake, told.total) else "not more"
        lines.append(f"{label:<9} {stake} of {told.total} units of stake, {more} than two thirds")
        lines += [f"          {told.names.get(address, '?'):<16} {address}" for address in sorted(signed)]
    return lines


async def _gather(
    network: Network, http: AiohttpHTTP, trust: Trust | None, number: int | None, limit: int = 20
) -> tuple[list[RoundTold], list[str]]:
    """The newest rounds (or round ``number``) as all full nodes tell them, and the names of those that are silent."""
    from holdfast.client.full import HTTPFullNode, ask_all  # noqa: PLC0415 - lazily, like everything with a network

    if trust is None:
        raise missing_trust()
    described = await network.completed(http)
    origin = described.require("origin")
    nodes = [(item.name, HTTPFullNode(http, item.url)) for item in described.full_nodes]
    if not nodes:
        described.require("full_nodes")
    answers = await ask_all(*(_ask(node, origin, number, limit) for _, node in nodes))
    silent = [name for (name, _), answer in zip(nodes, answers, strict=True) if isinstance(answer, HoldfastError)]
    if len(silent) == len(nodes):
        raise UnavailableError(
            "network.silent", "no full node answers", hint="is the network up? try 'holdfast doctor'"
        )
    views = [view for answer in answers if not isinstance(answer, HoldfastError) for view in answer]
    numbers = sorted({view.number for view in views})
    return [_tell(origin, one, [view for view in views if view.number == one], trust) for one in numbers], silent


async def _ask(node: HTTPFullNode, origin: str, number: int | None, limit: int) -> list[RoundView]:
    if number is not None:
        view = await node.round(origin, number)
        return [] if view is None else [view]
    return list(await node.newest(origin, limit))


def _tell(origin: str, number: int, views: Sequence[RoundView], trust: Trust) -> RoundTold:
    """Count verified votes and finality messages for the candidate that most of them are about."""
    chain, epoch = trust.chain(origin), trust.epoch(origin, number)
    if chain is None or epoch is None:
        raise UndecidedError("trust.epoch", f"trust names no chain or epoch for round {number} of {origin}")
    domain = core.ChainDomain(chain.chain_id, chain.contract)
    told = RoundTold(number, total=epoch.total)
    stakes: dict[str, int] = {}
    for node, stake in epoch.stakes.items():
        admission = trust.admission(node)
        key = admission.key_document.key_for("vote") if admission else None
        if admission is not None and key is not None:
            address = address_of(key.public)
            stakes[address], told.names[address] = stake, admission.key_document.name
    candidates = {view.candidate for view in views if view.candidate is not None}
    best: tuple[int, int, int] = (-1, -1, -1)
    for candidate in candidates:
        votes, finality = _count(candidate, views, domain, stakes)
        weight = (sum(finality.values()), candidate.attempt, sum(votes.values()))
        if weight > best:
            best, told.candidate, told.votes, told.finality = weight, candidate, votes, finality
    if core.quorum(sum(told.finality.values()), told.total):
        told.state = "final"
    elif told.candidate is not None:
        told.state = "proposed"
    return told


def _count(
    candidate: core.Candidate, views: Sequence[RoundView], domain: core.ChainDomain, stakes: dict[str, int]
) -> tuple[dict[str, int], dict[str, int]]:
    votes: dict[str, int] = {}
    finality: dict[str, int] = {}
    for view in views:
        for vote in view.votes:
            if (vote.content, vote.attempt) == (candidate.content, candidate.attempt):
                _add(votes, stakes, lambda vote=vote: core.verify_vote(domain, vote, stakes).signer)
        message = view.finality
        if message is not None and (message.content, message.number) == (candidate.content, candidate.number):
            _add(finality, stakes, lambda message=message: core.verify_finality_message(domain, message, stakes).signer)
    return votes, finality


def _add(found: dict[str, int], stakes: dict[str, int], recover: Any) -> None:
    """Count a signer once; what does not verify counts nothing."""
    try:
        signer = recover()
    except HoldfastError:
        return
    found[signer] = stakes[signer]
