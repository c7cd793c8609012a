"""A data node reads a real EVM node: blocks, balances, calls and logs, and nothing of another chain."""

import asyncio
import json

import pytest

from holdfast.core.admissions import parse_admission
from holdfast.core.sources import parse_source
from holdfast.nodes.data.service import replay
from tests.helpers.chains import COIN, NEEDS_MACHINE, signers
from tests.helpers.sources import data_world, registry_of
from tests.integration.test_development_chain import ChainProcess

pytestmark = [pytest.mark.enable_socket, NEEDS_MACHINE]
[SIGNER] = signers(1)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    process = ChainProcess(tmp_path_factory.mktemp("chain"))
    process.start()
    process.ask("evm_mine")
    yield process
    process.kill()


def definition(chain, request, value, expect, **parameters):
    return {
        "type": "urn:holdfast:source:v1",
        "id": "chain",
        "version": 1,
        "title": "A chain",
        "kind": "evm",
        "workspaces": ["*"],
        "parameters": parameters,
        "request": {"url": f"{chain.url}/", "addresses": ["127.0.0.0/8"], "chain_id": 31337, **request},
        "extract": {"method": "json", "value": value},
        "expect": {"fresh_s": 60, **expect},
    }


def admit(chain, tmp_path, given, **parameters):
    async def work():
        world = data_world(tmp_path / "node", registry_of(given))
        try:
            shown = await world.service.admit("anybody", "chain", parameters)
            return shown, world.service.kept.bodies.get
        finally:
            await world.close()

    shown, body_of = asyncio.run(work())
    return shown, parse_admission(shown.document), body_of


ADDRESS = {"address": {"type": "hex", "length": 20}}


def test_a_balance_at_a_block_is_admitted_and_replayed(chain, tmp_path):
    request = {"call": "balance", "address": "0x{address}", "block": "latest"}
    given = definition(chain, request, "$.result", {"type": "integer", "minimum": "0"}, **ADDRESS)
    shown, document, body_of = admit(chain, tmp_path, given, address=SIGNER.address)
    assert document.refusal is None
    assert int(document.value.text) == int(chain.ask("eth_getBalance", SIGNER.address, "latest"), 16) > COIN
    assert document.observation.tls is None  # a chain of this machine, without TLS: the document says so
    assert replay(shown, body_of) == document.value.to_json()
    assert parse_source(shown.definition).query.call == "balance"


def test_a_block_is_named_by_number_and_hash(chain, tmp_path):
    members = {"number": {"type": "integer"}, "hash": {"type": "hex"}}
    given = definition(chain, {"call": "block", "block": "latest"}, "$.block", {"type": "object", "members": members})
    _, document, _ = admit(chain, tmp_path, given)
    told = json.loads(document.value.text)
    assert chain.ask("eth_getBlockByNumber", hex(int(told["number"])), False)["hash"] == told["hash"]


def test_a_call_and_logs_are_read(chain, tmp_path):
    call = {"call": "call", "address": "0x" + "77" * 20, "data": "0x{data}", "block": "latest"}
    data = {"data": {"type": "hex"}}
    _, document, _ = admit(chain, tmp_path, definition(chain, call, "$.result", {"type": "hex"}, **data), data="0x")
    assert document.value.text == "0x"
    logs = {"call": "logs", "address": "0x" + "77" * 20, "block": "latest"}
    given = definition(chain, logs, "$.result", {"type": "list", "item": {"type": "text"}})
    _, document, _ = admit(chain, tmp_path / "logs", given)
    assert document.value.text == "[]"


def test_another_chain_and_a_block_that_is_not_there_are_refused(chain, tmp_path):
    request = {"call": "block", "block": "latest", "chain_id": 1}
    expect = {"type": "object", "members": {"hash": {"type": "hex"}}}
    _, document, _ = admit(chain, tmp_path, definition(chain, request, "$.block", expect))
    assert (document.refusal.code, document.value) == ("schema", None)
    request = {"call": "block", "block": "0xffffff"}
    _, document, _ = admit(chain, tmp_path / "later", definition(chain, request, "$.block", expect))
    assert document.refusal.code == "schema"


def test_an_address_that_is_none_asks_nothing(chain, tmp_path):
    request = {"call": "balance", "address": "0x{address}", "block": "latest"}
    given = definition(chain, request, "$.result", {"type": "integer"}, **ADDRESS)
    _, document, _ = admit(chain, tmp_path, given, address="0x1234")
    assert (document.refusal.code, document.observation.request) == ("parameters", None)
