"""What comes starts one execution each, what was missed is said, and only who has the secret starts anything."""

import asyncio
import datetime as dt

import pytest

from holdfast.agents.workflows.hooks import Hook, read_delivery
from holdfast.agents.workflows.journal import Journal
from holdfast.agents.workflows.triggers import AdmissionTrigger, BlockTrigger, ScheduleTrigger, backfill
from holdfast.core.encoding import time_encode
from holdfast.core.workflows.build import Workflow, case
from holdfast.errors import MalformedError, RefusedError
from holdfast.review.webhooks import sign
from tests.helpers.clock import START

KEY = bytes(range(32))


def definition(kind, **members):
    return Workflow("w").on(kind, **members).cases("choice", case(1)).definition()


def later(seconds):
    return START + dt.timedelta(seconds=seconds)


@pytest.fixture
def journal():
    found = Journal(":memory:")
    yield found
    found.close()


class Started:
    """The causes that were started."""

    def __init__(self):
        self.causes, self.said = [], []

    def __call__(self, cause):
        self.causes.append(cause)

    @property
    def keys(self):
        return [cause.key for cause in self.causes]


def look(trigger, now):
    return asyncio.run(trigger.look(now))


def test_a_schedule_starts_at_each_of_its_times(journal):
    begun = Started()
    trigger = ScheduleTrigger(definition("schedule", every_s=60), journal, begun, begun.said.append)
    assert look(trigger, later(30)) == later(60)
    assert begun.keys == []
    look(trigger, later(61))
    look(trigger, later(200))
    assert begun.keys == [time_encode(later(seconds)) for seconds in (60, 120, 180)]
    assert begun.said == []


def test_what_was_missed_is_made_up_for_as_far_as_the_definition_says(journal):
    begun = Started()
    made = definition("schedule", every_s=60, backfill_s=120)
    look(ScheduleTrigger(made, journal, begun, begun.said.append), START)
    look(ScheduleTrigger(made, journal, begun, begun.said.append), later(330))
    assert begun.keys == [time_encode(later(seconds)) for seconds in (240, 300)]
    [said] = begun.said
    assert "3 times" in said
    assert time_encode(later(60)) in said


def test_a_person_has_missed_times_made_up_for(journal):
    begun = Started()
    assert backfill(definition("schedule", every_s=60), begun, later(60), later(180)) == 3
    assert begun.keys == [time_encode(later(seconds)) for seconds in (60, 120, 180)]
    with pytest.raises(MalformedError, match=r"workflow\.backfill"):
        backfill(definition("manual"), begun, START, later(1))
    with pytest.raises(MalformedError, match=r"workflow\.backfill"):
        backfill(definition("schedule", every_s=1), begun, START, later(20_000))


class Chain:
    """A chain of numbered blocks."""

    def __init__(self, head):
        self.head = head

    async def request(self, method, *parameters):
        if method == "eth_getBlockByNumber":
            return {"hash": f"0x{int(parameters[0], 16):064x}", "timestamp": "0x6955b900"}
        return {"eth_chainId": "0x7a69", "eth_blockNumber": hex(self.head)}[method]


def test_blocks_start_once_enough_others_are_above_them(journal):
    begun, chain = Started(), Chain(100)
    trigger = BlockTrigger(definition("block", every=5, behind=2), journal, begun, chain)
    look(trigger, START)
    assert begun.keys == []
    chain.head = 111
    look(trigger, later(2))
    assert begun.keys == ["31337/100", "31337/105"]
    assert begun.causes[0].data == {"chain_id": 31337, "number": 100, "hash": f"0x{100:064x}"}
    chain.head = 90  # a reorganisation, or another endpoint
    look(trigger, later(4))
    chain.head = 112
    look(trigger, later(6))
    assert begun.keys == ["31337/100", "31337/105", "31337/110"]


