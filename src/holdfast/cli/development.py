"""A development network's state: keys, trust, contracts, settings. Everything here is marked ``development``.

Made once per state folder, by ``holdfast up``; a second start finds it and makes nothing new. The root keys lie beside
the node keys, which is what makes this a development network: whoever reads the folder is the root of trust.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.adapters.chain_evm import Deployment, EvmChain, deploy
from holdfast.adapters.clock_system import SystemClock
from holdfast.adapters.enclave_insecure import INSECURE_REGISTERS, load_or_create_insecure_root
from holdfast.adapters.evm_rpc import EvmAccount, EvmConnection
from holdfast.adapters.ohttp_key_files import load_or_create_gateway_key
from holdfast.adapters.payment_contracts import CAPTURES, SETTLEMENT, TEST_TOKEN, TestToken, payment_accounts
from holdfast.adapters.people_sql import SQLPeopleStore
from holdfast.adapters.registry_evm import EvmRegistry, deploy_registry
from holdfast.adapters.shipped import shipped_files, shipped_onnx
from holdfast.adapters.signer_files import load_or_create_signer
from holdfast.adapters.signer_rsa import load_or_create_rsa_signer
from holdfast.adapters.signer_secp256k1 import load_or_create_signer as load_or_create_secp256k1
from holdfast.adapters.tls_files import load_or_create_certificate, spki_digest
from holdfast.adapters.wraps_hpke import load_or_create_recipient
from holdfast.cli.demo_data import DATA, DEMO_CLOCK, data_table, make_sources
from holdfast.core import canonical
from holdfast.core.encoding import b64_encode, sha256_hex, time_encode
from holdfast.core.keys import KeyDocument, PublicKey, build_key_document, parse_key_document
from holdfast.core.notes import COSIGNATURE, VerifierKey
from holdfast.core.opengradient import PLACEHOLDER_KEY
from holdfast.core.pricing import build_price_card
from holdfast.core.registry import measurement_hash
from holdfast.core.rounds import ChainDomain
from holdfast.core.statements import pre_authentication_encoding
from holdfast.core.trust import TRUST_PAYLOAD_TYPE, TRUST_TYPE, build_trust_chain, parse_trust_chain, verify_trust
from holdfast.errors import UnavailableError, UsageError
from holdfast.nodes.panel.config import PanelConfig
from holdfast.ports.chain import Member, RoundsSettings
from holdfast.ports.registry import GATEWAY_KIND, RegisteredKind
from holdfast.review.people import People

FULL_NODES = 4
"""Full nodes of a development network, with equal stake: one may fail and rounds still finalise."""
STAKE = 1_000_000
"""Stake of each, in base units of the development chain's coin."""
ROUND_TIMEOUT_S = 4
"""How long an attempt has on the development chain before anyone may open the next."""
UNBONDING_S = 3600
"""Unbonding delay of the development contract, seconds."""
VALID_DAYS = 365
"""How long a development trust root holds."""
ROOT_KEYS, ROOT_THRESHOLD = 3, 2
"""Development root keys and how many must sign."""
CHAIN_ID = 31337
"""Customary chain id for development: that of a network for which no other was asked."""
HOST = "127.0.0.1"
"""A development network listens on loopback only."""
GATEWAY_TLS = "gateway-tls"
"""The gateway's second address, where it speaks TLS."""
NODES = ("panel", "gateway", "log", "chain", *(f"full-{number}" for number in range(1, FULL_NODES + 1)), "relay")
"""Every node."""
FACILITATOR = "facilitator"
"""Verifies payments and has them captured; there is one where the chain has the payment contracts."""
HUB = "hub"
"""Keeps models; there is one where trust admits it."""
INFERENCE = ("inference", "inference-2")
"""Run models; two, so that what one computed can be run again by the other."""
MODELS = "models"
"""Folder of the models that they run."""
BLOBS = "blobs"
"""Keeps blobs and speaks Walrus' HTTP API; the log publishes there."""
BLOB_SHARDS = 10
"""Shards of the development network's blob store: ids are not those of Walrus itself, and take milliseconds."""
MEMORY = "memory"
"""Keeps people's rows; there is one where trust admits it."""
SERVICES = (*NODES, GATEWAY_TLS, FACILITATOR, HUB, *INFERENCE, BLOBS, MEMORY, DATA[0], DEMO_CLOCK, *DATA[1:])
"""What listens, in the order of the ports, counted from the base port."""
ENCLAVE_ROOT = "insecure-enclave-root.pem"
"""Root of the simulated enclave that the gateway runs in: there is no enclave, and every lane says so."""
REGISTRY_FILE = "registry.json"
"""Where the registry and its views are, once they were deployed."""
ASKS_FILE = "asks.json"
"""Where the contracts are that take requests for runs, once they were deployed."""
GENESIS_FILE = "genesis.json"
"""Accounts of the chain before its first block: the payment contracts, and who pays for captures and for tokens."""
PAYMENT_COIN = 10**24
"""What the facilitator's account and the faucet's have for gas from the start."""
WALLET_FOLDER = "wallet"
"""The wallet of whoever tries the network out, once the faucet has made it."""
GATEWAY_INTERVAL_S = 24 * 3600
"""How long an attestation keeps a gateway of a development network active."""
GATEWAY_COIN = 10**18
"""What the gateway's account gets to register and beat with; it pays for years."""
PRICE_CARD_FILE = "price-card.json"
"""What the gateway sells at; change it here, and start again."""
PRICES = {"*": {"input": "0.5", "output": "1.5"}}
"""US dollars for a million tokens, whatever the model, where there is no price card yet."""
TOKEN_USD = "0.1"  # noqa: S105 (a price)
"""What the test token counts as."""
FREE_CREDIT = "25"
"""US dollars that each workspace gets once: enough to try everything."""
NETWORK_FILE = "network.json"
"""What other commands read to find the network (written when it is ready)."""
SETTINGS_FILE = "holdfast.toml"
"""The settings of every node, as they are in force."""

