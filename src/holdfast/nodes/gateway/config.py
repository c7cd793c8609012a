"""Settings of the gateway. Every limit is here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.core.dialects.openai import PROFILES
from holdfast.ports.settings import Secret, setting

KINDS = ("openai", "anthropic", "gemini")
"""What an upstream can speak."""


@dataclass(frozen=True, slots=True)
class WorkspaceKey:
    """One API key and the workspace it speaks for."""

    name: str = setting(help="Workspace name: lower-case letters, digits and hyphens")
    key: Secret = setting(help="The API key, as file:… or env:…")
    person: str | None = setting(
        None, "Account at the panel of the person whose key this is: they decide no case of a run that it asked for"
    )
    panel: Path | None = setting(
        None, "Key document of the panel that reviews this workspace: it can read the runs that name a queue"
    )
    relay: Path | None = setting(
        None, "Key document of the relay that this workspace is for: routes of sealed requests name it"
    )
    route: Path | None = setting(
        None, "Route policy (TOML, spec/routes.md) of the workspace: conversations and requests can only narrow it"
    )
    shared: bool = setting(False, "Many have this key: what it asked is read by each run's capability alone")
    asks_for_others: bool = setting(
        False, "It is the panel's own key: it may name the person who asks for another act in an act's place"
    )


@dataclass(frozen=True, slots=True)
class UpstreamAddress:
    """One place that answers chats."""

    code: str = setting(help="Short id that stands in statements: lower-case letters, digits, hyphens")
    base_url: str = setting(help="Base URL up to and including the version: /v1, or /v1beta")
    kind: str = setting(
        "openai", "What it speaks; everything but Anthropic's and Google's own APIs is openai", choices=KINDS
    )
    profile: str | None = setting(
        None,
        "Whose parameters it is known to heed, of kind openai; without one nothing is known",
        choices=tuple(sorted(PROFILES)),
    )
    api_key: Secret | None = setting(None, "The provider's API key, as file:… or env:…")
    models: tuple[str, ...] = setting((), "Models to offer, as NAME or NAME=PROVIDER_NAME; empty: ask the server")
    fallback: str | None = setting(None, "Code of the upstream to turn to when this one fails before its answer begins")
    jurisdiction: str | None = setting(None, "Where it is, by your word: a code, such as eu, that route policies name")
    tls_ca_file: Path | None = setting(None, "PEM file of the roots to trust for this server; default: the system's")
    proxy: str | None = setting(None, "HTTP proxy to go through, as http://HOST:PORT; the environment is never asked")
    insecure_plain_http: bool = setting(
        False, "Send api_key over http:// off this machine; anyone on the way can read it"
    )


@dataclass(frozen=True, slots=True)
class InferenceAddress:
    """One inference node."""

    code: str = setting(help="Short id that stands in statements: lower-case letters, digits, hyphens")
    url: str = setting(help="Base URL")
    token: Secret = setting(help="The node's token, as file:… or env:…")
    jurisdiction: str | None = setting(None, "Where it is, by your word: a code, such as eu, that route policies name")
    insecure_plain_http: bool = setting(
        False, "Send token and inputs over http:// off this machine; anyone on the way can read them"
    )


@dataclass(frozen=True, slots=True)
class DataNodeAddress:
    """One data node."""

    code: str = setting(help="Short id for logs and errors: lower-case letters, digits, hyphens")
    url: str = setting(help="Base URL")
    key: Secret = setting(help="This gateway's key at the node, as file:… or env:…")


@dataclass(frozen=True, slots=True)
class IntentSetting:
    """What a workspace's chats about something are given, without asking for it."""

    keywords: tuple[str, ...] = setting(help="Words or phrases; one of them in the last question is enough")
    source: str = setting(help="Id of the source to ask, at the data nodes")
    parameters: tuple[str, ...] = setting((), "What to ask it, as NAME=VALUE")
    workspace: str = setting("*", "Whose chats, or * for all")


@dataclass(frozen=True, slots=True)
class FullNodeReader:
    """One full node whose rounds the gateway follows."""

    name: str = setting(help="Node name, as in its key document")
    url: str = setting(help="Base URL")


