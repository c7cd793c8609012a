"""Any EVM chain by its JSON-RPC endpoint, behind ``ports/chain.py``; ``evm_rpc.py`` asks and sends.

Rules: what was read is believed only behind the finality depth: ``finality_depth`` blocks, or the chain's own
``finalized`` tag.
Not covered: light-client proofs (the endpoint is trusted for order and time; votes and finality messages are checked by
whoever uses them), several endpoints at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.adapters.evm_rpc import (
    DEPLOY_GAS_MARGIN_PERCENT,
    EvmAccount,
    EvmConnection,
    SendSettings,
    TransactionSigner,
    call_contract,
    contract_interface,
    quantity,
    word_hex,
)
from holdfast.core import evm, rounds
from holdfast.core.rounds import Candidate, ChainDomain, FinalityMessage, Vote, origin_id
from holdfast.errors import ConflictError, RefusedError, UnavailableError, UndecidedError, UsageError
from holdfast.ports.chain import (
    AttemptOpened,
    CandidateRecorded,
    ChainEvent,
    Cursor,
    Epoch,
    EpochAnnounced,
    EventPage,
    FinalRound,
    Head,
    Inclusion,
    Member,
    MemberSlashed,
    OpenRound,
    RoundFinalised,
    RoundsSettings,
    Stake,
    VoteCounted,
    refusal,
)

OPEN_ATTEMPT_GAS = 120_000
"""Gas of ``open_attempt``, which is not tried first: the newest state's clock may be an old block's."""
LOG_SPAN_BLOCKS = 2_000
"""Blocks in one eth_getLogs request; public endpoints commonly allow as many."""
_OFFENCES = {1: "votes", 2: "finality"}


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where ``Rounds`` is."""

    rounds: ChainDomain
    block: int
    """Number of the block that created it: where events begin."""


async def deploy(
    connection: EvmConnection, signer: TransactionSigner, settings: RoundsSettings, *, governor: str | None = None
) -> Deployment:
    """Create ``Rounds``; ``governor`` announces epochs and is the signer unless given."""
    chain_id = quantity(await connection.request("eth_chainId"), "chain id")
    account = EvmAccount(connection, signer, chain_id)
    init_code = contract_interface("Rounds").init_code(
        [governor or signer.address, settings.timeout_s, settings.unbonding_s, settings.notice_s]
    )
    included, contract = await account.transact(None, init_code, margin=DEPLOY_GAS_MARGIN_PERCENT)
    if contract is None:
        raise UnavailableError("chain.rpc", "the chain created the contract and did not say where")
    return Deployment(ChainDomain(chain_id, contract), included.block)


