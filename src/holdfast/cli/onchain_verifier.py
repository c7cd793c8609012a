"""``holdfast onchain deploy-verifier`` and ``verify-proof``: a circuit's verifier contract (``inference.md`` §5(8)).

Both take a run's bundle, and of it only a proof whose document is what the run's statements commit to. The contract is
made here: EZKL writes its Solidity for the key and the reference string, and a ``solc`` of the user's compiles it. What
is printed of its code lets anybody compare it with one that was made elsewhere from the same bundle.

Not covered: who signed the statements (``holdfast verify``), and whose the reference string is.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from holdfast.adapters.compiler_solc import compile_solidity, find_solc
from holdfast.adapters.evm_rpc import EvmConnection
from holdfast.adapters.signer_secp256k1 import load_signer
from holdfast.adapters.verifier_evm import ask_verifier, deploy_verifier, read_code, refuse_large
from holdfast.cli.chain_accounts import account_option
from holdfast.cli.network import DEFAULT_STATE, find_network, parse_url
from holdfast.cli.output import emit, emit_json, read_file, write_file
from holdfast.cli.proofs import find_string, open_ezkl
from holdfast.core import evm
from holdfast.core.bundles import parse_bundle
from holdfast.core.encoding import sha256_hex
from holdfast.core.proofs import ProofDocument
from holdfast.core.statements import Execution
from holdfast.errors import RefusedError, UsageError
from holdfast.verifier.appraisal import appraise
from holdfast.verifier.policy import DEFAULT_POLICY, parse_policy

Result = TypeVar("Result")
Command = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Shown:
    """A proof out of a bundle."""

    statement: str
    """Digest of the ``proved`` statement."""
    document: ProofDocument
    srs_kind: str


def connect(url: str) -> EvmConnection:
    """The chain's JSON-RPC; one place, so that tests bring a chain of their own."""
    return EvmConnection(url)


