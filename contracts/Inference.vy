# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize codesize
"""
@title Inference: runs of models that contracts ask for (spec/onchain.md)
@license Apache-2.0
@notice
    Anybody asks, an account that had a run made fulfils, and is paid. Fulfilling takes proof that a final round of
    `Rounds` calls the whole closure of that run `ok`, and that its signed statements are about exactly the parts that
    were asked and the parts that are handed over. Only then is the asker's target called.
@dev
    A request is its own name: its id is a hash of everything about it, so one word of storage a request says how it
    stands and callers show the rest again. Money is credited and taken out by `withdraw`, so nobody's code can stop
    an ending. The order of checks is part of the interface (spec/onchain.md §8).
    Not here: what labels and paths of parts have to look like, and who may sign which statement. Full nodes check
    those before they call a statement `ok`.
"""

MAX_DOCUMENT: constant(uint256) = 16384  # bytes of packed parts (spec/onchain.md §2)
MAX_PARTS: constant(uint256) = 128
MAX_SALTS: constant(uint256) = 2048  # 16 bytes a part
MAX_PAYLOAD: constant(uint256) = 3072  # of a statement that is shown; they have less than 2,000
MAX_PROOF: constant(uint256) = 64  # as in Rounds.vy
MAX_GAS: constant(uint256) = 10_000_000  # a call to a target
MAX_PERIOD: constant(uint256) = 30 * 86400  # seconds a request may stay open
AFTER_CALL: constant(uint256) = 40_000  # gas that ends a fulfilment once its target has used all it was given

ALL: constant(uint256) = max_value(uint256)
EACH: constant(uint256) = max_value(uint256) // 255  # 1 in each byte

OPEN: constant(uint256) = 1
FULFILLED: constant(uint256) = 2
REFUTED: constant(uint256) = 3
REFUSED: constant(uint256) = 4
EXPIRED: constant(uint256) = 5
CANCELLED: constant(uint256) = 6
RECALLED: constant(uint256) = 7

FINAL: constant(uint8) = 1  # every statement of the closure is `ok` in a final round: what a target is told (§6)
PROVED: constant(uint8) = 2  # and so is the proof of the computation


struct Ask:
    number: uint256  # counts the requests of this contract
    asker: address
    node: address  # the one account that may be paid; empty: whoever fulfils
    artifact: bytes32  # the one artifact that may have run; empty: what the label means
    target: address  # who is called with the result; empty: nobody
    gas_limit: uint256  # what that call is given
    fee: uint256
    deadline: uint256  # unix seconds: no fulfilment after
    document: bytes32  # Keccak-256 of the packed parts


struct Verdict:
    number: uint256  # of the round
    index: uint256  # of the entry in the log
    position: uint256  # of the verdict among the round's
    count: uint256
    proof: DynArray[bytes32, MAX_PROOF]


struct Shown:
    order: Bytes[MAX_PARTS]  # which part of the request each leaf of its tree is
    request_salts: Bytes[MAX_SALTS]
    response_salts: Bytes[MAX_SALTS]
    run: Bytes[36]
    computed: Bytes[MAX_PAYLOAD]  # the inference node's statement
    computed_at: uint256  # where its `event` begins
    request_at: uint256  # where the `request` of its `computation` begins
    closing: Bytes[MAX_PAYLOAD]  # the gateway's closing statement
    closing_at: uint256  # where its `event` begins
    route: Bytes[MAX_PAYLOAD]  # the gateway's route
    route_at: uint256  # where its `nonce` begins
    computed_verdict: Verdict
    route_verdict: Verdict
    closing_verdict: Verdict
    proved: Bytes[MAX_PAYLOAD]  # the inference node's statement that it proved the run; empty: none is shown
    proved_at: uint256  # where its `event` begins
    proved_verdict: Verdict


# What a fulfilment rested on: the digests of the closing, computed and route statements, and the rounds that were shown.
struct Closure:
    closing: bytes32
    computed: bytes32
    route: bytes32
    closing_round: uint256
    computed_round: uint256
    route_round: uint256


interface Rounds:
    def verify_verdict(
        origin: bytes32,
        number: uint256,
        index: uint256,
        statement_digest: bytes32,
        code: String[64],
        position: uint256,
        count: uint256,
        proof: DynArray[bytes32, MAX_PROOF],
    ) -> bool: view


