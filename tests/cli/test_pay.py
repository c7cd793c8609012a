"""``holdfast pay`` without a network: what it refuses, what it remembers, and what it tells of a run's bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.spending_sqlite import Spending, SpendingRecord
from holdfast.cli.pay import _address_of
from holdfast.core.paying import AssetLimit
from holdfast.core.payments import PaymentDocument
from tests.cli.conftest import Holdfast
from tests.helpers.network import RUN, bundle_of
from tests.helpers.payment_documents import ASSET, CHAIN, CREDIT, PAYEE, Paid, document, following
from tests.helpers.payments import payer

KEY = "11" * 32
WALLET = """\
[wallet]
key = "env:HOLDFAST_TEST_WALLET"
record = "{folder}/spent.sqlite"

[[wallet.assets]]
network = "eip155:31337"
asset = "{asset}"
name = "OPG"
decimals = 18
per_request = "2"
per_day = "5"
"""
TOKEN = 10**18


@pytest.fixture
def wallet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, holdfast: Holdfast) -> Path:
    """A wallet file; its key comes from the environment."""
    monkeypatch.setenv("HOLDFAST_TEST_WALLET", KEY)
    path = tmp_path / "wallet.toml"
    path.write_text(WALLET.format(folder=tmp_path, asset=ASSET))
    return path


def entry(**changes: Any) -> Spending:
    """Something that the wallet signed."""
    signed = Spending(
        "01" * 32,
        1_790_000_000,
        _address_of(KEY),
        CHAIN,
        ASSET,
        "upto",
        5 * TOKEN // 2,
        PAYEE,
        1_790_000_600,
        "/v1",
        b"{}",
    )
    return dataclasses.replace(signed, **changes)


def enter(folder: Path, *runs: str, capability: str | None = None, **changes: Any) -> None:
    """Put an entry into the wallet's record."""
    record, signed = SpendingRecord(folder / "spent.sqlite"), entry(**changes)
    record.reserve(signed, AssetLimit(CHAIN, ASSET, 10**30, 10**30))
    for run in runs:
        record.served(signed.identity, run, signed.at, capability)
    record.close()


def bundle(folder: Path, *steps: Paid) -> str:
    """A bundle with these steps of a payment."""
    items = [item for step in steps for item in step.items()]
    path = folder / "bundle.json"
    path.write_bytes(bundle_of(items))
    return str(path)


# Refusals


def test_a_wallet_that_is_not_there_is_said_so(holdfast: Holdfast) -> None:
    for command in ("history", "balance", "approve"):
        done = holdfast("pay", command)
        assert done.code == 2
        assert "wallet.none" in done.err
        assert "holdfast pay faucet" in done.err


def test_an_asset_without_an_endpoint_is_not_approved(holdfast: Holdfast, wallet: Path) -> None:
    done = holdfast("pay", "approve", "--wallet", str(wallet))
    assert (done.code, "chain.endpoint" in done.err) == (2, True)
    done = holdfast("pay", "approve", "--wallet", str(wallet), "--asset", "0x" + "00" * 20)
    assert (done.code, "pay.asset" in done.err) == (2, True)


def test_nobody_gives_money_away_where_it_is_real(holdfast: Holdfast, tmp_path: Path) -> None:
    (tmp_path / ".holdfast").mkdir()
    description = tmp_path / ".holdfast" / "network.json"
    description.write_text(json.dumps({"gateway": "http://127.0.0.1:1", "development": False}))
    done = holdfast("pay", "faucet")
    assert (done.code, "pay.development" in done.err) == (1, True)
    description.write_text(json.dumps({"gateway": "http://127.0.0.1:1", "development": True}))
    done = holdfast("pay", "faucet")
    assert (done.code, "pay.none" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('per_request = "2"', 'per_request = "2.0"', "pricing.decimal"),
        ('per_request = "2"', 'per_request = "-2"', "pricing.decimal"),
        ('per_request = "2"', "per_request = 2", "settings.type"),
        ('per_day = "5"', "", "settings.missing"),
        ('per_day = "5"', 'per_day = "0.0000000000000000001"', "pricing.decimal"),
        ("decimals = 18", "decimals = 2\n", None),
        ("eip155:31337", "solana:mainnet", "x402.network"),
        (ASSET, "0x12", "evm.address"),
        ('name = "OPG"', 'name = "OPG"\nunlimited = true', "settings.unknown"),
    ],
)
def test_a_wallets_file_is_read_strictly(
    holdfast: Holdfast, wallet: Path, old: str, new: str, code: str | None
) -> None:
    wallet.write_text(wallet.read_text().replace(old, new))
    done = holdfast("pay", "history", "--wallet", str(wallet))
    assert (done.code, done.err) == (0, "") if code is None else (done.code != 0 and code in done.err)


