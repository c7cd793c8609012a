"""``purchase``: something that costs (x402), bought within the limits of a wallet of the owner's.

Settings: ``wallet``, a wallet file (docs/howto/pay.md) from the agent file's folder; it names its key by ``file:``, the
payees that may be paid, and what may be spent of each asset. ``allow`` says which URLs may be asked for.

What is prepared is one signed authorisation with its nonce: whatever is sent with it, it moves money once at most.
After a crash the same is asked for again with the same authorisation, until that has run out; then the chain of the
asset says whether it was used, where the wallet file names an endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.spending_sqlite import SpendingRecord
from holdfast.agents.tool import Act, Fate, Happened, ToolError
from holdfast.agents.world import World, describe_arguments, only_settings, text_setting
from holdfast.client.chain import ChainReader
from holdfast.client.paying import PAYMENT_REQUIRED, RESPONSE, SIGNATURE, Wallet
from holdfast.client.tokens import ChainTokens
from holdfast.client.wallet_file import WalletFile, load_wallet_file
from holdfast.core import canonical
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON
from holdfast.core.paying import Seller, parse_asked
from holdfast.core.x402 import Permit2Authorization, parse_header, parse_payload, parse_settle_response
from holdfast.errors import HoldfastError, RefusedError, UnavailableError
from holdfast.ports.clock import Clock

MAX_BYTES, SHOWN, TIMEOUT_S = 4 << 20, 65_536, 60.0
MARGIN_S = 60
"""How long after its end an authorisation is taken to be unusable: clocks differ, and blocks take time."""


class PurchaseTool:
    """See the module."""

    description = "Proposes to buy what is at a URL. It waits until people and proofs let it go."
    parameters: Mapping[str, Any] = describe_arguments(url={"type": "string", "maxLength": 2048})

    def __init__(self, file: ToolFile, world: World, *, clock: Clock | None = None) -> None:
        only_settings(file, "wallet")
        self.name, self.effect = file.name, file.effect
        self._path = world.folder / Path(text_setting(file, "wallet")).expanduser()
        self.spends = f"wallet {self._path}"
        self._world = world
        self._clock = clock or SystemClock()
        self._opened: tuple[Wallet, WalletFile] | None = None

    def _wallet(self) -> tuple[Wallet, WalletFile]:
        """The wallet, opened when it is first used. Raises ``wallet.*`` and ``settings.*``."""
        if self._opened is None:
            file = load_wallet_file(self._path, {})
            endpoints = {item.network: self._world.json_rpc(item.rpc) for item in file.assets if item.rpc is not None}
            tokens = ChainTokens(endpoints) if endpoints else None
            record = SpendingRecord(self._path.parent / file.record)
            self._opened = Wallet(file.signer(), file.limits(), record, self._clock, tokens=tokens), file
        return self._opened

    async def prepare(self, act: Act) -> bytes:
        """What it costs is asked, held against the wallet's limits, entered and signed. Raises :class:`ToolError` for
        what the limits do not take."""
        url = str(act.arguments["url"])
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ToolError("url is an http:// or https:// URL")
        answer = await self._world.http.request("GET", url, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES)
        if answer.status != PAYMENT_REQUIRED:
            raise ToolError(f"nothing is sold there: it answers {answer.status} to somebody who pays nothing")
        asked = parse_asked(answer.headers, answer.body)
        if asked is None:
            raise ToolError("the seller wants to be paid and does not say what")
        try:
            signed = await self._wallet()[0].pay(asked, Seller(parts.path), url)
        except RefusedError as error:
            raise ToolError(f"the wallet does not pay this: {error.message}") from error
        paid = signed.paid
        kept: dict[str, JSON] = {
            "url": url,
            "header": signed.header,
            "identity": paid.identity,
            "expires_at": signed.expires_at,
        }
        about = {"network": paid.network, "asset": paid.asset, "payee": paid.payee, "amount": str(paid.authorised)}
        return canonical.encode({**kept, **about})

    async def carry_out(self, act: Act, prepared: bytes) -> JSON:
        """Ask with the authorisation; what came, and what the seller says of the transfer."""
        del act
        kept = canonical.decode_object(prepared)
        answer = await self._world.http.request(
            "GET", kept["url"], headers={SIGNATURE: kept["header"]}, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES
        )
        if not 200 <= answer.status < 300:
            raise UnavailableError("tool.seller", f"the seller answered {answer.status} to a signed payment")
        text = answer.body.decode("utf-8", "replace")
        shown: dict[str, JSON] = {"status": answer.status, "answer": text[:SHOWN], "cut": max(0, len(text) - SHOWN)}
        return {**shown, **_paid(kept), "transaction": self._told(kept["identity"], answer.headers.get(RESPONSE))}

    def _told(self, identity: str, header: str | None) -> JSON:
        """The transaction that the seller names: its word."""
        if header is None:
            return None
        try:
            said = parse_settle_response(parse_header(header))
        except HoldfastError:
            return None
        self._wallet()[0].record.told(identity, canonical.encode_exact(said.to_json()), None)
        return said.transaction

    async def look(self, act: Act, prepared: bytes) -> Happened | Fate:
        """While the authorisation holds, the same may be asked again; then its chain knows."""
        del act
        kept = canonical.decode_object(prepared)
        if int(self._clock.now().timestamp()) <= kept["expires_at"] + MARGIN_S:
            return Fate.NOT_YET
        used = await self._used(kept)
        if used is None:
            return Fate.UNKNOWN
        return Happened({**_paid(kept), "answer": None}) if used else Fate.DID_NOT

    async def _used(self, kept: Mapping[str, Any]) -> bool | None:
        """Whether the authorisation moved money; None where nobody can be asked."""
        asset = self._wallet()[1].asset(kept["network"], kept["asset"])
        if asset is None or asset.rpc is None:
            return None
        authorization = parse_payload(parse_header(kept["header"])).authorization
        chain = ChainReader(self._world.json_rpc(asset.rpc), authorization.payer)
        if isinstance(authorization, Permit2Authorization):
            return await chain.permit_used(authorization.payer, authorization.nonce)
        return await chain.authorization_used(kept["asset"], authorization.payer, authorization.nonce)


def _paid(kept: Mapping[str, Any]) -> dict[str, JSON]:
    return {name: kept[name] for name in ("identity", "network", "asset", "payee", "amount")}
