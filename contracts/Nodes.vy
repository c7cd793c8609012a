# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
"""
@title Nodes: what nodes say of themselves
@license Apache-2.0
@notice
    Any address may say which key document, endpoint and roles it stands for, change it, and take it back. Nothing here
    is checked and nothing here admits anybody: a verifier believes its trust document (spec/trust.md), and reads this
    registry only to learn where somebody admitted can be reached.
"""

MAX_PAGE: constant(uint256) = 100


struct Node:
    document: bytes32  # SHA-256 of the key document
    roles: uint256  # one bit a role, as spec/round.md §8 numbers them
    endpoint: String[256]


event Registered:
    account: indexed(address)
    document: bytes32
    roles: uint256
    endpoint: String[256]


event Withdrawn:
    account: indexed(address)


count: public(uint256)
accounts: public(HashMap[uint256, address])  # place, from 1, to account
place: HashMap[address, uint256]  # 0: not registered
nodes: HashMap[address, Node]


@external
def register(document: bytes32, roles: uint256, endpoint: String[256]):
    """
    @notice Say, or change, what the sender stands for
    """
    assert document != empty(bytes32), "nodes.document"
    assert roles != 0 and roles < 2**32, "nodes.roles"
    if self.place[msg.sender] == 0:
        self.count += 1
        self.place[msg.sender] = self.count
        self.accounts[self.count] = msg.sender
    self.nodes[msg.sender] = Node(document=document, roles=roles, endpoint=endpoint)
    log Registered(account=msg.sender, document=document, roles=roles, endpoint=endpoint)


@external
def withdraw():
    """
    @notice Take back what the sender said. The last account moves into the free place
    """
    at: uint256 = self.place[msg.sender]
    assert at != 0, "nodes.unknown"
    last: address = self.accounts[self.count]
    self.accounts[at] = last
    self.place[last] = at
    self.accounts[self.count] = empty(address)
    self.place[msg.sender] = 0
    self.count -= 1
    self.nodes[msg.sender] = empty(Node)
    log Withdrawn(account=msg.sender)


@external
@view
def node(account: address) -> Node:
    """
    @notice What an account says of itself; an empty document means nothing
    """
    return self.nodes[account]


@external
@view
def page(start: uint256) -> DynArray[address, MAX_PAGE]:
    """
    @notice Up to 100 accounts from place `start` (1 is the first)
    """
    listed: DynArray[address, MAX_PAGE] = []
    for offset: uint256 in range(MAX_PAGE):
        at: uint256 = start + offset
        if at == 0 or at > self.count:
            break
        listed.append(self.accounts[at])
    return listed
