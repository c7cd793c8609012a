"""Run a gateway: ``python -m holdfast.nodes.gateway [FILE]``. The only place in this node that picks adapters."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

from holdfast.adapters.c2pa_files import load_credentials
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.credentials_c2pa import installed
from holdfast.adapters.enclaves import open_enclave
from holdfast.adapters.extractor_worker import WorkerExtractor
from holdfast.adapters.http_aiohttp import AiohttpHTTP
from holdfast.adapters.http_stream_aiohttp import AiohttpEvents
from holdfast.adapters.inference_direct import DirectInferenceNode
from holdfast.adapters.json_rpc_aiohttp import BatchingJSONRPC
from holdfast.adapters.memory_node_http import HTTPMemoryNode
from holdfast.adapters.metrics_prometheus import PrometheusMetrics
from holdfast.adapters.ohttp_key_files import load_gateway_key
from holdfast.adapters.run_index_sql import SQLRunIndex
from holdfast.adapters.signer_files import load_signer
from holdfast.adapters.signer_rsa import load_rsa_signer
from holdfast.adapters.signer_secp256k1 import load_signer as load_account
from holdfast.adapters.storage_files import FileStorage
from holdfast.adapters.till_store_sql import SQLTillStore
from holdfast.adapters.tls_files import load_certificate, spki_digest
from holdfast.adapters.trust_file import TrustFile
from holdfast.adapters.upstream_anthropic import AnthropicUpstream
from holdfast.adapters.upstream_builtin import BuiltinUpstream
from holdfast.adapters.upstream_gemini import GeminiUpstream
from holdfast.adapters.upstream_openai import OpenAIUpstream, OpenAIUpstreamConfig
from holdfast.adapters.wal import GroupCommit, WriteAheadLog
from holdfast.adapters.wraps_hpke import wrap_secret
from holdfast.client.chain import ChainReader
from holdfast.client.data_nodes import DataNodeClient
from holdfast.client.facilitator import HTTPFacilitator
from holdfast.client.full import HTTPFullNode
from holdfast.client.hub import HubClient
from holdfast.client.log import LogReader
from holdfast.client.log_writer import HTTPLogWriter
from holdfast.client.registry import Identity as RegisteredIdentity
from holdfast.client.registry import Registrar
from holdfast.client.transfers import Transfers
from holdfast.core.dialects.openai import find_profile
from holdfast.core.encoding import b64_decode, b64_encode
from holdfast.core.evm import parse_address
from holdfast.core.keys import KeyDocument, parse_key_document
from holdfast.core.ohttp import GatewayKey
from holdfast.core.rounds import MAX_MEMBERS, ChainDomain
from holdfast.core.statements import is_code
from holdfast.core.x402 import chain_id_of
from holdfast.errors import UnavailableError, UsageError
from holdfast.nodes.edge import App
from holdfast.nodes.gateway.admitting import Admitting, parse_intent
from holdfast.nodes.gateway.alpha import AlphaResults
from holdfast.nodes.gateway.app import GatewayApp, create_app
from holdfast.nodes.gateway.asked import Asked, Asking, Terms
from holdfast.nodes.gateway.attaching import Attaching
from holdfast.nodes.gateway.attestations import Attestation, Attestations
from holdfast.nodes.gateway.books import Books
from holdfast.nodes.gateway.caching import Cache
from holdfast.nodes.gateway.catalog import Catalog
from holdfast.nodes.gateway.changes import Changes
from holdfast.nodes.gateway.checkout import WORKSPACE, Checkout
from holdfast.nodes.gateway.computing import Computing
from holdfast.nodes.gateway.config import GatewayConfig, InferenceAddress, UpstreamAddress
from holdfast.nodes.gateway.desk import RunDesk
from holdfast.nodes.gateway.evidence import EvidenceDesk
from holdfast.nodes.gateway.files_app import FilesApp
from holdfast.nodes.gateway.heartbeats import FacilitatorHeartbeats, Membership, show_status
from holdfast.nodes.gateway.imaging import Crediting
from holdfast.nodes.gateway.indexer import Indexer
from holdfast.nodes.gateway.influence import Influence
from holdfast.nodes.gateway.introduction import Introduction, Told
from holdfast.nodes.gateway.keys import Workspaces
from holdfast.nodes.gateway.labels import Labels
from holdfast.nodes.gateway.ledger import Ledger
from holdfast.nodes.gateway.metrics import METRICS
from holdfast.nodes.gateway.oblivious import (
    Oblivious,
    ObliviousSettings,
    SplitApp,
    create_oblivious,
    show_configuration,
)
from holdfast.nodes.gateway.opengradient import AnswerSigner, Signs
from holdfast.nodes.gateway.opengradient_reads import Surface
from holdfast.nodes.gateway.outbox import Outbox
from holdfast.nodes.gateway.payouts import Payouts
from holdfast.nodes.gateway.prices import build_selling
from holdfast.nodes.gateway.proving import Proving
from holdfast.nodes.gateway.recalling import Recalling
from holdfast.nodes.gateway.recovery import find_closing
from holdfast.nodes.gateway.remembering import Remembering
from holdfast.nodes.gateway.rerun import Rerun
from holdfast.nodes.gateway.route_settings import build_routing
from holdfast.nodes.gateway.service import Gateway, Limits
from holdfast.nodes.gateway.settlement import Settlement
from holdfast.nodes.gateway.takings import Takings
from holdfast.nodes.gateway.tasks import Background
from holdfast.nodes.gateway.till import Till
from holdfast.nodes.gateway.turn import Identity
from holdfast.nodes.gateway.uploads import Uploads
from holdfast.nodes.gateway.wraps import Wraps
from holdfast.nodes.process import run_node
from holdfast.ports.clock import Clock
from holdfast.ports.enclave import Enclave
from holdfast.ports.upstream import Upstream
from holdfast.verifier.policy import build_policy, parse_policy

SWITCH_S = 0.0005
"""How long the index's thread may keep the interpreter from the event loop, seconds. The default, 5 ms, is what an
answer would wait for whenever the index is being written."""
NOBODY = "0x" + "00" * 20
"""Whom questions to a chain are asked as: no account is needed to read it."""
LOCK = "writer.lock"
"""Held while a process owns the write-ahead log."""


def build(config: GatewayConfig) -> App:
    """The gateway on this machine's disk, clock and network; everything starts with the app's lifespan."""
    sys.setswitchinterval(SWITCH_S)
    clock = SystemClock()
    crediting = _crediting(config)
    storage = FileStorage(config.state)
    lock = storage.lock(LOCK)
    document = _load_key_document(config.key_document)
    signer = load_signer(config.signing_key, "statement")
    if document.key_by_id(signer.key.key_id) is None:
        raise UsageError("gateway.key", f"{config.key_document} does not name the key in {config.signing_key}")
    names = [node.name for node in config.full_nodes]
    if not all(map(is_code, names)) or len(set(names)) != len(names) or len(names) > MAX_MEMBERS:
        raise UsageError(
            "gateway.full_node",
            f"each of at most {MAX_MEMBERS} full nodes has a name of its own: lower-case letters and digits, between "
            "them single dots, dashes and underscores",
            hint="name them as their key documents do, such as full-1",
            param="full_nodes",
        )
    answer_signer = _load_answer_signer(config, document, clock)
    identity = Identity(document.digest, signer, signer.key.key_id)
    attestations = Attestations(
        document,
        make_enclave(config, clock),
        _load_attestation(config.attestation, document, clock),
        storage,
        clock,
        reattest_s=config.reattest_s,
        retention=dt.timedelta(days=config.retention_days),
        per_minute=config.attestations_per_minute,
    )
    trust = TrustFile(config.trust, storage)
    wal = WriteAheadLog(storage, "wal")
    committer = GroupCommit(wal)
    ledger = Ledger(wal, committer)
    indexer = Indexer(SQLRunIndex(config.database or f"sqlite:///{config.state / 'runs.sqlite'}"), ledger)
    metrics = PrometheusMetrics(METRICS)
    http = AiohttpHTTP()
    reader = LogReader(http, config.log)
    full_nodes = [HTTPFullNode(http, node.url, name=node.name) for node in config.full_nodes]
    changes = Changes()
    settlement = Settlement(
        config.origin,
        trust,
        indexer,
        reader,
        full_nodes,
        clock,
        poll_s=config.poll_ms / 1000,
        on_event=changes.notify,
    )
    policy = parse_policy(build_policy("default", max_span_s=config.max_span_s))
    collects = _facilitator_client(config, http)
    till = _till(config, document, identity, collects, clock, metrics)
    hub = HubClient(http, AiohttpEvents(), config.hub, config.hub_key) if config.hub is not None else None
    evidence = EvidenceDesk(
        ledger,
        indexer,
        settlement,
        reader,
        trust,
        policy,
        clock,
        attestation_at=attestations.at,
        steps_of=till.books.steps_of if till is not None else None,
        labels=Labels(hub, reader, trust) if hub is not None else None,
    )
    writer = HTTPLogWriter(http, config.log, config.log_token)
    introduction = Introduction(identity, document, writer, trust, storage, clock)
    outbox = Outbox(
        ledger,
        indexer,
        writer,
        clock,
        batch=config.outbox_batch,
        on_logged=lambda _run: changes.notify(),
    )

    def closed(_run: str, _outcome: str) -> None:
        outbox.wake()
        changes.notify()

    catalog = Catalog(
        build_upstreams(config, clock),
        {item.code: item.fallback for item in config.upstreams if item.fallback},
        clock,
        config.balance,
    )
    memory_node = _memory_node(config, http)
    uploads = Uploads(
        storage, clock, random_bytes=os.urandom, days=config.file_days, workspace_bytes=config.file_workspace_bytes
    )
    attaching = Attaching(
        WorkerExtractor(
            memory_bytes=config.file_memory_bytes, cpu_s=config.file_seconds, timeout_s=float(config.file_seconds)
        ),
        uploads,
        context_bytes=config.file_context_bytes,
        file_bytes=config.file_bytes,
    )
    gateway = Gateway(
        identity,
        ledger,
        indexer,
        catalog,
        clock,
        Limits(config.upstream_seconds, config.idle_seconds, config.mark_ms / 1000, config.runs_at_once),
        random_bytes=os.urandom,
        on_closed=closed,
        wraps=Wraps(_load_panels(config), trust, clock, wrap_secret),
        answer_signer=answer_signer,
        computing=Computing([_inference(address, config) for address in config.inference], trust, clock),
        recalling=Recalling(memory_node, trust, clock, timeout_s=config.memory_node_seconds),
        remembering=Remembering(memory_node, timeout_s=config.memory_node_seconds),
        admitting=Admitting(
            [DataNodeClient(item.code, item.url, item.key, http) for item in config.data_nodes],
            trust,
            clock=clock,
            intents=[
                parse_intent(item.workspace, item.keywords, item.source, item.parameters) for item in config.intents
            ],
        ),
        routing=build_routing(
            config,
            clock,
            local=frozenset({"builtin", "tiny"}) - {item.code for item in config.upstreams},
            attested=lambda: attestations.current is not None,
            selling=till.selling if till is not None else None,
        ),
        attaching=attaching,
        crediting=crediting,
        cache=Cache(clock, seconds=config.cache_seconds, most_bytes=config.cache_bytes),
    )
    chain = BatchingJSONRPC(config.payment_chain) if config.payment_chain is not None else None
    takings = None
    if till is not None:
        takings = Takings(
            till,
            evidence,
            indexer,
            ledger,
            outbox,
            writer,
            clock,
            metrics,
            random_bytes=os.urandom,
            facilitator=collects,
            transfers=_transfers(config, chain),
            idle_s=config.session_idle_seconds,
            batch=config.outbox_batch,
            changed=changes.notify,
        )
    membership = _membership(config, document, answer_signer, attestations, clock, metrics)
    facilitator = _facilitator(config, answer_signer, http, clock, metrics)
    proving = Proving(
        gateway.computing.nodes, ledger, indexer, trust, clock, metrics, on_added=lambda run: closed(run, "")
    )
    beside = {"identity": introduction.work, "attestations": attestations.work, "proofs": proving.work}
    beside |= {"uploads": uploads.work}
    beside |= {"registry": membership.work} if membership is not None else {}
    beside |= {"heartbeats": facilitator.work} if facilitator is not None else {}
    beside |= {"till": partial(till.work, partial(find_closing, indexer, ledger))} if till is not None else {}
    beside |= takings.works() if takings is not None else {}
    payouts = _payouts(config, till, takings, chain, storage, clock)
    beside |= {"payouts": payouts.work} if payouts is not None else {}
    asks = _asks(config)
    asked = None
    if asks is not None:
        asked = Asked(asks, gateway, evidence, indexer, clock, metrics, _terms(config))
        beside |= {"asked": asked.work}
    background = Background(
        config,
        gateway,
        ledger,
        indexer,
        outbox,
        settlement,
        lambda: committer.average_us,
        metrics,
        clock,
        beside=beside,
    )

    @contextlib.asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        await attestations.start()
        async with background.running():
            yield
        await http.close()
        if till is not None:
            till.close()
        if chain is not None:
            await chain.close()
        if membership is not None:
            await membership.close()
        if asks is not None:
            await asks.close()
        if answer_signer is not None:
            answer_signer.close()
        lock.release()

    sealed_key = _load_ohttp_key(config.ohttp_key, document)
    workspaces = Workspaces(config.workspaces, _load_relays(config))
    app = GatewayApp(
        gateway,
        RunDesk(
            ledger,
            indexer,
            evidence,
            changes,
            most_watchers=config.watchers,
            disputes=takings.disputes if takings is not None else None,
        ),
        workspaces,
        metrics,
        identity=lambda: _identity(document, attestations.current, introduction.told),
        network=lambda: _network(config),
        default_model=config.default_model,
        settlement=config.settlement,
        readiness=background.readiness,
        lifespan=lifespan,
        opengradient=_surface(
            config, document, answer_signer, sealed_key, clock, attestations.for_strangers, membership, facilitator
        ),
        attest=attestations.answer,
        rerun=Rerun(
            ledger,
            indexer,
            gateway.computing,
            clock,
            timeout_s=config.upstream_seconds,
            on_added=lambda: closed("", ""),
        ),
        alpha=AlphaResults(asked, clock) if asked is not None else None,
        files=FilesApp(uploads, attaching),
        influence=Influence(ledger, indexer, catalog, clock, timeout_s=config.upstream_seconds),
        checkout=None
        if till is None
        else Checkout(till, workspaces, metrics, public_url=config.public_url, facilitator=config.facilitator),
    )
    direct = create_app(app, request_bytes=config.request_bytes, request_seconds=config.request_seconds)
    if sealed_key is None:
        return direct
    settings = ObliviousSettings(
        request_bytes=config.ohttp_request_bytes,
        request_s=config.request_seconds,
        inner_bytes=config.request_bytes,
        replay_s=config.ohttp_replay_seconds,
        remembered=config.ohttp_remembered,
        padding_bytes=config.ohttp_padding_bytes,
    )
    oblivious = Oblivious(
        app,
        [sealed_key],
        workspaces,
        clock,
        settings,
        random_bytes=os.urandom,
        sign_configuration=answer_signer.key_configuration if answer_signer is not None else None,
    )
    return SplitApp(direct, create_oblivious(oblivious, settings))


def _crediting(config: GatewayConfig) -> Crediting:
    """What puts credentials into images, where there is a key. Raises ``gateway.c2pa`` and ``credentials.files``."""
    if config.c2pa_key is None:
        return Crediting()
    if config.c2pa_chain is None:
        raise UsageError("gateway.c2pa", "c2pa_key needs the certificates of the key", param="c2pa_chain")
    if not installed():
        raise UsageError(
            "gateway.c2pa",
            "content credentials need c2pa-python, which is not installed",
            hint="pip install 'holdfast[c2pa]', or leave c2pa_key out",
            param="c2pa_key",
        )
    ruled = frozenset({"render"}) - {item.code for item in config.upstreams}
    return Crediting(load_credentials(config.c2pa_key, config.c2pa_chain).embed, ruled)


def _asks(config: GatewayConfig) -> Asking | None:
    """The contract that other contracts ask for runs, where there is one. Raises ``gateway.asks``."""
    if config.asks is None:
        return None
    if config.asks_account is None:
        raise UsageError("gateway.asks", "asks needs an account that fulfils", param="asks_account")
    from holdfast.adapters.asks_evm import EvmAsks  # noqa: PLC0415 - only where there is a chain
    from holdfast.adapters.evm_rpc import EvmConnection  # noqa: PLC0415

    account = load_account(config.asks_account, "account")
    domain = ChainDomain(config.asks_chain_id, parse_address(config.asks))
    return EvmAsks(EvmConnection(config.asks_chain), domain, account, depth=config.asks_depth)


def _terms(config: GatewayConfig) -> Terms:
    """Which requests on chain are served. Raises ``gateway.asks``."""
    if not config.asks_fee.isascii() or not config.asks_fee.isdigit():
        raise UsageError("gateway.asks", "asks_fee is a decimal number of base units", param="asks_fee")
    return Terms(config.asks_block, int(config.asks_fee), config.asks_gas, config.asks_anybodys, config.asks_at_once)


def _facilitator_client(config: GatewayConfig, http: AiohttpHTTP) -> HTTPFacilitator | None:
    """Who captures payments, where somebody does."""
    if config.facilitator is None:
        return None
    return HTTPFacilitator(http, config.facilitator, config.facilitator_token)


def _transfers(config: GatewayConfig, chain: BatchingJSONRPC | None) -> Transfers | None:
    """Where captures are seen, where a chain is configured."""
    if chain is None or config.payment_network is None:
        return None
    return Transfers(ChainReader(chain, NOBODY), config.payment_depth, chain_id_of(config.payment_network))


def _payouts(
    config: GatewayConfig,
    till: Till | None,
    takings: Takings | None,
    chain: BatchingJSONRPC | None,
    storage: FileStorage,
    clock: SystemClock,
) -> Payouts | None:
    """Who pays back what is owed, where this gateway does. Raises ``settings.payments``."""
    if config.refund_account is None or till is None or takings is None:
        return None
    if chain is None or config.payment_network is None:
        hint = "or leave refund_account out, and pay debts yourself"
        raise UsageError(
            "settings.payments",
            "refund_account needs payment_chain and payment_network",
            hint=hint,
            param="refund_account",
        )
    account = load_account(config.refund_account, "account")
    return Payouts(
        till.books,
        takings.refunds,
        takings.judge,
        ChainReader(chain, account.address),
        account,
        storage,
        clock,
        network=config.payment_network,
        depth=config.payment_depth,
    )


def _till(
    config: GatewayConfig,
    document: KeyDocument,
    identity: Identity,
    facilitator: HTTPFacilitator | None,
    clock: SystemClock,
    metrics: PrometheusMetrics,
) -> Till | None:
    """Where answers cost something: what is sold, the books, and who captures. Raises ``settings.payments``."""
    if config.payments == "off":
        return None
    if config.price_card is None:
        raise UsageError("settings.payments", "payments need a price card", param="price_card")
    if any(item.name == WORKSPACE for item in config.workspaces):
        raise UsageError("settings.payments", f"workspace {WORKSPACE} is for callers without a key", param="workspaces")
    try:
        card = config.price_card.read_bytes()
    except OSError as error:
        raise UsageError("settings.payments", f"cannot read {config.price_card}: {error.strerror}") from error
    selling = build_selling(config, card.rstrip(b"\n"), document.payment, clock.now())
    store = SQLTillStore(config.till_url)
    return Till(selling, Books(store), identity, clock, metrics, random_bytes=os.urandom, facilitator=facilitator)


def _load_ohttp_key(path: Path | None, document: KeyDocument) -> GatewayKey | None:
    """The key that requests are sealed to, where there is one. Raises ``gateway.ohttp_key`` where the key document does
    not name it: then nobody could tell by whom they are opened."""
    if path is None:
        return None
    key = load_gateway_key(path)
    if document.ohttp != (key.configuration.encoded,):
        raise UsageError(
            "gateway.ohttp_key",
            f"the key document does not name the key in {path} as its one OHTTP key",
            hint="make a key document that does; see docs/operate/rotate-keys.md",
        )
    return key


def _load_relays(config: GatewayConfig) -> dict[str, str]:
    """By workspace: the digest of the key document of the relay that it is for."""
    return {item.name: _load_key_document(item.relay).digest for item in config.workspaces if item.relay is not None}


def _load_key_document(path: Path) -> KeyDocument:
    try:
        return parse_key_document(path.read_bytes())
    except OSError as error:
        raise UsageError("gateway.key_document", f"cannot read {path}: {error.strerror}") from error


def _load_answer_signer(config: GatewayConfig, document: KeyDocument, clock: SystemClock) -> AnswerSigner | None:
    """OpenGradient's key, where there is one; the key document has to name it, and the key of the TLS certificate."""
    if config.tls_certificate is not None:
        digest = spki_digest(load_certificate(config.tls_certificate))
        if digest != document.tls:
            raise UsageError(
                "gateway.tls",
                f"{config.key_document} does not name the TLS key of {config.tls_certificate}",
                hint="a node with other keys has a key document of its own: make one that names its predecessor",
                param="tls_certificate",
            )
    if config.opengradient_key is None:
        return None
    signer = load_rsa_signer(config.opengradient_key)
    if document.key_by_id(signer.key.key_id) is None:
        raise UsageError("gateway.key", f"{config.key_document} does not name the key in {config.opengradient_key}")
    return AnswerSigner(signer, clock)


