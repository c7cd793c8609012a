# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Views: what the registry's readers ask at an address of its own (spec/registry.md §6 and §10)
@license Apache-2.0
@notice
    The active nodes in the layout of ten fields that OpenGradient's earlier clients decode, and disputes about
    signatures: did a key that was good then sign this? Reads the registry, holds nothing, has no roles.
@dev
    Two layouts of one call need two addresses: the eleventh field changes how every field is encoded.
"""

MAX_NODES: constant(uint256) = 100  # as in Registry.vy
MAX_INFERENCE_AGE: constant(uint256) = 3600  # of OpenGradient's verifier contract
FUTURE_TOLERANCE: constant(uint256) = 300  # likewise


struct OhttpConfig:
    keyId: uint8
    kemId: uint16
    kdfId: uint16
    aeadId: uint16
    publicKey: Bytes[32]
    keyConfig: Bytes[64]
    registeredAt: uint256


struct Eleven:
    owner: address
    paymentAddress: address
    endpoint: String[256]
    publicKey: Bytes[294]
    tlsCertificate: Bytes[2048]
    pcrHash: bytes32
    teeType: uint8
    enabled: bool
    registeredAt: uint256
    lastHeartbeatAt: uint256
    ohttpConfig: OhttpConfig


struct TEEInfo:
    owner: address
    paymentAddress: address
    endpoint: String[256]
    publicKey: Bytes[294]
    tlsCertificate: Bytes[2048]
    pcrHash: bytes32
    teeType: uint8
    enabled: bool
    registeredAt: uint256
    lastHeartbeatAt: uint256


interface Registry:
    def getActiveTEEs(teeType: uint8) -> DynArray[Eleven, MAX_NODES]: view
    def getTEE(teeId: bytes32) -> Eleven: view
    def getTEEPublicKey(teeId: bytes32) -> Bytes[294]: view
    def isTEEActive(teeId: bytes32) -> bool: view
    def statement_key(tee_id: bytes32) -> Bytes[64]: view
    def validAt(teeId: bytes32, at: uint256) -> bool: view
    def signatures() -> address: view


interface Signatures:
    def verify_rsa_pss(spki: Bytes[294], message: bytes32, signature: Bytes[256]) -> bool: view
    def verify_p256(digest: bytes32, r: bytes32, s: bytes32, x: bytes32, y: bytes32) -> bool: view


registry: public(immutable(address))
signatures: public(immutable(address))


@deploy
def __init__(registry_contract: address):
    assert registry_contract.is_contract, "registry.contract"
    registry = registry_contract
    signatures = staticcall Registry(registry_contract).signatures()


@internal
@pure
def _ten(found: Eleven) -> TEEInfo:
    return TEEInfo(
        owner=found.owner,
        paymentAddress=found.paymentAddress,
        endpoint=found.endpoint,
        publicKey=found.publicKey,
        tlsCertificate=found.tlsCertificate,
        pcrHash=found.pcrHash,
        teeType=found.teeType,
        enabled=found.enabled,
        registeredAt=found.registeredAt,
        lastHeartbeatAt=found.lastHeartbeatAt,
    )


@external
@view
def getActiveTEEs(teeType: uint8) -> DynArray[TEEInfo, MAX_NODES]:
    listed: DynArray[TEEInfo, MAX_NODES] = []
    for found: Eleven in staticcall Registry(registry).getActiveTEEs(teeType):
        listed.append(self._ten(found))
    return listed


@external
@view
def getTEE(teeId: bytes32) -> TEEInfo:
    return self._ten(staticcall Registry(registry).getTEE(teeId))


@external
@view
def isTEEActive(teeId: bytes32) -> bool:
    return staticcall Registry(registry).isTEEActive(teeId)


@external
@pure
def computeMessageHash(inputHash: bytes32, outputHash: bytes32, timestamp: uint256) -> bytes32:
    return self._message_hash(inputHash, outputHash, timestamp)


@internal
@pure
def _message_hash(inputHash: bytes32, outputHash: bytes32, timestamp: uint256) -> bytes32:
    return keccak256(concat(inputHash, outputHash, convert(timestamp, bytes32)))


@internal
@view
def _verify(
    teeId: bytes32, inputHash: bytes32, outputHash: bytes32, timestamp: uint256, signature: Bytes[256]
) -> bool:
    if not staticcall Registry(registry).validAt(teeId, timestamp):
        return False
    key: Bytes[294] = staticcall Registry(registry).getTEEPublicKey(teeId)
    message: bytes32 = self._message_hash(inputHash, outputHash, timestamp)
    return staticcall Signatures(signatures).verify_rsa_pss(key, message, signature)


@external
@view
def verifySignature(
    teeId: bytes32, inputHash: bytes32, outputHash: bytes32, timestamp: uint256, signature: Bytes[256]
) -> bool:
    """
    @notice Whether a key that is good signed an answer within the last hour
    """
    if timestamp > block.timestamp + FUTURE_TOLERANCE or timestamp + MAX_INFERENCE_AGE < block.timestamp:
        return False
    return self._verify(teeId, inputHash, outputHash, timestamp, signature)


@external
@view
def verifySignatureNoTimestamp(
    teeId: bytes32, inputHash: bytes32, outputHash: bytes32, timestamp: uint256, signature: Bytes[256]
) -> bool:
    """
    @notice Whether a key that was good then signed an answer, however long ago
    """
    return self._verify(teeId, inputHash, outputHash, timestamp, signature)


@external
@view
def verify_statement(tee_id: bytes32, digest: bytes32, signature: Bytes[64], at: uint256) -> bool:
    """
    @notice Whether the P-256 statement key beside a key that was good then signed a SHA-256 digest (r ‖ s). Reverts
        with `signature.p256_absent` where the chain lacks the precompile
    """
    key: Bytes[64] = staticcall Registry(registry).statement_key(tee_id)
    assert len(key) == 64, "registry.statement_key"
    if len(signature) != 64 or not staticcall Registry(registry).validAt(tee_id, at):
        return False
    return staticcall Signatures(signatures).verify_p256(
        digest, extract32(signature, 0), extract32(signature, 32), extract32(key, 0), extract32(key, 32)
    )
