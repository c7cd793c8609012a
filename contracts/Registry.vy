# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Registry: attested nodes, admitted by the votes of full nodes (spec/registry.md)
@license Apache-2.0
@notice
    Anyone may submit a key document with evidence of the hardware that holds its keys. Members of the current epoch of
    a Rounds contract check the evidence off chain and say yes or no by EIP-712 signatures that anyone may relay; more
    than 2/3 of the stake puts it into force, more than 1/3 refuses it. A node is active while its attestation is not
    older than its kind's interval, its measurement is approved, nobody disabled it, and its heart beats.
@dev
    Rules of this file: reasons are stable dotted texts (spec/registry.md §9); evidence and key documents live in
    events, what calls need lives in storage; external calls go to the two contracts named at deployment and only read.
    Names in camelCase are OpenGradient's (spec/registry.md §10): their clients find them at this address.
    Not here: whether evidence is good (the voters), whom a verifier trusts (its trust document).
"""

MAX_MEMBERS: constant(uint256) = 64  # of an epoch (spec/round.md §3)
MAX_NODES: constant(uint256) = 100  # in force at once, of one kind: a call lists them all
MAX_SPANS: constant(uint256) = 64  # gaps in one key's attestation that are remembered
MAX_INTERVAL: constant(uint256) = 366 * 86400
ANCHOR_BLOCKS: constant(uint256) = 256  # what the BLOCKHASH instruction remembers
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # EIP-2

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
DOMAIN_NAME: constant(bytes32) = keccak256("Holdfast Registry")
DOMAIN_VERSION: constant(bytes32) = keccak256("1")
VERDICT_TYPE: constant(bytes32) = keccak256("Verdict(uint256 attestation,bytes32 evidence,bool accepted)")
CHALLENGE_TAG: constant(bytes32) = keccak256("urn:holdfast:registry-challenge:v1")

PENDING: constant(uint256) = 1
ACCEPTED: constant(uint256) = 2
REFUSED: constant(uint256) = 3
REPLACED: constant(uint256) = 4

ADMIN: constant(uint8) = 0
GUARDIAN: constant(uint8) = 1


struct Bond:
    bonded: uint256
    unbonding: uint256
    release_at: uint256
    slashed: bool


interface Rounds:
    def current_epoch() -> uint256: view
    def epoch(number: uint256) -> (uint256, DynArray[address, MAX_MEMBERS], DynArray[uint256, MAX_MEMBERS]): view
    def epoch_total(number: uint256) -> uint256: view
    def bond(voter: address) -> Bond: view


interface Signatures:
    def is_rsa_key(spki: Bytes[294]) -> bool: pure
    def verify_rsa_pss(spki: Bytes[294], message: bytes32, signature: Bytes[256]) -> bool: view


# One OHTTP key configuration with one symmetric suite; `public_key` is empty where there is none.
struct Ohttp:
    key_id: uint8
    kem_id: uint16
    kdf_id: uint16
    aead_id: uint16
    public_key: Bytes[32]
    key_config: Bytes[64]


struct Submission:
    document: Bytes[8192]  # the key document's exact bytes
    signing_key: Bytes[294]
    certificate: Bytes[2048]
    payment: address
    measurement: bytes32
    form: String[32]
    evidence: Bytes[65536]
    anchor: uint256
    ohttp: Ohttp
    statement_key: Bytes[64]  # x and y of a P-256 key, or empty


# What calls need of a submission; kept under its own hash, so that a renewal stores nothing again.
struct Profile:
    payment: address
    measurement: bytes32
    signing_key: Bytes[294]
    certificate: Bytes[2048]
    ohttp: Ohttp
    statement_key: Bytes[64]


struct Kind:
    name: String[32]
    interval: uint256  # seconds an attestation keeps a node active; 0: no such kind


struct Measurement:
    version: String[64]
    approved_at: uint256
    revoked_at: uint256
    suspect_since: uint256


struct Attestation:
    node: uint256
    document: bytes32
    evidence: bytes32
    profile: bytes32
    measurement: bytes32
    tee_id: bytes32
    predecessor: bytes32
    nonce: bytes32
    submitted_at: uint256
    submitted_block: uint256
    state: uint256
    epoch: uint256  # whose stake is counted below; 0 before the first vote
    voted_for: uint256  # one bit a member
    voted_against: uint256
    stake_for: uint256
    stake_against: uint256


struct Node:
    owner: address
    kind: uint8
    endpoint: String[256]
    attestation: uint256  # in force; 0: none yet
    pending: uint256  # waits for votes; 0: none
    registered_at: uint256
    disabled_at: uint256
    disabled_by_owner: bool
    revoked_at: uint256
    suspect_since: uint256
    withdrawn_at: uint256


# A time for which a key was attested, under one measurement.
struct Span:
    start: uint256
    end: uint256
    measurement: bytes32


struct Key:
    node: uint256
    profile: bytes32
    retired: bool
    heartbeat_at: uint256
    spans: DynArray[Span, MAX_SPANS]


struct OhttpConfig:
    keyId: uint8
    kemId: uint16
    kdfId: uint16
    aeadId: uint16
    publicKey: Bytes[32]
    keyConfig: Bytes[64]
    registeredAt: uint256


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
    ohttpConfig: OhttpConfig


struct NodeView:
    owner: address
    kind: uint8
    endpoint: String[256]
    tee_id: bytes32
    document: bytes32
    attestation: uint256
    pending: uint256
    attested_at: uint256
    attested_until: uint256
    registered_at: uint256
    heartbeat_at: uint256
    disabled_at: uint256
    disabled_by_owner: bool
    revoked_at: uint256
    suspect_since: uint256
    withdrawn_at: uint256
    active: bool


event AttestationSubmitted:
    attestation: indexed(uint256)
    node: indexed(uint256)
    owner: indexed(address)
    kind: uint8
    endpoint: String[256]
    submission: Submission


event VerdictCounted:
    attestation: indexed(uint256)
    voter: indexed(address)
    accepted: bool


event AttestationDecided:
    attestation: indexed(uint256)
    node: indexed(uint256)
    tee_id: indexed(bytes32)
    state: uint256


event KeyRetired:
    tee_id: indexed(bytes32)
    node: indexed(uint256)


event HeartbeatReceived:
    teeId: indexed(bytes32)
    timestamp: uint256


event EndpointChanged:
    node: indexed(uint256)
    endpoint: String[256]


event NodeDisabled:
    node: indexed(uint256)
    effective_at: uint256
    by_owner: bool


event NodeEnabled:
    node: indexed(uint256)


event NodeRevoked:
    node: indexed(uint256)
    suspect_since: uint256


event NodeWithdrawn:
    node: indexed(uint256)


event KindSet:
    kind: indexed(uint8)
    name: String[32]
    interval: uint256


event MeasurementApproved:
    measurement: indexed(bytes32)
    kind: indexed(uint8)
    version: String[64]
    effective_at: uint256


event MeasurementRevoked:
    measurement: indexed(bytes32)
    kind: indexed(uint8)
    effective_at: uint256
    suspect_since: uint256


event HeartbeatMaxAgeSet:
    seconds: uint256


event RoleOffered:
    role: indexed(uint8)
    candidate: indexed(address)


event RoleChanged:
    role: indexed(uint8)
    holder: indexed(address)


rounds: public(immutable(address))  # whose epochs vote
signatures: public(immutable(address))  # the stateless checks

role: public(HashMap[uint8, address])  # 0: admin, 1: guardian
offered: public(HashMap[uint8, address])
heartbeatMaxAge: public(uint256)

kinds: HashMap[uint8, Kind]
measurements: HashMap[uint8, HashMap[bytes32, Measurement]]

node_count: public(uint256)
attestation_count: public(uint256)
nodes: HashMap[uint256, Node]
attestations: HashMap[uint256, Attestation]
profiles: HashMap[bytes32, Profile]
keys: HashMap[bytes32, Key]
in_force: HashMap[uint8, DynArray[uint256, MAX_NODES]]  # nodes with an accepted attestation, by kind
owned: HashMap[address, DynArray[uint256, MAX_NODES]]


@deploy
def __init__(rounds_contract: address, signatures_contract: address, admin: address, guardian: address, max_age: uint256):
    assert rounds_contract.is_contract and signatures_contract.is_contract, "registry.contract"
    assert admin != empty(address) and guardian != empty(address), "registry.role"
    assert max_age != 0, "registry.max_age"
    rounds = rounds_contract
    signatures = signatures_contract
    self.role[ADMIN] = admin
    self.role[GUARDIAN] = guardian
    self.heartbeatMaxAge = max_age


# --- roles ------------------------------------------------------------------------------------------------------------


@internal
@view
def _require_admin():
    assert msg.sender == self.role[ADMIN], "registry.role"


@internal
@view
def _require_role():
    assert msg.sender == self.role[ADMIN] or msg.sender == self.role[GUARDIAN], "registry.role"


@external
def offer_role(role: uint8, candidate: address):
    """
    @notice First step of handing a role over: by its holder, or by the admin for the guardian
    """
    assert role <= GUARDIAN, "registry.role"
    assert msg.sender == self.role[role] or msg.sender == self.role[ADMIN], "registry.role"
    self.offered[role] = candidate
    log RoleOffered(role=role, candidate=candidate)


@external
def accept_role(role: uint8):
    assert msg.sender == self.offered[role] and msg.sender != empty(address), "registry.role"
    self.role[role] = msg.sender
    self.offered[role] = empty(address)
    log RoleChanged(role=role, holder=msg.sender)


@external
def set_kind(kind: uint8, name: String[32], interval: uint256):
    """
    @notice Add a kind of node, or change its name and how often its nodes are attested
    """
    self._require_admin()
    assert len(name) != 0 and interval != 0 and interval <= MAX_INTERVAL, "registry.kind"
    self.kinds[kind] = Kind(name=name, interval=interval)
    log KindSet(kind=kind, name=name, interval=interval)


@external
def set_heartbeat_max_age(seconds: uint256):
    self._require_admin()
    assert seconds != 0 and seconds <= MAX_INTERVAL, "registry.max_age"
    self.heartbeatMaxAge = seconds
    log HeartbeatMaxAgeSet(seconds=seconds)


@external
def approve_measurement(kind: uint8, measurement: bytes32, version: String[64], effective_at: uint256):
    """
    @notice Let nodes of a kind have this measurement from a time on (0: now). A revoked one never comes back
    """
    self._require_admin()
    assert self.kinds[kind].interval != 0, "registry.kind"
    assert measurement != empty(bytes32), "registry.measurement"
    start: uint256 = max(effective_at, block.timestamp)
    known: Measurement = self.measurements[kind][measurement]
    assert known.revoked_at == 0, "registry.revoked"
    if known.approved_at != 0:
        start = min(start, known.approved_at)
    self.measurements[kind][measurement] = Measurement(
        version=version, approved_at=start, revoked_at=0, suspect_since=0
    )
    log MeasurementApproved(measurement=measurement, kind=kind, version=version, effective_at=start)


@external
def revoke_measurement(kind: uint8, measurement: bytes32, effective_at: uint256, suspect_since: uint256):
    """
    @notice Let no node have this measurement from a time on (0: now), and believe no signature made under it since
        `suspect_since` (0: the same time). A second call only makes both earlier
    """
    self._require_role()
    known: Measurement = self.measurements[kind][measurement]
    assert known.approved_at != 0, "registry.measurement"
    end: uint256 = max(effective_at, block.timestamp)
    if known.revoked_at != 0:
        end = min(end, known.revoked_at)
    suspect: uint256 = end
    if suspect_since != 0:
        suspect = min(suspect, suspect_since)
    if known.suspect_since != 0:
        suspect = min(suspect, known.suspect_since)
    self.measurements[kind][measurement].revoked_at = end
    self.measurements[kind][measurement].suspect_since = suspect
    log MeasurementRevoked(measurement=measurement, kind=kind, effective_at=end, suspect_since=suspect)


@internal
@view
def _is_approved(kind: uint8, measurement: bytes32) -> bool:
    known: Measurement = self.measurements[kind][measurement]
    if known.approved_at == 0 or known.approved_at > block.timestamp:
        return False
    # Suspicion never begins after the revocation, so it alone decides.
    return known.suspect_since == 0 or known.suspect_since > block.timestamp


# --- submissions ------------------------------------------------------------------------------------------------------


@internal
@view
def _nonce(account: address, document: bytes32, anchor: uint256) -> bytes32:
    return keccak256(abi_encode(CHALLENGE_TAG, chain.id, self, account, document, anchor, blockhash(anchor)))


@external
@view
def challenge(account: address, document: bytes32) -> (uint256, bytes32):
    """
    @notice What evidence has to answer that `account` submits about this key document within 256 blocks
    """
    anchor: uint256 = block.number - 1
    return anchor, self._nonce(account, document, anchor)


@internal
@view
def _check_endpoint(endpoint: String[256]):
    assert len(endpoint) != 0, "registry.endpoint"


@internal
def _submit(number: uint256, submission: Submission) -> uint256:
    kind: uint8 = self.nodes[number].kind
    assert len(submission.document) != 0, "registry.document"
    assert len(submission.evidence) != 0 and len(submission.form) != 0, "registry.evidence"
    assert len(submission.certificate) != 0, "registry.certificate"
    assert staticcall Signatures(signatures).is_rsa_key(submission.signing_key), "registry.signing_key"
    assert len(submission.statement_key) == 0 or len(submission.statement_key) == 64, "registry.statement_key"
    assert self._is_approved(kind, submission.measurement), "registry.measurement"
    assert submission.anchor < block.number, "registry.anchor"
    assert submission.anchor + ANCHOR_BLOCKS >= block.number, "registry.anchor"
    tee_id: bytes32 = keccak256(submission.signing_key)
    holder: uint256 = self.keys[tee_id].node
    assert holder == 0 or holder == number, "registry.key_taken"
    assert not self.keys[tee_id].retired, "registry.key_retired"
    profile: Profile = Profile(
        payment=submission.payment,
        measurement=submission.measurement,
        signing_key=submission.signing_key,
        certificate=submission.certificate,
        ohttp=submission.ohttp,
        statement_key=submission.statement_key,
    )
    profile_id: bytes32 = keccak256(abi_encode(profile))
    if self.profiles[profile_id].measurement == empty(bytes32):
        self.profiles[profile_id] = profile
    document: bytes32 = sha256(submission.document)
    waiting: uint256 = self.nodes[number].pending
    if waiting != 0:
        self.attestations[waiting].state = REPLACED
        log AttestationDecided(
            attestation=waiting, node=number, tee_id=self.attestations[waiting].tee_id, state=REPLACED
        )
    attestation: uint256 = self.attestation_count + 1
    self.attestation_count = attestation
    self.attestations[attestation] = Attestation(
        node=number,
        document=document,
        evidence=sha256(submission.evidence),
        profile=profile_id,
        measurement=submission.measurement,
        tee_id=tee_id,
        predecessor=self.attestations[self.nodes[number].attestation].document,
        nonce=self._nonce(msg.sender, document, submission.anchor),
        submitted_at=block.timestamp,
        submitted_block=block.number,
        state=PENDING,
        epoch=0,
        voted_for=0,
        voted_against=0,
        stake_for=0,
        stake_against=0,
    )
    self.nodes[number].pending = attestation
    log AttestationSubmitted(
        attestation=attestation,
        node=number,
        owner=msg.sender,
        kind=kind,
        endpoint=self.nodes[number].endpoint,
        submission=submission,
    )
    return attestation


@external
def register(kind: uint8, endpoint: String[256], submission: Submission) -> uint256:
    """
    @notice Ask for a place as a new node, owned by the sender; returns the node's number
    """
    assert self.kinds[kind].interval != 0, "registry.kind"
    self._check_endpoint(endpoint)
    assert len(self.owned[msg.sender]) < MAX_NODES, "registry.full"
    number: uint256 = self.node_count + 1
    self.node_count = number
    self.nodes[number].owner = msg.sender
    self.nodes[number].kind = kind
    self.nodes[number].endpoint = endpoint
    self.owned[msg.sender].append(number)
    self._submit(number, submission)
    return number


@external
def attest(number: uint256, submission: Submission) -> uint256:
    """
    @notice Renew a node's attestation, or put another key document in the place of the one in force. Returns the
        attestation's number. What was pending before is replaced
    """
    self._require_owner(number)
    return self._submit(number, submission)


# --- votes ------------------------------------------------------------------------------------------------------------


@internal
@pure
def _recover(digest: bytes32, signature: Bytes[65]) -> address:
    assert len(signature) == 65, "registry.signature"
    r: uint256 = convert(slice(signature, 0, 32), uint256)
    s: uint256 = convert(slice(signature, 32, 32), uint256)
    v: uint256 = convert(slice(signature, 64, 1), uint256)
    assert s != 0 and s <= HALF_ORDER and (v == 27 or v == 28), "registry.signature"
    signer: address = ecrecover(digest, v, r, s)
    assert signer != empty(address), "registry.signature"
    return signer


@external
def vote(
    attestation: uint256, evidence: bytes32, accepted: bool, signatures_: DynArray[Bytes[65], MAX_MEMBERS]
):
    """
    @notice Count verdicts on a pending attestation by members of the current epoch. Anyone may relay. A member's first
        verdict stands: a second is skipped, as is one by a slashed member; a stranger's is refused
    """
    claim: Attestation = self.attestations[attestation]
    assert claim.node != 0, "registry.unknown"
    assert claim.state == PENDING, "registry.decided"
    assert evidence == claim.evidence, "registry.evidence"
    epoch: uint256 = staticcall Rounds(rounds).current_epoch()
    assert epoch != 0, "registry.epoch"
    start: uint256 = 0
    members: DynArray[address, MAX_MEMBERS] = []
    stakes: DynArray[uint256, MAX_MEMBERS] = []
    start, members, stakes = staticcall Rounds(rounds).epoch(epoch)
    if claim.epoch != epoch:
        # A verdict is about evidence, not about an epoch: it counts again for whoever is still a member.
        claim.epoch = epoch
        claim.voted_for = 0
        claim.voted_against = 0
        claim.stake_for = 0
        claim.stake_against = 0
    separator: bytes32 = keccak256(abi_encode(DOMAIN_TYPE, DOMAIN_NAME, DOMAIN_VERSION, chain.id, self))
    struct_hash: bytes32 = keccak256(abi_encode(VERDICT_TYPE, attestation, evidence, accepted))
    digest: bytes32 = keccak256(concat(b"\x19\x01", separator, struct_hash))
    for signature: Bytes[65] in signatures_:
        signer: address = self._recover(digest, signature)
        place: uint256 = MAX_MEMBERS
        for index: uint256 in range(len(members), bound=MAX_MEMBERS):
            if members[index] == signer:
                place = index
                break
        assert place != MAX_MEMBERS, "registry.member"
        bit: uint256 = 1 << place
        if (claim.voted_for | claim.voted_against) & bit != 0:
            continue
        bond: Bond = staticcall Rounds(rounds).bond(signer)
        if bond.slashed:
            continue
        if accepted:
            claim.voted_for |= bit
            claim.stake_for += stakes[place]
        else:
            claim.voted_against |= bit
            claim.stake_against += stakes[place]
        log VerdictCounted(attestation=attestation, voter=signer, accepted=accepted)
    total: uint256 = staticcall Rounds(rounds).epoch_total(epoch)
    if 3 * claim.stake_for > 2 * total:
        claim.state = self._put_into_force(attestation, claim)
    elif 3 * claim.stake_against > total:
        claim.state = REFUSED
    self.attestations[attestation] = claim
    if claim.state != PENDING:
        self.nodes[claim.node].pending = 0
        log AttestationDecided(
            attestation=attestation, node=claim.node, tee_id=claim.tee_id, state=claim.state
        )


@internal
def _put_into_force(attestation: uint256, claim: Attestation) -> uint256:
    """
    @dev Returns the state that the attestation gets: refused when another node was first with the same key, when the
        key was retired meanwhile, or when there is no room
    """
    kind: uint8 = self.nodes[claim.node].kind
    holder: uint256 = self.keys[claim.tee_id].node
    if (holder != 0 and holder != claim.node) or self.keys[claim.tee_id].retired:
        return REFUSED
    before: uint256 = self.nodes[claim.node].attestation
    if before == 0 and len(self.in_force[kind]) == MAX_NODES:
        return REFUSED
    end: uint256 = claim.submitted_at + self.kinds[kind].interval
    last: uint256 = len(self.keys[claim.tee_id].spans)
    extends: bool = False
    if last != 0:
        span: Span = self.keys[claim.tee_id].spans[last - 1]
        extends = span.measurement == claim.measurement and span.end >= claim.submitted_at
        end = max(end, span.end)
    if not extends and last == MAX_SPANS:
        return REFUSED
    if extends:
        self.keys[claim.tee_id].spans[last - 1].end = end
    else:
        self.keys[claim.tee_id].spans.append(
            Span(start=claim.submitted_at, end=end, measurement=claim.measurement)
        )
    self.keys[claim.tee_id].node = claim.node
    self.keys[claim.tee_id].profile = claim.profile
    self.nodes[claim.node].attestation = attestation
    if before == 0:
        self.in_force[kind].append(claim.node)
        self.nodes[claim.node].registered_at = block.timestamp
    elif self.attestations[before].tee_id != claim.tee_id:
        self._retire(self.attestations[before].tee_id, claim.node)
    return ACCEPTED


@internal
def _retire(tee_id: bytes32, number: uint256):
    """
    @dev End a key's validity now; what it signed before stays good
    """
    self.keys[tee_id].retired = True
    # Spans of two measurements overlap, so the last one is not the only one that may lie ahead.
    for index: uint256 in range(len(self.keys[tee_id].spans), bound=MAX_SPANS):
        if self.keys[tee_id].spans[index].end > block.timestamp:
            self.keys[tee_id].spans[index].end = block.timestamp
    log KeyRetired(tee_id=tee_id, node=number)


# --- a node's life ----------------------------------------------------------------------------------------------------


@internal
@view
def _require_living(number: uint256):
    assert self.nodes[number].owner != empty(address), "registry.unknown"
    assert self.nodes[number].revoked_at == 0, "registry.revoked"
    assert self.nodes[number].withdrawn_at == 0, "registry.withdrawn"


@internal
@view
def _require_owner(number: uint256):
    self._require_living(number)
    assert msg.sender == self.nodes[number].owner, "registry.owner"


@external
def heartbeat(teeId: bytes32, timestamp: uint256, signature: Bytes[256]):
    """
    @notice Relay a sign of life: RSASSA-PSS by the node's key over keccak256(teeId ‖ timestamp). Each is good once, and
        keeps the node active until it is too old by its own time, not by the time at which it came
    """
    assert self.keys[teeId].node != 0 and not self.keys[teeId].retired, "heartbeat.unknown"
    self._require_living(self.keys[teeId].node)
    assert timestamp <= block.timestamp, "heartbeat.future"
    assert timestamp + self.heartbeatMaxAge > block.timestamp, "heartbeat.old"
    assert timestamp > self.keys[teeId].heartbeat_at, "heartbeat.replayed"
    digest: bytes32 = keccak256(concat(teeId, convert(timestamp, bytes32)))
    key: Bytes[294] = self.profiles[self.keys[teeId].profile].signing_key
    assert staticcall Signatures(signatures).verify_rsa_pss(key, digest, signature), "heartbeat.signature"
    self.keys[teeId].heartbeat_at = timestamp
    log HeartbeatReceived(teeId=teeId, timestamp=timestamp)


@external
def set_endpoint(number: uint256, endpoint: String[256]):
    self._require_owner(number)
    self._check_endpoint(endpoint)
    self.nodes[number].endpoint = endpoint
    log EndpointChanged(node=number, endpoint=endpoint)


@external
def disable(number: uint256, effective_at: uint256):
    """
    @notice Send nobody to a node from a time on (0: now). By its owner, or by a role: then only a role enables it again
    """
    self._require_living(number)
    by_owner: bool = msg.sender != self.role[ADMIN] and msg.sender != self.role[GUARDIAN]
    if by_owner:
        assert msg.sender == self.nodes[number].owner, "registry.owner"
        assert self.nodes[number].disabled_at == 0 or self.nodes[number].disabled_by_owner, "registry.role"
    start: uint256 = max(effective_at, block.timestamp)
    self.nodes[number].disabled_at = start
    self.nodes[number].disabled_by_owner = by_owner
    log NodeDisabled(node=number, effective_at=start, by_owner=by_owner)


@external
def enable(number: uint256):
    self._require_living(number)
    if msg.sender != self.role[ADMIN] and msg.sender != self.role[GUARDIAN]:
        assert msg.sender == self.nodes[number].owner, "registry.owner"
        assert self.nodes[number].disabled_at == 0 or self.nodes[number].disabled_by_owner, "registry.role"
    self.nodes[number].disabled_at = 0
    self.nodes[number].disabled_by_owner = False
    log NodeEnabled(node=number)


@external
def withdraw(number: uint256):
    """
    @notice Take a node out for good; what its keys signed until now stays good
    """
    self._require_owner(number)
    self.nodes[number].withdrawn_at = block.timestamp
    self._remove(number)
    log NodeWithdrawn(node=number)


@external
def revoke(number: uint256, suspect_since: uint256):
    """
    @notice Take a node out for good, and believe nothing its keys signed since a time (0: now)
    """
    self._require_role()
    assert self.nodes[number].owner != empty(address), "registry.unknown"
    suspect: uint256 = block.timestamp
    if suspect_since != 0:
        suspect = min(suspect, suspect_since)
    known: uint256 = self.nodes[number].suspect_since
    if known != 0:
        suspect = min(suspect, known)
    self.nodes[number].suspect_since = suspect
    if self.nodes[number].revoked_at == 0:
        self.nodes[number].revoked_at = block.timestamp
        if self.nodes[number].withdrawn_at == 0:
            self._remove(number)
    log NodeRevoked(node=number, suspect_since=suspect)


@internal
def _remove(number: uint256):
    waiting: uint256 = self.nodes[number].pending
    if waiting != 0:
        self.attestations[waiting].state = REPLACED
        self.nodes[number].pending = 0
        log AttestationDecided(
            attestation=waiting, node=number, tee_id=self.attestations[waiting].tee_id, state=REPLACED
        )
    current: uint256 = self.nodes[number].attestation
    if current == 0:
        return
    self._retire(self.attestations[current].tee_id, number)
    kind: uint8 = self.nodes[number].kind
    count: uint256 = len(self.in_force[kind])
    for place: uint256 in range(count, bound=MAX_NODES):
        if self.in_force[kind][place] == number:
            self.in_force[kind][place] = self.in_force[kind][count - 1]
            self.in_force[kind].pop()
            return


# --- reading ----------------------------------------------------------------------------------------------------------


@internal
@view
def _is_enabled(number: uint256) -> bool:
    if self.nodes[number].attestation == 0:
        return False
    if self.nodes[number].revoked_at != 0 or self.nodes[number].withdrawn_at != 0:
        return False
    disabled_at: uint256 = self.nodes[number].disabled_at
    return disabled_at == 0 or disabled_at > block.timestamp


@internal
@view
def _attested_until(number: uint256) -> uint256:
    current: uint256 = self.nodes[number].attestation
    if current == 0:
        return 0
    return self.attestations[current].submitted_at + self.kinds[self.nodes[number].kind].interval


@internal
@view
def _last_sign(number: uint256) -> uint256:
    # Evidence answers a fresh challenge, so it is a sign of life too.
    current: uint256 = self.nodes[number].attestation
    return max(self.attestations[current].submitted_at, self.keys[self.attestations[current].tee_id].heartbeat_at)


@internal
@view
def _is_active(number: uint256) -> bool:
    if not self._is_enabled(number) or self._attested_until(number) <= block.timestamp:
        return False
    current: uint256 = self.nodes[number].attestation
    if not self._is_approved(self.nodes[number].kind, self.attestations[current].measurement):
        return False
    return self._last_sign(number) + self.heartbeatMaxAge > block.timestamp


@external
@view
def kind(number: uint8) -> Kind:
    return self.kinds[number]


@external
@view
def measurement(kind: uint8, digest: bytes32) -> Measurement:
    return self.measurements[kind][digest]


@external
@view
def nodes_in_force(kind: uint8) -> DynArray[uint256, MAX_NODES]:
    return self.in_force[kind]


@external
@view
def nodes_of(owner: address) -> DynArray[uint256, MAX_NODES]:
    return self.owned[owner]


@external
@view
def node_of_key(tee_id: bytes32) -> uint256:
    """
    @notice The node that a key belongs or belonged to; 0: none
    """
    return self.keys[tee_id].node


@external
@view
def key_spans(tee_id: bytes32) -> DynArray[Span, MAX_SPANS]:
    return self.keys[tee_id].spans


@external
@view
def attestation(number: uint256) -> Attestation:
    return self.attestations[number]


@external
@view
def node(number: uint256) -> NodeView:
    """
    @notice One node; the owner is empty for a number that nobody has
    """
    found: Node = self.nodes[number]
    current: uint256 = found.attestation
    return NodeView(
        owner=found.owner,
        kind=found.kind,
        endpoint=found.endpoint,
        tee_id=self.attestations[current].tee_id,
        document=self.attestations[current].document,
        attestation=current,
        pending=found.pending,
        attested_at=self.attestations[current].submitted_at,
        attested_until=self._attested_until(number),
        registered_at=found.registered_at,
        heartbeat_at=self.keys[self.attestations[current].tee_id].heartbeat_at,
        disabled_at=found.disabled_at,
        disabled_by_owner=found.disabled_by_owner,
        revoked_at=found.revoked_at,
        suspect_since=found.suspect_since,
        withdrawn_at=found.withdrawn_at,
        active=self._is_active(number),
    )


@internal
@view
def _valid_at(tee_id: bytes32, at: uint256) -> bool:
    number: uint256 = self.keys[tee_id].node
    if number == 0 or at > block.timestamp:
        return False
    suspect: uint256 = self.nodes[number].suspect_since
    if suspect != 0 and at >= suspect:
        return False
    kind: uint8 = self.nodes[number].kind
    for span: Span in self.keys[tee_id].spans:
        if span.start <= at and at < span.end:
            suspect = self.measurements[kind][span.measurement].suspect_since
            return suspect == 0 or at < suspect
    return False


@external
@view
def validAt(teeId: bytes32, at: uint256) -> bool:
    """
    @notice Whether a key was good at a time: attested then, under a measurement and by a node not suspect since
    """
    return self._valid_at(teeId, at)


@external
@view
def statement_key(tee_id: bytes32) -> Bytes[64]:
    """
    @notice Coordinates of the P-256 statement key beside a key; empty where it has none
    """
    return self.profiles[self.keys[tee_id].profile].statement_key


# --- OpenGradient's reads (spec/registry.md §10) ----------------------------------------------------------------------


@internal
@view
def _info(tee_id: bytes32) -> TEEInfo:
    number: uint256 = self.keys[tee_id].node
    assert number != 0, "registry.unknown"
    profile: Profile = self.profiles[self.keys[tee_id].profile]
    registered_at: uint256 = self.keys[tee_id].spans[0].start
    return TEEInfo(
        owner=self.nodes[number].owner,
        paymentAddress=profile.payment,
        endpoint=self.nodes[number].endpoint,
        publicKey=profile.signing_key,
        tlsCertificate=profile.certificate,
        pcrHash=profile.measurement,
        teeType=self.nodes[number].kind,
        enabled=self._is_tee_enabled(tee_id),
        registeredAt=registered_at,
        lastHeartbeatAt=self._last_sign(number),
        ohttpConfig=OhttpConfig(
            keyId=profile.ohttp.key_id,
            kemId=profile.ohttp.kem_id,
            kdfId=profile.ohttp.kdf_id,
            aeadId=profile.ohttp.aead_id,
            publicKey=profile.ohttp.public_key,
            keyConfig=profile.ohttp.key_config,
            registeredAt=registered_at,
        ),
    )


@internal
@view
def _is_tee_enabled(tee_id: bytes32) -> bool:
    return not self.keys[tee_id].retired and self._is_enabled(self.keys[tee_id].node)


@external
@view
def getActiveTEEs(teeType: uint8) -> DynArray[TEEInfo, MAX_NODES]:
    listed: DynArray[TEEInfo, MAX_NODES] = []
    for number: uint256 in self.in_force[teeType]:
        if self._is_active(number):
            listed.append(self._info(self.attestations[self.nodes[number].attestation].tee_id))
    return listed


@external
@view
def getTEE(teeId: bytes32) -> TEEInfo:
    return self._info(teeId)


@external
@view
def getTEEsByType(teeType: uint8) -> DynArray[bytes32, MAX_NODES]:
    listed: DynArray[bytes32, MAX_NODES] = []
    for number: uint256 in self.in_force[teeType]:
        listed.append(self.attestations[self.nodes[number].attestation].tee_id)
    return listed


@external
@view
def getEnabledTEEs(teeType: uint8) -> DynArray[bytes32, MAX_NODES]:
    listed: DynArray[bytes32, MAX_NODES] = []
    for number: uint256 in self.in_force[teeType]:
        if self._is_enabled(number):
            listed.append(self.attestations[self.nodes[number].attestation].tee_id)
    return listed


@external
@view
def getTEEsByOwner(owner: address) -> DynArray[bytes32, MAX_NODES]:
    listed: DynArray[bytes32, MAX_NODES] = []
    for number: uint256 in self.owned[owner]:
        if self.nodes[number].attestation != 0:
            listed.append(self.attestations[self.nodes[number].attestation].tee_id)
    return listed


@external
@view
def isTEEEnabled(teeId: bytes32) -> bool:
    return self._is_tee_enabled(teeId)


@external
@view
def isTEEActive(teeId: bytes32) -> bool:
    return not self.keys[teeId].retired and self._is_active(self.keys[teeId].node)


@external
@view
def getTEEPublicKey(teeId: bytes32) -> Bytes[294]:
    assert self.keys[teeId].node != 0, "registry.unknown"
    return self.profiles[self.keys[teeId].profile].signing_key


@external
@pure
def computeTEEId(publicKey: Bytes[1024]) -> bytes32:
    return keccak256(publicKey)


@external
@view
def isValidTEEType(typeId: uint8) -> bool:
    return self.kinds[typeId].interval != 0


@external
@view
def isPCRApproved(teeType: uint8, pcrHash: bytes32) -> bool:
    return self._is_approved(teeType, pcrHash)