def test_a_key_that_is_none_is_refused_and_never_shown(
    holdfast: Holdfast, wallet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_TEST_WALLET", "secret" * 9)
    done = holdfast("pay", "history", "--wallet", str(wallet))
    assert (done.code, "wallet.key" in done.err) == (2, True)
    assert "secret" not in done.err + done.out


def test_chat_pays_only_where_it_is_told_to(holdfast: Holdfast, wallet: Path) -> None:
    where = ("--gateway", "http://127.0.0.1:1", "--once", "?")
    for more in (("--wallet", str(wallet)), ("--pay-at-most", "1")):
        done = holdfast("chat", *where, *more)
        assert (done.code, "chat.pay" in done.err) == (2, True)
    done = holdfast("chat", *where, "--pay", "--private", "--wallet", str(wallet))
    assert (done.code, "chat.pay" in done.err) == (2, True)
    done = holdfast("chat", *where, "--pay", "--pay-at-most", "much", "--wallet", str(wallet))
    assert "pricing.decimal" in done.err


# The record


def test_history_tells_what_can_be_taken_and_for_which_runs(holdfast: Holdfast, wallet: Path, tmp_path: Path) -> None:
    assert holdfast("pay", "history", "--wallet", str(wallet)).out == "nothing was signed yet\n"
    enter(tmp_path, RUN)
    enter(tmp_path, identity="02" * 32, scheme="exact", amount=TOKEN)
    enter(tmp_path, identity="03" * 32, payer=payer(9).address)
    out = holdfast("pay", "history", "--wallet", str(wallet)).out
    assert f"at most 2.5 OPG to {PAYEE}" in out
    assert f"paid for run {RUN}" in out
    assert "  1 OPG to" in out
    assert "may still be taken" in out
    told = json.loads(holdfast("pay", "history", "--wallet", str(wallet), "--json").out)
    assert [item["amount"] for item in told["signed"]] == [str(TOKEN), str(5 * TOKEN // 2)]


def test_balance_counts_a_day_and_needs_no_network(holdfast: Holdfast, wallet: Path) -> None:
    told = json.loads(holdfast("pay", "balance", "--wallet", str(wallet), "--json").out)
    [asset] = told["wallet"]["assets"]
    assert told["credit"] is None
    assert asset["balance"] == "unknown (no rpc)"
    assert (asset["signed"], asset["per_day"]) == ("0 OPG", "5 OPG")


def test_an_address_or_a_key_names_whom_to_fund() -> None:
    assert _address_of("0x" + KEY) == _address_of(KEY)
    assert _address_of("AB" * 20) == "0x" + "ab" * 20


# What a run cost


def steps() -> tuple[Paid, Paid]:
    charged = Paid(document("charged"))
    return charged, following(charged, "captured")


def test_a_run_is_explained_line_by_line(holdfast: Holdfast, tmp_path: Path) -> None:
    done = holdfast("pay", "explain", RUN, "--bundle", bundle(tmp_path, *steps()))
    assert done.code == 0, done.err
    for words in (
        "Charged at",
        "Asked: at most 500 base units",
        "Authorised: 500 base units",
        "4 input tokens at 2.5 USD for 1000000",
        "Taken: 70 base units",
        "It is no evidence of: artifact, computation, enclave, inputs, judgement, privacy, settlement.",
    ):
        assert words in done.out, words


def test_credit_is_explained_as_credit(holdfast: Holdfast, tmp_path: Path) -> None:
    done = holdfast("pay", "explain", RUN, "--bundle", bundle(tmp_path, Paid(document("charged", **CREDIT))))
    assert "Paid from an account's credit" in done.out


def test_a_run_without_documents_cost_nothing_yet(holdfast: Holdfast, tmp_path: Path) -> None:
    done = holdfast("pay", "explain", RUN, "--bundle", bundle(tmp_path))
    assert (done.code, "has no payment document" in done.out) == (0, True)


def test_a_charge_that_does_not_add_up_does_not_hold(holdfast: Holdfast, tmp_path: Path) -> None:
    found = document("charged")
    assert found.charge is not None
    dearer: PaymentDocument = document("charged", charge=dataclasses.replace(found.charge, amount=400))
    done = holdfast("pay", "explain", RUN, "--bundle", bundle(tmp_path, Paid(dearer)))
    assert done.code == 1
    assert "This does not hold: payment_document.sum" in done.out


def test_a_document_that_no_statement_commits_to_does_not_hold(holdfast: Holdfast, tmp_path: Path) -> None:
    charged, other = Paid(document("charged")), document("charged", payer="0x" + "77" * 20)
    path = tmp_path / "bundle.json"
    opening = charged.opening_item(document=other.raw.decode())
    path.write_bytes(bundle_of([charged.statement_item(), opening]))
    done = holdfast("pay", "explain", RUN, "--bundle", str(path), "--json")
    assert done.code == 1
    assert json.loads(done.out)["steps"][0]["trouble"]["code"] == "payment_document.record"


def test_the_bundle_has_to_be_of_the_run(holdfast: Holdfast, tmp_path: Path) -> None:
    other = RUN[:-1] + ("0" if RUN[-1] != "0" else "1")
    done = holdfast("pay", "explain", other, "--bundle", bundle(tmp_path))
    assert (done.code, "answer.run" in done.err) == (1, True)
    done = holdfast("pay", "explain", RUN)
    assert (done.code, "network.none" in done.err) == (2, True)


def test_what_the_wallet_signed_stands_beside_it(holdfast: Holdfast, wallet: Path, tmp_path: Path) -> None:
    enter(tmp_path, RUN)
    done = holdfast("pay", "explain", RUN, "--bundle", bundle(tmp_path, *steps()), "--wallet", str(wallet))
    assert "This wallet's own record of what it signed:" in done.out
    assert "at most 2.5 OPG" in done.out


@pytest.mark.parametrize(("paid_at", "shown"), [("http://127.0.0.1:9", True), ("http://127.0.0.1:90", False)])
def test_a_kept_capability_is_shown_to_the_gateway_that_was_paid_alone(
    holdfast: Holdfast, wallet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paid_at: str, shown: bool
) -> None:
    enter(tmp_path, RUN, capability="ab" * 32, resource=f"{paid_at}/v1/chat/completions")
    seen: list[str | None] = []

    def ask(network: object, capability: str | None, question: object) -> bytes:
        seen.append(capability)
        return Path(bundle(tmp_path, *steps())).read_bytes()

    monkeypatch.setattr("holdfast.cli.pay.ask_gateway", ask)
    done = holdfast("pay", "explain", RUN, "--gateway", "http://127.0.0.1:9", "--wallet", str(wallet))
    assert done.code == 0, done.err
    assert seen == ["ab" * 32 if shown else None]
