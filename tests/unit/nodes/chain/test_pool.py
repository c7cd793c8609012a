"""The pool: nonces leave in order, futures wait, replacements pay, limits hold."""

import pytest

from holdfast.core.transactions import Transaction, UnsignedTransaction, parse_transaction
from holdfast.errors import HoldfastError
from holdfast.nodes.chain.pool import Pool
from tests.helpers.chains import signers

FIRST, SECOND = signers(2)


class State:
    """Next nonces by the state; executing is counting."""

    def __init__(self) -> None:
        self.nonces: dict[str, int] = {}

    def nonce(self, address: str) -> int:
        return self.nonces.get(address, 0)

    def run(self, pool: Pool, limit: int = 100) -> list[tuple[str, int]]:
        done = []
        for transaction in pool.executable():
            pool.remove(transaction)
            self.nonces[transaction.sender] = transaction.nonce + 1
            done.append((transaction.sender, transaction.nonce))
            if len(done) == limit:
                break
        return done


def make(nonce: int, *, fee: int = 100, signer=FIRST) -> Transaction:
    unsigned = UnsignedTransaction(1, nonce, 0, fee, 21_000, FIRST.address, 0, b"")
    return parse_transaction(unsigned.signed(signer.sign(unsigned.digest())))


def pool(state: State, total: int = 100, per_account: int = 50) -> Pool:
    return Pool(state.nonce, total=total, per_account=per_account)


def refused(waiting: Pool, transaction: Transaction) -> str:
    with pytest.raises(HoldfastError) as caught:
        waiting.add(transaction)
    return caught.value.code


def test_the_same_transaction_twice_is_known() -> None:
    waiting = pool(State())
    waiting.add(make(0))
    assert refused(waiting, make(0)) == "pool.known"


def test_a_nonce_of_the_past_is_refused() -> None:
    state = State()
    state.nonces[FIRST.address] = 3
    assert refused(pool(state), make(2)) == "pool.nonce"


def test_a_replacement_pays_a_tenth_more() -> None:
    waiting = pool(State())
    waiting.add(make(0, fee=100))
    assert refused(waiting, make(0, fee=109)) == "pool.underpriced"
    better = make(0, fee=110)
    waiting.add(better)
    assert (len(waiting), waiting.get(better.hash)) == (1, better)


def test_a_full_pool_refuses_but_still_takes_replacements() -> None:
    waiting = pool(State(), total=2)
    waiting.add(make(0))
    waiting.add(make(1))
    assert refused(waiting, make(2)) == "pool.full"
    waiting.add(make(1, fee=200))


def test_one_account_cannot_fill_the_pool() -> None:
    waiting = pool(State(), per_account=2)
    waiting.add(make(0))
    waiting.add(make(1))
    assert refused(waiting, make(2)) == "pool.full"
    waiting.add(make(0, signer=SECOND))


def test_future_nonces_wait_for_those_before_them() -> None:
    state = State()
    waiting = pool(state)
    for nonce in (2, 1, 4):
        waiting.add(make(nonce))
    assert (waiting.has_executable(), waiting.counts(), waiting.next_nonce(FIRST.address)) == (False, (0, 3), 0)
    assert state.run(waiting) == []
    waiting.add(make(0))
    assert (waiting.has_executable(), waiting.counts(), waiting.next_nonce(FIRST.address)) == (True, (3, 1), 3)
    assert [nonce for _, nonce in state.run(waiting)] == [0, 1, 2]
    assert waiting.counts() == (0, 1)


def test_accounts_take_turns_by_arrival() -> None:
    state = State()
    waiting = pool(state)
    for nonce, signer in ((0, SECOND), (0, FIRST), (1, SECOND), (1, FIRST)):
        waiting.add(make(nonce, signer=signer))
    order = state.run(waiting)
    assert order == [(SECOND.address, 0), (FIRST.address, 0), (SECOND.address, 1), (FIRST.address, 1)]
    assert len(waiting) == 0


def test_removing_what_is_gone_does_nothing() -> None:
    waiting = pool(State())
    waiting.remove(make(0))
    assert waiting.get(make(0).hash) is None
