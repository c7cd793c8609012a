# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Settlement: roots of batches of OpenGradient's answers, for development chains
@license Apache-2.0
@notice
    Records that somebody named a Merkle root and where its leaves are published. Anybody may; nothing is checked, as in
    the contract whose interface this is (spec/opengradient.md §11). What it proves is when a root was known.
"""

event BatchSettlement:
    merkleRoot: indexed(bytes32)
    batchSize: uint256
    walrusBlobId: Bytes[256]


@external
def batchSettle(merkleRoot: bytes32, batchSize: uint256, walrusBlobId: Bytes[256]):
    """
    @notice Record a root
    """
    log BatchSettlement(merkleRoot=merkleRoot, batchSize=batchSize, walrusBlobId=walrusBlobId)


@external
@pure
def verifyProof(proof: DynArray[bytes32, 64], root: bytes32, leaf: bytes32) -> bool:
    """
    @notice Whether a leaf is under a root; pairs are hashed in their order by value
    """
    found: bytes32 = leaf
    for sibling: bytes32 in proof:
        if convert(found, uint256) < convert(sibling, uint256):
            found = keccak256(concat(found, sibling))
        else:
            found = keccak256(concat(sibling, found))
    return found == root
