"""Every store of a till keeps the promises of its port, on SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from holdfast.adapters.till_store_sql import SQLTillStore
from holdfast.errors import ConflictError, HoldfastError, UsageError
from holdfast.ports.till_store import Account, Debt, Hold, NewAuthorization, NewCharge, NewHold, Step, TillStore

PAYER, OTHER, PAYEE, ASSET = ("0x" + digit * 40 for digit in "1234")
NETWORK = "eip155:31337"
LARGE = 2**255
"""No database's integer holds it."""


@pytest.fixture(params=["sqlite-memory", "sqlite-file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    urls = {"sqlite-memory": "sqlite://", "sqlite-file": f"sqlite:///{tmp_path / 'till.sqlite'}"}
    if request.param in urls:
        return urls[request.param]
    found: str = request.getfixturevalue("postgresql_url")
    engine = sa.create_engine(found)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return found


@pytest.fixture
def store(url: str) -> Iterator[TillStore]:
    """A store whose books add up when the test ends."""
    found = SQLTillStore(url)
    yield found
    assert found.faults() == []
    found.close()


def at(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}.000Z"


def run_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def step(run: int, event: str = "charged") -> Step:
    return Step(run_id(run), event, b"document", b"salt", f"{run:064x}", b"envelope", b"entry", None)


def signed(number: int = 1, cap: int = 1000, **changes: object) -> NewAuthorization:
    made = NewAuthorization(
        f"{number:064x}", PAYER, PAYEE, NETWORK, ASSET, "upto", "on_proof", cap, at(600), b"{}", b"{}", f"s{number}"
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def on_account(run: int, cap: int = 100, name: str = "acme") -> NewHold:
    return NewHold(run_id(run), cap, at(run), b"terms", account=name)


def on_payment(run: int, cap: int = 100, number: int = 1, accept: NewAuthorization | None = None) -> NewHold:
    return NewHold(run_id(run), cap, at(run), b"terms", identity=f"{number:064x}", accept=accept)


def refusal(answers: list[Hold | HoldfastError] | list[bool | HoldfastError]) -> str:
    """The code of the one answer, which is a refusal."""
    (answer,) = answers
    assert isinstance(answer, HoldfastError)
    return answer.code


def taken(store: TillStore, *orders: NewHold) -> list[Hold]:
    answers = store.hold(orders)
    assert all(isinstance(answer, Hold) for answer in answers), answers
    return [answer for answer in answers if isinstance(answer, Hold)]


def charged(store: TillStore, run: int, amount: int, second: int = 50) -> None:
    assert store.charge([NewCharge(run_id(run), amount, at(second), (step(run),))]) == [True]


def closed(store: TillStore, *charges: int, new: NewAuthorization | None = None) -> str:
    """An authorization that serves no more, with runs 1, 2, … that cost so much."""
    new = new or signed()
    for run, amount in enumerate(charges, 1):
        taken(store, on_payment(run, max(amount, 100), accept=new if run == 1 else None))
        charged(store, run, amount)
    assert store.close_authorization(new.identity) == (new.scheme != "exact")
    return new.identity


# --- refusals -------------------------------------------------------------------------------------------------------


def test_credit_that_is_not_there_is_not_held(store: TillStore) -> None:
    assert refusal(store.hold([on_account(1)])) == "payment.credit"
    store.grant("acme", 150, "first", at(0))
    taken(store, on_account(1))
    assert refusal(store.hold([on_account(2)])) == "payment.credit"
    assert store.hold_of(run_id(2)) is None
    assert store.account("acme") == Account("acme", 150, 0, 100)


def test_a_run_has_one_hold(store: TillStore) -> None:
    store.grant("acme", 1000, "first", at(0))
    taken(store, on_account(1))
    assert refusal(store.hold([on_account(1)])) == "till.run"
    assert refusal(store.hold([on_payment(1, accept=signed())])) == "till.run"
    assert store.authorization(signed().identity) is None


def test_a_hold_is_on_exactly_one_source(store: TillStore) -> None:
    neither = NewHold(run_id(1), 1, at(0), b"")
    both = NewHold(run_id(1), 1, at(0), b"", account="acme", identity="1" * 64)
    assert refusal(store.hold([neither])) == refusal(store.hold([both])) == "till.hold"


def test_an_authorization_is_accepted_once(store: TillStore) -> None:
    taken(store, on_payment(1, accept=signed()))
    again = signed(session="another", cap=5000)
    assert refusal(store.hold([on_payment(2, accept=again)])) == "payment.replayed"
    other = signed(2)
    assert refusal(store.hold([on_payment(2, number=3, accept=other)])) == "payment.replayed"
    found = store.authorization(signed().identity)
    assert found is not None
    assert (found.new, found.held) == (signed(), 100)


def test_an_authorization_is_accepted_once_also_within_one_transaction(store: TillStore) -> None:
    first, second = store.hold([on_payment(1, accept=signed()), on_payment(2, accept=signed(session="other"))])
    assert isinstance(first, Hold)
    assert isinstance(second, HoldfastError)
    assert second.code == "payment.replayed"


def test_no_more_is_held_than_was_signed_for(store: TillStore) -> None:
    assert refusal(store.hold([on_payment(1, 1001, accept=signed())])) == "payment.exhausted"
    assert store.authorization(signed().identity) is None
    taken(store, on_payment(1, 700, accept=signed()))
    assert refusal(store.hold([on_payment(2, 301)])) == "payment.exhausted"
    charged(store, 1, 100)
    assert refusal(store.hold([on_payment(2, 901)])) == "payment.exhausted"
    taken(store, on_payment(2, 900))


def test_an_authorization_that_nobody_accepted_pays_for_nothing(store: TillStore) -> None:
    assert refusal(store.hold([on_payment(1)])) == "payment.unknown"


def test_an_authorization_that_serves_no_more_pays_for_nothing(store: TillStore) -> None:
    closed(store, 50)
    assert refusal(store.hold([on_payment(2)])) == "payment.closed"
    assert not store.close_authorization(signed().identity)
    assert not store.close_authorization("f" * 64)


def test_an_exact_payment_is_for_one_run(store: TillStore) -> None:
    taken(store, on_payment(1, 100, accept=signed(cap=100, scheme="exact")))
    charged(store, 1, 30)
    assert refusal(store.hold([on_payment(2, 10)])) == "payment.closed"


def test_a_payer_is_exposed_up_to_a_limit_over_all_authorizations(store: TillStore) -> None:
    def order(run: int, cap: int, accept: NewAuthorization) -> NewHold:
        made = NewHold(run_id(run), cap, at(run), b"", identity=accept.identity, accept=accept)
        return dataclasses.replace(made, exposure=150)

    taken(store, order(1, 100, signed(1)))
    assert refusal(store.hold([order(2, 51, signed(2))])) == "payment.exposure"
    taken(store, order(2, 50, signed(2)))
    taken(store, order(3, 150, signed(3, payer=OTHER)), order(4, 150, signed(4, asset=PAYEE)))
    charged(store, 1, 40)
    assert store.exposure(PAYER, NETWORK, ASSET) == 90
    assert refusal(store.hold([order(5, 61, signed(5))])) == "payment.exposure"


def test_a_charge_above_its_hold_is_refused(store: TillStore) -> None:
    taken(store, on_payment(1, accept=signed()))
    assert refusal(store.charge([NewCharge(run_id(1), 101, at(9), (step(1),))])) == "till.cap"
    assert refusal(store.charge([NewCharge(run_id(1), -1, at(9))])) == "till.cap"
    assert refusal(store.charge([NewCharge(run_id(2), 0, at(9))])) == "till.run"
    assert store.steps_of(run_id(1)) == []
    assert store.held() == store.holds_of(signed().identity)


def test_a_run_is_charged_or_released_once(store: TillStore) -> None:
    taken(store, on_payment(1, accept=signed()), on_payment(2))
    charged(store, 1, 30)
    assert store.charge([NewCharge(run_id(1), 30, at(9), (step(1),))]) == [False]
    assert not store.release(run_id(1), at(9), [step(1)])
    assert store.release(run_id(2), at(9))
    assert store.charge([NewCharge(run_id(2), 1, at(9), (step(2),))]) == [False]
    assert len(store.steps_of(run_id(1))) == 1
    assert store.steps_of(run_id(2)) == []


def test_a_capture_is_decided_only_when_nothing_is_served_or_held(store: TillStore) -> None:
    taken(store, on_payment(1, accept=signed()), on_payment(2))
    charged(store, 1, 30)
    store_refuses_capture(store)
    store.close_authorization(signed().identity)
    store_refuses_capture(store)
    with pytest.raises(ConflictError, match="no such authorization"):
        store.begin_capture("f" * 64, 30, [run_id(1)], "job", at(60))
    store.release(run_id(2), at(9))
    store.begin_capture(signed().identity, 30, [run_id(1)], "job", at(60))


def store_refuses_capture(store: TillStore) -> None:
    with pytest.raises(ConflictError) as refused:
        store.begin_capture(signed().identity, 30, [run_id(1)], "job", at(60), [step(1, "lapsed")])
    assert refused.value.code == "till.capture"
    with pytest.raises(ConflictError) as refused:
        store.lapse(signed().identity, "payment.idle", at(60), [step(1, "lapsed")])
    assert refused.value.code == "till.capture"
    assert [item.step.event for item in store.steps_of(run_id(1))] in ([], ["charged"])


def test_a_capture_is_decided_once(store: TillStore) -> None:
    identity = closed(store, 30)
    store.begin_capture(identity, 30, [run_id(1)], "job", at(60))
    store_refuses_capture(store)
    assert store.end_capture(identity, at(61), transaction="0xaa")
    store_refuses_capture(store)
    assert not store.end_capture(identity, at(62), transaction="0xbb")
    assert not store.end_capture(identity, at(62), reason="payment.balance")
    found = store.authorization(identity)
    assert found is not None
    assert (found.stands, found.transaction, found.reason) == ("captured", "0xaa", None)


@pytest.mark.parametrize(
    ("amount", "runs", "code"),
    [
        (31, [1], "till.cap"),
        (29, [1], "till.cap"),
        (30, [1, 2], "till.cap"),
        (0, [], "till.capture"),
        (30, [1, 9], "till.capture"),
        (30, [1, 1], "till.capture"),
    ],
)
def test_a_capture_takes_the_sum_of_its_charges(store: TillStore, amount: int, runs: list[int], code: str) -> None:
    identity = closed(store, 30, 40)
    with pytest.raises(ConflictError) as refused:
        store.begin_capture(identity, amount, [run_id(run) for run in runs], "job", at(60))
    assert refused.value.code == code


def test_an_exact_payment_is_captured_whole_or_not(store: TillStore) -> None:
    identity = closed(store, 30, new=signed(cap=100, scheme="exact"))
    with pytest.raises(ConflictError) as refused:
        store.begin_capture(identity, 30, [run_id(1)], "job", at(60))
    assert refused.value.code == "till.cap"
    store.begin_capture(identity, 100, [run_id(1)], "job", at(60))
    store.end_capture(identity, at(61), transaction="0xaa")
    assert store.owe(run_id(1), 100, "refuted:response", at(70))


def test_a_capture_ends_in_one_way_and_only_one_that_began(store: TillStore) -> None:
    identity = closed(store, 30)
    with pytest.raises(ConflictError) as refused:
        store.end_capture(identity, at(61), transaction="0xaa")
    assert refused.value.code == "till.capture"
    with pytest.raises(UsageError):
        store.end_capture(identity, at(61))
    with pytest.raises(UsageError):
        store.end_capture(identity, at(61), transaction="0xaa", reason="payment.balance")


def test_no_more_is_owed_back_than_was_taken(store: TillStore) -> None:
    identity = closed(store, 30)
    for run in (1, 9):
        with pytest.raises(ConflictError) as refused:
            store.owe(run_id(run), 30, "refuted:response", at(70))
        assert refused.value.code == "till.run"
    store.begin_capture(identity, 30, [run_id(1)], "job", at(60))
    store.end_capture(identity, at(61), transaction="0xaa")
    for amount in (0, 31):
        with pytest.raises(ConflictError) as refused:
            store.owe(run_id(1), amount, "refuted:response", at(70))
        assert refused.value.code == "till.cap"
    with pytest.raises(ConflictError) as refused:
        store.repay(run_id(1), "0xbb", at(71))
    assert refused.value.code == "till.run"


def test_a_refused_order_leaves_nothing_and_the_others_stand(store: TillStore) -> None:
    store.grant("acme", 150, "first", at(0))
    good, bad, other = store.hold(
        [
            dataclasses.replace(on_account(1), steps=(step(1, "authorised"),)),
            dataclasses.replace(on_account(2), steps=(step(2, "authorised"),)),
            on_account(3, 50),
        ]
    )
    assert isinstance(good, Hold)
    assert isinstance(bad, HoldfastError)
    assert isinstance(other, Hold)
    assert [item.step.run for item in store.steps_after(0, 9)] == [run_id(1)]
    assert store.account("acme") == Account("acme", 150, 0, 150)


def test_nobody_is_granted_nothing_or_less(store: TillStore) -> None:
    for amount in (0, -1):
        with pytest.raises(UsageError):
            store.grant("acme", amount, "first", at(0))


def test_a_history_is_of_one(store: TillStore) -> None:
    with pytest.raises(UsageError):
        store.history()
    with pytest.raises(UsageError):
        store.history(account="acme", payer=PAYER)


# --- what is there --------------------------------------------------------------------------------------------------


def test_an_empty_store_knows_nothing(store: TillStore) -> None:
    assert store.account("acme") == Account("acme")
    assert not any([store.accounts(), store.held(), store.debts(), store.uncollected(), store.steps_after(0, 9)])
    assert store.hold_of(run_id(1)) is None
    assert store.authorization("1" * 64) is None
    assert store.by_session("s") is None
    assert store.cursor("log") == store.exposure(PAYER, NETWORK, ASSET) == 0


def test_credit_is_granted_once_for_each_reference(store: TillStore) -> None:
    assert store.grant("acme", 100, "free:acme", at(0))
    assert not store.grant("acme", 100, "free:acme", at(1))
    assert not store.grant("other", 100, "free:acme", at(1))
    assert store.grant("acme", LARGE, "invoice 7", at(2))
    assert store.accounts() == [Account("acme", 100 + LARGE)]


def test_a_hold_of_credit_becomes_what_the_run_costs(store: TillStore) -> None:
    store.grant("acme", 1000, "first", at(0))
    taken(store, on_account(1), on_account(2), on_account(3))
    charged(store, 1, 40)
    store.release(run_id(2), at(51), [step(2, "lapsed")])
    assert store.account("acme") == Account("acme", 1000, 40, 100)
    assert store.hold_of(run_id(1)) == Hold(run_id(1), 100, at(1), b"terms", "acme", None, "charged", 40, at(50))
    assert [hold.run for hold in store.held()] == [run_id(3)]
    assert [(hold.run, hold.stands) for hold in store.history(account="acme", limit=2)] == [
        (run_id(3), "held"),
        (run_id(2), "released"),
    ]


def test_amounts_have_256_bits(store: TillStore) -> None:
    taken(store, on_payment(1, LARGE, accept=signed(cap=LARGE + 5)))
    charged(store, 1, LARGE - 3)
    found = store.authorization(signed().identity)
    assert found is not None
    assert (found.charged, found.left) == (LARGE - 3, 8)
    assert store.exposure(PAYER, NETWORK, ASSET) == LARGE - 3


def test_a_session_finds_its_authorization(store: TillStore) -> None:
    taken(store, on_payment(1, accept=signed()), on_payment(2, number=2, accept=signed(2, session=None)))
    taken(store, on_payment(3, number=3, accept=signed(3, session=None)))
    found = store.by_session("s1")
    assert found is not None
    assert (found.new, found.at, found.last_at, found.stands, found.left) == (signed(), at(1), at(1), "open", 900)
    taken(store, on_payment(9))
    again = store.by_session("s1")
    assert again is not None
    assert (again.at, again.last_at, again.left) == (at(1), at(9), 800)


def test_uncollected_authorizations_come_by_their_deadline(store: TillStore) -> None:
    for number, deadline in ((1, 300), (2, 100), (3, 100), (4, 200)):
        taken(store, on_payment(number, number=number, accept=signed(number, deadline=at(deadline))))
    assert store.close_authorization(signed(4).identity)
    first = store.uncollected(limit=2)
    assert [item.new.identity for item in first] == [signed(2).identity, signed(3).identity]
    last = first[-1].new
    rest = store.uncollected(after=f"{last.deadline} {last.identity}")
    assert [item.new.identity for item in rest] == [signed(4).identity, signed(1).identity]
    assert [item.new.identity for item in store.uncollected(["closed"])] == [signed(4).identity]


def test_what_is_captured_is_not_owed_any_more_and_the_rest_lapses(store: TillStore) -> None:
    identity = closed(store, 30, 40, 5)
    store.begin_capture(identity, 35, [run_id(1), run_id(3)], "job-1", at(60), [step(2, "lapsed")])
    found = store.authorization(identity)
    assert found is not None
    assert (found.stands, found.capture, found.job) == ("capturing", 35, "job-1")
    assert store.exposure(PAYER, NETWORK, ASSET) == 35
    assert store.end_capture(identity, at(61), transaction="0xaa", steps=[step(1, "captured"), step(3, "captured")])
    assert [hold.stands for hold in store.holds_of(identity)] == ["captured", "lapsed", "captured"]
    assert store.exposure(PAYER, NETWORK, ASSET) == 0
    assert store.uncollected() == []
    assert [item.step.event for item in store.steps_after(3, 9)] == ["lapsed", "captured", "captured"]


def test_what_a_capture_failed_to_take_stays_in_the_payers_exposure(store: TillStore) -> None:
    identity = closed(store, 30, 40)
    store.begin_capture(identity, 70, [run_id(1), run_id(2)], "job", at(60))
    assert store.end_capture(identity, at(61), reason="payment.balance")
    found = store.authorization(identity)
    assert found is not None
    assert (found.stands, found.reason) == ("failed", "payment.balance")
    assert store.exposure(PAYER, NETWORK, ASSET) == 70
    assert [hold.run for hold in store.history(payer=PAYER)] == [run_id(2), run_id(1)]


def test_what_lapses_is_never_taken(store: TillStore) -> None:
    identity = closed(store, 30)
    store.lapse(identity, "payment.unproven", at(60), [step(1, "lapsed")])
    assert [hold.stands for hold in store.holds_of(identity)] == ["lapsed"]
    assert store.exposure(PAYER, NETWORK, ASSET) == 0
    with pytest.raises(ConflictError):
        store.begin_capture(identity, 30, [run_id(1)], "job", at(61))


def test_what_was_taken_and_refuted_later_is_owed_and_paid_back(store: TillStore) -> None:
    identity = closed(store, 30)
    store.begin_capture(identity, 30, [run_id(1)], "job", at(60))
    store.end_capture(identity, at(61), transaction="0xaa")
    assert store.owe(run_id(1), 30, "refuted:response", at(70), [step(1, "refund_due")])
    assert not store.owe(run_id(1), 30, "refuted:response", at(71), [step(1, "refund_due")])
    assert store.debts() == [Debt(run_id(1), 30, "refuted:response", at(70))]
    assert store.repay(run_id(1), "0xbb", at(80), [step(1, "refunded")])
    assert not store.repay(run_id(1), "0xcc", at(81), [step(1, "refunded")])
    assert store.debts() == []
    assert store.debts(unpaid=False) == [Debt(run_id(1), 30, "refuted:response", at(70), "0xbb", at(80))]
    assert [item.step.event for item in store.steps_of(run_id(1))] == ["charged", "refund_due", "refunded"]


def test_credit_is_given_back(store: TillStore) -> None:
    store.grant("acme", 1000, "first", at(0))
    taken(store, on_account(1))
    with pytest.raises(ConflictError):
        store.owe(run_id(1), 40, "refuted:response", at(40))
    charged(store, 1, 40)
    assert store.owe(run_id(1), 40, "refuted:response", at(70))
    assert store.account("acme").left == 960
    assert store.repay(run_id(1), "account", at(71))
    assert store.account("acme").left == 1000


def test_steps_keep_their_order_and_the_log_names_their_places(store: TillStore) -> None:
    store.add_steps([])
    store.add_steps([step(1, "offered"), step(2, "offered")])
    store.add_steps([step(1, "authorised")])
    found = store.steps_after(0, 9)
    assert [(item.step.run, item.step.event) for item in found] == [
        (run_id(1), "offered"),
        (run_id(2), "offered"),
        (run_id(1), "authorised"),
    ]
    assert found[0].step == step(1, "offered")
    assert [item.position for item in found] == sorted({item.position for item in found})
    assert [item.position for item in store.steps_after(found[0].position, 1)] == [found[1].position]
    store.logged({found[0].position: 7, found[2].position: 8}, "log", found[2].position)
    store.logged({}, "log", found[2].position + 1)
    assert [item.log_index for item in store.steps_after(0, 9)] == [7, None, 8]
    assert store.cursor("log") == found[2].position + 1
    assert store.cursor("other") == 0


def test_what_was_committed_is_there_after_a_restart(url: str) -> None:
    if url == "sqlite://":
        pytest.skip("memory ends with its process")
    first = SQLTillStore(url)
    first.grant("acme", 1000, "first", at(0))
    taken(first, on_account(1), on_payment(2, accept=signed()))
    first.close()
    again = SQLTillStore(url)
    assert [hold.run for hold in again.held()] == [run_id(1), run_id(2)]
    assert again.by_session("s1") is not None
    assert not again.grant("acme", 1000, "first", at(9))
    assert again.faults() == []
    again.close()


def test_two_gateways_never_hold_the_same_money(url: str) -> None:
    """Both ask for all that is there at once, again and again; of each pair one gets it."""
    if url == "sqlite://":
        pytest.skip("memory belongs to one process")
    stores = [SQLTillStore(url), SQLTillStore(url)]
    stores[0].grant("acme", 1000, "first", at(0))
    answers: list[Hold | HoldfastError] = []

    def live(which: int) -> None:
        for number in range(20):
            answers.extend(stores[which].hold([on_account(100 * which + number, 100)]))

    threads = [threading.Thread(target=live, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(answer, Hold) for answer in answers) == 10
    assert stores[0].account("acme") == Account("acme", 1000, 0, 1000)
    assert stores[1].faults() == []
    for store in stores:
        store.close()


def test_books_that_were_changed_by_hand_are_found_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'till.sqlite'}"
    store = SQLTillStore(url)
    store.grant("acme", 1000, "first", at(0))
    taken(store, on_account(1), on_payment(2, accept=signed()))
    changes = {
        "UPDATE till_accounts SET spent = '7'": "account acme",
        "UPDATE till_authorizations SET charged = '7'": "authorization",
        "UPDATE till_payers SET exposed = '7'": "payer",
        "DELETE FROM till_grants": "account acme",
    }
    engine = sa.create_engine(url)
    for change, said in changes.items():
        with engine.begin() as connection:
            connection.execute(sa.text(change))
        assert any(said in fault for fault in store.faults()), change
    engine.dispose()
    store.close()


def test_books_add_up_after_a_random_life(store: TillStore) -> None:
    """Any order of calls, most of them refused: nothing is lost and nothing is taken twice."""
    chance = random.Random("till")
    store.grant("acme", 5000, "first", at(0))
    for number in range(1, 301):
        identity = f"{chance.randint(1, 12):064x}"
        accept = signed(int(identity, 16), cap=chance.choice([100, 500])) if chance.random() < 0.4 else None
        order = NewHold(run_id(number), chance.randint(0, 120), at(number % 60), b"", identity=identity, accept=accept)
        if chance.random() < 0.4:
            order = on_account(number, chance.randint(0, 120))
        store.hold([order])
        for hold in chance.sample(held := store.held(), min(2, len(held))):
            if chance.random() < 0.2:
                store.release(hold.run, at(9))
            else:
                store.charge([NewCharge(hold.run, chance.randint(0, hold.cap), at(9))])
        for found in chance.sample(listed := store.uncollected(), min(1, len(listed))):
            _collect(store, found.new.identity, chance)
    assert store.faults() == []
    stands = {item.stands for number in range(1, 13) if (item := store.authorization(f"{number:064x}"))}
    assert {"captured", "failed", "lapsed"} & stands


def _collect(store: TillStore, identity: str, chance: random.Random) -> None:
    if chance.random() < 0.1:
        store.close_authorization(identity)
    holds = [hold for hold in store.holds_of(identity) if hold.stands == "charged" and chance.random() < 0.8]
    try:
        if chance.random() < 0.2:
            store.lapse(identity, "payment.idle", at(9))
        store.begin_capture(identity, sum(hold.amount or 0 for hold in holds), [hold.run for hold in holds], "j", at(9))
        if chance.random() < 0.7:
            store.end_capture(identity, at(9), transaction="0xaa")
        else:
            store.end_capture(identity, at(9), reason="payment.balance")
    except ConflictError:
        return
