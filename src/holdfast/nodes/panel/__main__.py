"""Run the panel without pages (JSON, events, bundles). ``python -m holdfast.web`` is the panel with its pages.

The only place in this node that picks adapters.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Callable

from holdfast.adapters.case_store_sql import SQLCaseStore
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.passwords_argon2 import Argon2Passwords
from holdfast.adapters.people_sql import SQLPeopleStore
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.signer_secp256k1 import load_signer as load_account
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.trust_file import TrustFile
from holdfast.adapters.webhooks_sql import SQLWebhookStore
from holdfast.adapters.wraps_hpke import load_recipient
from holdfast.client.data import DataClient
from holdfast.client.entry_log import BlockingEntryLog
from holdfast.client.full import HTTPFullNode
from holdfast.client.hub import HubClient
from holdfast.client.log import LogReader
from holdfast.client.log_writer import HTTPLogWriter
from holdfast.client.memory import MemoryClient
from holdfast.client.settled import SettledEntries
from holdfast.core.decisions import SALT_BYTES
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.errors import UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.panel.anchors import Anchors, CaseChain, PeopleChain
from holdfast.nodes.panel.app import create_app
from holdfast.nodes.panel.config import PanelConfig
from holdfast.nodes.panel.contents import Contents
from holdfast.nodes.panel.decisions import Decisions
from holdfast.nodes.panel.faucet import Faucet
from holdfast.nodes.panel.follower import Follower
from holdfast.nodes.panel.labels import HubFollower
from holdfast.nodes.panel.metrics import METRICS
from holdfast.nodes.panel.people import PanelPeople
from holdfast.nodes.panel.review import Review
from holdfast.nodes.panel.service import PanelService
from holdfast.nodes.panel.webhooks import Webhooks, build_hooks, build_limits
from holdfast.nodes.process import run_node
from holdfast.ports.case_store import CaseStore
from holdfast.ports.clock import Clock
from holdfast.ports.metrics import Metrics
from holdfast.ports.storage import Storage
from holdfast.review.anchors import HeadSigner
from holdfast.review.decisions import DecisionSigner
from holdfast.review.desk import Desk
from holdfast.review.people import People
from holdfast.review.sign_in import SignIn

_LOG = logging.getLogger("holdfast.panel")
SALT = "decision-salt.key"
"""Name of the secret that the salts of decisions follow from, in the state folder."""
LOCK = "writer.lock"
"""Held while a process follows the gateway from this state folder."""


def build_service(config: PanelConfig) -> PanelService:
    """The panel's logic on the system's clock, counted for Prometheus."""
    clock, metrics = SystemClock(), PrometheusMetrics(METRICS)
    people = _build_people(config, clock)
    faucet, hub, sources = _build_faucet(config), _build_hub(config), _build_sources(config)
    memory = _build_memory(config)
    if not config.review:
        return PanelService(
            config, clock, metrics, None, people, faucet=faucet, hub=hub, sources=sources, memory=memory
        )
    review, webhooks, anchors = _build_review(config, clock, metrics, people, hub)
    return PanelService(config, clock, metrics, review, people, webhooks, anchors, faucet, hub, sources, memory)


def _build_sources(config: PanelConfig) -> DataClient | None:
    """What asks the data node, where the settings name one; the service closes it."""
    return None if config.data is None else DataClient(http := AiohttpHTTP(), config.data, config.data_key, http.close)


def _build_memory(config: PanelConfig) -> MemoryClient | None:
    """What passes owners' requests on to the memory node, where the settings name one; the service closes it."""
    return None if config.memory is None else MemoryClient(http := AiohttpHTTP(), config.memory, http.close)


def _build_hub(config: PanelConfig) -> HubClient | None:
    """What asks the hub, where the settings name one; the service closes it."""
    if config.hub is None:
        return None
    http, events = AiohttpHTTP(), AiohttpEvents()

    async def close() -> None:
        await http.close()
        await events.close()

    return HubClient(http, events, config.hub, config.hub_key, close)


def _build_faucet(config: PanelConfig) -> Faucet | None:
    """What gives test tokens, where the settings name the key of one."""
    if config.faucet_key is None:
        return None
    from holdfast.adapters.faucet_evm import EvmFaucet  # noqa: PLC0415 - slow to import, for development chains alone

    owner = load_account(config.faucet_key, "account")
    source = EvmFaucet(config.faucet_chain, config.faucet_network, config.faucet_token, owner)

    async def give(address: str) -> str:
        return (await source.give(address)).transaction

    return Faucet(source.network, source.url, give, source.close)


def _build_people(config: PanelConfig, clock: Clock) -> PanelPeople:
    """Accounts, sessions and API keys on their database."""
    store = SQLPeopleStore(config.people_url)
    passwords = Argon2Passwords(
        config.password_memory_kib, config.password_passes, config.password_lanes, secrets.token_bytes
    )
    people = People(store, config, clock, secrets.token_bytes)
    elsewhere = people.keys_elsewhere()
    if elsewhere:
        _LOG.warning(
            "%d API keys are of other workspaces than %r and open nothing: take them back, or set workspace",
            len(elsewhere),
            config.workspace,
            extra={"code": "people.workspace"},
        )
    return PanelPeople(SignIn(people, passwords, config, clock), store)


