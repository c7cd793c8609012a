"""The schedule of cases: each once, the longest waiting first, nothing that is in hand twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.nodes.panel.schedule import Schedule


def test_nothing_is_handed_out_before_its_time() -> None:
    schedule = Schedule()
    assert (schedule.take(10.0, 5), schedule.next_at()) == ([], None)
    schedule.ask(["a"], 2.0)
    assert schedule.take(1.9, 5) == []
    assert schedule.next_at() == 2.0
    assert schedule.take(2.0, 5) == ["a"]


def test_the_earliest_time_that_was_asked_for_holds() -> None:
    schedule = Schedule()
    schedule.ask(["a", "b"], 5.0)
    schedule.ask(["a"], 9.0)
    schedule.ask(["b"], 1.0)
    assert schedule.take(4.0, 5) == ["b"]
    assert schedule.take(5.0, 5) == ["a"]
    assert len(schedule) == 0


def test_what_is_in_hand_is_not_handed_out_again_and_comes_back_when_it_was_asked_for() -> None:
    schedule = Schedule()
    schedule.ask(["a"], 0.0)
    assert schedule.take(0.0, 5) == ["a"]
    assert schedule.in_hand == 1
    schedule.ask(["a"], 0.0)
    schedule.hurry(0.0)
    assert schedule.take(9.0, 5) == []
    assert schedule.next_at() is None
    schedule.put_back("a", 8.0)
    assert schedule.next_at() == 0.0
    assert schedule.take(0.0, 5) == ["a"]
    schedule.put_back("a", None)
    assert (len(schedule), schedule.in_hand, schedule.next_at()) == (0, 0, None)


def test_a_hurry_brings_everything_forward_and_a_bound_holds() -> None:
    schedule = Schedule()
    schedule.ask(["a", "b", "c"], 100.0)
    schedule.hurry(1.0)
    assert len(schedule.take(1.0, 2)) == 2
    assert len(schedule.take(1.0, 2)) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "hurry", "take", "put"]),
            st.sampled_from(["a", "b", "c", "d"]),
            st.integers(0, 9),
        )
    )
)
def test_no_case_is_lost_or_doubled(steps: list[tuple[str, str, int]]) -> None:
    schedule = Schedule()
    wanted: dict[str, float] = {}
    hand: set[str] = set()
    for what, case, number in steps:
        at = float(number)
        if what == "ask":
            schedule.ask([case], at)
            wanted[case] = min(at, wanted.get(case, at))
        elif what == "hurry":
            schedule.hurry(at)
            wanted = {name: min(at, wanted.get(name, at)) for name in (*wanted, *hand)}
        elif what == "take":
            taken = schedule.take(at, 2)
            ready = sorted((due, name) for name, due in wanted.items() if name not in hand and due <= at)
            assert len(set(taken)) == len(taken) == min(2, len(ready))
            assert sorted(wanted[name] for name in taken) == [due for due, _ in ready[: len(taken)]]
            for name in taken:
                del wanted[name]
                hand.add(name)
        elif case in hand:
            again = None if number % 2 else at
            schedule.put_back(case, again)
            hand.discard(case)
            if again is not None:
                wanted[case] = min(again, wanted.get(case, again))
        assert (len(schedule), schedule.in_hand) == (len(wanted), len(hand))
        assert schedule.next_at() == min((due for name, due in wanted.items() if name not in hand), default=None)