FIRST_ROLES = ("admin", "approver", "auditor", "policy_owner", "reviewer")
"""Roles of a development network's first account: whoever started it tries everything."""
WORKSPACE = "development"
"""The workspace of a development network."""
RELAY_ACCOUNT = "private"
"""The relay's account of whoever asks in private: the relay should see no key that is of use at the gateway."""
RELAY_WORKSPACE = "relay"
"""The workspace of everything that comes through the relay."""
OPENGRADIENT_WORKSPACE = "opengradient"
"""The workspace of OpenGradient's clients, which send one key for all (:data:`OPENGRADIENT_KEY`)."""
OPENGRADIENT_KEY = PLACEHOLDER_KEY
"""What they send as a key; in a network that is not for development it has no workspace."""
PUBLISHER = "development"
"""Who publishes models on a development network, for every organisation."""
DEFAULT_QUEUE = "default"
"""The queue that a development network has from the start."""
DEFAULT_QUEUE_POLICY = """\
# The policy of the queue that `holdfast up` ships; change it here, or add a file for a queue of your own.
# A case leaves HOLD by itself once the lanes below are as they are asked to be. Nobody clears one by hand.
type = "urn:holdfast:queue-policy:v1"
name = "default"

# These are exactly the bytes that were asked and answered: a signature says so.
[require.bytes]
states = ["proven"]
bases = ["signature"]

# The round of this run is final. "development" accepts the development chain; leave it out where money is.
[require.settlement]
states = ["proven"]
bases = ["proof", "development"]

# An approver may let a case go before that, under their name, for at most an hour. The mark stays.
[early_release]
roles = ["approver"]
max_s = 3600
"""
"""As it is written, for people."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a development network keeps things, and its ports."""

    state: Path
    base_port: int
    payments: str = "optional"
    """Whether answers cost something: the gateway's setting of that name."""
    chain_id: int = CHAIN_ID
    """Of the network's own chain, from its first block on (:func:`chain_id_of`)."""

    def port(self, service: str) -> int:
        return self.base_port + SERVICES.index(service)

    def url(self, service: str) -> str:
        scheme = "https" if service == GATEWAY_TLS else "http"
        return f"{scheme}://{HOST}:{self.port(service)}"

    def key(self, name: str) -> Path:
        return self.state / "keys" / name

    @property
    def payment_network(self) -> str:
        """The network's chain as x402 names it."""
        return f"eip155:{self.chain_id}"

    @property
    def origin(self) -> str:
        return "holdfast.local/log/1"

    @property
    def trust(self) -> Path:
        return self.state / "trust" / "trust.json"

    @property
    def queues(self) -> Path:
        return self.state / "panel" / "queues"

    @property
    def registry(self) -> dict[str, Any]:
        """What :data:`REGISTRY_FILE` says; empty before there is one."""
        path = self.state / REGISTRY_FILE
        return canonical.decode_object(path.read_bytes()) if path.exists() else {}

    @property
    def asks(self) -> dict[str, Any]:
        """What :data:`ASKS_FILE` says; empty before there is one."""
        path = self.state / ASKS_FILE
        return canonical.decode_object(path.read_bytes()) if path.exists() else {}

    @property
    def pays(self) -> bool:
        """Whether this network's chain has the payment contracts."""
        return (self.state / GENESIS_FILE).exists()

    @property
    def has_hub(self) -> bool:
        """Whether this network's trust admits its hub. One from before hubs does not, and runs none."""
        if not self.trust.exists():
            return True
        trust = verify_trust(parse_trust_chain(self.trust.read_bytes()))
        document = self.key("hub.json")
        return document.exists() and trust.admission(sha256_hex(document.read_bytes())) is not None

    @property
    def remembers(self) -> bool:
        """Whether this network has a memory node. One from before has none that its trust admits."""
        return self.key(f"{MEMORY}.json").exists()

    @property
    def computes(self) -> bool:
        """Whether this network has inference nodes. One from before has none that its trust admits."""
        return self.key(f"{INFERENCE[0]}.json").exists()

    @property
    def data_names(self) -> list[str]:
        """This network's data nodes. One from before has only those that its trust admits."""
        return [name for name in DATA if self.key(f"{name}.json").exists()]

    @property
    def full_names(self) -> list[str]:
        return [f"full-{number}" for number in range(1, FULL_NODES + 1)]


