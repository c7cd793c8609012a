# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title PermitTransfers: the part of Permit2 that x402 uses, for development chains. This is not Permit2
@license Apache-2.0
@notice
    One signed transfer with a witness, once, to whom and for how much the spender says within the signature. Signatures,
    nonces and errors are as Permit2 publishes them, so a client cannot tell; the code was written from that interface,
    was never audited, and belongs on chains where nothing is worth anything. `contracts/permit2.py` builds the real one.
@dev
    Not here: allowances (`AllowanceTransfer`), batches, transfers without a witness, compact signatures, signatures of
    contracts (EIP-1271).
"""

HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # EIP-2
DOMAIN_TYPE: constant(bytes32) = keccak256("EIP712Domain(string name,uint256 chainId,address verifyingContract)")
DOMAIN_NAME: constant(bytes32) = keccak256("Permit2")
PERMISSIONS_TYPE: constant(bytes32) = keccak256("TokenPermissions(address token,uint256 amount)")


struct TokenPermissions:
    token: address
    amount: uint256


struct PermitTransferFrom:
    permitted: TokenPermissions
    nonce: uint256
    deadline: uint256


struct TransferDetails:
    to: address
    requestedAmount: uint256


event UnorderedNonceInvalidation:
    owner: indexed(address)
    word: uint256
    mask: uint256


nonceBitmap: public(HashMap[address, HashMap[uint256, uint256]])  # owner, nonce >> 8: one bit a used nonce


@internal
@view
def _separator() -> bytes32:
    return keccak256(abi_encode(DOMAIN_TYPE, DOMAIN_NAME, chain.id, self))


@external
@view
def DOMAIN_SEPARATOR() -> bytes32:
    return self._separator()


@external
def invalidateUnorderedNonces(wordPos: uint256, mask: uint256):
    """
    @notice Void nonces of the sender's before anyone uses them
    """
    self.nonceBitmap[msg.sender][wordPos] |= mask
    log UnorderedNonceInvalidation(owner=msg.sender, word=wordPos, mask=mask)


@external
def permitWitnessTransferFrom(
    permit: PermitTransferFrom,
    transferDetails: TransferDetails,
    owner: address,
    witness: bytes32,
    witnessTypeString: String[512],
    signature: Bytes[65],
):
    """
    @notice Move tokens by the owner's signature for this spender and witness
    """
    if block.timestamp > permit.deadline:
        raw_revert(abi_encode(permit.deadline, method_id=method_id("SignatureExpired(uint256)")))
    if transferDetails.requestedAmount > permit.permitted.amount:
        raw_revert(abi_encode(permit.permitted.amount, method_id=method_id("InvalidAmount(uint256)")))
    word: uint256 = permit.nonce >> 8
    bit: uint256 = 1 << (permit.nonce & 255)
    if self.nonceBitmap[owner][word] & bit != 0:
        raw_revert(method_id("InvalidNonce()"))
    self.nonceBitmap[owner][word] |= bit
    kind: bytes32 = keccak256(
        concat(
            "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,",
            witnessTypeString,
        )
    )
    permitted: bytes32 = keccak256(abi_encode(PERMISSIONS_TYPE, permit.permitted.token, permit.permitted.amount))
    struct_hash: bytes32 = keccak256(
        abi_encode(kind, permitted, msg.sender, permit.nonce, permit.deadline, witness)
    )
    self._require_signer(owner, keccak256(concat(b"\x19\x01", self._separator(), struct_hash)), signature)
    moved: bool = raw_call(
        permit.permitted.token,
        abi_encode(
            owner,
            transferDetails.to,
            transferDetails.requestedAmount,
            method_id=method_id("transferFrom(address,address,uint256)"),
        ),
        revert_on_failure=False,
    )
    assert moved, "TRANSFER_FROM_FAILED"


@internal
@pure
def _require_signer(owner: address, digest: bytes32, signature: Bytes[65]):
    if len(signature) != 65:
        raw_revert(method_id("InvalidSignatureLength()"))
    r: uint256 = convert(slice(signature, 0, 32), uint256)
    s: uint256 = convert(slice(signature, 32, 32), uint256)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    signer: address = ecrecover(digest, v, r, s)
    if signer == empty(address) or s > HALF_ORDER:
        raw_revert(method_id("InvalidSignature()"))
    if signer != owner:
        raw_revert(method_id("InvalidSigner()"))
