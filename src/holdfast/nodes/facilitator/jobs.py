"""Jobs and transactions as they are told and as they are kept (``spec/payments.md`` §7).

Records of the write-ahead log, each one JSON object:

* ``JOB``: a payment was taken on. It names everything needed to capture it, and the account that will.
* ``SENT``: a transaction with this nonce exists. It is durable before it is sent, so none is ever lost or made twice.
* ``DONE``: a job ended. ``CLOSED``: a nonce needs no more looking after; jobs in it that did not end wait again.
* ``DATA``: a row was taken on for a batch. ``SETTLED``: rows whose batch counts. A ``SENT`` names its rows like jobs.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from holdfast.core import canonical, evm
from holdfast.core.encoding import hex_decode, time_decode, time_encode
from holdfast.core.opengradient_settlement import Row, row_id
from holdfast.core.transactions import parse_transaction
from holdfast.core.x402 import (
    SettleResponse,
    VerifiedPayment,
    job_id_of,
    parse_payload,
    parse_requirements,
    verify_payment,
)
from holdfast.errors import HoldfastError, MalformedError

JOB, SENT, DONE, CLOSED, DATA, SETTLED = 1, 2, 3, 4, 5, 6
"""Kinds of records."""
Status: TypeAlias = Literal["queued", "processing", "succeeded", "failed"]
Purpose: TypeAlias = Literal["capture", "heartbeat", "data", "void"]
"""What a transaction is for; a ``void`` one only uses its nonce up."""


@dataclass(slots=True, eq=False)
class Job:
    """One payment that will be captured or fail."""

    payment: VerifiedPayment
    created_at: dt.datetime
    id: str = field(init=False)
    updated_at: dt.datetime = field(init=False)
    status: Status = "queued"
    transaction: str = ""
    """Hash of the transaction that it is in, or was captured by."""
    reason: str | None = None
    """x402's reason of a failure."""
    attempts: int = 0
    """Transactions that it was part of."""
    alone: bool = False
    """Goes into a transaction of its own next time."""
    earlier: list[bytes] = field(default_factory=list)
    """Hashes of transactions it was part of before."""
    kept: asyncio.Future[None] | None = None
    """While it is not durable: resolved when it is."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.id = job_id_of(self.payment.identity)
        self.updated_at = self.created_at

    @property
    def result(self) -> SettleResponse | None:
        """How it ended; ``None`` before."""
        network = self.payment.requirements.network
        if self.status == "succeeded":
            return SettleResponse(True, network, self.transaction, self.payment.payer, self.payment.amount)
        if self.status == "failed":
            return SettleResponse(False, network, "", self.payment.payer, None, self.reason)
        return None

    def to_json(self) -> dict[str, Any]:
        """As ``GET /settle/{job}`` answers."""
        result = self.result
        return {
            "jobId": self.id,
            "queue": "payment",
            "status": self.status,
            "createdAt": time_encode(self.created_at),
            "updatedAt": time_encode(self.updated_at),
            "transaction": self.transaction or None,
            "result": None if result is None else result.to_json(),
            "error": self.reason,
        }


@dataclass(slots=True, eq=False)
class DataJob:
    """One answer of OpenGradient's format that goes into a batch (``opengradient.md`` §11)."""

    row: Row
    created_at: dt.datetime
    id: str = field(init=False)
    updated_at: dt.datetime = field(init=False)
    status: Status = "queued"
    result: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.id = row_id(self.row)
        self.updated_at = self.created_at

    def to_json(self) -> dict[str, Any]:
        """As ``GET /settle/{job}`` answers."""
        return {
            "jobId": self.id,
            "queue": "batch",
            "status": self.status,
            "createdAt": time_encode(self.created_at),
            "updatedAt": time_encode(self.updated_at),
            "result": self.result,
            "error": None,
        }


@dataclass(slots=True, eq=False)
class Flight:
    """One nonce of the account and the transactions that were made for it; at most one of them can ever be mined."""

    network: str
    nonce: int
    purpose: Purpose
    jobs: list[Job]
    versions: list[bytes]
    """Raw transactions, oldest first; the newest is the one that is sent."""
    first_sent: float = 0.0
    """Monotonic seconds of the newest version's first sending; 0 when this process has not sent it."""
    last_sent: float = 0.0
    block: int | None = None
    """The block it is in, for now."""
    missing_since: float | None = None
    """Since when the nonce is used and no version of it is in a block."""
    landed: asyncio.Future[bytes] | None = None
    """For whoever waits: the hash of the version that is in a block."""
    data: list[DataJob] = field(default_factory=list)
    """Rows whose batch it settles."""
    void: set[bytes] = field(default_factory=set)
    """Hashes of versions that do nothing but use the nonce up."""

    @property
    def hashes(self) -> list[bytes]:
        """Hashes of all versions."""
        return [evm.keccak256(raw) for raw in self.versions]


def data_record(job: DataJob) -> bytes:
    """A ``DATA`` record."""
    row = job.row
    return canonical.encode(
        {
            "tee_id": row.tee_id.hex(),
            "request_hash": row.request_hash.hex(),
            "output_hash": row.output_hash.hex(),
            "signature": row.signature.hex(),
            "timestamp": str(row.timestamp),
            "at": time_encode(job.created_at),
        }
    )


