# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Rounds: full nodes' agreement on a log, recorded (spec/round.md)
@license Apache-2.0
@notice
    Each log origin has its own sequence of rounds. In an attempt the proposer publishes one candidate; members of the
    epoch vote for exactly its content by EIP-712 signatures that anyone may relay; more than 2/3 of the epoch's stake
    makes it final. Two votes in one attempt, or two finality messages in one round, burn the signer's stake.
@dev
    Rules of this file: reasons are stable dotted texts (spec/round.md §8); the order of checks is part of the interface,
    because the simulated chain repeats it; the only external call is the payment in `withdraw`, made last.
    Not here: who may be a full node (the trust document), which verdicts are right (the voters), where blobs are.
"""

MAX_MEMBERS: constant(uint256) = 64  # votes of an attempt are one bit each in 64 bits
MAX_PROOF: constant(uint256) = 64  # an RFC 9162 tree of 2^63 leaves is no higher
MAX_AHEAD: constant(uint256) = 30 * 86400  # spec/round.md §3(2)
MAX_STAKE: constant(uint256) = 2**96 - 1  # so that 64 stakes fit 128 bits
U64: constant(uint256) = 2**64 - 1
U32: constant(uint256) = 2**32 - 1
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # EIP-2

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Holdfast Rounds")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
VOTE_TYPE: constant(bytes32) = keccak256(
    "Vote(string origin,uint64 epoch,uint64 number,uint32 attempt,bytes32 content)"
)
FINALITY_TYPE: constant(bytes32) = keccak256("Finality(string origin,uint64 epoch,uint64 number,bytes32 content)")
CONTENT_TAG: constant(Bytes[30]) = b"urn:holdfast:round-content:v1\x00"


# What is kept of a round. `facts` packs, from bit 0: size (64), epoch (64), attempt (32), final time (40), final block
# (56; 0 while open). `tally` packs: one bit a voter (64), stake voted (128).
struct Round:
    content: bytes32
    root: bytes32
    verdict_root: bytes32
    blob_id: bytes32
    facts: uint256
    tally: uint256


# Everything a full node asks of the open round of an origin, in one call.
struct OpenRound:
    number: uint256
    attempt: uint256
    current_epoch: uint256
    previous: bytes32
    previous_size: uint256
    previous_root: bytes32
    next_attempt_at: uint256
    recorded: bool
    epoch: uint256
    size: uint256
    root: bytes32
    verdict_root: bytes32
    blob_id: bytes32
    stake_for: uint256
    voters: DynArray[address, MAX_MEMBERS]


struct FinalRound:
    epoch: uint256
    attempt: uint256
    previous: bytes32
    content: bytes32
    size: uint256
    root: bytes32
    verdict_root: bytes32
    blob_id: bytes32
    final_at: uint256
    final_block: uint256


struct Bond:
    bonded: uint256
    unbonding: uint256
    release_at: uint256
    slashed: bool


event CandidateRecorded:
    origin: indexed(bytes32)
    number: indexed(uint256)
    attempt: uint256
    epoch: uint256
    content: bytes32
    proposer: address


event VoteCounted:
    origin: indexed(bytes32)
    number: indexed(uint256)
    attempt: uint256
    voter: indexed(address)
    content: bytes32


event AttemptOpened:
    origin: indexed(bytes32)
    number: indexed(uint256)
    attempt: uint256


event RoundFinalised:
    origin: indexed(bytes32)
    number: indexed(uint256)
    attempt: uint256
    epoch: uint256
    content: bytes32


event MemberSlashed:
    offender: indexed(address)
    offence: uint256  # 1: two votes, 2: two finality messages
    amount: uint256


event EpochAnnounced:
    epoch: indexed(uint256)
    starts_at: uint256


event Deposited:
    voter: indexed(address)
    amount: uint256


event Unbonding:
    voter: indexed(address)
    amount: uint256
    release_at: uint256


event Withdrawn:
    voter: indexed(address)
    amount: uint256


event GovernorOffered:
    governor: indexed(address)


event GovernorChanged:
    governor: indexed(address)


timeout: public(immutable(uint256))  # seconds an attempt has before anyone may open the next
unbonding_delay: public(immutable(uint256))  # seconds unbonded stake stays slashable
notice: public(immutable(uint256))  # seconds an epoch is announced before its start

governor: public(address)  # announces epochs; can starve settlement, cannot forge it
offered_governor: public(address)

epochs: public(uint256)  # how many were announced
epoch_start: public(HashMap[uint256, uint256])
epoch_total: public(HashMap[uint256, uint256])
epoch_list: HashMap[uint256, DynArray[address, MAX_MEMBERS]]
member: HashMap[uint256, HashMap[address, uint256]]  # stake * 256 + place + 1; 0: no member
bonds: HashMap[address, Bond]
burned: public(uint256)  # slashed stake; it stays here for ever

# Per origin, packed from bit 0: last final number (64), its size (64), open attempt (32), timer start (40), whether
# the open attempt has a candidate (1).
heads: HashMap[bytes32, uint256]
head_content: HashMap[bytes32, bytes32]  # content of the last final round
rounds: HashMap[bytes32, HashMap[uint256, Round]]


@deploy
def __init__(governor: address, timeout_s: uint256, unbonding_s: uint256, notice_s: uint256):
    assert governor != empty(address), "epoch.governor"
    assert timeout_s > 0 and timeout_s <= MAX_AHEAD, "epoch.timeout"
    assert unbonding_s <= 365 * 86400 and notice_s <= MAX_AHEAD, "epoch.delays"
    self.governor = governor
    timeout = timeout_s
    unbonding_delay = unbonding_s
    notice = notice_s


# --- signatures -------------------------------------------------------------------------------------------------------


@internal
@view
def _typed(struct_hash: bytes32) -> bytes32:
    # The chain id is read each time, so a signature never outlives a fork of the chain.
    separator: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, chain.id, self))
    return keccak256(concat(b"\x19\x01", separator, struct_hash))


@internal
@view
def _vote_digest(origin: bytes32, epoch: uint256, number: uint256, attempt: uint256, content: bytes32) -> bytes32:
    return self._typed(keccak256(abi_encode(VOTE_TYPE, origin, epoch, number, attempt, content)))


@internal
@view
def _finality_digest(origin: bytes32, epoch: uint256, number: uint256, content: bytes32) -> bytes32:
    return self._typed(keccak256(abi_encode(FINALITY_TYPE, origin, epoch, number, content)))


@internal
@pure
def _recover(digest: bytes32, signature: Bytes[65]) -> address:
    assert len(signature) == 65, "round.signature"
    r: uint256 = convert(slice(signature, 0, 32), uint256)
    s: uint256 = convert(slice(signature, 32, 32), uint256)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    assert s != 0 and s <= HALF_ORDER and (v == 27 or v == 28), "round.signature"
    signer: address = ecrecover(digest, v, r, s)
    assert signer != empty(address), "round.signature"
    return signer


@internal
@pure
def _content(
    previous: bytes32, size: uint256, root: bytes32, verdict_root: bytes32, blob_id: bytes32
) -> bytes32:
    return sha256(concat(CONTENT_TAG, previous, self._u64(size), root, verdict_root, blob_id))


@internal
@pure
def _u64(number: uint256) -> Bytes[8]:
    return slice(convert(number, bytes32), 24, 8)


# --- epochs and stake -------------------------------------------------------------------------------------------------


@internal
@view
def _current_epoch() -> uint256:
    # At most the newest epoch has not started (`epoch.pending`), so one look back is enough.
    newest: uint256 = self.epochs
    if newest != 0 and self.epoch_start[newest] > block.timestamp:
        return newest - 1
    return newest


@external
@view
def current_epoch() -> uint256:
    return self._current_epoch()


@external
@view
def epoch(number: uint256) -> (uint256, DynArray[address, MAX_MEMBERS], DynArray[uint256, MAX_MEMBERS]):
    """
    @notice Start, members and stakes of an announced epoch
    """
    assert number != 0 and number <= self.epochs, "epoch.unknown"
    members: DynArray[address, MAX_MEMBERS] = self.epoch_list[number]
    stakes: DynArray[uint256, MAX_MEMBERS] = []
    for address_: address in members:
        stakes.append(self.member[number][address_] >> 8)
    return self.epoch_start[number], members, stakes


@external
def announce_epoch(
    starts_at: uint256, members: DynArray[address, MAX_MEMBERS], stakes: DynArray[uint256, MAX_MEMBERS]
):
    """
    @notice Announce the next epoch. `starts_at` 0 means as soon as the notice allows
    """
    assert msg.sender == self.governor, "epoch.governor"
    start: uint256 = starts_at
    if start == 0:
        start = block.timestamp + notice
    newest: uint256 = self.epochs
    assert self.epoch_start[newest] <= block.timestamp, "epoch.pending"
    assert start >= block.timestamp + notice, "epoch.notice"
    assert start <= block.timestamp + notice + MAX_AHEAD, "epoch.far"
    assert len(members) != 0 and len(members) == len(stakes), "epoch.members"
    number: uint256 = newest + 1
    previous: uint256 = 0
    total: uint256 = 0
    for place: uint256 in range(len(members), bound=MAX_MEMBERS):
        voter: address = members[place]
        stake: uint256 = stakes[place]
        assert convert(voter, uint256) > previous, "epoch.order"
        previous = convert(voter, uint256)
        assert not self.bonds[voter].slashed, "epoch.slashed"
        assert stake != 0 and stake <= self.bonds[voter].bonded, "epoch.stake"
        self.member[number][voter] = (stake << 8) | (place + 1)
        total += stake
    self.epoch_list[number] = members
    self.epoch_start[number] = start
    self.epoch_total[number] = total
    self.epochs = number
    log EpochAnnounced(epoch=number, starts_at=start)


@external
def offer_governor(candidate: address):
    assert msg.sender == self.governor, "epoch.governor"
    self.offered_governor = candidate
    log GovernorOffered(governor=candidate)


@external
def accept_governor():
    assert msg.sender == self.offered_governor and msg.sender != empty(address), "epoch.governor"
    self.governor = msg.sender
    self.offered_governor = empty(address)
    log GovernorChanged(governor=msg.sender)


@external
@view
def bond(voter: address) -> Bond:
    return self.bonds[voter]


@external
@payable
def deposit(voter: address):
    """
    @notice Bond the sent value for a vote address. Only that address can ever take it out
    """
    assert msg.value != 0, "stake.amount"
    assert not self.bonds[voter].slashed, "stake.slashed"
    bonded: uint256 = self.bonds[voter].bonded + msg.value
    assert bonded <= MAX_STAKE, "stake.amount"
    self.bonds[voter].bonded = bonded
    log Deposited(voter=voter, amount=msg.value)


@external
def begin_unbonding(amount: uint256):
    """
    @notice Take stake out of what epochs can count on. All that is unbonding waits the whole delay again
    """
    assert amount != 0, "stake.amount"
    current: uint256 = self._current_epoch()
    committed: uint256 = self.member[current][msg.sender] >> 8
    newest: uint256 = self.epochs
    if newest != current:
        committed = max(committed, self.member[newest][msg.sender] >> 8)
    bonded: uint256 = self.bonds[msg.sender].bonded
    assert bonded >= committed and amount <= bonded - committed, "stake.committed"
    release_at: uint256 = block.timestamp + unbonding_delay
    self.bonds[msg.sender].bonded = bonded - amount
    self.bonds[msg.sender].unbonding += amount
    self.bonds[msg.sender].release_at = release_at
    log Unbonding(voter=msg.sender, amount=amount, release_at=release_at)


@external
@nonreentrant
def withdraw():
    """
    @notice Pay out what has been unbonding for the whole delay
    """
    amount: uint256 = self.bonds[msg.sender].unbonding
    assert amount != 0, "stake.none"
    assert block.timestamp >= self.bonds[msg.sender].release_at, "stake.locked"
    self.bonds[msg.sender].unbonding = 0
    self.bonds[msg.sender].release_at = 0
    log Withdrawn(voter=msg.sender, amount=amount)
    raw_call(msg.sender, b"", value=amount)


# --- rounds -----------------------------------------------------------------------------------------------------------


@internal
@pure
def _head(number: uint256, size: uint256, attempt: uint256, timer: uint256, recorded: uint256) -> uint256:
    return number | (size << 64) | (attempt << 128) | (timer << 160) | (recorded << 200)


@internal
@view
def _place(epoch: uint256, signer: address) -> uint256:
    packed: uint256 = self.member[epoch][signer]
    assert packed != 0, "round.member"
    return packed


@internal
def _settle(origin: bytes32, number: uint256, tally: uint256):
    """
    @dev Store the tally; if it exceeds 2/3 of the epoch's stake, the round is final and the next one opens
    """
    self.rounds[origin][number].tally = tally
    facts: uint256 = self.rounds[origin][number].facts
    epoch: uint256 = (facts >> 64) & U64
    if 3 * (tally >> 64) <= 2 * self.epoch_total[epoch]:
        return
    content: bytes32 = self.rounds[origin][number].content
    self.rounds[origin][number].facts = facts | (block.timestamp << 160) | (block.number << 200)
    self.heads[origin] = self._head(number, facts & U64, 0, block.timestamp, 0)
    self.head_content[origin] = content
    log RoundFinalised(
        origin=origin, number=number, attempt=(facts >> 128) & U32, epoch=epoch, content=content
    )


@external
def propose(
    origin: bytes32,
    epoch: uint256,
    number: uint256,
    attempt: uint256,
    previous: bytes32,
    size: uint256,
    root: bytes32,
    verdict_root: bytes32,
    blob_id: bytes32,
    signature: Bytes[65],
):
    """
    @notice Record the candidate of the open attempt. `signature` is the proposer's vote for it, and counts as such
    @param origin Keccak-256 of the log origin
    """
    head: uint256 = self.heads[origin]
    assert number == (head & U64) + 1, "round.number"
    assert attempt == (head >> 128) & U32, "round.attempt"
    assert head >> 200 == 0, "round.candidate"
    assert epoch != 0 and epoch == self._current_epoch(), "round.epoch"
    assert previous == self.head_content[origin], "round.previous"
    last_size: uint256 = (head >> 64) & U64
    assert size <= U64 and size >= max(last_size, 1), "round.size"
    if size == last_size:
        assert root == self.rounds[origin][number - 1].root, "round.root"
    content: bytes32 = self._content(previous, size, root, verdict_root, blob_id)
    signer: address = self._recover(self._vote_digest(origin, epoch, number, attempt, content), signature)
    turn: uint256 = (number + attempt) % len(self.epoch_list[epoch])
    assert signer == self.epoch_list[epoch][turn], "round.proposer"
    assert not self.bonds[signer].slashed, "round.slashed"
    self.rounds[origin][number] = Round(
        content=content,
        root=root,
        verdict_root=verdict_root,
        blob_id=blob_id,
        facts=size | (epoch << 64) | (attempt << 128),
        tally=0,
    )
    self.heads[origin] = self._head(number - 1, last_size, attempt, block.timestamp, 1)
    log CandidateRecorded(
        origin=origin, number=number, attempt=attempt, epoch=epoch, content=content, proposer=signer
    )
    log VoteCounted(origin=origin, number=number, attempt=attempt, voter=signer, content=content)
    self._settle(origin, number, (1 << turn) | ((self.member[epoch][signer] >> 8) << 64))


@external
def vote(
    origin: bytes32,
    number: uint256,
    attempt: uint256,
    content: bytes32,
    signatures: DynArray[Bytes[65], MAX_MEMBERS],
):
    """
    @notice Count votes for the recorded candidate. Anyone may relay; a vote counted before is skipped, as is one by a
        slashed member; a stranger's is refused
    """
    head: uint256 = self.heads[origin]
    assert number == (head & U64) + 1, "round.number"
    assert attempt == (head >> 128) & U32, "round.attempt"
    assert head >> 200 != 0, "round.candidate"
    assert content == self.rounds[origin][number].content, "round.content"
    epoch: uint256 = (self.rounds[origin][number].facts >> 64) & U64
    digest: bytes32 = self._vote_digest(origin, epoch, number, attempt, content)
    tally: uint256 = self.rounds[origin][number].tally
    for signature: Bytes[65] in signatures:
        signer: address = self._recover(digest, signature)
        packed: uint256 = self._place(epoch, signer)
        bit: uint256 = 1 << ((packed & 255) - 1)
        if tally & bit != 0 or self.bonds[signer].slashed:
            continue
        tally = (tally | bit) + ((packed >> 8) << 64)
        log VoteCounted(origin=origin, number=number, attempt=attempt, voter=signer, content=content)
    self._settle(origin, number, tally)


@external
def open_attempt(origin: bytes32, number: uint256, attempt: uint256):
    """
    @notice Open the next attempt when the timeout has passed since this one began or its candidate was recorded
    """
    head: uint256 = self.heads[origin]
    assert number == (head & U64) + 1, "round.number"
    assert attempt == ((head >> 128) & U32) + 1, "round.attempt"
    assert block.timestamp >= ((head >> 160) & (2**40 - 1)) + timeout, "round.timeout"
    self.heads[origin] = self._head(number - 1, (head >> 64) & U64, attempt, block.timestamp, 0)
    log AttemptOpened(origin=origin, number=number, attempt=attempt)


# --- slashing ---------------------------------------------------------------------------------------------------------


@internal
def _slash(offender: address, offence: uint256):
    assert not self.bonds[offender].slashed, "round.slashed"
    amount: uint256 = self.bonds[offender].bonded + self.bonds[offender].unbonding
    assert amount != 0, "stake.none"
    self.bonds[offender] = Bond(bonded=0, unbonding=0, release_at=0, slashed=True)
    self.burned += amount
    log MemberSlashed(offender=offender, offence=offence, amount=amount)


@external
def slash_votes(
    origin: bytes32,
    epoch: uint256,
    number: uint256,
    attempt: uint256,
    first_content: bytes32,
    first_signature: Bytes[65],
    second_content: bytes32,
    second_signature: Bytes[65],
):
    """
    @notice Burn the stake of whoever voted for two contents in one attempt
    """
    assert first_content != second_content, "round.no_offence"
    signer: address = self._recover(
        self._vote_digest(origin, epoch, number, attempt, first_content), first_signature
    )
    second: address = self._recover(
        self._vote_digest(origin, epoch, number, attempt, second_content), second_signature
    )
    assert signer == second, "round.no_offence"
    self._slash(signer, 1)


@external
def slash_finality(
    origin: bytes32,
    number: uint256,
    first_epoch: uint256,
    first_content: bytes32,
    first_signature: Bytes[65],
    second_epoch: uint256,
    second_content: bytes32,
    second_signature: Bytes[65],
):
    """
    @notice Burn the stake of whoever made two different finality messages in one round
    """
    assert first_epoch != second_epoch or first_content != second_content, "round.no_offence"
    signer: address = self._recover(
        self._finality_digest(origin, first_epoch, number, first_content), first_signature
    )
    second: address = self._recover(
        self._finality_digest(origin, second_epoch, number, second_content), second_signature
    )
    assert signer == second, "round.no_offence"
    self._slash(signer, 2)


# --- reading and proving ----------------------------------------------------------------------------------------------


@external
@view
def open_round(origin: bytes32) -> OpenRound:
    head: uint256 = self.heads[origin]
    last: uint256 = head & U64
    shown: OpenRound = empty(OpenRound)
    shown.number = last + 1
    shown.attempt = (head >> 128) & U32
    shown.current_epoch = self._current_epoch()
    shown.previous = self.head_content[origin]
    shown.previous_size = (head >> 64) & U64
    shown.previous_root = self.rounds[origin][last].root
    shown.next_attempt_at = ((head >> 160) & (2**40 - 1)) + timeout
    if head >> 200 != 0:
        candidate: Round = self.rounds[origin][last + 1]
        shown.recorded = True
        shown.epoch = (candidate.facts >> 64) & U64
        shown.size = candidate.facts & U64
        shown.root = candidate.root
        shown.verdict_root = candidate.verdict_root
        shown.blob_id = candidate.blob_id
        shown.stake_for = candidate.tally >> 64
        members: DynArray[address, MAX_MEMBERS] = self.epoch_list[shown.epoch]
        for place: uint256 in range(len(members), bound=MAX_MEMBERS):
            if candidate.tally & (1 << place) != 0:
                shown.voters.append(members[place])
    return shown


@internal
@view
def _final(origin: bytes32, number: uint256) -> Round:
    settled: Round = self.rounds[origin][number]
    assert settled.facts >> 200 != 0, "round.open"
    return settled


@external
@view
def final_round(origin: bytes32, number: uint256) -> FinalRound:
    """
    @notice A final round; reverts with `round.open` for any other
    """
    settled: Round = self._final(origin, number)
    return FinalRound(
        epoch=(settled.facts >> 64) & U64,
        attempt=(settled.facts >> 128) & U32,
        previous=self.rounds[origin][number - 1].content,
        content=settled.content,
        size=settled.facts & U64,
        root=settled.root,
        verdict_root=settled.verdict_root,
        blob_id=settled.blob_id,
        final_at=(settled.facts >> 160) & (2**40 - 1),
        final_block=settled.facts >> 200,
    )


@internal
@pure
def _included(
    leaf: bytes32, index: uint256, size: uint256, proof: DynArray[bytes32, MAX_PROOF], root: bytes32
) -> bool:
    """
    @dev RFC 9162 §2.1.3.2, steps 1 to 5
    """
    if index >= size:
        return False
    fn: uint256 = index
    sn: uint256 = size - 1
    hash: bytes32 = leaf
    for sibling: bytes32 in proof:
        if sn == 0:
            return False
        if fn & 1 == 1 or fn == sn:
            hash = sha256(concat(b"\x01", sibling, hash))
            for step: uint256 in range(64):
                if fn & 1 == 1 or fn == 0:
                    break
                fn = fn >> 1
                sn = sn >> 1
        else:
            hash = sha256(concat(b"\x01", hash, sibling))
        fn = fn >> 1
        sn = sn >> 1
    return sn == 0 and hash == root


@external
@view
def verify_entry(
    origin: bytes32, number: uint256, index: uint256, leaf_hash: bytes32, proof: DynArray[bytes32, MAX_PROOF]
) -> bool:
    """
    @notice Whether an entry is in the log at `index`, as of a final round
    @param leaf_hash SHA-256(0x00 ‖ entry)
    """
    settled: Round = self._final(origin, number)
    return self._included(leaf_hash, index, settled.facts & U64, proof, settled.root)


@external
@view
def verify_verdict(
    origin: bytes32,
    number: uint256,
    index: uint256,
    statement_digest: bytes32,
    code: String[64],
    position: uint256,
    count: uint256,
    proof: DynArray[bytes32, MAX_PROOF],
) -> bool:
    """
    @notice Whether a final round gave this verdict on the entry at log `index`
    @param position Place of the verdict among the round's `count` verdicts; both only steer the path (§5.1)
    """
    settled: Round = self._final(origin, number)
    if index > U64:
        return False
    leaf: bytes32 = sha256(concat(b"\x00", self._u64(index), statement_digest, convert(code, Bytes[64])))
    return self._included(leaf, position, count, proof, settled.verdict_root)