@dataclass(frozen=True, slots=True)
class Keys:
    """Everything that a development network signs with, loaded or made."""

    documents: Mapping[str, KeyDocument]
    """Key documents by node name: ``gateway``, ``log``, ``full-1`` …"""
    vote_addresses: Mapping[str, str]
    deployer: str
    gateway_account: str
    """Registers the gateway and pays for its heartbeats."""
    facilitator_account: str
    """Pays for captures; ``upto`` payers name it."""
    faucet: str
    """Owns the test token: mints it for whoever asks."""
    asks_account: str
    """Fulfils what contracts ask for."""


def write_private(path: Path, data: bytes) -> None:
    """A file only its owner may read, replaced as a whole."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_or_create_secret(path: Path, prefix: str) -> str:
    """A random token in a file."""
    if not path.exists():
        write_private(path, f"{prefix}{secrets.token_urlsafe(24)}\n".encode())
    return path.read_text().strip()


def make_keys(layout: Layout) -> Keys:
    """Load every key and key document, making what is missing."""
    documents = {}
    gateway = load_or_create_signer(layout.key("gateway.statement.pem"), "statement")
    documents["gateway"] = _gateway_document(layout, gateway.key)
    relay = load_or_create_signer(layout.key("relay.statement.pem"), "statement")
    documents["relay"] = _document(layout, "relay", ["relay"], [relay.key])
    panel = load_or_create_signer(layout.key("panel.statement.pem"), "statement")
    recipient = load_or_create_recipient(layout.key("panel.hpke.pem"))
    documents["panel"] = _document(layout, "panel", ["panel"], [panel.key, recipient.key])
    hub = load_or_create_signer(layout.key("hub.statement.pem"), "statement", "p256")
    documents[HUB] = _document(layout, HUB, ["hub"], [hub.key])
    log = load_or_create_signer(layout.key("log.log.pem"), "log")
    documents["log"] = _document(layout, "log", ["log"], [log.key])
    addresses = {}
    for name in layout.full_names:
        cosigner = load_or_create_signer(layout.key(f"{name}.cosignature.pem"), "cosignature")
        voter = load_or_create_secp256k1(layout.key(f"{name}.vote.key"))
        addresses[name] = voter.address
        documents[name] = _document(layout, name, ["full"], [cosigner.key, voter.key])
    if layout.computes or not layout.trust.exists():
        for name in INFERENCE:
            signer = load_or_create_signer(layout.key(f"{name}.statement.pem"), "statement")
            documents[name] = _document(layout, name, ["inference"], [signer.key])
    for name in layout.data_names if layout.trust.exists() else DATA:
        signer = load_or_create_signer(layout.key(f"{name}.statement.pem"), "statement")
        sealed = load_or_create_recipient(layout.key(f"{name}.hpke.pem"))
        documents[name] = _document(layout, name, ["data"], [signer.key, sealed.key])
    load_or_create_secret(layout.key("data.token"), "hfd_")
    load_or_create_secret(layout.key("inference.token"), "hfi_")
    load_or_create_secret(layout.key("inference.proofs.token"), "hfip_")
    if layout.remembers or not layout.trust.exists():
        keeper = load_or_create_signer(layout.key("memory.statement.pem"), "statement")
        documents[MEMORY] = _document(layout, MEMORY, ["memory"], [keeper.key])
    load_or_create_secret(layout.key("memory.token"), "hfmr_")
    deployer = load_or_create_secp256k1(layout.key("deployer.key"), "account")
    load_or_create_insecure_root(layout.key(ENCLAVE_ROOT), SystemClock().now())
    account = load_or_create_secp256k1(layout.key("gateway.account.key"), "account")
    load_or_create_secret(layout.key("workspace.token"), "hf_")
    load_or_create_secret(layout.key("panel.token"), "hf_")
    load_or_create_secret(layout.key("relay.token"), "hf_")
    load_or_create_secret(layout.key("relay.caller.token"), "hfr_")
    load_or_create_secret(layout.key("log.token"), "hfl_")
    load_or_create_secret(layout.key("hub.token"), "hfh_")
    load_or_create_secret(layout.key("blobs.token"), "hfb_")
    write_private(layout.key("opengradient.token"), f"{OPENGRADIENT_KEY}\n".encode())
    facilitator = load_or_create_secp256k1(layout.key("facilitator.account.key"), "account")
    faucet = load_or_create_secp256k1(layout.key("faucet.key"), "account")
    asks = load_or_create_secp256k1(layout.key("asks.account.key"), "account")
    return Keys(
        documents, addresses, deployer.address, account.address, facilitator.address, faucet.address, asks.address
    )


def make_genesis(layout: Layout, keys: Keys) -> None:
    """Write the accounts that a new chain begins with. A chain from before had none of them and stays as it is."""
    path = layout.state / GENESIS_FILE
    if path.exists() or (layout.state / "chain").exists():
        return
    accounts = payment_accounts(TestToken(keys.faucet))
    alloc: dict[str, canonical.JSON] = {name: {"code": "0x" + item.code.hex()} for name, item in accounts.items()}
    alloc |= {address: {"balance": str(PAYMENT_COIN)} for address in (keys.facilitator_account, keys.faucet)}
    write_private(path, canonical.encode({"alloc": alloc}) + b"\n")


def make_price_card(layout: Layout) -> None:
    """Write the price card, unless there is one."""
    path = layout.state / PRICE_CARD_FILE
    if not path.exists():
        write_private(path, build_price_card(PRICES).raw + b"\n")


def _payment_settings(layout: Layout, keys: Keys) -> dict[str, Any]:
    """What the gateway takes: credit, and the test token where the chain has it. Makes a price card where there is
    none."""
    if layout.payments == "off":
        return {}
    make_price_card(layout)
    found: dict[str, Any] = {
        "payments": layout.payments,
        "price_card": str(layout.state.resolve() / PRICE_CARD_FILE),
        "free_credit": FREE_CREDIT,
    }
    if layout.pays:
        network, token = layout.payment_network, TestToken(keys.faucet)
        found |= {
            "facilitator": layout.url(FACILITATOR),
            "pay_to": keys.gateway_account,
            "payment_network": network,
            "payment_chain": layout.url("chain"),
            "payment_depth": 0,
            "refund_account": str(layout.state.resolve() / "keys" / "gateway.account.key"),
            "payment_asset": TEST_TOKEN,
            "payment_asset_name": token.name,
            "payment_asset_version": token.version,
            "rates": [{"asset": TEST_TOKEN, "network": network, "decimals": token.decimals, "usd": TOKEN_USD}],
        }
    return found


def _asks_settings(layout: Layout) -> dict[str, Any]:
    """The contract that other contracts ask for runs. One block deep: on this chain nobody but a test undoes blocks."""
    if not layout.asks:
        return {}
    return {
        "asks": layout.asks["contract"],
        "asks_account": str(layout.state.resolve() / "keys" / "asks.account.key"),
        "asks_chain": layout.url("chain"),
        "asks_chain_id": layout.chain_id,
        "asks_block": layout.asks["block"],
        "asks_depth": 0,
        "asks_anybodys": True,
    }


def _gateway_document(layout: Layout, statement: PublicKey) -> KeyDocument:
    """The gateway's key document. A new one names OpenGradient's key, the TLS key, the key that requests are sealed to
    and where the gateway is paid; one from before stays as it is, and that gateway runs without them."""
    if layout.key("gateway.json").exists():
        return _document(layout, "gateway", ["gateway"], [])
    signer = load_or_create_rsa_signer(layout.key("gateway.opengradient.pem"))
    files = layout.key("gateway.tls.key"), layout.key("gateway.tls.pem")
    certificate = load_or_create_certificate(*files, [HOST, "localhost"], dt.datetime.now(dt.UTC))
    account = load_or_create_secp256k1(layout.key("gateway.account.key"), "account")
    sealed = load_or_create_gateway_key(layout.key("gateway.ohttp.pem"))
    return _document(
        layout,
        "gateway",
        ["gateway"],
        [statement, signer.key],
        tls=spki_digest(certificate),
        ohttp=(sealed.configuration.encoded,),
        payment=account.address,
    )


def _document(layout: Layout, name: str, roles: list[str], keys: list[PublicKey], **more: Any) -> KeyDocument:
    """A node's key document; one that exists is kept, since its digest is the node's identity."""
    path = layout.key(f"{name}.json")
    if not path.exists():
        host = f"{name}.holdfast.local"
        write_private(path, build_key_document(host, roles, f"holdfast/{__version__}", keys, **more).raw)
    return parse_key_document(path.read_bytes())


def speaks_opengradient(document: KeyDocument) -> bool:
    """Whether a gateway has what OpenGradient's clients look for: their key, and a TLS key, in its key document."""
    return document.key_for("opengradient") is not None and document.tls is not None


