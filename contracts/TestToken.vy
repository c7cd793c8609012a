# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title TestToken: an ERC-20 for development chains, with authorizations (EIP-3009) and permits (EIP-2612)
@license Apache-2.0
@notice
    Worth nothing. What a payer signs, somebody else may submit: transfers, receipts and cancellations by EIP-3009,
    allowances by EIP-2612. The owner mints, which makes the owner a faucet.
@dev
    Rules of this file: nothing is set up in storage, so the code may stand in a genesis with its immutables behind it;
    the texts of refusals contain the words that x402 clients look for. Signatures are `r ‖ s ‖ v` with a low `s`
    (EIP-2). Vyper has no overloading: the forms that take a signature as `bytes` are answered in `__default__`, for
    signatures of 65 bytes. Not here: signatures of contracts (EIP-1271).
"""

HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # EIP-2
DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
TRANSFER_TYPE: constant(bytes32) = keccak256(
    "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
RECEIVE_TYPE: constant(bytes32) = keccak256(
    "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
CANCEL_TYPE: constant(bytes32) = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)")
PERMIT_TYPE: constant(bytes32) = keccak256(
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
)
TRANSFER_BYTES: constant(Bytes[4]) = method_id(
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
)
RECEIVE_BYTES: constant(Bytes[4]) = method_id(
    "receiveWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
)
CANCEL_BYTES: constant(Bytes[4]) = method_id("cancelAuthorization(address,bytes32,bytes)")


event Transfer:
    sender: indexed(address)
    receiver: indexed(address)
    value: uint256


event Approval:
    owner: indexed(address)
    spender: indexed(address)
    value: uint256


event AuthorizationUsed:
    authorizer: indexed(address)
    nonce: indexed(bytes32)


event AuthorizationCanceled:
    authorizer: indexed(address)
    nonce: indexed(bytes32)


owner: public(immutable(address))  # mints
decimals: public(immutable(uint8))
name: public(immutable(String[32]))
symbol: public(immutable(String[32]))
version: public(immutable(String[32]))  # of the EIP-712 domain

totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
nonces: public(HashMap[address, uint256])  # EIP-2612
used: HashMap[address, HashMap[bytes32, bool]]  # EIP-3009: used or cancelled


@deploy
def __init__(owner_: address, decimals_: uint8, name_: String[32], symbol_: String[32], version_: String[32]):
    owner = owner_
    decimals = decimals_
    name = name_
    symbol = symbol_
    version = version_


# --- ERC-20 -----------------------------------------------------------------------------------------------------------


@internal
def _transfer(sender: address, receiver: address, amount: uint256):
    assert receiver != empty(address), "ERC20: transfer to the zero address"
    assert self.balanceOf[sender] >= amount, "ERC20: transfer amount exceeds balance"
    self.balanceOf[sender] -= amount
    self.balanceOf[receiver] += amount
    log Transfer(sender=sender, receiver=receiver, value=amount)


@internal
def _approve(owner_: address, spender: address, amount: uint256):
    self.allowance[owner_][spender] = amount
    log Approval(owner=owner_, spender=spender, value=amount)


@external
def mint(to: address, amount: uint256):
    """
    @notice Make tokens out of nothing; for the owner alone
    """
    assert msg.sender == owner, "TestToken: caller is not the owner"
    assert to != empty(address), "ERC20: mint to the zero address"
    self.totalSupply += amount
    self.balanceOf[to] += amount
    log Transfer(sender=empty(address), receiver=to, value=amount)


@external
def transfer(to: address, amount: uint256) -> bool:
    self._transfer(msg.sender, to, amount)
    return True


@external
def approve(spender: address, amount: uint256) -> bool:
    self._approve(msg.sender, spender, amount)
    return True


@external
def transferFrom(sender: address, to: address, amount: uint256) -> bool:
    allowed: uint256 = self.allowance[sender][msg.sender]
    if allowed != max_value(uint256):
        assert allowed >= amount, "ERC20: transfer amount exceeds allowance"
        self.allowance[sender][msg.sender] = allowed - amount
    self._transfer(sender, to, amount)
    return True


# --- signatures -------------------------------------------------------------------------------------------------------


@internal
@view
def _separator() -> bytes32:
    # The chain id is read each time, so a signature never outlives a fork of the chain.
    return keccak256(
        abi_encode(DOMAIN_TYPE, keccak256(name), keccak256(version), chain.id, self)
    )


@external
@view
def DOMAIN_SEPARATOR() -> bytes32:
    return self._separator()


@internal
@view
def _require_signer(signer: address, struct_hash: bytes32, v: uint8, r: bytes32, s: bytes32):
    low: bool = convert(s, uint256) <= HALF_ORDER
    digest: bytes32 = keccak256(concat(b"\x19\x01", self._separator(), struct_hash))
    found: address = ecrecover(digest, v, r, s)
    assert low and (v == 27 or v == 28) and found != empty(address) and found == signer, "ECRecover: invalid signature"


# --- EIP-3009 ---------------------------------------------------------------------------------------------------------


@external
@view
def authorizationState(authorizer: address, nonce: bytes32) -> bool:
    """
    @notice Whether a nonce was used or cancelled
    """
    return self.used[authorizer][nonce]


@internal
def _authorized(
    kind: bytes32,
    sender: address,
    to: address,
    amount: uint256,
    valid_after: uint256,
    valid_before: uint256,
    nonce: bytes32,
    v: uint8,
    r: bytes32,
    s: bytes32,
):
    assert block.timestamp > valid_after, "EIP3009: authorization is not yet valid"
    assert block.timestamp < valid_before, "EIP3009: authorization is expired"
    assert not self.used[sender][nonce], "EIP3009: authorization is used or canceled"
    struct_hash: bytes32 = keccak256(abi_encode(kind, sender, to, amount, valid_after, valid_before, nonce))
    self._require_signer(sender, struct_hash, v, r, s)
    self.used[sender][nonce] = True
    log AuthorizationUsed(authorizer=sender, nonce=nonce)
    self._transfer(sender, to, amount)


@internal
def _cancel(authorizer: address, nonce: bytes32, v: uint8, r: bytes32, s: bytes32):
    assert not self.used[authorizer][nonce], "EIP3009: authorization is used or canceled"
    self._require_signer(authorizer, keccak256(abi_encode(CANCEL_TYPE, authorizer, nonce)), v, r, s)
    self.used[authorizer][nonce] = True
    log AuthorizationCanceled(authorizer=authorizer, nonce=nonce)


@external
def transferWithAuthorization(
    sender: address,
    to: address,
    amount: uint256,
    validAfter: uint256,
    validBefore: uint256,
    nonce: bytes32,
    v: uint8,
    r: bytes32,
    s: bytes32,
):
    """
    @notice Move what `sender` signed over; anyone may submit it
    """
    self._authorized(TRANSFER_TYPE, sender, to, amount, validAfter, validBefore, nonce, v, r, s)


@external
def receiveWithAuthorization(
    sender: address,
    to: address,
    amount: uint256,
    validAfter: uint256,
    validBefore: uint256,
    nonce: bytes32,
    v: uint8,
    r: bytes32,
    s: bytes32,
):
    """
    @notice The same, for the receiver alone to submit
    """
    assert to == msg.sender, "EIP3009: caller must be the payee"
    self._authorized(RECEIVE_TYPE, sender, to, amount, validAfter, validBefore, nonce, v, r, s)


@external
def cancelAuthorization(authorizer: address, nonce: bytes32, v: uint8, r: bytes32, s: bytes32):
    """
    @notice Take an authorization back before it is used
    """
    self._cancel(authorizer, nonce, v, r, s)


@external
def __default__():
    """
    @notice The forms of the three functions above whose signature is `bytes`, of 65 bytes
    """
    selector: Bytes[4] = slice(msg.data, 0, 4)
    if selector == CANCEL_BYTES:
        authorizer: address = empty(address)
        nonce: bytes32 = empty(bytes32)
        signature: Bytes[65] = b""
        authorizer, nonce, signature = abi_decode(slice(msg.data, 4, 224), (address, bytes32, Bytes[65]))
        self._cancel(authorizer, nonce, self._v(signature), self._r(signature), self._s(signature))
        return
    assert selector == TRANSFER_BYTES or selector == RECEIVE_BYTES, "TestToken: no such function"
    sender: address = empty(address)
    to: address = empty(address)
    amount: uint256 = 0
    valid_after: uint256 = 0
    valid_before: uint256 = 0
    nonce: bytes32 = empty(bytes32)
    signature: Bytes[65] = b""
    sender, to, amount, valid_after, valid_before, nonce, signature = abi_decode(
        slice(msg.data, 4, 352), (address, address, uint256, uint256, uint256, bytes32, Bytes[65])
    )
    kind: bytes32 = TRANSFER_TYPE
    if selector == RECEIVE_BYTES:
        assert to == msg.sender, "EIP3009: caller must be the payee"
        kind = RECEIVE_TYPE
    self._authorized(
        kind,
        sender,
        to,
        amount,
        valid_after,
        valid_before,
        nonce,
        self._v(signature),
        self._r(signature),
        self._s(signature),
    )


@internal
@pure
def _v(signature: Bytes[65]) -> uint8:
    assert len(signature) == 65, "ECRecover: invalid signature"
    return convert(slice(signature, 64, 1), uint8)


@internal
@pure
def _r(signature: Bytes[65]) -> bytes32:
    return convert(slice(signature, 0, 32), bytes32)


@internal
@pure
def _s(signature: Bytes[65]) -> bytes32:
    return convert(slice(signature, 32, 32), bytes32)


# --- EIP-2612 ---------------------------------------------------------------------------------------------------------


@external
def permit(
    owner_: address, spender: address, amount: uint256, deadline: uint256, v: uint8, r: bytes32, s: bytes32
):
    """
    @notice Set an allowance that its owner signed
    """
    assert block.timestamp <= deadline, "EIP2612: permit is expired"
    nonce: uint256 = self.nonces[owner_]
    self._require_signer(
        owner_, keccak256(abi_encode(PERMIT_TYPE, owner_, spender, amount, nonce, deadline)), v, r, s
    )
    self.nonces[owner_] = nonce + 1
    self._approve(owner_, spender, amount)