def test_a_chain_that_was_away_for_long_is_caught_up_step_by_step(journal):
    begun, chain = Started(), Chain(0)
    trigger = BlockTrigger(definition("block", every=100), journal, begun, chain)
    look(trigger, START)
    chain.head = 600
    assert look(trigger, START) == START
    assert look(trigger, START) == START
    assert look(trigger, START) == later(2)
    assert begun.keys == [f"31337/{number}" for number in (100, 200, 300, 400, 500, 600)]


def test_a_chain_that_answers_no_number_starts_nothing(journal):
    chain = Chain(1)
    chain.head = 2**80
    with pytest.raises(MalformedError, match=r"workflow\.block"):
        look(BlockTrigger(definition("block"), journal, Started(), chain), START)


def test_a_block_of_a_time_that_there_is_not_starts_nothing(journal):
    class Odd(Chain):
        async def request(self, method, *parameters):
            said = await super().request(method, *parameters)
            return {**said, "timestamp": "0x7fffffffffffffff"} if method == "eth_getBlockByNumber" else said

    begun, chain = Started(), Odd(4)
    trigger = BlockTrigger(definition("block", every=1), journal, begun, chain)
    look(trigger, START)
    chain.head = 5
    with pytest.raises(MalformedError, match=r"workflow\.block"):
        look(trigger, later(2))
    assert begun.keys == []


def test_new_admissions_start_once_and_refusals_never(journal):
    begun, listed = Started(), []

    async def ask(source):
        assert source == "rates"
        return {"admissions": list(reversed(listed))}

    def glance(seconds, digest, outcome="admitted"):
        listed.append(
            {"at": time_encode(later(seconds)), "digest": digest, "outcome": outcome, "value": "1", "age_s": 0}
        )

    trigger = AdmissionTrigger(definition("admission", source="rates"), journal, begun, ask)
    glance(-5, "old")
    look(trigger, START)
    glance(1, "aa")
    glance(2, "bb", "stale")
    glance(3, "cc")
    look(trigger, later(4))
    assert begun.keys == ["aa", "cc"]
    glance(3, "dd")
    look(trigger, later(6))
    assert begun.keys[2:] == ["cc", "dd"]  # what is told again starts nothing: it has its id


def headers(body, *, delivery="msg_1", at=START, key=KEY):
    stamp = int(at.timestamp())
    signed = sign([key], delivery, stamp, body)
    return {"webhook-id": delivery, "webhook-timestamp": str(stamp), "webhook-signature": signed}


def test_a_delivery_that_verifies_starts_with_what_it_says():
    begun = Started()
    body = b'{"n": 1.50, "text": "{\\"from\\": \\"$.x\\"}"}'
    Hook([b"other" * 5, KEY], begun, lambda: START).take(headers(body), body)
    assert begun.keys == ["msg_1"]
    assert begun.causes[0].data == {"n": "1.50", "text": '{"from": "$.x"}'}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"webhook-signature": ""}, "workflow.signature"),
        ({"webhook-signature": "v1,AAAA"}, "workflow.signature"),
        ({"webhook-id": "msg_2"}, "workflow.signature"),
        ({"webhook-timestamp": str(int(START.timestamp()) + 1)}, "workflow.signature"),
        ({"webhook-id": "with space"}, "workflow.delivery"),
        ({"webhook-timestamp": "now"}, "workflow.delivery"),
        (headers(b"{}", at=START - dt.timedelta(seconds=301)), "workflow.stale"),
        (headers(b"{}", at=START + dt.timedelta(seconds=301)), "workflow.stale"),
        (headers(b"{}", key=bytes(32)), "workflow.signature"),
    ],
)
def test_a_delivery_that_does_not_verify_starts_nothing(change, code):
    begun = Started()
    with pytest.raises((RefusedError, MalformedError)) as caught:
        Hook([KEY], begun, lambda: START).take({**headers(b"{}"), **change}, b"{}")
    assert caught.value.code == code
    assert begun.causes == []


def test_a_delivery_is_json_and_has_a_size():
    for body, code in ((b"{", "json.syntax"), (b" " * 262_145, "workflow.delivery")):
        with pytest.raises(MalformedError) as caught:
            read_delivery([KEY], headers(body), body, START)
        assert caught.value.code == code