def _surface(
    config: GatewayConfig,
    document: KeyDocument,
    signer: AnswerSigner | None,
    sealed_key: GatewayKey | None,
    clock: SystemClock,
    enclave: Enclave | None,
    membership: Membership | None,
    facilitator: FacilitatorHeartbeats | None,
) -> Surface | None:
    """OpenGradient's side of this gateway, where it has their key."""
    if signer is None:
        return None
    show = partial(show_configuration, sealed_key.configuration, signer.key_configuration) if sealed_key else None
    signs: Signs = "always" if config.opengradient_signs == "always" else "asked"
    return Surface(
        signer,
        signs,
        clock,
        clock.monotonic(),
        lambda: (
            [item.code for item in config.upstreams]
            + ["builtin"] * config.builtin
            + ["tiny"] * config.tiny
            + ["render"] * config.render
        ),
        lambda: show_status(signer.tee_id, membership, facilitator),
        facilitator=config.heartbeat_facilitator,
        payment=document.payment,
        certificate=load_certificate(config.tls_certificate) if config.tls_certificate is not None else None,
        enclave=enclave,
        key_configuration=show,
    )


def _membership(
    config: GatewayConfig,
    document: KeyDocument,
    signer: AnswerSigner | None,
    attestations: Attestations,
    clock: SystemClock,
    metrics: PrometheusMetrics,
) -> Membership | None:
    """This gateway's own hand in the registry, where it has an account. Raises ``gateway.registry``."""
    if config.registry_account is None:
        return None
    form, registry, endpoint = attestations.format, config.registry, config.endpoint
    if signer is None or config.tls_certificate is None or registry is None or endpoint is None or form is None:
        raise UsageError(
            "gateway.registry",
            "registry_account needs registry, endpoint, opengradient_key, tls_certificate and something that attests",
            hint="set them, or leave registry_account out and have somebody else register this gateway",
            param="registry_account",
        )
    from holdfast.adapters.evm_rpc import EvmConnection  # noqa: PLC0415 - only where there is a chain
    from holdfast.adapters.registry_evm import EvmRegistry  # noqa: PLC0415

    account = load_account(config.registry_account, "account")
    domain = ChainDomain(config.registry_chain_id, parse_address(registry))
    identity = RegisteredIdentity(
        document, load_certificate(config.tls_certificate), endpoint, form, attestations.respond, signer.sign
    )
    client = EvmRegistry(EvmConnection(config.registry_chain), domain, account)
    registrar = Registrar(client, identity, clock)
    return Membership(registrar, clock, metrics, contract=registry, account=account.address, close=client.close)


