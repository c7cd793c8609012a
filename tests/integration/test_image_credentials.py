"""Images with content credentials, from the settings of a gateway to whoever finds the file (``spec/images.md`` §6)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.adapters.credentials_c2pa import installed
from holdfast.core.content_credentials import carries_credentials
from holdfast.errors import UsageError
from holdfast.nodes.gateway import __main__ as gateway
from holdfast.nodes.gateway.__main__ import build
from tests.helpers.live_gateway import KEY, make_state, serving, settings
from tests.helpers.processes import holdfast

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow]


def keys(folder: Path) -> dict[str, Any]:
    """The settings of a gateway with keys that the command made."""
    made = holdfast("keys", "credentials", "--out", str(folder), "--name", "a gateway", "--json")
    assert made.returncode == 0, made.stderr
    key, chain, _ = json.loads(made.stdout)["files"]
    return {"c2pa_key": Path(key), "c2pa_chain": Path(chain)}


@pytest.mark.skipif(not installed(), reason="c2pa-python is not installed")
def test_a_saved_image_names_its_run_and_another_one_is_told_from_it(tmp_path: Path) -> None:
    more, state = keys(tmp_path / "keys"), tmp_path / "state"
    anchors = ["--c2pa-anchors", str(tmp_path / "keys" / "c2pa-anchor.pem")]
    with serving(state, render=True, **more) as gateway_:
        (tmp_path / "key").write_text(KEY)
        (tmp_path / "key").chmod(0o600)
        reach = ["--gateway", gateway_.url, "--key", f"file:{tmp_path / 'key'}"]
        picture = tmp_path / "picture.png"
        made = holdfast("image", "a red circle", *reach, *anchors, "--size", "64x64", "-o", str(picture), "--json")
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        said = told["credentials"]
        assert (said["holds"], said["anchored"], said["names"], said["run"]) == (True, True, "this_image", told["run"])
        assert said["signer"] == "a gateway"
        assert carries_credentials("png", picture.read_bytes())
        [route] = [
            item["predicate"]
            for item in gateway_.statements(told["run"])
            if item["predicateType"] == "urn:holdfast:route:v1"
        ]
        assert route["rewrites"] == ["image-credentials"]

        opened = ["--capability", told["capability"]]
        again = holdfast("run", "image", told["run"], *reach, *opened, "-o", str(tmp_path / "again.png"))
        assert again.returncode == 0, again.stderr
        assert "they hold; no anchor of yours vouches for its key; they name this image of this run" in again.stderr

        bundle = str(tmp_path / "bundle.json")
        assert holdfast("run", "export", told["run"], *reach, *opened, "-o", bundle).returncode == 0
        verified = holdfast("verify", bundle, "--json")
        [image] = json.loads(verified.stdout)["images"]
        assert (image["path"], image["holds"], image["names"]) == ("/data/0/b64_json", True, "this_image")
        assert "image   /data/0/b64_json" in holdfast("verify", bundle).stdout


def test_keys_for_credentials_are_made_once(tmp_path: Path) -> None:
    keys(tmp_path / "keys")
    again = holdfast("keys", "credentials", "--out", str(tmp_path / "keys"), "--name", "a gateway")
    assert again.returncode == 1
    assert "keys.exists" in again.stderr
    unnamed = holdfast("keys", "credentials", "--out", str(tmp_path / "more"), "--name", "a\nb")
    assert unnamed.returncode == 2
    assert not (tmp_path / "more").exists()


def test_a_gateway_does_not_start_with_credentials_that_it_cannot_put_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more, layout = keys(tmp_path / "keys"), make_state(tmp_path / "state")
    more |= {"enclave": "none", "enclave_root": None}
    with pytest.raises(UsageError) as caught:
        build(settings(layout, **(more | {"c2pa_chain": None})))
    assert (caught.value.code, caught.value.param) == ("gateway.c2pa", "c2pa_chain")
    monkeypatch.setattr(gateway, "installed", lambda: False)
    with pytest.raises(UsageError) as caught:
        build(settings(layout, **more))
    assert (caught.value.code, caught.value.param) == ("gateway.c2pa", "c2pa_key")
    assert "holdfast[c2pa]" in str(caught.value.hint)
