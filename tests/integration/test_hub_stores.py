"""A hub that keeps files in S3, sealed: what is pushed is pulled, and the bucket holds no byte of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from holdfast.cli.main import cli
from holdfast.errors import UsageError
from holdfast.nodes.hub.__main__ import make_parts
from holdfast.nodes.hub.config import HubConfig
from holdfast.ports.settings import Secret
from tests.helpers import s3
from tests.helpers.live_hub import live_hub

pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3.server() as url:
        s3.client(url).create_bucket(Bucket=s3.BUCKET)
        yield url


@pytest.mark.skipif(not s3.PYTHON, reason=s3.WHY_NOT)
def test_models_go_through_a_bucket_as_ciphertext(s3_url: str, tmp_path: Path) -> None:
    settings = {
        "store": "s3", "s3_endpoint": s3_url, "s3_bucket": s3.BUCKET, "s3_prefix": "hub/", "s3_access_key": "test",
        "s3_secret_key": Secret("test", "test"), "store_secret": Secret("73" * 32, "test"),
    }  # fmt: skip
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "recipe.txt").write_bytes(b"a secret recipe\n" * 1_000_000)
    with live_hub(tmp_path, **settings) as hub:

        def run(*arguments: object) -> dict[str, object]:
            result = CliRunner().invoke(cli, ["hub", *map(str, arguments), "--json", *hub.options])
            assert result.exit_code == 0, (result.output, result.exception)
            found: dict[str, object] = json.loads(result.stdout)
            return found

        run("push", folder, "acme/risk", "--why", "the first")
        run("pull", "acme/risk", tmp_path / "pulled")
    assert (tmp_path / "pulled" / "recipe.txt").read_bytes() == (folder / "recipe.txt").read_bytes()
    bucket = s3.Bucket(s3_url)
    objects = bucket.all_names()
    assert len(objects) == 2, "16 MB are two parts"
    assert all(name.startswith("hub/") for name in objects)
    assert not [name for name in objects if b"recipe" in (bucket.load(name) or b"")]
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [path for path in kept if b"secret recipe" in path.read_bytes()]


@pytest.mark.parametrize(("store", "code"), [("s3", "hub.store"), ("walrus", "hub.store")])
def test_a_store_that_nobody_names_is_refused(store: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_parts(HubConfig(store=store), None, None)  # type: ignore[arg-type]
    assert caught.value.code == code
