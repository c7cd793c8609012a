"""What the facilitator has promised and done, in memory and in its write-ahead log (``spec/payments.md`` §7(3)).

One log for all networks. Reading it again gives the same jobs, and every nonce whose transaction does not count yet.
An event loop owns it; a failed disk stops it for good (``wal.stopped``), so nothing is promised that is not kept.
Not covered: forgetting. Jobs stay, so that no authorization is taken twice, and a start reads all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.core import evm
from holdfast.errors import MalformedError
from holdfast.nodes.facilitator import jobs
from holdfast.nodes.facilitator.jobs import (
    CLOSED,
    DATA,
    DONE,
    JOB,
    SENT,
    SETTLED,
    DataJob,
    Ending,
    Flight,
    Job,
    Purpose,
    Settled,
    closed_record,
    data_record,
    job_record,
    parse_closed,
    parse_data,
    parse_ending,
    parse_job,
    parse_sent,
    parse_settled,
    sent_record,
)
from holdfast.ports.storage import Committer, RecordLog


class Ledger:
    """Jobs by identity and id, flights by network and nonce."""

    def __init__(self, records: RecordLog, committer: Committer) -> None:
        """Reads everything; raises ``facilitator.state`` or ``wal.corrupt``."""
        self._records = records
        self._committer = committer
        self.jobs: dict[bytes, Job] = {}
        """By identity. A job that is here may not be durable yet (:attr:`Job.kept`)."""
        self.by_id: dict[str, Job] = {}
        self.data: dict[str, DataJob] = {}
        """Rows for batches, by id. One that is here may not be durable yet."""
        self.flights: dict[str, dict[int, Flight]] = {}
        """Nonces that need looking after."""
        self.next_nonce: dict[str, int] = {}
        """By network, one more than the highest nonce that was ever used here."""
        self._recover()

    def _recover(self) -> None:
        for record in self._records.records(self._records.begin):
            match record.kind:
                case jobs.JOB:
                    self.remember(parse_job(record.payload))
                case jobs.SENT:
                    self._recover_sent(record.payload)
                case jobs.DONE:
                    parse_ending(record.payload, self.by_id).apply()
                case jobs.CLOSED:
                    network, nonce = parse_closed(record.payload)
                    flight = self.flights.get(network, {}).pop(nonce, None)
                    for row in flight.data if flight else ():
                        row.status = "queued" if row.result is None else "succeeded"
                    for job in flight.jobs if flight else ():
                        job.earlier += flight.hashes if flight else []
                        job.alone = True
                        if not job.ended.is_set():
                            job.status, job.transaction = "queued", ""
                case jobs.DATA:
                    data = parse_data(record.payload)
                    self.data[data.id] = data
                case jobs.SETTLED:
                    parse_settled(record.payload, self.data).apply()
                case kind:
                    raise MalformedError("facilitator.state", f"unknown record of kind {kind} in the write-ahead log")

    def _recover_sent(self, payload: bytes) -> None:
        sent = parse_sent(payload)
        here = self.flights.setdefault(sent.network, {})
        flight = here.get(sent.nonce)
        if flight is None:
            inside = [self.by_id[name] for name in sent.jobs if name in self.by_id]
            flight = here[sent.nonce] = Flight(sent.network, sent.nonce, sent.purpose, inside, [])
            flight.data = [self.data[name] for name in sent.jobs if name in self.data]
            for row in flight.data:
                row.status = "processing" if row.result is None else "succeeded"
            for job in inside:
                job.attempts += 1
                if not job.ended.is_set():
                    job.status = "processing"
        flight.versions.append(sent.raw)
        if sent.purpose == "void":
            flight.void.add(evm.keccak256(sent.raw))
        self.next_nonce[sent.network] = max(self.next_nonce.get(sent.network, 0), sent.nonce + 1)

    def remember(self, job: Job) -> None:
        """Know a job from here on; :meth:`add` makes it durable."""
        self.jobs[job.payment.identity] = job
        self.by_id[job.id] = job

    def open_jobs(self, network: str) -> list[Job]:
        """Jobs of a network that are in no transaction and did not end, oldest first."""
        flying = {job.id for flight in self.flights.get(network, {}).values() for job in flight.jobs}
        mine = [job for job in self.jobs.values() if job.payment.requirements.network == network]
        return [job for job in mine if not job.ended.is_set() and job.id not in flying]

    async def add(self, job: Job, account: str, ending: Ending | None = None) -> None:
        """Take a job on, with its end when it has one at once. It is durable when this returns."""
        records = [(JOB, job_record(job, account))]
        if ending is not None:
            records.append((DONE, ending.record()))
        await self._committer.commit_many(records)
        if ending is not None:
            ending.apply()

    async def add_data(self, job: DataJob) -> None:
        """Take a row on; durable when this returns."""
        await self._committer.commit(DATA, data_record(job))

    async def durable(self) -> None:
        """Wait until everything that was taken on before is durable."""
        await self._committer.commit_many(())

    def open_data(self) -> list[DataJob]:
        """Rows that are in no batch, oldest first."""
        return [job for job in self.data.values() if job.status == "queued"]

    async def settle(self, settled: Settled, flight: Flight) -> None:
        """Keep that a batch counts, and that its nonce needs no more looking after."""
        await self._committer.commit_many([(SETTLED, settled.record()), (CLOSED, closed_record(flight))])
        settled.apply()
        self.flights[flight.network].pop(flight.nonce, None)

    async def sent(self, flight: Flight, purpose: Purpose) -> None:
        """Keep a flight's newest version. Only what was kept may be sent."""
        await self._committer.commit(SENT, sent_record(flight, purpose))
        self.flights.setdefault(flight.network, {})[flight.nonce] = flight
        self.next_nonce[flight.network] = max(self.next_nonce.get(flight.network, 0), flight.nonce + 1)

    async def end(self, endings: Sequence[Ending], flight: Flight | None = None) -> None:
        """Keep how jobs end, and that a nonce needs no more looking after; then let the jobs be so."""
        records = [(DONE, ending.record()) for ending in endings]
        if flight is not None:
            records.append((CLOSED, closed_record(flight)))
        await self._committer.commit_many(records)
        for ending in endings:
            ending.apply()
        if flight is not None:
            self.flights[flight.network].pop(flight.nonce, None)

    def versions_of(self, network: str, nonce: int) -> list[bytes]:
        """Every transaction that was ever made for a nonce; reads the whole log, for a reorganisation that goes
        deeper than what counted."""
        found = []
        for record in self._records.records(self._records.begin):
            if record.kind == SENT:
                sent = parse_sent(record.payload)
                if (sent.network, sent.nonce) == (network, nonce):
                    found.append(sent.raw)
        return found
