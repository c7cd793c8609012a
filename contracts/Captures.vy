# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Captures: many EIP-3009 transfers in one transaction
@license Apache-2.0
@notice
    Each authorization says who pays whom how much; submitting it is open to anyone, so this contract needs no rights
    and holds nothing. One that its token refuses is reported and does not stop the others. That a transfer happened is
    said by the token's own events, never by this contract (spec/payments.md §6).
"""

MAX_BATCH: constant(uint256) = 256
MAX_REASON: constant(uint256) = 164
CALL_GAS: constant(uint256) = 200_000  # more than such a transfer needs; a token that wants more is refused alone


struct Authorization:
    token: address
    payer: address
    to: address
    value: uint256
    validAfter: uint256
    validBefore: uint256
    nonce: bytes32
    v: uint8
    r: bytes32
    s: bytes32


event Refused:
    payer: indexed(address)
    nonce: indexed(bytes32)
    token: indexed(address)
    reason: Bytes[MAX_REASON]  # the beginning of what the token reverted with


@external
def capture(authorizations: DynArray[Authorization, MAX_BATCH]):
    """
    @notice Submit each authorization to its token
    """
    for each: Authorization in authorizations:
        moved: bool = False
        reason: Bytes[MAX_REASON] = b""
        moved, reason = raw_call(
            each.token,
            abi_encode(
                each.payer,
                each.to,
                each.value,
                each.validAfter,
                each.validBefore,
                each.nonce,
                each.v,
                each.r,
                each.s,
                method_id=method_id(
                    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"
                ),
            ),
            gas=CALL_GAS,
            max_outsize=MAX_REASON,
            revert_on_failure=False,
        )
        if not moved:
            log Refused(payer=each.payer, nonce=each.nonce, token=each.token, reason=reason)
