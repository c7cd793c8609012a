"""``holdfast hub circuit``: have an inference node make the circuit of a model, and watch it (``inference.md`` §9(5)).
§9(5)).

Each step stands on standard error as it begins; what the circuit is, on standard output once it is ready. The node goes
on when this command is stopped.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.network import DEFAULT_STATE, parse_url, read_description, read_key, with_http
from holdfast.cli.output import clean_line, emit, emit_json
from holdfast.core import canonical
from holdfast.errors import HoldfastError, RefusedError, UnavailableError, UsageError
from holdfast.ports.settings import Secret

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP

_EVERY_S = 1.0
"""How often the node is asked how far it is."""
_OK = 200


@click.command()
@click.argument("model", metavar="LABEL")
@click.option("--state", type=click.Path(path_type=Path), default=Path(DEFAULT_STATE), show_default=True,
              help="State folder of a network that 'holdfast up' started.")  # fmt: skip
@click.option("--node", "url", metavar="URL", help="An inference node by its URL, instead of the state folder's.")
@click.option("--token", metavar="REF", help="The node's token: file:PATH or env:NAME.")
@click.option("--no-wait", is_flag=True, help="Only ask for it, and say how far it is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
def circuit(model: str, state: Path, url: str | None, token: str | None, *, no_wait: bool, as_json: bool) -> None:
    """Have an inference node make the circuit of a model, so that runs of it can be proved (mode ZKML).

    It is made once for each artifact. A model that is too large is refused with an estimate, and so is one that makes
    no circuit; a node without EZKL says what to install.
    """
    address, secret = _node(state, url, token)
    shown: tuple[str, int] | None = None
    while True:
        told = _asked(address, secret, model)
        now = (str(told["state"]), int(told["step"]))
        if now != shown:
            shown = now
            line = f"{now[0]}: step {now[1]} of {told['steps']}, {told['says']} ({told['seconds']} s)"
            click.echo(clean_line(line), err=True)
        if no_wait or told["state"] != "making":
            break
        time.sleep(_EVERY_S)
    if told["state"] == "refused":
        raise _refusal(told["code"], told["says"], told["hint"])
    if as_json:
        emit_json(told)
        return
    for line in _lines(told):
        emit(line)


def _node(state: Path, url: str | None, token: str | None) -> tuple[str, Secret]:
    """The node's base URL and its token, as given or as the state folder describes."""
    network = None if url is not None and token is not None else read_description(state)
    if url is None and network is not None:
        listed = network.given.get("inference")
        if not isinstance(listed, list) or not listed:
            raise UsageError("network.incomplete", f"{network.described_by} names no inference node", hint="--node URL")
        url = str(listed[0]["url"])
    if token is None and network is not None:
        file = network.given.get("inference_token_file")
        if not isinstance(file, str):
            raise UsageError("network.incomplete", f"{network.described_by} names no token", hint="--token file:PATH")
        token = f"file:{file}"
    return parse_url(str(url), "--node"), read_key(str(token))


def _asked(url: str, token: Secret, model: str) -> dict[str, Any]:
    """What the node says of the circuit of a model now; raises what the node refuses."""

    async def ask(http: AiohttpHTTP) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {token.reveal()}", "content-type": "application/json"}
        body = canonical.encode({"model": model})
        answer = await http.request("POST", f"{url}/v1/circuits", body=body, headers=headers)
        value = canonical.decode_object(answer.body)
        if answer.status == _OK:
            return value
        error = value.get("error")
        said = error if isinstance(error, dict) else {}
        if not isinstance(said.get("code"), str):
            raise UnavailableError("prover.answer", f"the node answered with status {answer.status}")
        raise _refusal(said["code"], said.get("message"), said.get("hint"))

    return with_http(ask)


def _refusal(code: object, message: object, hint: object, kind: type[HoldfastError] = RefusedError) -> HoldfastError:
    """What the node refuses, in its own words."""
    return kind(str(code), str(message), hint=str(hint) if hint else "")


def _lines(told: dict[str, Any]) -> list[str]:
    if told["state"] != "ready":
        return [clean_line(f"{told['model']}  {told['state']}: {told['says']}")]
    named = told["circuit"]
    return [
        clean_line(f"model             {told['model']}"),
        f"artifact          {told['artifact']}",
        f"settings          {named['settings']}",
        f"verification key  {named['verification_key']}",
        f"reference string  {told['srs']}, {named['srs']}",
        f"rows              {told['rows']} of 2^{told['log_rows']}",
    ]