event Requested:
    id: indexed(bytes32)
    asker: indexed(address)
    node: indexed(address)
    ask: Ask
    document: Bytes[MAX_DOCUMENT]


event Fulfilled:
    id: indexed(bytes32)
    payee: indexed(address)
    mode: uint8
    proof: uint8  # 1: final, 2: and proved
    called: bool  # whether the target took the result
    closure: Closure
    response: Bytes[MAX_DOCUMENT]


event Ended:
    id: indexed(bytes32)
    state: indexed(uint256)
    reason: String[64]  # a code


event Recalled:
    id: indexed(bytes32)
    statement: indexed(bytes32)
    code: String[64]


event Withdrawn:
    account: indexed(address)
    amount: uint256


rounds: public(immutable(address))
origin: public(immutable(bytes32))  # Keccak-256 of the log's origin

requests: public(uint256)
states: HashMap[bytes32, uint256]
closures: HashMap[bytes32, bytes32]  # Keccak-256 of a fulfilled request's Closure
owed: public(HashMap[address, uint256])
fulfilling_round: public(transient(uint256))  # while a target is called: the last round that its result rests on


@deploy
def __init__(rounds_contract: address, log_origin: bytes32):
    assert rounds_contract.is_contract, "ask.rounds"
    rounds = rounds_contract
    origin = log_origin


# --- asking -----------------------------------------------------------------------------------------------------------


@internal
@view
def _id(ask: Ask) -> bytes32:
    return keccak256(abi_encode(chain.id, self, ask))


@external
@payable
def request(
    document: Bytes[MAX_DOCUMENT],
    artifact: bytes32,
    node: address,
    target: address,
    gas_limit: uint256,
    period: uint256,
) -> bytes32:
    """
    @notice Ask for a run. The value sent is its fee
    @param document The parts of the request document, packed (spec/onchain.md §2)
    @param artifact The artifact that has to run; empty for whatever the label means
    @param node Who alone may fulfil; empty for anybody
    @param target Who is called with the result, with `gas_limit`; empty for nobody
    @param period Seconds until the request expires
    @return The request's id
    """
    assert len(document) != 0, "ask.document"
    assert period != 0 and period <= MAX_PERIOD, "ask.period"
    assert target != self and (target != empty(address) or gas_limit == 0), "ask.target"
    assert gas_limit <= MAX_GAS, "ask.gas"
    number: uint256 = self.requests + 1
    self.requests = number
    ask: Ask = Ask(
        number=number,
        asker=msg.sender,
        node=node,
        artifact=artifact,
        target=target,
        gas_limit=gas_limit,
        fee=msg.value,
        deadline=block.timestamp + period,
        document=keccak256(document),
    )
    id: bytes32 = self._id(ask)
    self.states[id] = OPEN
    log Requested(id=id, asker=msg.sender, node=node, ask=ask, document=document)
    return id


@external
@view
def state(id: bytes32) -> uint256:
    """
    @notice 0 unknown, 1 open, 2 fulfilled, 3 refuted, 4 refused, 5 expired, 6 cancelled, 7 recalled
    """
    return self.states[id]


@external
@view
def nonce(id: bytes32, payee: address) -> bytes32:
    """
    @notice What a run has to name as its nonce, in hex, for `payee` to fulfil a request with it
    """
    return self._nonce(id, payee)


@internal
@pure
def _nonce(id: bytes32, payee: address) -> bytes32:
    return keccak256(abi_encode(id, payee))


# --- parts ------------------------------------------------------------------------------------------------------------


