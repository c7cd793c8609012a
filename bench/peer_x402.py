"""x402's own facilitator classes on the same chain, run by ``facilitator.py`` with the interpreter that has them.

``peer_x402.py RPC KEY TOKEN PAYEE NAME VERSION PAYERS COUNT`` with keys as hex and payers' keys joined by commas. The
scheme class with the package's web3 signer, as its documentation sets it up; every payment is new. Prints one JSON line
of payments a second: ``verify`` and ``settle`` as it offers them (both ask the chain), one after the other, and with as
many threads as an application would give it; ``signature`` is verification with its own switch for simulation off.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from eth_account import Account  # type: ignore[import-not-found,unused-ignore]
from eth_utils import to_checksum_address  # type: ignore[import-not-found,unused-ignore]
from x402.mechanisms.evm import FacilitatorWeb3Signer  # type: ignore[import-not-found]
from x402.mechanisms.evm.exact.client import ExactEvmScheme as Client  # type: ignore[import-not-found]
from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme  # type: ignore[import-not-found]
from x402.schemas import PaymentPayload, PaymentRequirements  # type: ignore[import-not-found]

THREADS = 16


def rate(calls: Sequence[Callable[[], bool]], threads: int) -> float:
    """Calls a second; each has to succeed."""
    began = time.perf_counter()
    if threads == 1:
        results = [call() for call in calls]
    else:
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(lambda call: call(), calls))
    took = time.perf_counter() - began
    if not all(results):
        raise SystemExit(f"{results.count(False)} of {len(results)} payments failed")
    return len(calls) / took


def main() -> None:
    """Sign, then measure."""
    rpc, key, token, payee, name, version, payers, count = sys.argv[1:]
    chain_id = 31337
    asked = PaymentRequirements(
        scheme="exact",
        network=f"eip155:{chain_id}",
        asset=to_checksum_address(token),
        amount="1",
        pay_to=to_checksum_address(payee),
        max_timeout_seconds=3600,
        extra={"name": name, "version": version},
    )
    clients = [Client(Account.from_key(each)) for each in payers.split(",")]
    wanted = int(count)
    payments = [
        PaymentPayload(payload=clients[number % len(clients)].create_payment_payload(asked), accepted=asked)
        for number in range(4 * wanted)
    ]
    scheme = ExactEvmScheme(FacilitatorWeb3Signer(key, rpc))
    scheme.verify(payments[0], asked)

    def verifying(some: Sequence[PaymentPayload]) -> list[Callable[[], bool]]:
        return [lambda one=one: bool(scheme.verify(one, asked).is_valid) for one in some]  # type: ignore[misc]

    def settling(some: Sequence[PaymentPayload]) -> list[Callable[[], bool]]:
        return [lambda one=one: bool(scheme.settle(one, asked).success) for one in some]  # type: ignore[misc]

    unsimulated = [
        lambda one=one: bool(scheme._verify(one, asked, simulate=False)[0].is_valid)  # type: ignore[misc]  # noqa: SLF001
        for one in payments[:wanted]
    ]
    found = {
        "signature": rate(unsimulated, 1),
        "verify": rate(verifying(payments[:wanted]), 1),
        "verify_threads": rate(verifying(payments[wanted : 2 * wanted]), THREADS),
        "settle": rate(settling(payments[2 * wanted : 2 * wanted + wanted // 4]), 1),
        "settle_threads": rate(settling(payments[3 * wanted :]), THREADS),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
