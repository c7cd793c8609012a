"""x402 payments (payments.md §3, §4, §5): typed data by its written types, as EIP-712 says, and nothing precomputed."""

from __future__ import annotations

import base64
from typing import Any

from .signing import Secp256k1, keccak256
from .text import sha

PERMIT2 = "0x000000000022d473030f116ddee9f6b43ac78ba3"
EXACT_PROXY = "0x402085c248eea27d92e8b30b2c58ed07f9e20001"
UPTO_PROXY = "0x4020a4f3b7b90cca423b9fabcc0ce57c6c240002"

TRANSFER = {
    "TransferWithAuthorization": [
        ("address", "from"),
        ("address", "to"),
        ("uint256", "value"),
        ("uint256", "validAfter"),
        ("uint256", "validBefore"),
        ("bytes32", "nonce"),
    ]
}
PERMISSIONS = [("address", "token"), ("uint256", "amount")]
PERMIT = [
    ("TokenPermissions", "permitted"),
    ("address", "spender"),
    ("uint256", "nonce"),
    ("uint256", "deadline"),
    ("Witness", "witness"),
]
EXACT_WITNESS = [("address", "to"), ("uint256", "validAfter")]
UPTO_WITNESS = [("address", "to"), ("address", "facilitator"), ("uint256", "validAfter")]


def written(types: dict[str, list[tuple[str, str]]], name: str) -> str:
    """The text of a type: itself, then those it uses, sorted."""

    def used(kind: str, found: set[str]) -> set[str]:
        for inner, _ in types[kind]:
            if inner in types and inner not in found:
                used(inner, found | {inner})
                found |= used(inner, found | {inner}) | {inner}
        return found

    order = [name, *sorted(used(name, set()) - {name})]
    return "".join(f"{kind}({','.join(' '.join(member) for member in types[kind])})" for kind in order)


def struct_hash(types: dict[str, list[tuple[str, str]]], name: str, value: dict[str, Any]) -> bytes:
    """EIP-712 hashStruct."""
    data = keccak256(written(types, name).encode())
    for kind, member in types[name]:
        field = value[member]
        if kind in types:
            data += struct_hash(types, kind, field)
        elif kind == "address":
            data += bytes(12) + bytes.fromhex(field[2:])
        elif kind == "bytes32":
            data += bytes.fromhex(field[2:])
        else:
            data += int(field).to_bytes(32, "big")
    return keccak256(data)


def domain(name: str, version: str | None, chain_id: int, contract: str) -> bytes:
    """A domain separator, with a version or without."""
    members = "string name," + ("string version," if version is not None else "")
    data = keccak256(f"EIP712Domain({members}uint256 chainId,address verifyingContract)".encode())
    data += keccak256(name.encode())
    if version is not None:
        data += keccak256(version.encode())
    return keccak256(data + chain_id.to_bytes(32, "big") + bytes(12) + bytes.fromhex(contract[2:]))


def digest(separator: bytes, struct: bytes) -> bytes:
    """What is signed."""
    return keccak256(b"\x19\x01" + separator + struct)


def transfer_digest(authorization: dict[str, Any], asked: dict[str, Any]) -> bytes:
    """§3(2)."""
    chain_id = int(asked["network"].split(":")[1])
    separator = domain(asked["extra"]["name"], asked["extra"]["version"], chain_id, asked["asset"])
    return digest(separator, struct_hash(TRANSFER, "TransferWithAuthorization", authorization))


def permit_digest(authorization: dict[str, Any], asked: dict[str, Any]) -> bytes:
    """§4(2)."""
    witness = UPTO_WITNESS if "facilitator" in authorization["witness"] else EXACT_WITNESS
    types = {"PermitWitnessTransferFrom": PERMIT, "TokenPermissions": PERMISSIONS, "Witness": witness}
    chain_id = int(asked["network"].split(":")[1])
    return digest(
        domain("Permit2", None, chain_id, PERMIT2), struct_hash(types, "PermitWitnessTransferFrom", authorization)
    )


def identity(chain_id: int, contract: str, payer: str, nonce: bytes) -> bytes:
    """§5(6)."""
    named = bytes.fromhex(contract[2:]) + bytes.fromhex(payer[2:])
    return sha(b"urn:holdfast:payment-authorization:v1\x00" + chain_id.to_bytes(32, "big") + named + nonce)


def job(identity_: bytes) -> str:
    """§7(2)."""
    number = int.from_bytes(identity_[:16], "big")
    number = number & ~(0xF << 76) | 8 << 76
    number = number & ~(0x3 << 62) | 2 << 62
    text = f"{number:032x}"
    return "payment-" + "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def sign(key: Secp256k1, message: bytes) -> str:
    """A signature as a payload carries it."""
    return "0x" + key.sign_digest(message).hex()


def encode_row(row: dict[str, Any]) -> bytes:
    """opengradient.md §11(2): the ABI encoding of a tuple, heads before tails."""
    hashes = [bytes.fromhex(row[name].removeprefix("0x").lower()) for name in ("tee_id", "input_hash", "output_hash")]
    signature = base64.b64decode(row["tee_signature"])
    tail = len(signature).to_bytes(32, "big") + signature
    while len(tail) % 32:
        tail += b"\x00"
    heads = [*hashes, (5 * 32).to_bytes(32, "big"), int(row["tee_timestamp"]).to_bytes(32, "big")]
    return b"".join(heads) + tail


def settlement(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """opengradient.md §11(2, 3, 5): the root by recursion, not by the array's order."""
    encoded = [encode_row(row) for row in rows]
    leaves = sorted(keccak256(keccak256(each)) for each in encoded)
    size = 2 * len(leaves) - 1

    def node(place: int) -> bytes:
        if 2 * place + 1 >= size:
            return leaves[size - 1 - place]
        left, right = node(2 * place + 1), node(2 * place + 2)
        return keccak256(left + right if left < right else right + left)

    tree = ["0x" + node(place).hex() for place in range(size)]
    values = []
    for row, each in zip(rows, encoded, strict=True):
        shown = ["0x" + each[start : start + 32].hex() for start in (0, 32, 64)]
        shown += ["0x" + base64.b64decode(row["tee_signature"]).hex(), str(row["tee_timestamp"])]
        leaf = "0x" + keccak256(keccak256(each)).hex()
        values.append({"value": shown, "treeIndex": tree.index(leaf)})
    kinds = ["bytes32", "bytes32", "bytes32", "bytes", "uint256"]
    document = {"format": "standard-v1", "leafEncoding": kinds, "tree": tree, "values": values}
    jobs = [job(sha(each)).replace("payment-", "batch-") for each in encoded]
    return {"root": tree[0][2:], "jobs": jobs, "document": document}