@internal
@pure
def _starts(document: Bytes[MAX_DOCUMENT]) -> DynArray[uint256, MAX_PARTS]:
    """
    @dev Where each part begins: length of the label (2 bytes), label, length of the bytes (2), bytes. No label holds a
        zero, which ends it in a leaf: that leaf would be one of other bytes too
    """
    assert len(document) >= 32, "ask.document"
    starts: DynArray[uint256, MAX_PARTS] = []
    at: uint256 = 0
    for part: uint256 in range(MAX_PARTS):
        if at == len(document):
            break
        starts.append(at)
        for field: uint256 in range(2):
            assert at + 2 <= len(document), "ask.document"
            at += 2 + convert(slice(document, at, 2), uint256)
            assert at <= len(document), "ask.document"
            place: uint256 = starts[part] + 2
            for word: uint256 in range(MAX_DOCUMENT // 32):
                if field == 1 or place >= at:
                    break
                start: uint256 = min(place, len(document) - 32)
                x: uint256 = convert(extract32(document, start), uint256) << (8 * (place - start))
                if at - place < 32:
                    x |= ALL >> (8 * (at - place))  # what is no label is filled up
                # There is a zero exactly where taking 1 from each byte sets the highest bit of one that had it unset.
                assert unsafe_sub(x, EACH) & ~x & (128 * EACH) == 0, "ask.document"
                place += 32
    assert at == len(document), "ask.document"
    return starts


@internal
@pure
def _tree(document: Bytes[MAX_DOCUMENT], salts: Bytes[MAX_SALTS], order: Bytes[MAX_PARTS]) -> (bytes32, uint256):
    """
    @dev Root and size of the RFC 9162 tree over the salted leaves (parts.md §4) of a document's parts. `order` says
        which part each leaf is; empty: as they stand. Each part is a leaf once
    """
    starts: DynArray[uint256, MAX_PARTS] = self._starts(document)
    count: uint256 = len(starts)
    assert count != 0 and len(salts) == 16 * count, "ask.salts"
    assert len(order) == 0 or len(order) == count, "ask.order"
    seen: uint256 = 0
    stack: bytes32[8] = empty(bytes32[8])
    depth: uint256 = 0
    for leaf: uint256 in range(count, bound=MAX_PARTS):
        part: uint256 = leaf
        if len(order) != 0:
            part = convert(slice(order, leaf, 1), uint256)
            assert part < count and seen & (1 << part) == 0, "ask.order"
            seen |= 1 << part
        label_at: uint256 = starts[part] + 2
        label_size: uint256 = convert(slice(document, starts[part], 2), uint256)
        bytes_at: uint256 = label_at + label_size + 2
        bytes_size: uint256 = convert(slice(document, label_at + label_size, 2), uint256)
        hash: bytes32 = sha256(
            concat(
                b"\x00",
                slice(document, label_at, label_size),
                b"\x00",
                slice(salts, 16 * leaf, 16),
                slice(document, bytes_at, bytes_size),
            )
        )
        turn: uint256 = leaf + 1
        for merge: uint256 in range(8):
            if turn & 1 == 1:
                break
            depth -= 1
            hash = sha256(concat(b"\x01", stack[depth], hash))
            turn = turn >> 1
        stack[depth] = hash
        depth += 1
    root: bytes32 = stack[depth - 1]
    for merge: uint256 in range(8):
        if depth == 1:
            break
        depth -= 1
        root = sha256(concat(b"\x01", stack[depth - 1], root))
    return root, count


@internal
@pure
def _part(document: Bytes[MAX_DOCUMENT], position: uint256) -> (Bytes[MAX_DOCUMENT], Bytes[MAX_DOCUMENT]):
    starts: DynArray[uint256, MAX_PARTS] = self._starts(document)
    assert position < len(starts), "ask.position"
    at: uint256 = starts[position]
    size: uint256 = convert(slice(document, at, 2), uint256)
    bytes_size: uint256 = convert(slice(document, at + 2 + size, 2), uint256)
    return slice(document, at + 2, size), slice(document, at + 4 + size, bytes_size)


@external
@pure
def part(document: Bytes[MAX_DOCUMENT], position: uint256) -> (Bytes[MAX_DOCUMENT], Bytes[MAX_DOCUMENT]):
    """
    @notice Label and bytes of one part, for targets that read a result
    """
    return self._part(document, position)


# --- statements -------------------------------------------------------------------------------------------------------


@internal
@pure
def _half(number: uint256) -> bytes32:
    """
    @dev Hexadecimal digits of 16 bytes: nibbles spread over 32 bytes, then all made digits at once
    """
    x: uint256 = number
    x = (x | (x << 64)) & (ALL // (2**64 + 1))  # each half of the number in a half of its own, and so on
    x = (x | (x << 32)) & (ALL // (2**32 + 1))
    x = (x | (x << 16)) & (ALL // (2**16 + 1))
    x = (x | (x << 8)) & (ALL // (2**8 + 1))
    x = (x | (x << 4)) & (15 * EACH)
    letters: uint256 = ((x + 6 * EACH) >> 4) & EACH  # 1 in each byte above 9
    return convert(x + 48 * EACH + 39 * letters, bytes32)  # "0" is 48, and "a" lies 39 behind "9" + 1


@internal
@pure
def _hex(digest: bytes32) -> Bytes[64]:
    number: uint256 = convert(digest, uint256)
    return concat(self._half(number >> 128), self._half(number & (2**128 - 1)))


@internal
@pure
def _tree_text(root: bytes32, size: uint256) -> Bytes[161]:
    return concat(b'{"root":"', self._hex(root), b'","size":', convert(uint2str(size), Bytes[78]), b"}")


@internal
@pure
def _holds(payload: Bytes[MAX_PAYLOAD], at: uint256, text: Bytes[1024]) -> bool:
    """
    @dev Whether a text stands at a place. A statement is canonical JSON with a closed list of members whose strings
        hold no quotation mark, so a member that stands anywhere in it is that member
    """
    if at > MAX_PAYLOAD or at + len(text) > len(payload):
        return False
    return keccak256(slice(payload, at, len(text))) == keccak256(text)


@internal
@pure
def _ends_as_execution(payload: Bytes[MAX_PAYLOAD], root: bytes32) -> bool:
    """
    @dev Whether a statement is an execution with this response as its subject (statement.md §2)
    """
    text: Bytes[256] = concat(
        b'},"predicateType":"urn:holdfast:execution:v1","subject":[{"digest":{"holdfast-parts-v1":"',
        self._hex(root),
        b'"},"name":"response"}]}',
    )
    return len(payload) >= len(text) and self._holds(payload, len(payload) - len(text), text)


@internal
@pure
def _body(
    event_: Bytes[9], nonce: bytes32, parents: Bytes[256], root: bytes32, size: uint256, run: Bytes[36]
) -> Bytes[1024]:
    """
    @dev The members `event` to `run` of an execution statement, as they stand in a row
    """
    return concat(
        b'"event":"',
        event_,
        b'","marks":null,"nonce":"',
        self._hex(nonce),
        b'","outcome":"complete","parents":[',
        parents,
        b'],"response":',
        self._tree_text(root, size),
        b',"run":"',
        run,
        b'","upstream":',
    )


@internal
@pure
def _parents(first: bytes32, second: bytes32) -> Bytes[256]:
    low: bytes32 = first
    high: bytes32 = second
    if convert(first, uint256) > convert(second, uint256):
        low = second
        high = first
    return concat(b'"', self._hex(low), b'","', self._hex(high), b'"')


@internal
@view
def _require_verdict(statement: bytes32, code: String[64], shown: Verdict):
    """
    @dev Reverts with `round.open` where the round is not final
    """
    assert staticcall Rounds(rounds).verify_verdict(
        origin, shown.number, shown.index, statement, code, shown.position, shown.count, shown.proof
    ), "ask.verdict"


@internal
@pure
def _read_response(document: Bytes[MAX_DOCUMENT], artifact: bytes32) -> uint8:
    """
    @dev The mode that the response names. `artifact` and `mode` are the first two parts of every response (§5)
    """
    label: Bytes[MAX_DOCUMENT] = b""
    content: Bytes[MAX_DOCUMENT] = b""
    label, content = self._part(document, 0)
    assert label == b"artifact|-|-|s|/artifact", "ask.response"
    assert artifact == empty(bytes32) or content == self._hex(artifact), "ask.artifact"
    label, content = self._part(document, 1)
    assert label == b"field|-|-|s|/mode", "ask.response"
    if content == b"VANILLA":
        return 0
    if content == b"ZKML":
        return 1
    assert content == b"TEE", "ask.response"
    return 2


# --- ending -----------------------------------------------------------------------------------------------------------


@internal
def _take(ask: Ask) -> bytes32:
    """
    @dev The id of a request that is open
    """
    id: bytes32 = self._id(ask)
    assert self.states[id] == OPEN, "ask.open"
    return id


@internal
def _end(id: bytes32, ask: Ask, state: uint256, reason: String[64]):
    """
    @dev End a request without a result; its fee goes back
    """
    self.states[id] = state
    self.owed[ask.asker] += ask.fee
    log Ended(id=id, state=state, reason=reason)


@internal
@view
def _closure(
    ask: Ask,
    nonce: bytes32,
    document: Bytes[MAX_DOCUMENT],
    response: Bytes[MAX_DOCUMENT],
    shown: Shown,
) -> Closure:
    """
    @dev What the run rested on, once its statements bind these documents and name this nonce
    """
    root: bytes32 = empty(bytes32)
    size: uint256 = 0
    assert len(shown.run) == 36, "ask.statement"
    root, size = self._tree(document, shown.request_salts, shown.order)
    assert self._holds(
        shown.computed, shown.request_at, concat(b'"request":', self._tree_text(root, size), b',"runtime":')
    ), "ask.request"
    root, size = self._tree(response, shown.response_salts, b"")
    assert self._holds(
        shown.computed, shown.computed_at, self._body(b"computed", nonce, b"", root, size, shown.run)
    ) and self._ends_as_execution(shown.computed, root), "ask.statement"
    computed: bytes32 = sha256(shown.computed)
    route: bytes32 = sha256(shown.route)
    assert self._holds(
        shown.route,
        shown.route_at,
        concat(b'"nonce":"', self._hex(nonce), b'","parents":["', self._hex(computed), b'"],"request":'),
    ), "ask.route"
    parents: Bytes[256] = self._parents(computed, route)
    assert self._holds(
        shown.closing, shown.closing_at, self._body(b"generated", nonce, parents, root, size, shown.run)
    ) and self._ends_as_execution(shown.closing, root), "ask.closing"
    return Closure(
        closing=sha256(shown.closing),
        computed=computed,
        route=route,
        closing_round=shown.closing_verdict.number,
        computed_round=shown.computed_verdict.number,
        route_round=shown.route_verdict.number,
    )


@internal
@view
def _is_proved(nonce: bytes32, computed: bytes32, shown: Shown) -> bool:
    """
    @dev Whether a proof of the run is shown; one that does not hold reverts. `proved` is about the run and response of
        its only parent (inference.md §5), or no round calls it `ok`
    """
    if len(shown.proved) == 0:
        return False
    assert self._holds(
        shown.proved,
        shown.proved_at,
        concat(
            b'"event":"proved","marks":null,"nonce":"',
            self._hex(nonce),
            b'","outcome":"complete","parents":["',
            self._hex(computed),
            b'"],"proof":"',
        ),
    ), "ask.proved"
    self._require_verdict(sha256(shown.proved), "ok", shown.proved_verdict)
    return True


@external
@nonreentrant
def fulfil(
    ask: Ask,
    payee: address,
    document: Bytes[MAX_DOCUMENT],
    response: Bytes[MAX_DOCUMENT],
    shown: Shown,
):
    """
    @notice Hand over the result of a run whose closure is final and `ok`
    @param payee Whom the run was made for: its nonce names them, so whoever submits this changes nothing about it
    """
    id: bytes32 = self._take(ask)
    assert block.timestamp <= ask.deadline, "ask.deadline"
    assert ask.node == empty(address) or ask.node == payee, "ask.node"
    assert keccak256(document) == ask.document, "ask.document"
    nonce: bytes32 = self._nonce(id, payee)
    closure: Closure = self._closure(ask, nonce, document, response, shown)
    mode: uint8 = self._read_response(response, ask.artifact)
    self._require_verdict(closure.computed, "ok", shown.computed_verdict)
    self._require_verdict(closure.route, "ok", shown.route_verdict)
    self._require_verdict(closure.closing, "ok", shown.closing_verdict)
    proof: uint8 = FINAL
    if self._is_proved(nonce, closure.computed, shown):
        proof = PROVED
    self.states[id] = FULFILLED
    self.closures[id] = keccak256(abi_encode(closure))
    self.owed[payee] += ask.fee
    called: bool = False
    if ask.target != empty(address):
        rests_on: uint256 = max(closure.closing_round, max(closure.computed_round, closure.route_round))
        if proof == PROVED:
            rests_on = max(rests_on, shown.proved_verdict.number)
        self.fulfilling_round = rests_on
        called = self._call(ask, id, response, closure.closing, mode, proof)
        self.fulfilling_round = 0
    log Fulfilled(id=id, payee=payee, mode=mode, proof=proof, called=called, closure=closure, response=response)


@internal
def _call(
    ask: Ask, id: bytes32, response: Bytes[MAX_DOCUMENT], statement: bytes32, mode: uint8, proof: uint8
) -> bool:
    """
    @dev Call the target with all the gas it was promised, or nothing happens at all (EIP-150 holds back 1/64). What it
        returns is not even copied, and what it does about it is its own affair
    """
    data: Bytes[MAX_DOCUMENT + 228] = abi_encode(
        id,
        response,
        statement,
        mode,
        proof,
        method_id=method_id("on_inference(bytes32,bytes,bytes32,uint8,uint8)"),
    )
    # The log that follows costs 8 gas a byte, so what has to be left behind grows with the response.
    assert (msg.gas * 63) // 64 >= ask.gas_limit + AFTER_CALL + 16 * len(response), "ask.gas"
    return raw_call(ask.target, data, gas=ask.gas_limit, revert_on_failure=False)


@external
def cancel(ask: Ask):
    """
    @notice Take an open request back. The asker alone can
    """
    id: bytes32 = self._take(ask)
    assert msg.sender == ask.asker, "ask.asker"
    self._end(id, ask, CANCELLED, "ask.cancelled")


@external
def refuse(ask: Ask, reason: String[64]):
    """
    @notice Say that a request will not be served. Only the account that it names can
    """
    id: bytes32 = self._take(ask)
    assert msg.sender == ask.node, "ask.node"
    self._end(id, ask, REFUSED, reason)


@external
def expire(ask: Ask):
    """
    @notice End a request whose deadline is over
    """
    id: bytes32 = self._take(ask)
    assert block.timestamp > ask.deadline, "ask.deadline"
    self._end(id, ask, EXPIRED, "ask.expired")


@external
def refute(
    ask: Ask, payee: address, payload: Bytes[MAX_PAYLOAD], nonce_at: uint256, code: String[64], verdict: Verdict
):
    """
    @notice End a request whose run was refuted. Only its asker and the account that it names can: anybody can log a
        false statement under the nonce of somebody else's request
    """
    id: bytes32 = self._take(ask)
    assert msg.sender == ask.asker or msg.sender == ask.node, "ask.node"
    nonce: bytes32 = self._nonce(id, payee)
    assert self._holds(payload, nonce_at, concat(b'"nonce":"', self._hex(nonce), b'"')), "ask.statement"
    assert self._is_refutation(code), "ask.code"
    self._require_verdict(sha256(payload), code, verdict)
    self._end(id, ask, REFUTED, code)


@external
def recall(ask: Ask, closure: Closure, statement: bytes32, code: String[64], verdict: Verdict):
    """
    @notice Say of a fulfilled request that a later round refuted what it rested on. Anybody can; no call follows
    """
    id: bytes32 = self._id(ask)
    assert self.states[id] == FULFILLED, "ask.fulfilled"
    assert self.closures[id] == keccak256(abi_encode(closure)), "ask.closure"
    before: uint256 = closure.closing_round
    if statement == closure.computed:
        before = closure.computed_round
    elif statement == closure.route:
        before = closure.route_round
    else:
        assert statement == closure.closing, "ask.closure"
    assert self._is_refutation(code), "ask.code"
    assert verdict.number > before, "ask.earlier"
    self._require_verdict(statement, code, verdict)
    self.states[id] = RECALLED
    log Recalled(id=id, statement=statement, code=code)


@internal
@pure
def _is_refutation(code: String[64]) -> bool:
    return len(code) > 8 and slice(code, 0, 8) == "refuted:"


@external
@nonreentrant
def withdraw(account: address):
    """
    @notice Pay out what an account is owed: fees earned, fees that went back. Anybody may have it paid
    """
    amount: uint256 = self.owed[account]
    assert amount != 0, "ask.owed"
    self.owed[account] = 0
    log Withdrawn(account=account, amount=amount)
    raw_call(account, b"", value=amount)