@dataclass(frozen=True, slots=True)
class RateSetting:
    """What one whole unit of an asset is worth."""

    asset: str = setting(help="Address of the token")
    network: str = setting(help="Network as x402 writes it, like eip155:8453")
    decimals: int = setting(help="Decimals of the token", minimum=0, maximum=36)
    usd: str = setting(help="US dollars for one whole unit, as a decimal")
    at: str | None = setting(
        None, "When that was found out (RFC 3339); with it the rate gets old, without it holds while it is configured"
    )


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Where the gateway listens, who may ask, who answers, and how much it takes on."""

    listen: str = setting("127.0.0.1:8500", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/gateway"), "Folder for the write-ahead log and the run index")
    database: str | None = setting(None, "SQLAlchemy URL of the run index; default: SQLite in the state folder")
    signing_key: Path = setting(Path(".holdfast/keys/gateway.statement.pem"), "Statement key (PEM, mode 0600)")
    key_document: Path = setting(Path(".holdfast/keys/gateway.json"), "Key document of this node")
    attestation: Path | None = setting(
        None, "Attestation of the key document that was made elsewhere: FORMAT on one line, then base64"
    )
    enclave: str = setting(
        "none",
        "What attests this gateway's key document: the machine it runs in, or insecure, which simulates one",
        choices=("none", "insecure", "nitro", "tdx", "snp"),
    )
    enclave_root: Path | None = setting(
        None, "Throw-away root of the simulated enclave (PEM, mode 0600), made if missing; default: in the state folder"
    )
    enclave_collateral: Path | None = setting(
        None, "What stands beside a report: Intel's collateral (tdx), certificates that the host lacks (snp)"
    )
    reattest_s: int = setting(3600, "Longest time between two attestations, seconds", minimum=60, maximum=9000)
    attestations_per_minute: int = setting(
        60, "Attestations made for callers with a nonce of their own, in a minute", minimum=1, maximum=6000
    )
    trust: Path = setting(Path(".holdfast/trust/trust.json"), "Trust file")
    workspaces: tuple[WorkspaceKey, ...] = setting((), "API keys; with none, nobody may ask")
    upstreams: tuple[UpstreamAddress, ...] = setting((), "Who answers chats, in order of preference")
    balance: str = setting(
        "first",
        "Which of several upstreams that offer a model is turned to: the first, in turn, or the one with fewest runs",
        choices=("first", "round_robin", "least_busy"),
    )
    retries: int = setting(
        0, "How often an upstream that cannot be reached or says 429, 503 or 529 is asked again", maximum=5
    )
    retry_ms: int = setting(
        500, "Pause before that where its Retry-After says nothing; doubled each time", minimum=1, maximum=30_000
    )
    memory_node: str | None = setting(None, "Base URL of the memory node that requests may ask for rows")
    memory_node_seconds: int = setting(10, "Longest time for its answer", minimum=1, maximum=600)
    memory_node_plain_http: bool = setting(
        False, "Send keys of users and their rows over http:// off this machine; anyone on the way can read them"
    )
    inference: tuple[InferenceAddress, ...] = setting((), "Inference nodes, in order of preference")
    data_nodes: tuple[DataNodeAddress, ...] = setting(
        (), "Data nodes that admit facts from outside for this gateway's callers, in order of preference"
    )
    intents: tuple[IntentSetting, ...] = setting(
        (), "Which facts chats are given by what they are about; a fact that no data node answers for refuses the chat"
    )
    hub: str | None = setting(None, "Base URL of the hub that tells what labels meant around a run")
    hub_key: Secret | None = setting(None, "Key of a reader of that hub, as file:… or env:…, where it asks for one")
    builtin: bool = setting(True, "Offer the built-in responder (retrieval over a written corpus, no language model)")
    tiny: bool = setting(False, "Offer the tiny chat language model too (a million weights; often wrong)")
    render: bool = setting(False, "Offer the renderer too (pictures of simple scenes by fixed rules, no model)")
    builtin_tokens_per_second: int = setting(
        60, "Pace of those that answer in words; 0: as fast as possible", minimum=0
    )
    discover: bool = setting(True, "Look for Ollama and llama.cpp on their default local ports")
    default_model: str | None = setting(None, "Model that a request without one gets; default: refuse")
    log: str = setting("http://127.0.0.1:8600", "Base URL of the log")
    log_token: Secret | None = setting(None, "Bearer token for the log, as file:… or env:…")
    origin: str = setting("holdfast.local/log/1", "Origin of the log that statements go to")
    full_nodes: tuple[FullNodeReader, ...] = setting((), "Full nodes whose rounds are followed")
    settlement: str = setting(
        "batch", "Settlement mode of requests that name none", choices=("batch", "individual", "private")
    )
    retention_days: int = setting(30, "How long stored parts are kept", minimum=0, maximum=3650)
    mark_ms: int = setting(250, "Longest time between two marks of a stream", minimum=10, maximum=250)
    request_bytes: int = setting(8 << 20, "Largest request body", minimum=1024, maximum=64 << 20)
    request_seconds: int = setting(30, "Longest time for a request body to arrive", minimum=1, maximum=600)
    file_bytes: int = setting(16 << 20, "Largest file of a request, and largest upload", minimum=1024, maximum=64 << 20)
    file_context_bytes: int = setting(
        96 << 10,
        "How much of a request's files stands before the model; of more, what the question's words are found in",
        minimum=4096,
        maximum=768 << 10,
    )
    file_days: int = setting(7, "How long uploads are kept, unless they are deleted before", minimum=1, maximum=3650)
    file_workspace_bytes: int = setting(1 << 30, "Uploads of one workspace altogether", minimum=1 << 20)
    file_memory_bytes: int = setting(512 << 20, "Memory for reading one file", minimum=64 << 20)
    file_seconds: int = setting(30, "Longest time for reading one file", minimum=1, maximum=600)
    cache_seconds: int = setting(
        0, "How long answers are kept for requests that ask for it with holdfast.cache; 0: none is", maximum=86_400
    )
    cache_bytes: int = setting(64 << 20, "Answers that are kept, altogether, in memory", minimum=1 << 20)
    c2pa_key: Path | None = setting(
        None, "Key that signs content credentials of images (P-256, PEM, mode 0600); without one they get none"
    )
    c2pa_chain: Path | None = setting(None, "Certificates of c2pa_key (PEM), its own first; needed for c2pa_key")
    answer_bytes: int = setting(32 << 20, "Largest answer of an upstream", minimum=1024, maximum=64 << 20)
    upstream_seconds: int = setting(600, "Longest time for a whole answer", minimum=1, maximum=7200)
    idle_seconds: int = setting(60, "Longest silence of an upstream", minimum=1, maximum=3600)
    runs_at_once: int = setting(1024, "Runs under way at once; beyond that callers are told to wait", minimum=1)
    outbox_batch: int = setting(512, "Entries sent to the log at once", minimum=1, maximum=4096)
    poll_ms: int = setting(400, "How often log and full nodes are asked while runs wait", minimum=50, maximum=60_000)
    max_span_s: int = setting(600, "Appraisal bound: claimed time to trusted time, seconds", minimum=1)
    opengradient_key: Path | None = setting(
        None, "OpenGradient's signing key (RSA-2048, PEM, mode 0600); without one their clients get no signature"
    )
    opengradient_signs: str = setting(
        "asked", "Whose answers it signs: those of callers that ask for it, or all", choices=("asked", "always")
    )
    listen_tls: str | None = setting(None, "Address and port to listen on under TLS as well")
    tls_certificate: Path | None = setting(None, "Certificate for listen_tls (PEM)")
    tls_key: Path | None = setting(None, "Key of tls_certificate (PEM, mode 0600)")
    registry: str | None = setting(None, "Address of the registry's contract, where clients find this gateway")
    registry_chain: str = setting("http://127.0.0.1:8545", "JSON-RPC URL of the registry's chain")
    registry_chain_id: int = setting(31337, "Id of that chain", minimum=1)
    registry_account: Path | None = setting(
        None,
        "Account that owns this gateway's entry and pays for it (64 hex digits, mode 0600); none: somebody else does",
    )
    endpoint: str | None = setting(
        None, "Where clients reach listen_tls, as the registry is to say: https://HOST or https://HOST:PORT"
    )
    heartbeat_facilitator: str | None = setting(
        None, "Base URL of a facilitator that relays heartbeats to the registry"
    )
    heartbeat_seconds: int = setting(900, "Time between two heartbeats by way of the facilitator", minimum=1)
    heartbeat_behind_seconds: int = setting(
        300, "How far back the time of such a heartbeat lies, because a chain's clock lags", minimum=0
    )
    watchers: int = setting(512, "Live event streams at once", minimum=1)
    # Payments, as spec/payments.md and spec/pricing.md have them
    payments: str = setting(
        "off",
        "Whether answers cost something: off, optional (every workspace has free credit) or required",
        choices=("off", "optional", "required"),
    )
    price_card: Path | None = setting(None, "Price card (spec/pricing.md §2), canonical JSON; needed for payments")
    free_credit: str = setting("1", "US dollars of credit that each workspace gets once, where payments are optional")
    output_tokens: int = setting(
        4096, "Tokens that an answer may have where its request names no limit: its cap counts with them", minimum=1
    )
    till_database: str | None = setting(None, "SQLAlchemy URL of the till; default: SQLite in the state folder")
    facilitator: str | None = setting(None, "Base URL of the facilitator; without one only credit pays")
    facilitator_token: Secret | None = setting(None, "Bearer token for the facilitator, as file:… or env:…")
    pay_to: str | None = setting(None, "Address that is paid; default: the payment address of the key document")
    payment_network: str | None = setting(None, "Network that payments are taken on, like eip155:8453")
    payment_asset: str | None = setting(None, "Address of the token that payments are taken in")
    payment_asset_name: str = setting("", "Name in that token's EIP-712 domain")
    payment_asset_version: str = setting("1", "Version in that token's EIP-712 domain")
    payment_methods: tuple[str, ...] = setting(
        ("eip3009", "permit2-upto", "permit2-exact"), "How payers may pay, in the order in which it is offered"
    )
    rates: tuple[RateSetting, ...] = setting((), "What tokens are worth; one for payment_asset is needed")
    rate_seconds: int = setting(86_400, "How old a rate with a time may be", minimum=1)
    capture: str = setting(
        "on_proof",
        "When money is taken: after the answer, or only for a run that is final and not refuted",
        choices=("on_answer", "on_proof"),
    )
    session_usd: str = setting(
        "0.5", "US dollars that an upto payment is asked for at least: further requests go on it"
    )
    exposure_usd: str = setting("10", "US dollars that one payer may use without having paid yet")
    payment_seconds: int = setting(900, "How long a payment is to hold, seconds", minimum=30, maximum=86_400)
    finality_seconds: int = setting(120, "How long runs take to be final, nearly all of them, seconds", minimum=0)
    capture_seconds: int = setting(60, "What a capture needs before a payment runs out, seconds", minimum=6)
    session_idle_seconds: int = setting(90, "So long without a request, and an upto payment is captured", minimum=1)
    payment_chain: str | None = setting(
        None, "JSON-RPC URL of payment_network, to see captures there; without one the facilitator's word is believed"
    )
    refund_account: Path | None = setting(
        None,
        "Account that pays back what is owed, on payment_chain (64 hex digits, mode 0600); none: somebody else does",
    )
    payment_depth: int = setting(2, "Blocks that must lie on top of a capture before it counts", maximum=10_000)
    public_url: str | None = setting(
        None, "Where callers reach this gateway, as offers are to say; default: what each request says"
    )
    # Runs that contracts ask for (spec/onchain.md)
    asks: str | None = setting(None, "Address of the contract Inference; without one no contract is served")
    asks_account: Path | None = setting(
        None, "Account that fulfils requests and is paid for them (64 hex digits, mode 0600); needed for asks"
    )
    asks_chain: str = setting("http://127.0.0.1:8545", "JSON-RPC URL of that contract's chain")
    asks_chain_id: int = setting(31337, "Id of that chain", minimum=1)
    asks_block: int = setting(0, "Block in which the contract was created: requests are looked for from there on")
    asks_depth: int = setting(2, "Blocks that must lie on top of a request before it is served", maximum=10_000)
    asks_fee: str = setting("0", "Base units of the chain's coin that a request has to pay, as a decimal string")
    asks_gas: int = setting(3_000_000, "Most gas that a request may want for its target", maximum=10_000_000)
    asks_anybodys: bool = setting(False, "Serve requests that name no node too; several gateways may race for them")
    asks_at_once: int = setting(4, "Runs for requests on chain at once", minimum=1, maximum=1024)
    # The private path (spec/ohttp.md)
    ohttp_key: Path | None = setting(
        None, "X25519 key (PEM, mode 0600) that requests are sealed to; without one there is no private path"
    )
    ohttp_request_bytes: int = setting(20 << 20, "Largest sealed request", minimum=1024, maximum=20 << 20)
    ohttp_replay_seconds: int = setting(
        600,
        "How far the date of a sealed request may be off; twice as long it is remembered and refused again",
        minimum=1,
        maximum=86_400,
    )
    ohttp_remembered: int = setting(100_000, "Most sealed requests that are remembered at once", minimum=1)
    ohttp_padding_bytes: int = setting(
        0, "Sealed binary answers are padded to a multiple of this; 0: not at all", minimum=0, maximum=1 << 20
    )

    @property
    def till_url(self) -> str:
        """SQLAlchemy URL of the till."""
        return self.till_database or f"sqlite:///{self.state / 'till.sqlite'}"
