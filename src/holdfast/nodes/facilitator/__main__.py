"""Run a facilitator: ``python -m holdfast.nodes.facilitator [FILE]``.

The only place in this node that picks adapters.
"""

from __future__ import annotations

import dataclasses
import os
import sys

from holdfast.adapters.blobs_files import FileBlobs
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.json_rpc_aiohttp import BatchingJSONRPC
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.client.chain import ChainReader
from holdfast.core import evm, x402
from holdfast.core.encoding import hex_decode
from holdfast.errors import HoldfastError, MalformedError, UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.facilitator.app import create_app
from holdfast.nodes.facilitator.config import FacilitatorConfig, NetworkConfig
from holdfast.nodes.facilitator.ledger import Ledger
from holdfast.nodes.facilitator.metrics import METRICS
from holdfast.nodes.facilitator.network import Network
from holdfast.nodes.facilitator.service import FacilitatorService
from holdfast.nodes.process import run_node
from holdfast.ports.settings import Secret

LOCK = "writer.lock"
"""Held while a process owns the write-ahead log: two would hand out the same nonces."""


def build(config: FacilitatorConfig) -> App:
    """The facilitator on this machine's disk, clock and network."""
    networks = checked(config)
    signers = {each.network: load_account(each.key) for each in networks}
    storage = FileStorage(config.state)
    lock = storage.lock(LOCK)
    try:
        log = WriteAheadLog(storage, "wal", config.segment_bytes)
        committer = GroupCommit(log)
        ledger = Ledger(log, committer)
    except HoldfastError:
        lock.release()
        raise
    clock, metrics = SystemClock(), PrometheusMetrics(METRICS)
    endpoints = {each.network: BatchingJSONRPC(each.rpc) for each in networks}
    served = {
        each.network: Network(
            each,
            ChainReader(endpoints[each.network], signers[each.network].address),
            signers[each.network].sign,
            ledger=ledger,
            clock=clock,
            metrics=metrics,
        )
        for each in networks
    }
    service = FacilitatorService(
        config, ledger=ledger, networks=served, blobs=FileBlobs(storage), clock=clock, metrics=metrics
    )

    async def close() -> None:
        for endpoint in endpoints.values():
            await endpoint.close()
        await committer.close()
        lock.release()

    return create_app(service, metrics.render, close)


def checked(config: FacilitatorConfig) -> list[NetworkConfig]:
    """The networks with their addresses in the one spelling. Raises ``settings.network`` or ``evm.address``."""
    names = [each.network for each in config.networks]
    if len(set(names)) != len(names):
        raise UsageError("settings.network", "a network is listed twice", param="networks")
    found = []
    for each in config.networks:
        x402.chain_id_of(each.network)
        found.append(
            dataclasses.replace(
                each,
                assets=_addresses(each.assets),
                payees=_addresses(each.payees),
                captures=each.captures and _address(each.captures),
                settlement=each.settlement and _address(each.settlement),
                registry=each.registry and _address(each.registry),
            )
        )
    return found


def _address(text: str) -> str:
    return evm.parse_address(text.lower())


def _addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text if text == "*" else _address(text) for text in texts)


def load_account(key: Secret) -> Secp256k1Signer:
    """The account of a key by reference. Raises ``signer.key``, which never shows it."""
    try:
        private = hex_decode(key.reveal().strip().removeprefix("0x").lower(), 32)
    except MalformedError as error:
        raise UsageError("signer.key", f"{key.reference} does not hold 64 hex digits") from error
    return Secp256k1Signer(private, "account")


def main() -> None:
    """``python -m holdfast.nodes.facilitator [FILE]``."""
    sys.exit(run_node("facilitator", FacilitatorConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