class EvmChain:
    """``ports.chain.Chain`` over a deployed contract.

    ``finality_depth``: blocks that must lie on top of one that is believed; ``None``: the chain's ``finalized`` tag.
    ``first_block`` is where events begin.
    """

    def __init__(
        self,
        connection: EvmConnection,
        domain: ChainDomain,
        signer: TransactionSigner,
        *,
        finality_depth: int | None,
        first_block: int = 0,
        send: SendSettings | None = None,
    ) -> None:
        self._connection = connection
        self._domain = domain
        self._account = EvmAccount(connection, signer, domain.chain_id, send)
        self._depth = finality_depth
        self._first_block = first_block
        self._rounds = contract_interface("Rounds")

    @property
    def domain(self) -> ChainDomain:
        """Chain id and contract."""
        return self._domain

    @property
    def sender(self) -> EvmAccount:
        """What sends for this account. Adapters of other contracts share it: one key counts one sequence of nonces."""
        return self._account

    @property
    def account(self) -> str:
        """The paying address."""
        return self._account.address

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _call(self, function: str, *arguments: Any) -> Any:
        return await call_contract(self._connection, self._domain.contract, "Rounds", function, *arguments)

    async def _block(self, tag: str) -> Head:
        block = await self._connection.request("eth_getBlockByNumber", tag, False)
        if not isinstance(block, dict):
            raise UnavailableError("chain.rpc", f"the chain has no block {tag}")
        return Head(
            quantity(block.get("number"), "block number"),
            word_hex(block.get("hash"), "block hash"),
            quantity(block.get("timestamp"), "block time"),
        )

    async def head(self) -> Head:
        return await self._block("latest")

    async def _final_height(self) -> int:
        """The newest block that may be believed; below zero when there is none yet."""
        if self._depth is None:
            return (await self._block("finalized")).number
        return (await self.head()).number - self._depth

    async def settings(self) -> RoundsSettings:
        return RoundsSettings(
            await self._call("timeout"), await self._call("unbonding_delay"), await self._call("notice")
        )

    async def current_epoch(self) -> Epoch:
        number = await self._call("current_epoch")
        if number == 0:
            raise UndecidedError("epoch.none", "no epoch has started", hint="announce an epoch")
        return await self.epoch(number)

    async def epoch(self, number: int) -> Epoch:
        try:
            starts_at, members, stakes = await self._call("epoch", number)
        except RefusedError as error:
            if error.code == "epoch.unknown":
                raise UsageError("epoch.unknown", f"epoch {number} was never announced") from error
            raise
        listed = tuple(Member(address.lower(), stake) for address, stake in zip(members, stakes, strict=True))
        return Epoch(number, starts_at, listed)

    async def open_round(self, origin: str) -> OpenRound:
        shown = await self._call("open_round", origin_id(origin))
        number, attempt, current, previous, previous_size, previous_root, next_at, recorded = shown[:8]
        epoch, size, root, verdict_root, blob_id, stake_for, voters = shown[8:]
        candidate = (
            Candidate(origin, epoch, number, attempt, previous, size, root, verdict_root, blob_id) if recorded else None
        )
        return OpenRound(
            origin,
            number,
            attempt,
            current,
            previous,
            previous_size,
            previous_root,
            candidate,
            frozenset(voter.lower() for voter in voters),
            stake_for,
            next_at,
        )

    async def final_round(self, origin: str, number: int) -> FinalRound | None:
        # The height first: a round read afterwards is at least as new, so a block that counts as deep was deep.
        height = await self._final_height()
        try:
            shown = await self._call("final_round", origin_id(origin), number)
        except RefusedError as error:
            if error.code == "round.open":
                return None
            raise
        epoch, attempt, previous, content, size, root, verdict_root, blob_id, final_at, block = shown
        if block > height:
            return None
        candidate = Candidate(origin, epoch, number, attempt, previous, size, root, verdict_root, blob_id)
        if candidate.content != content:
            raise UnavailableError("chain.rpc", "the chain's round does not hash to its content")
        return FinalRound(candidate, block, final_at)

    async def events(self, since: Cursor | None = None) -> EventPage:
        height = await self._final_height()
        start = self._first_block if since is None else since.block + 1
        if since is not None:
            await self._check_cursor(since)
        if height < start:
            return EventPage((), since or await self._cursor(max(0, min(height, self._first_block))))
        cursor = await self._cursor(height)
        found: list[ChainEvent] = []
        for first in range(start, height + 1, LOG_SPAN_BLOCKS):
            last = min(first + LOG_SPAN_BLOCKS - 1, height)
            query = {"address": self._domain.contract, "fromBlock": hex(first), "toBlock": hex(last)}
            entries = await self._connection.request("eth_getLogs", query)
            found += [event for entry in entries or () if (event := self._event(entry)) is not None]
        return EventPage(tuple(found), cursor)

    async def _cursor(self, number: int) -> Cursor:
        return Cursor(number, (await self._block(hex(number))).hash)

    async def _check_cursor(self, since: Cursor) -> None:
        block = await self._connection.request("eth_getBlockByNumber", hex(since.block), False)
        if not isinstance(block, dict) or word_hex(block.get("hash"), "block hash") != since.hash:
            raise ConflictError("chain.reorganised", f"block {since.block} was undone", hint="read from the start")

    def _event(self, entry: Mapping[str, Any]) -> ChainEvent | None:
        """One log entry of the contract; ``None`` for events that rounds do not need (deposits, governors)."""
        found = self._rounds.decode_event(entry)
        if found is None:
            return None
        name, keys, values = found
        block = quantity(entry.get("blockNumber"), "block number")
        return _typed_event(name, block, keys, values)

    async def stake(self, address: str) -> Stake:
        bonded, unbonding, release_at, slashed = await self._call("bond", evm.parse_address(address))
        return Stake(bonded, unbonding, release_at, slashed)

    # --- writing ------------------------------------------------------------------------------------------------------

    async def _transact(self, function: str, *arguments: Any, value: int = 0, gas: int | None = None) -> Inclusion:
        data = self._rounds.call_data(function, arguments)
        included, _ = await self._account.transact(self._domain.contract, data, value=value, gas=gas)
        return included

    async def submit_candidate(self, candidate: Candidate, signature: bytes) -> Inclusion:
        return await self._transact(
            "propose",
            origin_id(candidate.origin),
            candidate.epoch,
            candidate.number,
            candidate.attempt,
            candidate.previous,
            candidate.size,
            candidate.root,
            candidate.verdict_root,
            candidate.blob_id,
            signature,
        )

    async def submit_votes(
        self, origin: str, number: int, attempt: int, content: bytes, signatures: Sequence[bytes]
    ) -> Inclusion:
        return await self._transact("vote", origin_id(origin), number, attempt, content, list(signatures))

    async def open_attempt(self, origin: str, number: int, attempt: int) -> Inclusion:
        shown = await self.open_round(origin)
        if (shown.number, shown.attempt + 1) != (number, attempt):
            raise refusal("round.number" if shown.number != number else "round.attempt")
        return await self._transact("open_attempt", origin_id(origin), number, attempt, gas=OPEN_ATTEMPT_GAS)

    async def submit_double_vote(self, first: Vote, second: Vote) -> Inclusion:
        rounds.verify_double_vote(self._domain, first, second)
        return await self._transact(
            "slash_votes",
            origin_id(first.origin),
            first.epoch,
            first.number,
            first.attempt,
            first.content,
            first.signature,
            second.content,
            second.signature,
        )

    async def submit_double_finality(self, first: FinalityMessage, second: FinalityMessage) -> Inclusion:
        rounds.verify_double_finality(self._domain, first, second)
        return await self._transact(
            "slash_finality",
            origin_id(first.origin),
            first.number,
            first.epoch,
            first.content,
            first.signature,
            second.epoch,
            second.content,
            second.signature,
        )

    async def deposit(self, address: str, amount: int) -> Inclusion:
        return await self._transact("deposit", evm.parse_address(address), value=amount)

    async def begin_unbonding(self, amount: int) -> Inclusion:
        return await self._transact("begin_unbonding", amount)

    async def withdraw(self) -> Inclusion:
        return await self._transact("withdraw")

    async def announce_epoch(self, starts_at: int, members: Sequence[Member]) -> Inclusion:
        return await self._transact(
            "announce_epoch",
            starts_at,
            [member.address for member in members],
            [member.stake for member in members],
        )


def _typed_event(name: str, block: int, keys: Sequence[Any], values: Sequence[Any]) -> ChainEvent | None:
    match name:
        case "CandidateRecorded":
            (origin, number), (attempt, epoch, content, proposer) = keys, values
            return CandidateRecorded(block, origin, epoch, number, attempt, content, proposer.lower())
        case "VoteCounted":
            (origin, number, voter), (attempt, content) = keys, values
            return VoteCounted(block, origin, number, attempt, voter.lower(), content)
        case "AttemptOpened":
            return AttemptOpened(block, keys[0], keys[1], values[0])
        case "RoundFinalised":
            (origin, number), (attempt, epoch, content) = keys, values
            return RoundFinalised(block, origin, epoch, number, attempt, content)
        case "MemberSlashed":
            return MemberSlashed(block, keys[0].lower(), _OFFENCES.get(values[0], str(values[0])), values[1])
        case "EpochAnnounced":
            return EpochAnnounced(block, keys[0], values[0])
        case _:
            return None