def _facilitator(
    config: GatewayConfig,
    signer: AnswerSigner | None,
    http: AiohttpHTTP,
    clock: SystemClock,
    metrics: PrometheusMetrics,
) -> FacilitatorHeartbeats | None:
    """Who relays heartbeats, where somebody does. Raises ``gateway.registry``."""
    if config.heartbeat_facilitator is None:
        return None
    if signer is None or config.registry is None:
        raise UsageError(
            "gateway.registry",
            "heartbeat_facilitator needs registry and opengradient_key",
            param="heartbeat_facilitator",
        )
    return FacilitatorHeartbeats(
        signer,
        http,
        config.heartbeat_facilitator,
        clock,
        metrics,
        contract=parse_address(config.registry),
        interval_s=config.heartbeat_seconds,
        behind_s=config.heartbeat_behind_seconds,
    )


def _load_panels(config: GatewayConfig) -> dict[str, KeyDocument]:
    """The panel of each workspace that has one. Raises ``gateway.panel`` when its keys name two."""
    found: dict[str, KeyDocument] = {}
    for item in config.workspaces:
        if item.panel is None:
            continue
        document = _load_key_document(item.panel)
        if found.setdefault(item.name, document).digest != document.digest:
            raise UsageError("gateway.panel", f"workspace {item.name} names two panels", param="workspaces.panel")
    return found