def _build_review(
    config: PanelConfig, clock: Clock, metrics: Metrics, people: PanelPeople, hub: HubClient | None
) -> tuple[Review, Webhooks | None, Anchors]:
    """The desk on its database, what follows the gateway for it, what tells others of it, and what anchors it."""
    storage = FileStorage(config.state)
    trust = TrustFile(config.trust, storage)
    lock = storage.lock(LOCK)
    store = SQLCaseStore(config.database or f"sqlite:///{config.state / 'cases.sqlite'}")
    review = Review(
        Desk(store, clock, trust, roles=people.people.roles_of_name), store, storage, config.queues, clock, metrics
    )
    http = AiohttpHTTP()
    writer, entries = HTTPLogWriter(http, config.log, config.log_token), LogReader(http, config.log)
    document, signer = _load_key_document(config), load_signer(config.signing_key, "statement")
    if document.key_by_id(signer.key.key_id) is None:
        raise UsageError("panel.key", f"{config.key_document} does not name the key in {config.signing_key}")

    def entry_log(loop: asyncio.AbstractEventLoop) -> BlockingEntryLog:
        return BlockingEntryLog(writer, entries, loop)

    full_nodes = [HTTPFullNode(http, node.url) for node in config.full_nodes]
    settled = SettledEntries(entries, full_nodes, config.origin, trust)
    decisions = Decisions(
        review,
        DecisionSigner(signer, document.digest, _load_or_create_salt(storage)),
        document.digest,
        entry_log,
        settled,
        trust,
        clock,
        storage,
    )
    anchors = Anchors(
        review,
        (CaseChain(review), PeopleChain(people)),
        HeadSigner(signer, document.digest),
        document.digest,
        entry_log,
        trust,
        clock,
        storage,
        secrets.token_bytes,
        every_s=config.anchor_every_s,
    )
    follower = Follower(
        review,
        http,
        config.gateway,
        config.workspace_key,
        clock,
        storage,
        poll_s=config.openings_poll_ms / 1000,
        pending_s=config.pending_poll_ms / 1000,
        at_once=config.bundles_at_once,
        verdicts=settled.verdicts,
    )
    review.contents = Contents(http, config.gateway, config.workspace_key, _load_opener(config, document), clock)
    review.find_run, review.fetch_run, review.ask_gateway = follower.find_run, follower.ask, follower.send
    review.add_task("decisions", decisions.work)
    review.add_task("anchors", anchors.work)
    review.add_task("openings", follower.pull)
    review.add_task("bundles", follower.fetch)
    if hub is not None:
        review.add_task("labels", HubFollower(review, hub, trust, clock, storage).work)
    review.at_end(http.close)
    webhooks = _build_webhooks(config, review, store, clock)
    review.at_end(lock.release)
    return review, webhooks, anchors


def _build_webhooks(config: PanelConfig, review: Review, journal: CaseStore, clock: Clock) -> Webhooks | None:
    """What tells endpoints of what the gate lets through; None where none is configured."""
    hooks, limits = build_hooks(config), build_limits(config)
    if not hooks:
        return None
    store = SQLWebhookStore(config.database or f"sqlite:///{config.state / 'webhooks.sqlite'}")
    http = AiohttpHTTP(max_connections=limits.at_once * len(hooks))
    webhooks = Webhooks(review, journal, store, hooks, http, clock, limits, secrets.SystemRandom().random)
    review.add_task("webhooks", webhooks.run)
    review.at_end(webhooks.close)
    review.at_end(http.close)
    return webhooks


def _load_key_document(config: PanelConfig) -> KeyDocument:
    try:
        return parse_key_document(config.key_document.read_bytes())
    except OSError as error:
        raise UsageError("panel.key_document", f"cannot read {config.key_document}: {error.strerror}") from error


def _load_opener(config: PanelConfig, document: KeyDocument) -> Callable[[str, bytes], bytes] | None:
    """What opens wraps; None where this panel has no key for them. Raises ``panel.key`` for a key that its document
    does not name: nobody would encrypt to it."""
    if config.hpke_key is None:
        return None
    recipient = load_recipient(config.hpke_key)
    if document.key_by_id(recipient.key.key_id) is None:
        raise UsageError("panel.key", f"{config.key_document} does not name the key in {config.hpke_key}")
    return recipient.open


def _load_or_create_salt(storage: Storage) -> bytes:
    """The secret that the salts of decisions follow from. Whoever loses it can no longer show what was decided."""
    found = storage.load(SALT)
    if found is None:
        found = secrets.token_bytes(SALT_BYTES)
        storage.save(SALT, found)
    return found


def build(config: PanelConfig) -> App:
    """The panel without pages."""
    return create_app(build_service(config))


def main() -> None:
    """``python -m holdfast.nodes.panel [FILE]``."""
    sys.exit(run_node("panel", PanelConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