def parse_data(payload: bytes) -> DataJob:
    """A row's job from its record. Raises ``facilitator.state``."""
    try:
        value = canonical.decode_object(payload)
        row = Row(
            hex_decode(value["tee_id"], 32),
            hex_decode(value["request_hash"], 32),
            hex_decode(value["output_hash"], 32),
            hex_decode(value["signature"]),
            int(value["timestamp"]),
        )
        return DataJob(row, time_decode(value["at"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged("row") from error


@dataclass(frozen=True, slots=True)
class Settled:
    """A batch that counts."""

    rows: tuple[DataJob, ...]
    root: bytes
    blob_id: str
    transaction: str
    at: dt.datetime

    def record(self) -> bytes:
        """A ``SETTLED`` record."""
        return canonical.encode(
            {
                "jobs": [job.id for job in self.rows],
                "root": self.root.hex(),
                "blob": self.blob_id,
                "transaction": self.transaction,
                "at": time_encode(self.at),
            }
        )

    def apply(self) -> None:
        """Let its rows be settled."""
        for job in self.rows:
            job.status, job.updated_at = "succeeded", self.at
            job.result = {
                "merkleRoot": "0x" + self.root.hex(),
                "batchSize": len(self.rows),
                "walrusBlobId": self.blob_id,
                "transactionHash": self.transaction,
            }


def parse_settled(payload: bytes, jobs: Mapping[str, DataJob]) -> Settled:
    """Raises ``facilitator.state``."""
    try:
        value = canonical.decode_object(payload)
        rows = tuple(jobs[name] for name in value["jobs"])
        return Settled(
            rows, hex_decode(value["root"], 32), value["blob"], value["transaction"], time_decode(value["at"])
        )
    except (KeyError, TypeError) as error:
        raise _damaged("batch") from error


def job_record(job: Job, account: str) -> bytes:
    """A ``JOB`` record; ``account`` is the facilitator that the payment was verified for."""
    return canonical.encode_exact(
        {
            "payload": job.payment.payload.to_json(),
            "requirements": job.payment.requirements.to_json(),
            "account": account,
            "at": time_encode(job.created_at),
        }
    )


def parse_job(raw: bytes) -> Job:
    """A job from its record: verified again, at the time it was. Raises ``facilitator.state``."""
    try:
        value = canonical.decode_object(raw)
        at = time_decode(value["at"])
        payment = verify_payment(
            parse_payload(value["payload"]),
            parse_requirements(value["requirements"]),
            at=int(at.timestamp()),
            facilitator=value["account"],
            settling=True,
        )
    except (KeyError, TypeError, HoldfastError) as error:
        raise _damaged("job") from error
    return Job(payment, at)


def sent_record(flight: Flight, purpose: Purpose) -> bytes:
    """A ``SENT`` record of a flight's newest version, which is for ``purpose``."""
    return canonical.encode_exact(
        {
            "network": flight.network,
            "nonce": flight.nonce,
            "purpose": purpose,
            "jobs": [*(job.id for job in flight.jobs), *(row.id for row in flight.data)],
            "raw": flight.versions[-1].hex(),
        }
    )


@dataclass(frozen=True, slots=True)
class Sent:
    """A ``SENT`` record."""

    network: str
    nonce: int
    purpose: Purpose
    jobs: tuple[str, ...]
    raw: bytes


def parse_sent(payload: bytes) -> Sent:
    """Raises ``facilitator.state``."""
    try:
        value = canonical.decode_object(payload)
        raw = hex_decode(value["raw"])
        if parse_transaction(raw).nonce != value["nonce"]:
            raise _damaged("transaction")
        return Sent(value["network"], value["nonce"], value["purpose"], tuple(value["jobs"]), raw)
    except (KeyError, TypeError) as error:
        raise _damaged("transaction") from error


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ends, before it is durable and so before anybody is told."""

    job: Job
    status: Literal["succeeded", "failed"]
    transaction: str
    reason: str | None
    at: dt.datetime

    def record(self) -> bytes:
        """A ``DONE`` record."""
        return canonical.encode_exact(
            {
                "job": self.job.id,
                "status": self.status,
                "transaction": self.transaction,
                "reason": self.reason,
                "at": time_encode(self.at),
            }
        )

    def apply(self) -> None:
        """Let the job be what it came to."""
        job = self.job
        job.status, job.transaction, job.reason, job.updated_at = self.status, self.transaction, self.reason, self.at
        job.ended.set()


def parse_ending(payload: bytes, jobs: Mapping[str, Job]) -> Ending:
    """A ``DONE`` record of one of ``jobs``. Raises ``facilitator.state``."""
    try:
        value = canonical.decode_object(payload)
        job, status = jobs[value["job"]], value["status"]
        if status not in ("succeeded", "failed"):
            raise _damaged("ending")
        return Ending(job, status, value["transaction"], value["reason"], time_decode(value["at"]))
    except (KeyError, TypeError) as error:
        raise _damaged("ending") from error


def closed_record(flight: Flight) -> bytes:
    """A ``CLOSED`` record."""
    return canonical.encode_exact({"network": flight.network, "nonce": flight.nonce})


def parse_closed(payload: bytes) -> tuple[str, int]:
    """Network and nonce of a ``CLOSED`` record. Raises ``facilitator.state``."""
    try:
        value = canonical.decode_object(payload)
        return value["network"], value["nonce"]
    except KeyError as error:
        raise _damaged("nonce") from error


def _damaged(what: str) -> MalformedError:
    return MalformedError("facilitator.state", f"a {what} in the write-ahead log is not one", hint="restore a copy")