def proof_options(command: Command) -> Command:
    """Add the bundle, ``--proof``, ``--state``, ``--chain`` and ``--json``; the command receives ``shown`` and the
    chain's URL as ``chain``."""

    @click.argument("bundle", metavar="BUNDLE")
    @click.option("--proof", "digest", metavar="DIGEST", help="Statement whose proof it is, where BUNDLE has several.")
    @click.option("--state", metavar="DIR", help=f"State folder of 'holdfast up'.  [default: {DEFAULT_STATE}]")
    @click.option("--chain", metavar="URL", help="JSON-RPC of the chain, instead of a state folder.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
    @functools.wraps(command)
    def found(bundle: str, digest: str | None, state: str | None, chain: str | None, **options: Any) -> Any:
        return command(shown=find_proof(read_file(bundle), digest), chain=_chain(state, chain), **options)

    return found


def _chain(state: str | None, chain: str | None) -> str:
    if chain is not None:
        if state is not None:
            raise UsageError("network.which", "--state and --chain name two chains; give one")
        return parse_url(chain, "--chain")
    network = find_network(state, None, None)
    if network.chain is None:
        raise UsageError("network.incomplete", f"{network.described_by} names no chain", hint="--chain URL")
    return network.chain


def find_proof(bundle: bytes, digest: str | None) -> Shown:
    """The one proof of a bundle whose document opens its statement's record, or that of statement ``digest``; raises
    ``onchain.proof``."""
    parsed = parse_bundle(bundle)
    evidence = appraise(parsed, None, parse_policy(DEFAULT_POLICY), parsed.exported_at).evidence
    found = {name: document for name, document in evidence.proofs.items() if digest in (None, name)}
    if len(found) != 1:
        many = f"{len(found)} proofs" if found else "no proof whose document holds"
        hint = "--proof DIGEST chooses one" if found else "export it with the run's capability once the run is proved"
        raise RefusedError("onchain.proof", f"the bundle has {many}", hint=hint)
    ((name, document),) = found.items()
    body = evidence.statements[name].statement.body
    circuit = body.computation.circuit if isinstance(body, Execution) and body.computation else None
    return Shown(name, document, circuit.srs if circuit else "development")


def _with_chain(url: str, work: Callable[[EvmConnection], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        connection = connect(url)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


@click.command("deploy-verifier")
@click.option("--srs", metavar="FILE", type=click.Path(path_type=Path), help="Reference string, or a folder of them.")
@click.option("--ezkl", metavar="PYTHON", type=click.Path(path_type=Path), help="Python that has EZKL.  [default: this one]")  # noqa: E501  # fmt: skip
@click.option("--solc", metavar="FILE", type=click.Path(path_type=Path), help="Solidity's compiler, or npm's solc.js.  [default: solc]")  # noqa: E501  # fmt: skip
@click.option("--source", metavar="FILE", type=click.Path(path_type=Path), help="Keep the Solidity there.")
@account_option
@proof_options
def deploy(
    shown: Shown,
    chain: str,
    srs: Path | None,
    ezkl: Path | None,
    solc: Path | None,
    source: Path | None,
    account: Path,
    as_json: bool,
) -> None:
    """Make the contract that verifies proofs of the circuit in BUNDLE, and create it on a chain.

    EZKL and a Solidity compiler are yours to install.
    """
    compiler, checker, signer = find_solc(solc), open_ezkl(shown.document, ezkl), load_signer(account, "account")
    string = find_string(srs, shown.document.srs)
    settings, key = shown.document.settings.raw, shown.document.verification_key
    click.echo("writing the contract", err=True)
    text = asyncio.run(checker.contract(settings, key, string))
    if source is not None:
        write_file(str(source), text.encode())
    click.echo("compiling it", err=True)
    made = compile_solidity(compiler, text)
    refuse_large(made.code)
    click.echo("creating it", err=True)
    address, included = _with_chain(chain, lambda connection: deploy_verifier(connection, signer, made))
    value = {
        "contract": address,
        "block": included.block,
        "code_keccak256": evm.keccak256(made.code).hex(),
        "code_bytes": len(made.code),
        "settings": sha256_hex(settings),
        "verification_key": sha256_hex(key),
        "srs": shown.document.srs,
        "srs_kind": shown.srs_kind,
    }
    if as_json:
        emit_json(value)
        return
    emit(f"contract          {address}, created in block {included.block}")
    emit(f"code              {value['code_keccak256']}, {len(made.code)} bytes")
    emit(f"settings          {value['settings']}")
    emit(f"verification key  {value['verification_key']}")
    emit(f"reference string  {shown.srs_kind}, {shown.document.srs}")


@click.command("verify-proof")
@click.option("--verifier", metavar="ADDRESS", required=True, help="The contract.")
@proof_options
def verify(shown: Shown, chain: str, verifier: str, as_json: bool) -> int:
    """Ask a verifier contract about the proof in BUNDLE; prints true, or false and exits 1.

    The answer is the contract's, for the circuit that is in its code: compare its digest with what deploy-verifier
    printed. No transaction is sent.
    """
    address, document = evm.parse_address(verifier.lower()), shown.document

    async def ask(connection: EvmConnection) -> tuple[bytes, bool]:
        code = await read_code(connection, address)
        return code, await ask_verifier(connection, address, document.proof, document.instances)

    code, accepted = _with_chain(chain, ask)
    digest = evm.keccak256(code).hex()
    if as_json:
        emit_json(
            {"accepted": accepted, "contract": address, "code_keccak256": digest, "statement": shown.statement}
            | {"run": document.run, "srs_kind": shown.srs_kind}
        )
    else:
        emit("true" if accepted else "false")
        emit(f"contract   {address}")
        emit(f"code       {digest}, {len(code)} bytes")
        emit(f"run        {document.run}")
        emit(f"statement  {shown.statement}, reference string {shown.srs_kind}")
    return 0 if accepted else 1