def settings_of(layout: Layout, keys: Keys) -> dict[str, dict[str, Any]]:
    """Every node's settings as TOML values; paths are absolute."""
    state = layout.state.resolve()
    token = f"file:{(state / 'keys' / 'log.token')}"
    full_nodes = [{"name": name, "url": layout.url(name)} for name in layout.full_names]
    witnesses = [
        {"url": layout.url(name), "key": str(_witness_key(keys.documents[name]))} for name in layout.full_names
    ]
    listen = {service: f"{HOST}:{layout.port(service)}" for service in SERVICES}
    opengradient: dict[str, Any] = {}
    if speaks_opengradient(keys.documents["gateway"]):
        opengradient = {
            "opengradient_key": str(state / "keys" / "gateway.opengradient.pem"),
            "listen_tls": listen[GATEWAY_TLS],
            "tls_certificate": str(state / "keys" / "gateway.tls.pem"),
            "tls_key": str(state / "keys" / "gateway.tls.key"),
        }
        if layout.registry:
            opengradient |= {
                "registry": layout.registry["registry"],
                "registry_chain": layout.url("chain"),
                "registry_chain_id": layout.chain_id,
                "registry_account": str(state / "keys" / "gateway.account.key"),
                "endpoint": layout.url(GATEWAY_TLS),
            }
    # A panel's key document from before it had such a key stays as it is: its digest is the panel's identity.
    readable = keys.documents["panel"].key_for("hpke") is not None
    hpke = {"hpke_key": str(state / "keys" / "panel.hpke.pem")} if readable else {}
    # A gateway's key document from before it had a private path stays as it is too; --fresh makes one that has it.
    private = keys.documents["gateway"].ohttp != ()
    ohttp = {"ohttp_key": str(state / "keys" / "gateway.ohttp.pem")} if private else {}
    tables: dict[str, dict[str, Any]] = {
        "chain": {
            "listen": listen["chain"],
            "state": str(state / "chain"),
            "chain_id": layout.chain_id,
            "funded": [keys.deployer, *keys.vote_addresses.values()],
            **({"genesis": str(state / GENESIS_FILE)} if layout.pays else {}),
        },
        "log": {
            "listen": listen["log"],
            "state": str(state / "log"),
            "origin": layout.origin,
            "key": str(state / "keys" / "log.log.pem"),
            "token": token,
            "walrus_publisher": layout.url(BLOBS),
            "walrus_token": f"file:{state / 'keys' / 'blobs.token'}",
            "walrus_shards": BLOB_SHARDS,
            "witnesses": witnesses,
        },
        BLOBS: {
            "listen": listen[BLOBS],
            "state": str(state / BLOBS),
            "shards": BLOB_SHARDS,
            "token": f"file:{state / 'keys' / 'blobs.token'}",
        },
        "gateway": {
            "listen": listen["gateway"],
            "state": str(state / "gateway"),
            "signing_key": str(state / "keys" / "gateway.statement.pem"),
            "key_document": str(state / "keys" / "gateway.json"),
            "enclave": "insecure",
            "enclave_root": str(state / "keys" / ENCLAVE_ROOT),
            "trust": str(layout.trust.resolve()),
            "workspaces": [
                {
                    "name": WORKSPACE,
                    "key": f"file:{state / 'keys' / 'workspace.token'}",
                    "panel": str(state / "keys" / "panel.json"),
                },
                {
                    "name": WORKSPACE,
                    "key": f"file:{state / 'keys' / 'panel.token'}",
                    "asks_for_others": True,
                },
                {
                    "name": RELAY_WORKSPACE,
                    "key": f"file:{state / 'keys' / 'relay.token'}",
                    "relay": str(state / "keys" / "relay.json"),
                },
                {"name": OPENGRADIENT_WORKSPACE, "key": f"file:{state / 'keys' / 'opengradient.token'}"},
            ],
            "log": layout.url("log"),
            "log_token": token,
            "origin": layout.origin,
            "full_nodes": full_nodes,
            "tiny": True,
            "render": True,
            "inference": [
                {"code": name, "url": layout.url(name), "token": f"file:{state / 'keys' / 'inference.token'}"}
                for name in (INFERENCE if layout.computes else ())
            ],
            **({"memory_node": layout.url(MEMORY)} if layout.remembers else {}),
            **ohttp,
            **opengradient,
            **_asks_settings(layout),
            **_payment_settings(layout, keys),
        },
        "relay": {
            "listen": listen["relay"],
            "state": str(state / "relay"),
            "key_document": str(state / "keys" / "relay.json"),
            "trust": str(layout.trust.resolve()),
            "log": layout.url("log"),
            # Whoever tries it out here asks in bursts that no quota of a network would allow.
            "window_requests": 100_000,
            "accounts": [
                {"name": RELAY_ACCOUNT, "key": f"file:{state / 'keys' / 'relay.caller.token'}"},
                {"name": WORKSPACE, "key": f"file:{state / 'keys' / 'workspace.token'}"},
                {"name": OPENGRADIENT_WORKSPACE, "key": f"file:{state / 'keys' / 'opengradient.token'}"},
            ],
            "gateways": [{"url": layout.url("gateway"), "key": f"file:{state / 'keys' / 'relay.token'}"}],
        },
        "panel": {
            "listen": listen["panel"],
            "state": str(state / "panel"),
            "trust": str(layout.trust.resolve()),
            "queues": str(layout.queues.resolve()),
            "signing_key": str(state / "keys" / "panel.statement.pem"),
            "key_document": str(state / "keys" / "panel.json"),
            **hpke,
            "gateway": layout.url("gateway"),
            "workspace": WORKSPACE,
            "workspace_key": f"file:{state / 'keys' / 'panel.token'}",
            "log": layout.url("log"),
            "log_token": token,
            "origin": layout.origin,
            "full_nodes": full_nodes,
            "relay": layout.url("relay"),
            "relay_key": f"file:{state / 'keys' / 'relay.caller.token'}",
        },
    }
    if layout.has_hub:
        tables["panel"]["hub"] = tables["gateway"]["hub"] = layout.url(HUB)
        tables[HUB] = {
            "listen": listen[HUB],
            "state": str(state / HUB),
            "signing_key": str(state / "keys" / "hub.statement.pem"),
            "key_document": str(state / "keys" / "hub.json"),
            "publishers": [{"name": PUBLISHER, "key": f"file:{state / 'keys' / 'hub.token'}", "organisations": ["*"]}],
            "log": layout.url("log"),
            "log_token": token,
        }
    if layout.remembers:
        tables[MEMORY] = {
            "listen": listen[MEMORY],
            "state": str(state / MEMORY),
            "signing_key": str(state / "keys" / "memory.statement.pem"),
            "key_document": str(state / "keys" / "memory.json"),
            "trust": str(layout.trust.resolve()),
            "registration": f"file:{state / 'keys' / 'memory.token'}",
        }
    for name in INFERENCE if layout.computes else ():
        tables[name] = {
            "listen": listen[name],
            "state": str(state / name),
            "signing_key": str(state / "keys" / f"{name}.statement.pem"),
            "key_document": str(state / "keys" / f"{name}.json"),
            "token": f"file:{state / 'keys' / 'inference.token'}",
            "proof_token": f"file:{state / 'keys' / 'inference.proofs.token'}",
            "models": str(state / MODELS),
            **({"hub": layout.url(HUB), "trust": str(layout.trust.resolve())} if layout.has_hub else {}),
            "enclave": "insecure",
            "enclave_root": str(state / "keys" / ENCLAVE_ROOT),
        }
    if layout.data_names:
        token = f"file:{state / 'keys' / 'data.token'}"
        tables["gateway"]["data_nodes"] = [
            {"code": name, "url": layout.url(name), "key": token} for name in layout.data_names
        ]
        tables["panel"] |= {"data": layout.url(DATA[0]), "data_key": f"file:{state / 'keys' / 'workspace.token'}"}
        signing = make_sources(layout, write_private)
        tables |= {name: data_table(layout, name, listen[name], signing) for name in layout.data_names}
    if layout.remembers:
        tables["panel"]["memory"] = layout.url(MEMORY)
    if layout.pays:
        tables["panel"] |= {
            "faucet_key": str(layout.key("faucet.key")),
            "faucet_chain": layout.url("chain"),
            "faucet_network": layout.payment_network,
            "faucet_token": TEST_TOKEN,
        }
        tables[FACILITATOR] = {
            "listen": listen[FACILITATOR],
            "state": str(state / FACILITATOR),
            "networks": [
                {
                    "network": layout.payment_network,
                    "rpc": layout.url("chain"),
                    "key": f"file:{state / 'keys' / 'facilitator.account.key'}",
                    "assets": ["*"],
                    "payees": ["*"],
                    "captures": CAPTURES,
                    "settlement": SETTLEMENT,
                    "depth": 0,
                    "poll_ms": 50,
                    **({"registry": layout.registry["registry"]} if layout.registry else {}),
                }
            ],
        }
    for name in layout.full_names:
        tables[name] = {
            "listen": listen[name],
            "state": str(state / name),
            "trust": str(layout.trust.resolve()),
            "key_document": str(state / "keys" / f"{name}.json"),
            "vote_key": str(state / "keys" / f"{name}.vote.key"),
            "cosignature_key": str(state / "keys" / f"{name}.cosignature.pem"),
            "logs": [{"origin": layout.origin, "url": layout.url("log")}],
            "chain": layout.url("chain"),
            "peers": [layout.url(other) for other in layout.full_names if other != name],
            "provers": [layout.url(prover) for prover in (INFERENCE if layout.computes else ())],
            "prover_token": f"file:{state / 'keys' / 'inference.proofs.token'}",
            **({"registry": layout.registry["registry"]} if layout.registry else {}),
        }
    return tables