def make_enclave(config: GatewayConfig, clock: Clock) -> Enclave | None:
    """What the setting ``enclave`` names. Raises ``gateway.enclave`` or ``enclave.setting`` for settings that say two
    things."""
    if config.enclave != "none" and config.attestation is not None:
        raise UsageError(
            "gateway.enclave", "an enclave makes its own evidence: attestation names a file beside it", param="enclave"
        )
    return open_enclave(
        config.enclave, clock, config.state, root=config.enclave_root, collateral=config.enclave_collateral
    )


def _load_attestation(path: Path | None, document: KeyDocument, clock: Clock) -> Attestation | None:
    """FORMAT on one line, then base64 of the evidence."""
    if path is None:
        return None
    try:
        kind, _, evidence = path.read_text().strip().partition("\n")
    except OSError as error:
        raise UsageError("gateway.attestation", f"cannot read {path}: {error.strerror}") from error
    return Attestation(kind.strip(), b64_decode(evidence.strip()), document.digest, clock.now())


def _identity(document: KeyDocument, attestation: Attestation | None, told: Told | None) -> Mapping[str, object]:
    """Who this gateway is, by what evidence, and where the log says so."""
    return {
        "node": document.digest,
        "key_document": b64_encode(document.raw),
        "attestation": attestation.to_json() if attestation is not None else None,
        "statement": told.to_json() if told is not None else None,
    }


