"""Handing a user's rows out and taking them in, with whose histories are believed (``spec/memory.md`` §10)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from holdfast.core import canonical
from holdfast.core.keys import KeyDocument
from holdfast.core.trust import Trust
from holdfast.errors import HoldfastError, RefusedError, UsageError
from holdfast.nodes.memory import reading, transfer
from holdfast.nodes.memory.keyring import Principal
from holdfast.nodes.memory.service import MemoryService
from holdfast.nodes.memory.transfer import Cost, Imported
from holdfast.nodes.memory.unlocking import DeriveKey
from holdfast.nodes.memory.vault import Draft
from holdfast.ports.clock import Clock
from holdfast.ports.signer import Signer


class Portability:
    """See the module. ``trust`` gives the trust document in force, or raises."""

    def __init__(
        self,
        service: MemoryService,
        document: KeyDocument,
        signer: Signer,
        cost: Cost,
        *,
        clock: Clock,
        derive_key: DeriveKey,
        random_bytes: Callable[[int], bytes],
        trust: Callable[[], Trust] | None,
    ) -> None:
        self._service = service
        self._document = document
        self._signer = signer
        self._cost = cost
        self._clock = clock
        self._derive_key = derive_key
        self._random = random_bytes
        self._trust = trust

    async def export(self, principal: Principal, passphrase: str) -> bytes:
        """Every row with its history in one file, sealed under ``passphrase``."""
        principal.require("owner")
        vaults = self._service.vaults
        async with vaults.hold(principal) as vault:
            erased = await vaults.run(vaults.store.erased, principal.user)
            return await self._service.unlocking.file(
                principal.user,
                transfer.build_export,
                vault,
                erased,
                passphrase,
                cost=self._cost,
                at=self._clock.now(),
                document=self._document,
                signer=self._signer,
                derive_key=self._derive_key,
                random_bytes=self._random,
            )

    async def take_in(self, principal: Principal, body: Mapping[str, Any]) -> Imported:
        """A file: ``export`` with its ``passphrase``, and ``believe`` with the digest of a node's key document where
        trust does not admit it; or ``file`` of another system. Raises ``memory.*``."""
        principal.require("owner")
        if "export" in body:
            return await self._export(principal, body)
        if "file" not in body:
            raise UsageError("memory.request", "an import has export, or file", param="export")
        name, claims = transfer.parse_foreign(body["file"])
        raw = canonical.encode_exact(body["file"])
        return await self._service.vaults.change(
            principal, lambda draft: transfer.import_claims(draft, claims, raw, name)
        )

    async def _export(self, principal: Principal, body: Mapping[str, Any]) -> Imported:
        vaults, given = self._service.vaults, body["export"]
        if not isinstance(given, dict):
            raise UsageError("memory.request", "export is the object that an export is", param="export")
        passphrase = reading.text_of(body, "passphrase", 1024)
        unlocking = self._service.unlocking
        found = await unlocking.file(principal.user, transfer.open_export, given, passphrase, self._derive_key)
        erased = await vaults.run(vaults.store.erased, principal.user)
        if self._believes(found.document, body.get("believe")):
            return await vaults.change(principal, lambda draft: transfer.take_in(draft, found, erased))
        if body.get("believe") is not None:
            raise RefusedError(
                "memory.export_node",
                f"another node wrote this file: {found.document.digest}",
                hint="name that digest in believe if it is yours, or leave believe out to take its rows as imported",
            )
        raw, claims = canonical.encode_exact(given), transfer.claims_of(found)

        def take(draft: Draft) -> Imported:
            return transfer.import_claims(draft, claims, raw, "holdfast")

        return await vaults.change(principal, take)

    def _believes(self, document: KeyDocument, named: Any) -> bool:
        if document.digest in (self._document.digest, named):
            return True
        if self._trust is None:
            return False
        try:
            admission = self._trust().admission(document.digest)
        except HoldfastError:
            return False
        now = self._clock.now()
        return (
            admission is not None and admission.revoked is None and admission.valid_from <= now < admission.valid_until
        )
