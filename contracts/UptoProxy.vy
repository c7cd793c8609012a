# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title UptoProxy: x402's scheme `upto` over Permit2, for development chains
@license Apache-2.0
@notice
    A payer signs a Permit2 transfer whose spender is this contract and whose witness names the receiver and one
    facilitator. That facilitator alone may submit it, for any amount up to the signed one, once (spec/payments.md §4).
@dev
    Written from the published interface: functions, events, errors and the witness are x402's, the code is not. It
    holds nothing, is set up by nothing, and stands at x402's address on development chains by genesis. On public
    chains x402's own contract is used.
"""

PERMIT2_ADDRESS: constant(address) = 0x000000000022D473030F116dDEE9F6B43aC78BA3
WITNESS_TYPE: constant(String[96]) = "Witness(address to,address facilitator,uint256 validAfter)"
MAX_SIGNATURE: constant(uint256) = 512


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


struct Witness:
    to: address
    facilitator: address
    validAfter: uint256


struct Permit2612:
    value: uint256
    deadline: uint256
    r: bytes32
    s: bytes32
    v: uint8


interface Permit2:
    def permitWitnessTransferFrom(
        permit: PermitTransferFrom,
        details: TransferDetails,
        owner: address,
        witness: bytes32,
        witnessTypeString: String[160],
        signature: Bytes[MAX_SIGNATURE],
    ): nonpayable


event Settled:
    pass


event SettledWithPermit:
    pass


@external
@pure
def PERMIT2() -> address:
    return PERMIT2_ADDRESS


@external
@pure
def WITNESS_TYPEHASH() -> bytes32:
    return keccak256(WITNESS_TYPE)


@internal
def _settle(
    permit: PermitTransferFrom, amount: uint256, owner: address, witness: Witness, signature: Bytes[MAX_SIGNATURE]
):
    if owner == empty(address):
        raw_revert(method_id("InvalidOwner()"))
    if witness.to == empty(address):
        raw_revert(method_id("InvalidDestination()"))
    if block.timestamp < witness.validAfter:
        raw_revert(method_id("PaymentTooEarly()"))
    if msg.sender != witness.facilitator:
        raw_revert(method_id("UnauthorizedFacilitator()"))
    if amount > permit.permitted.amount:
        raw_revert(method_id("AmountExceedsPermitted()"))
    extcall Permit2(PERMIT2_ADDRESS).permitWitnessTransferFrom(
        permit,
        TransferDetails(to=witness.to, requestedAmount=amount),
        owner,
        keccak256(abi_encode(keccak256(WITNESS_TYPE), witness.to, witness.facilitator, witness.validAfter)),
        concat("Witness witness)TokenPermissions(address token,uint256 amount)", WITNESS_TYPE),
        signature,
    )


@external
@nonreentrant
def settle(
    permit: PermitTransferFrom, amount: uint256, owner: address, witness: Witness, signature: Bytes[MAX_SIGNATURE]
):
    """
    @notice Move `amount` to the receiver that the owner signed; for the facilitator that the owner signed
    """
    self._settle(permit, amount, owner, witness, signature)
    log Settled()


@external
@nonreentrant
def settleWithPermit(
    permit2612: Permit2612,
    permit: PermitTransferFrom,
    amount: uint256,
    owner: address,
    witness: Witness,
    signature: Bytes[MAX_SIGNATURE],
):
    """
    @notice The same, after the allowance for Permit2 that the owner signed by EIP-2612. A permit that fails is no
        reason to stop: somebody may have submitted it before
    """
    if permit2612.value != permit.permitted.amount:
        raw_revert(method_id("Permit2612AmountMismatch()"))
    _permitted: bool = raw_call(
        permit.permitted.token,
        abi_encode(
            owner,
            PERMIT2_ADDRESS,
            permit2612.value,
            permit2612.deadline,
            permit2612.v,
            permit2612.r,
            permit2612.s,
            method_id=method_id("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"),
        ),
        revert_on_failure=False,
    )
    self._settle(permit, amount, owner, witness, signature)
    log SettledWithPermit()