def _network(config: GatewayConfig) -> Mapping[str, object]:
    """Where this gateway's log and full nodes are, and the trust file as it stands; readers check it themselves."""
    try:
        trust = config.trust.read_bytes()
    except OSError as error:
        raise UnavailableError("trust.file", f"cannot read {config.trust}: {error.strerror}") from error
    nodes = [{"name": node.name, "url": node.url} for node in config.full_nodes]
    return {"log": config.log, "origin": config.origin, "full_nodes": nodes, "trust": b64_encode(trust)}


def build_upstreams(config: GatewayConfig, clock: SystemClock) -> list[Upstream]:
    """Who answers chats, in order of preference. Raises ``upstream.config``."""
    found: list[Upstream] = [_upstream(address, config, clock) for address in config.upstreams]
    if config.discover:
        from holdfast.adapters.upstream_discovery import discover_sync  # noqa: PLC0415 - only where it is wanted

        named = {upstream.code for upstream in found}
        found += [upstream for upstream in discover_sync() if upstream.code not in named]
    pace = float(config.builtin_tokens_per_second)
    if config.builtin:
        found.append(BuiltinUpstream(clock, lambda: uuid.uuid4().hex, pace_tokens_s=pace))
    if config.tiny:
        from holdfast.adapters.upstream_tiny import TinyUpstream  # noqa: PLC0415 - reads its weights, where it is wanted

        found.append(TinyUpstream(clock, lambda: uuid.uuid4().hex, pace_tokens_s=pace))
    if config.render:
        from holdfast.adapters.upstream_renderer import RendererUpstream  # noqa: PLC0415 - numpy, where it is wanted

        found.append(RendererUpstream(clock, lambda: uuid.uuid4().hex))
    return found


