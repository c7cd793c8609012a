"""Settings of the panel. Nothing here is a secret: keys are references."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting
from holdfast.review.people import PeopleConfig
from holdfast.verifier.gate import GATE_STATES


@dataclass(frozen=True, slots=True)
class FullNodeAddress:
    """One full node whose rounds the panel shows."""

    name: str = setting(help="Name shown on the pages, for example full-1")
    url: str = setting(help="Base URL, for example http://127.0.0.1:8610")


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where what the gate lets through of a queue is sent (``spec/webhook.md``)."""

    queue: str = setting(help="The queue, for example default")
    url: str = setting(help="Address that is posted to: https, or plain http on this machine")
    secret: Secret = setting(help="What requests are signed with, as file:… or env:…: whsec_ and base64")
    states: tuple[str, ...] = setting(
        GATE_STATES, "What it is told of: CLEAR, PROVISIONAL, and of what it could rely on HOLD, REJECTED, RECALLED"
    )


@dataclass(frozen=True, slots=True)
class PanelConfig(PeopleConfig):
    """Where the panel listens, whom it asks, how much it takes on, and how people sign in."""

    listen: str = setting("127.0.0.1:8700", "Address and port to listen on; anything but loopback needs access_key")
    public_origins: tuple[str, ...] = setting(
        (), "Origins people reach the panel by besides its own, like https://holdfast.example"
    )
    gateway: str = setting("http://127.0.0.1:8500", "Base URL of the gateway")
    workspace_key: Secret | None = setting(None, "The workspace's API key at the gateway, as file:… or env:…")
    log: str = setting("http://127.0.0.1:8600", "Base URL of the log")
    log_token: Secret | None = setting(None, "Bearer token for the log, which decisions go to, as file:… or env:…")
    signing_key: Path = setting(Path(".holdfast/keys/panel.statement.pem"), "Statement key (PEM, mode 0600)")
    key_document: Path = setting(Path(".holdfast/keys/panel.json"), "Key document of this panel")
    hpke_key: Path | None = setting(
        None,
        "X25519 key (PEM, mode 0600) that runs are encrypted to for this panel; without it no answer is read here",
    )
    hub: str | None = setting(None, "Base URL of a hub whose labels are followed; without one labels move by answers")
    hub_key: Secret | None = setting(None, "Key of a reader of that hub, as file:… or env:…")
    data: str | None = setting(None, "Base URL of a data node whose sources are shown")
    data_key: Secret | None = setting(None, "Key of a workspace there, as file:… or env:…; its sources are shown")
    memory: str | None = setting(None, "Base URL of a memory node whose rows their owners see at /memory")
    relay: str | None = setting(None, "Base URL of a relay through which pages ask sealed questions")
    relay_key: Secret | None = setting(None, "The panel's own key at that relay, as file:… or env:…")
    origin: str = setting("holdfast.local/log/1", "Origin of the log whose rounds are shown")
    full_nodes: tuple[FullNodeAddress, ...] = setting((), "Full nodes whose rounds and votes are shown")
    review: bool = setting(True, "Keep cases of the runs that name a review queue; needs trust, state and queues")
    state: Path = setting(Path(".holdfast/panel"), "Folder for the journal of cases and what was read of the gateway")
    database: str | None = setting(None, "SQLAlchemy URL of the journal of cases; default: SQLite in the state folder")
    trust: Path = setting(Path(".holdfast/trust/trust.json"), "Trust file by which cases are appraised")
    queues: Path = setting(
        Path(".holdfast/panel/queues"), "Folder of queue policies, one TOML file each, named after its queue"
    )
    anchor_every_s: int = setting(
        5,
        "How often heads of the journals go into the log while they move; after a decision at once",
        minimum=1,
        maximum=3_600,
    )
    openings_poll_ms: int = setting(
        250, "How often the gateway is asked for runs that name a queue", minimum=20, maximum=60_000
    )
    pending_poll_ms: int = setting(
        2_000, "Longest wait before evidence of a case that still waits is fetched again", minimum=100, maximum=600_000
    )
    bundles_at_once: int = setting(32, "Bundles fetched from the gateway at once", minimum=1, maximum=256)
    webhooks: tuple[WebhookEndpoint, ...] = setting((), "Who is told by webhook of what the gate lets through")
    webhook_plain_http: bool = setting(False, "Let webhooks go beyond this machine over plain http")
    webhook_timeout_ms: int = setting(
        15_000, "Longest wait for the whole answer to a webhook", minimum=100, maximum=60_000
    )
    webhook_first_retry_ms: int = setting(
        1_000, "Pause after the first failure of a webhook; it doubles with each", minimum=50, maximum=600_000
    )
    webhook_longest_retry_s: int = setting(3_600, "Longest pause between two attempts", minimum=1, maximum=86_400)
    webhook_give_up_h: int = setting(72, "A webhook is tried for this long", minimum=1, maximum=720)
    webhooks_at_once: int = setting(16, "Webhooks on their way to one endpoint at once", minimum=1, maximum=256)
    webhook_keep_days: int = setting(
        30, "How long webhooks that were delivered or dropped stay listed", minimum=1, maximum=3_650
    )
    faucet_key: Path | None = setting(
        None, "Key (mode 0600) that owns a development chain's test token: the chat page gives it away. Never elsewhere"
    )
    faucet_chain: str = setting("http://127.0.0.1:8545", "JSON-RPC of that chain, as this panel and wallets reach it")
    faucet_network: str = setting("eip155:31337", "That chain by its id, eip155:<chain id>")
    faucet_token: str = setting("", "Address of the test token; needed with faucet_key")
    access_key: Secret | None = setting(
        None,
        "Key that opens the door, as file:… or env:…; needed off loopback. It reads while nobody has an account",
    )
    session_hours: int = setting(12, "A sign-in lasts this long", minimum=1, maximum=720)
    sign_in_failures_per_minute: int = setting(
        30,
        "Wrong passwords or access keys in a minute, from all callers, before everybody has to wait",
        minimum=1,
        maximum=600,
    )
    read_timeout_ms: int = setting(2_000, "Longest wait for a node's answer to a read", minimum=50, maximum=60_000)
    silence_timeout_ms: int = setting(
        120_000, "Longest silence in an answer that streams", minimum=1_000, maximum=3_600_000
    )
    models_cache_ms: int = setting(5_000, "How long the list of models is kept", minimum=0, maximum=600_000)
    max_ask_bytes: int = setting(
        8 << 20, "Largest question with its conversation and its files", minimum=1_024, maximum=64 << 20
    )
    max_bundle_bytes: int = setting(64 << 20, "Largest bundle read or passed on", minimum=1_024, maximum=64 << 20)
    max_view_bytes: int = setting(4 << 20, "Largest JSON answer read from a node", minimum=1_024, maximum=64 << 20)
    max_streams: int = setting(256, "Live streams held at once, over all readers", minimum=1, maximum=100_000)
    max_runs_per_stream: int = setting(12, "Runs one live stream follows", minimum=1, maximum=64)
    capabilities_kept: int = setting(
        4_096, "Runs asked here whose texts can still be read here; in memory only", minimum=0, maximum=1_000_000
    )
    runs_listed: int = setting(30, "Recent runs on the first page", minimum=1, maximum=200)
    rounds_listed: int = setting(50, "Rounds on the rounds page", minimum=1, maximum=500)