def _witness_key(document: KeyDocument) -> VerifierKey:
    key = document.key_for("cosignature")
    if key is None:
        raise UsageError("keys.use", f"{document.name} has no cosignature key")
    return VerifierKey(document.name, COSIGNATURE, key.public)


def write_settings(layout: Layout, tables: dict[str, dict[str, Any]], overrides: Path | None) -> Path:
    """Write the settings in force: ours, with a person's TOML on top. Raises ``settings.*``."""
    if overrides is not None:
        try:
            given = tomllib.loads(overrides.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UsageError("settings.file", f"cannot read {overrides}: {error}") from error
        for table, values in given.items():
            if table not in tables or not isinstance(values, dict):
                raise UsageError(
                    "settings.unknown", f"{overrides}: unknown table [{table}]", hint=f"known: {', '.join(tables)}"
                )
            tables[table].update(values)
    lines = ["# Written by `holdfast up` at every start. Change it with `holdfast up --config FILE`, not here.", ""]
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{name} = {_toml(value)}" for name, value in values.items()), ""]
    path = layout.state / SETTINGS_FILE
    write_private(path, "\n".join(lines).encode())
    return path


def _toml(value: Any) -> str:
    """A TOML value; strings as JSON strings, which TOML reads the same."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def make_queues(layout: Layout) -> None:
    """Write the policy of the default queue, unless there is one: what a person changed stays changed."""
    layout.queues.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = layout.queues / f"{DEFAULT_QUEUE}.toml"
    if not path.exists():
        write_private(path, DEFAULT_QUEUE_POLICY.encode())


def make_first_code(panel: PanelConfig) -> str | None:
    """A one-time code for the account that may try everything here; None once somebody was let in. It replaces the one
    of the start before. For four eyes, more accounts are made in the panel."""
    store = SQLPeopleStore(panel.people_url)
    try:
        people = People(store, panel, SystemClock(), secrets.token_bytes)
        return people.first_code(FIRST_ROLES) if people.is_empty() else None
    finally:
        store.close()


async def make_contracts(layout: Layout, keys: Keys) -> Deployment:
    """Deploy the contracts, bond the full nodes' stake and announce the first epoch."""
    deployer = load_or_create_secp256k1(layout.key("deployer.key"), "account")
    connection = EvmConnection(layout.url("chain"))
    try:
        settings = RoundsSettings(ROUND_TIMEOUT_S, UNBONDING_S, 0)
        deployment = await deploy(connection, deployer, settings)
        chain = EvmChain(connection, deployment.rounds, deployer, finality_depth=0)
        await asyncio.gather(*(chain.deposit(address, STAKE) for address in keys.vote_addresses.values()))
        members = [Member(address, STAKE) for address in sorted(keys.vote_addresses.values())]
        await chain.announce_epoch(0, members)
        return deployment
    finally:
        await connection.close()


async def make_registry(layout: Layout, keys: Keys, rounds: ChainDomain) -> None:
    """Deploy the registry beside ``rounds``, with the kind and the measurement that the gateway here needs, and give
    the gateway's account coin. The deployer holds both roles."""
    deployer = load_or_create_secp256k1(layout.key("deployer.key"), "account")
    connection = EvmConnection(layout.url("chain"))
    try:
        made = await deploy_registry(connection, deployer, rounds)
        registry = EvmRegistry(connection, made.registry, deployer)
        await registry.set_kind(RegisteredKind(GATEWAY_KIND, "LLMProxy", GATEWAY_INTERVAL_S))
        simulated = {f"pcr{number}": value for number, value in INSECURE_REGISTERS.items()}
        measured = measurement_hash("aws-nitro", "nitro", simulated)
        await registry.approve_measurement(GATEWAY_KIND, measured, "INSECURE: a simulated enclave, nothing is measured")
        account = EvmAccount(connection, deployer, rounds.chain_id)
        await account.transact(keys.gateway_account, b"", value=GATEWAY_COIN)
        where: dict[str, canonical.JSON] = {
            "registry": made.registry.contract,
            "views": made.views,
            "signatures": made.signatures,
            "block": made.block,
        }
        write_private(layout.state / REGISTRY_FILE, canonical.encode(where) + b"\n")
    finally:
        await connection.close()


def rounds_of(layout: Layout) -> ChainDomain:
    """The Rounds contract that this network's trust names."""
    chain = verify_trust(parse_trust_chain(layout.trust.read_bytes())).chain(layout.origin)
    if chain is None:
        raise UnavailableError("up.state", f"{layout.trust} names no contract for {layout.origin}")
    return ChainDomain(chain.chain_id, chain.contract)


def make_trust(layout: Layout, keys: Keys, deployment: Deployment, now: dt.datetime) -> None:
    """Write trust version 1: everything of this network, marked development."""
    roots = [load_or_create_signer(layout.key(f"root-{number}.pem"), "root") for number in range(1, ROOT_KEYS + 1)]
    span = {
        "valid_from": time_encode(now - dt.timedelta(minutes=5)),
        "valid_until": time_encode(now + dt.timedelta(days=VALID_DAYS)),
    }
    enclave_root = load_or_create_insecure_root(layout.key(ENCLAVE_ROOT), now)
    registers = {f"pcr{index}": value.hex() for index, value in INSECURE_REGISTERS.items()}
    stakes = [{"node": keys.documents[name].digest, "stake": STAKE} for name in layout.full_names]
    version: dict[str, Any] = {
        "type": TRUST_TYPE,
        "version": 1,
        "issued_at": time_encode(now),
        "expires_at": span["valid_until"],
        "development": True,
        "root": {
            "threshold": ROOT_THRESHOLD,
            "keys": [{"algorithm": root.key.algorithm, "public": b64_encode(root.key.public)} for root in roots],
        },
        "nodes": [
            {"key_document": b64_encode(document.raw), "revoked": None, **span} for document in keys.documents.values()
        ],
        "logs": [{"origin": layout.origin, "node": keys.documents["log"].digest, **span}],
        "epochs": [{"origin": layout.origin, "number": 1, "first_round": 1, "stakes": stakes, **span}],
        "chains": [
            {
                "origin": layout.origin,
                "chain_id": deployment.rounds.chain_id,
                "contract": deployment.rounds.contract,
                "finality_depth": 0,
                "development": True,
            }
        ],
        "enclave_roots": [
            {"kind": "aws-nitro", "certificate": b64_encode(enclave_root.certificate), "development": True}
        ],
        "measurements": [
            {"kind": "aws-nitro", "role": role, "value": registers, "debug": False, **span}
            for role in ("data", "gateway", "inference")
        ],
    }
    payload = canonical.encode(version)
    message = pre_authentication_encoding(payload, TRUST_PAYLOAD_TYPE)
    signatures = [(root.key.key_id, root.sign(message)) for root in roots[:ROOT_THRESHOLD]]
    write_private(layout.trust, build_trust_chain([(payload, signatures)]))


def check_consistent(layout: Layout) -> None:
    """A state folder is whole or new; half of one is refused rather than mended by guessing."""
    chain, trust = (layout.state / "chain").exists(), layout.trust.exists()
    if trust and not chain:
        raise UnavailableError(
            "up.state",
            f"{layout.state} has a trust root but no chain: part of it was lost",
            hint="start again with --fresh, or restore the folder as a whole",
        )


def make_models(layout: Layout) -> None:
    """Give the inference nodes the models that are shipped, where the folder has none of that name yet."""
    for name in shipped_onnx():
        home = layout.state / MODELS / name
        if not home.exists():
            home.mkdir(parents=True)
            for file, data in shipped_files(name).items():
                (home / file).write_bytes(data)


def chain_id_of(state: Path, asked: int | None) -> int:
    """The id of a network's chain: the one its trust names, and for a new network the one that is asked for. Raises
    ``up.chain_id`` where both are there and differ."""
    trust = Layout(state, 0).trust
    if not trust.exists():
        return CHAIN_ID if asked is None else asked
    found = rounds_of(Layout(state, 0)).chain_id
    if asked not in (None, found):
        raise UsageError(
            "up.chain_id",
            f"the network in {state} has a chain with id {found}",
            hint="leave --chain-id away, or begin a new network with --fresh",
        )
    return found


def network_json(layout: Layout) -> dict[str, Any]:
    """What ``network.json`` says: how to reach and trust this network. Holds no secret, only where they lie."""
    return {
        "gateway": layout.url("gateway"),
        "gateway_tls": layout.url(GATEWAY_TLS) if layout.key("gateway.tls.pem").exists() else None,
        "panel": layout.url("panel"),
        "log": layout.url("log"),
        "chain": layout.url("chain"),
        "relay": layout.url("relay"),
        "full_nodes": [{"name": name, "url": layout.url(name)} for name in layout.full_names],
        "facilitator": layout.url(FACILITATOR) if layout.pays else None,
        "inference": [{"name": name, "url": layout.url(name)} for name in (INFERENCE if layout.computes else ())],
        "inference_token_file": str(layout.key("inference.token").resolve()) if layout.computes else None,
        "models": str((layout.state / MODELS).resolve()) if layout.computes else None,
        "data": layout.url(DATA[0]) if layout.data_names else None,
        "data_nodes": [{"name": name, "url": layout.url(name)} for name in layout.data_names],
        "data_sources": str((layout.state / "sources.toml").resolve()) if layout.data_names else None,
        "payment_network": layout.payment_network if layout.pays else None,
        "token": TEST_TOKEN if layout.pays else None,
        "hub": layout.url(HUB) if layout.has_hub else None,
        "blobs": layout.url(BLOBS),
        "memory": layout.url(MEMORY) if layout.remembers else None,
        "memory_token_file": str(layout.key("memory.token").resolve()) if layout.remembers else None,
        "hub_key_file": str(layout.key("hub.token").resolve()) if layout.has_hub else None,
        "registry": layout.registry.get("registry"),
        "registry_views": layout.registry.get("views"),
        "asks": layout.asks.get("contract"),
        "asks_node": layout.asks.get("node"),
        "asks_block": layout.asks.get("block"),
        "alpha": layout.asks.get("alpha"),
        "origin": layout.origin,
        "trust": str(layout.trust.resolve()),
        "key_file": str(layout.key("workspace.token").resolve()),
        "relay_key_file": str(layout.key("relay.caller.token").resolve()),
        "settings": str((layout.state / SETTINGS_FILE).resolve()),
        "development": True,
    }
