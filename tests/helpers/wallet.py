"""A wallet for pages (EIP-1193) whose keys are in the test and which really signs, over contracts that really run.

    wallet = BrowserWallet(payer(1), of_machine(machine))
    await wallet.install(page)          # before the page is loaded

What it signs it hashes from the typed data that the page hands over (EIP-712), by an encoder that knows no payment:
what a page gets wrong about a payment's types makes a signature that nobody takes.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.adapters.signer_secp256k1 import Secp256k1Signer
from holdfast.core import evm
from holdfast.ports.vm import Message
from tests.helpers.browser import Page
from tests.helpers.payments import CHAIN_ID, FACILITATOR, GAS, Machine

PROVIDER = """(() => {
  const waiting = new Map(); let count = 0;
  window.walletAnswers = (id, result, error) => {
    const { resolve, reject } = waiting.get(id); waiting.delete(id);
    error ? reject(Object.assign(new Error(error.message), { code: error.code })) : resolve(result);
  };
  window.ethereum = { request: ({ method, params = [] }) => new Promise((resolve, reject) => {
    waiting.set(++count, { resolve, reject });
    window.askWallet(JSON.stringify({ id: count, method, params }));
  }) };
})()"""


class SaysNoError(Exception):
    """The wallet's owner refuses, or the wallet does; ``code`` is EIP-1193's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class BrowserWallet:
    """One account. ``connected`` says whether its owner lets pages see it without being asked."""

    def __init__(self, signer: Secp256k1Signer, read: Callable[[str, str], str], *, chain_id: int = CHAIN_ID) -> None:
        """``read`` answers a call of a contract (its address, and data in hex) with what it returns, in hex."""
        self.signer = signer
        self.read = read
        self.chain_id = chain_id
        self.knows_chains = {chain_id}
        self.connected = False
        self.refuses = False
        """Its owner says no to whatever is to be signed."""
        self.asked: list[str] = []
        """Methods, in order."""
        self.signed: list[dict[str, Any]] = []
        """Typed data that was signed."""

    async def install(self, page: Page) -> None:
        """Put it into a tab, before its page is loaded."""
        await page.bind("askWallet", lambda text: self._answer(page, text))
        await page.call("Page.addScriptToEvaluateOnNewDocument", source=PROVIDER)

    async def _answer(self, page: Page, text: str) -> None:
        asked = json.loads(text)
        result, error = None, None
        try:
            result = self.request(asked["method"], asked["params"])
        except SaysNoError as refusal:
            error = {"code": refusal.code, "message": str(refusal)}
        await page.run(f"walletAnswers({asked['id']}, {json.dumps(result)}, {json.dumps(error)}); 0")

    def request(self, method: str, params: list[Any]) -> Any:
        """One call of a page. Raises :class:`SaysNoError`."""
        self.asked.append(method)
        match method:
            case "eth_accounts":
                return [self.signer.address] if self.connected else []
            case "eth_requestAccounts":
                self.connected = True
                return [self.signer.address]
            case "eth_chainId":
                return hex(self.chain_id)
            case "wallet_switchEthereumChain" | "wallet_addEthereumChain":
                return self._change_chain(method, int(params[0]["chainId"], 16))
            case "eth_call":
                return self.read(params[0]["to"], params[0]["data"])
            case "eth_signTypedData_v4":
                return self._sign(params[0], json.loads(params[1]))
        raise SaysNoError(4200, f"{method} is not supported")

    def _change_chain(self, method: str, chain_id: int) -> None:
        if method == "wallet_addEthereumChain":
            self.knows_chains.add(chain_id)
        elif chain_id not in self.knows_chains:
            raise SaysNoError(4902, "Unrecognized chain ID")
        self.chain_id = chain_id

    def _sign(self, address: str, typed: dict[str, Any]) -> str:
        if not self.connected or address != self.signer.address:
            raise SaysNoError(4100, "The requested account has not been authorized")
        if self.refuses:
            raise SaysNoError(4001, "User rejected the request")
        if int(typed["domain"]["chainId"]) != self.chain_id:
            raise SaysNoError(-32602, "Provided chainId must match the active chainId")
        self.signed.append(typed)
        return "0x" + self.signer.sign(typed_data_hash(typed)).hex()


def of_machine(machine: Machine) -> Callable[[str, str], str]:
    """Reads contracts on a machine of the test."""

    def read(to: str, data: str) -> str:
        message = Message(FACILITATOR.address, to, bytes.fromhex(data[2:]), 0, GAS, 0)
        return "0x" + machine.vm.call(message).output.hex()

    return read


def of_chain(url: str) -> Callable[[str, str], str]:
    """Reads contracts over a chain's JSON-RPC."""

    def read(to: str, data: str) -> str:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": [{"to": to, "data": data}, "latest"]}
        body, headers = json.dumps(asked).encode(), {"content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            found: str = json.load(answer)["result"]
            return found

    return read


def typed_data_hash(typed: Mapping[str, Any]) -> bytes:
    """The 32 bytes that are signed for typed data (EIP-712)."""
    types = typed["types"]
    domain = _struct(types, "EIP712Domain", typed["domain"])
    return evm.typed_data_digest(domain, _struct(types, typed["primaryType"], typed["message"]))


def _struct(types: Mapping[str, Any], name: str, value: Mapping[str, Any]) -> bytes:
    """keccak256(typeHash ‖ encodeData); refuses what has other members than its type."""
    members = types[name]
    if {member["name"] for member in members} != value.keys():
        raise SaysNoError(-32602, f"{name} has not the members of its type")
    words = [_word(types, member["type"], value[member["name"]]) for member in members]
    return evm.keccak256(evm.keccak256(_encoded_type(types, name)) + b"".join(words))


def _encoded_type(types: Mapping[str, Any], name: str) -> bytes:
    named: set[str] = set()
    todo = [name]
    while todo:
        for member in types[todo.pop()]:
            if member["type"] in types and member["type"] not in named:
                named.add(member["type"])
                todo.append(member["type"])
    ordered = (name, *sorted(named - {name}))
    lists = (",".join(f"{member['type']} {member['name']}" for member in types[each]) for each in ordered)
    return "".join(f"{each}({members})" for each, members in zip(ordered, lists, strict=True)).encode()


def _word(types: Mapping[str, Any], kind: str, value: Any) -> bytes:
    if kind in types:
        return _struct(types, kind, value)
    if kind == "string":
        return evm.keccak256(value.encode())
    if kind == "address":
        return bytes(12) + bytes.fromhex(value[2:])
    if kind == "bytes32":
        found = bytes.fromhex(value[2:])
        assert len(found) == 32
        return found
    assert kind == "uint256", kind
    return evm.word(int(value))