def _inference(address: InferenceAddress, config: GatewayConfig) -> DirectInferenceNode:
    return DirectInferenceNode(
        address.code,
        address.url,
        address.token.reveal(),
        max_answer_bytes=config.answer_bytes,
        insecure_plain_http=address.insecure_plain_http,
    )


def _memory_node(config: GatewayConfig, http: AiohttpHTTP) -> HTTPMemoryNode | None:
    if config.memory_node is None:
        return None
    return HTTPMemoryNode(config.memory_node, http, insecure_plain_http=config.memory_node_plain_http)


def _upstream(address: UpstreamAddress, config: GatewayConfig, clock: SystemClock) -> Upstream:
    models = dict(item.partition("=")[::2] for item in address.models)
    settings = OpenAIUpstreamConfig(
        code=address.code,
        base_url=address.base_url,
        api_key=address.api_key.reveal() if address.api_key else "",
        models={label: name or label for label, name in models.items()},
        max_answer_bytes=config.answer_bytes,
        tls_ca_file=str(address.tls_ca_file or ""),
        proxy=address.proxy or "",
        insecure_plain_http=address.insecure_plain_http,
    )
    if address.kind == "openai":
        return OpenAIUpstream(settings, find_profile(address.profile))
    if address.profile is not None:
        raise UsageError("upstream.config", f"a profile is of kind openai, not {address.kind}", param="profile")
    return AnthropicUpstream(settings, clock) if address.kind == "anthropic" else GeminiUpstream(settings, clock)


def main() -> None:
    """``python -m holdfast.nodes.gateway [FILE]``."""
    sys.exit(run_node("gateway", GatewayConfig, build, sys.argv[1:], os.environ))


if __name__ == "__main__":
    main()
