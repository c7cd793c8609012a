"""Settings of the relay. Every limit is here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class RelayKey:
    """One key and the account that it counts for."""

    name: str = setting(help="Account: lower-case letters, digits and hyphens")
    key: Secret = setting(help="The key, as file:… or env:…")
    day_requests: int | None = setting(None, "Requests of this account in a day, instead of the relay's", minimum=1)


@dataclass(frozen=True, slots=True)
class RelayGateway:
    """One gateway that requests are passed on to."""

    url: str = setting(help="Base URL of the gateway")
    key: Secret = setting(help="The relay's own workspace key at the gateway, as file:… or env:…")
    tls_ca_file: Path | None = setting(None, "PEM file of what to trust for this gateway; default: the system's roots")
    insecure_plain_http: bool = setting(
        False, "Send the key over http:// off this machine; anyone on the way can read it"
    )
    billing_frames: bool = setting(False, "Take OpenGradient's plaintext billing frames out of its chunked answers")


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Where the relay listens, who may use it, whom it passes requests on to, and how much it takes on."""

    listen: str = setting("127.0.0.1:8700", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/relay"), "Folder for what was accepted of trust; nothing of callers")
    key_document: Path = setting(Path(".holdfast/keys/relay.json"), "Key document of this relay")
    trust: Path = setting(Path(".holdfast/trust/trust.json"), "Trust file")
    log: str = setting("http://127.0.0.1:8600", "Base URL of the log that gateways tell their keys to")
    accounts: tuple[RelayKey, ...] = setting((), "Keys of callers; with none, nobody may use the relay")
    gateways: tuple[RelayGateway, ...] = setting((), "Gateways; the first is the default")
    window_s: int = setting(60, "Quotas are counted over windows of so many seconds", minimum=1, maximum=86_400)
    window_requests: int = setting(600, "Requests of one account in a window", minimum=1)
    window_bytes: int = setting(256 << 20, "Bytes of one account in a window, both ways together", minimum=1024)
    day_requests: int | None = setting(
        None,
        "Requests of one account in a day, for which the relay pays; without it the windows alone bound them",
        minimum=1,
    )
    credit_floor: str = setting(
        "0.05", "US dollars of the relay's credit at a gateway below which it passes nothing on"
    )
    credit_seconds: int = setting(
        300, "How often gateways are asked what is left of it; never because of a request", minimum=10, maximum=86_400
    )
    at_once: int = setting(64, "Requests of one account under way at once", minimum=1)
    requests_at_once: int = setting(1024, "Requests of everybody under way at once", minimum=1)
    request_bytes: int = setting(20 << 20, "Largest encapsulated request", minimum=1024, maximum=20 << 20)
    request_seconds: int = setting(30, "Longest time for a request body to arrive", minimum=1, maximum=600)
    answer_bytes: int = setting(64 << 20, "Largest answer of a gateway", minimum=1024, maximum=256 << 20)
    answer_seconds: int = setting(600, "Longest time for a whole answer", minimum=1, maximum=7200)
    idle_seconds: int = setting(90, "Longest silence of a gateway", minimum=1, maximum=3600)
    keys_seconds: int = setting(30, "How often each gateway is asked who it is", minimum=1, maximum=86_400)
    batch_ms: int = setting(
        0, "Requests wait for the next multiple of this and leave together, in random order; 0: at once", maximum=10_000
    )
    tick_ms: int = setting(0, "Pieces of answers leave at multiples of this; 0: as they come", maximum=10_000)
