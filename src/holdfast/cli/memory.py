"""``holdfast memory``: a person's rows at a memory node from the terminal.

Rules: the key is ``--key file:PATH`` or ``env:NAME``, else the file that ``memory key new`` left in the state folder;
it is never an argument by itself and never printed. Passphrases are asked for, or read from a file. What rows say comes
from outside and is shown as such; every row is shown with how it stands.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from holdfast.adapters.key_files import create_secret
from holdfast.cli.network import DEFAULT_STATE, Network, parse_url, read_description, read_key, with_http
from holdfast.cli.output import clean_line, emit, emit_json, read_file, write_file, written_option
from holdfast.client.errors import parse_error
from holdfast.core import canonical
from holdfast.core.memory import FRESH_DAYS, KINDS, STANDINGS
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.adapters.http_aiohttp import AiohttpHTTP

KEY_FILE = "memory.key"
"""Of the person who tries a network out; ``memory key new`` writes it below ``keys``."""
MAX_ANSWER_BYTES = 1 << 30
_TIMEOUT_S = 120.0
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document instead of text.")
_PASSPHRASE = click.option(
    "--passphrase", metavar="REF", help="file:PATH or env:NAME of the passphrase; without it you are asked."
)


@dataclass(frozen=True, slots=True)
class MemoryPlace:
    """Where a memory node is, and whose rows are meant."""

    url: str
    key: str | None
    network: Network | None
    key_path: Path

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON of a good answer. Raises what the node answers otherwise, and ``memory.key_missing``."""
        return canonical.decode(self.fetch(method, path, body, headers))

    def fetch(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        """The bytes of a good answer."""
        given = {"x-api-key": self._key()} if headers is None else dict(headers)
        raw = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()

        async def send(http: AiohttpHTTP) -> bytes:
            answer = await http.request(
                method,
                f"{self.url}/v1{path}",
                body=raw,
                headers={**given, "content-type": "application/json"},
                timeout_s=_TIMEOUT_S,
                max_bytes=MAX_ANSWER_BYTES,
            )
            if answer.status >= 400:
                raise parse_error(answer.status, answer.body, "the memory node")
            return answer.body

        return with_http(send)

    def _key(self) -> str:
        if self.key is None:
            raise UsageError(
                "memory.key_missing",
                "nobody says whose rows are meant",
                hint="'holdfast memory key new' makes a key; or --key file:PATH, --key env:NAME",
            )
        return self.key


def memory_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Say which node and whose rows; the command gets a :class:`MemoryPlace`."""

    @click.option("--state", type=click.Path(path_type=Path), default=Path(DEFAULT_STATE), show_default=True,
                  help="State folder of a network that 'holdfast up' started.")  # fmt: skip
    @click.option("--memory", "url", metavar="URL", help="A memory node by its URL, instead of the state folder's.")
    @click.option("--key", metavar="REF", help="API key of the rows: file:PATH or env:NAME.")
    @functools.wraps(command)
    def found(*arguments: Any, state: Path, url: str | None, key: str | None, **more: Any) -> Any:
        network = None if url is not None else read_description(state)
        if network is not None:
            url = network.given.get("memory")
            if not isinstance(url, str):
                raise UsageError(
                    "network.incomplete",
                    f"{network.described_by} names no memory node",
                    hint="--memory URL, or holdfast up --fresh",
                )
        path = state / "keys" / KEY_FILE
        given = None if key is None else read_key(key).reveal()
        if given is None and network is not None and path.exists():
            given = read_key(f"file:{path}").reveal()
        place = MemoryPlace(parse_url(str(url), "--memory"), given, network, path)
        return command(*arguments, place=place, **more)

    return found


def _passphrase(reference: str | None, prompt: str = "Passphrase", *, new: bool = False) -> str:
    if reference is not None:
        return read_key(reference).reveal()
    found: str = click.prompt(prompt, hide_input=True, confirmation_prompt=new, err=True)
    return found


def _path(identifier: str, act: str = "") -> str:
    return f"/memories/{quote(identifier, safe='')}{act}"


def _line(row: Mapping[str, Any]) -> str:
    return clean_line(f"{row['standing']:<12} {row['id']}  {row['memory']}")


def _show_rows(rows: list[dict[str, Any]]) -> None:
    if not rows:
        emit("no such rows")
    for row in rows:
        emit(_line(row))
        for other in row.get("contradictions", []):
            emit(clean_line(f"{'':<12} against {other['id']}  {other['memory']}"))


def _said(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(row)
    else:
        emit(_line(row))


@click.group()
def memory() -> None:
    """Keep, find and judge what is remembered of you, take it along, forget it."""


@memory.command("add")
@click.argument("text", metavar="TEXT")
@memory_options
@click.option("--category", "categories", multiple=True, type=click.Choice(list(FRESH_DAYS)), help="May be repeated.")
@click.option("--type", "kind", type=click.Choice(KINDS), help="Whether it lasts or is of now.")
@click.option(
    "--slot", metavar="NAME", help="What there is one of at a time: another claim in it contradicts this one."
)
@click.option("--from", "derived_from", multiple=True, metavar="ID", help="A row that it was derived from.")
@click.option("--find", "finds", is_flag=True, help="Find claims in TEXT, as in a conversation.")
@_AS_JSON
def add(
    text: str,
    place: MemoryPlace,
    categories: tuple[str, ...],
    kind: str | None,
    slot: str | None,
    derived_from: tuple[str, ...],
    finds: bool,
    as_json: bool,
) -> None:
    """Write TEXT down as one row, in your own words."""
    if finds:
        messages = [{"role": "user", "content": text}]
        told = place.ask("POST", "/memories", {"messages": messages, "source": "cli"})
        if as_json:
            emit_json(told)
        else:
            _show_rows(told["memories"])
        return
    body: dict[str, Any] = {"memory": text, "source": "cli"}
    given = {"categories": list(categories), "type": kind, "slot": slot, "derived_from": list(derived_from)}
    body |= {name: value for name, value in given.items() if value}
    _said(place.ask("POST", "/memories", body), as_json=as_json)


@memory.command("search")
@click.argument("query", metavar="QUERY")
@memory_options
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="Most rows.")
@click.option(
    "--standing", "standings", multiple=True, type=click.Choice(STANDINGS[:-1]), help="Only rows that stand so."
)
@click.option("--facts", is_flag=True, help="Only rows that may be put before a model: earned and aging.")
@_AS_JSON
def search(query: str, place: MemoryPlace, limit: int, standings: tuple[str, ...], facts: bool, as_json: bool) -> None:
    """Find rows for QUERY, closest first, each with what contradicts it."""
    body: dict[str, Any] = {"query": query, "limit": limit}
    if facts or standings:
        body["standings"] = ["earned", "aging"] if facts else list(standings)
    told = place.ask("POST", "/memories/search", body)
    if as_json:
        emit_json(told)
    else:
        _show_rows(told["memories"])


@memory.command("ls")
@memory_options
@click.option("--standing", type=click.Choice(STANDINGS), help="Only rows that stand so.  [default: all but withdrawn]")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True, help="Which hundred.")
@_AS_JSON
def ls(place: MemoryPlace, standing: str | None, page: int, as_json: bool) -> None:
    """List rows, the newest first."""
    query = {"page": page, "page_size": 100, **({"standing": standing} if standing else {})}
    told = place.ask("GET", f"/memories?{urlencode(query)}")
    if as_json:
        emit_json(told)
        return
    _show_rows(told["data"])
    where = told["pagination"]
    if where["has_next"]:
        emit(f"page {where['page']} of {where['total_pages']}: --page {where['page'] + 1} goes on")


@memory.command("show")
@click.argument("identifier", metavar="ID")
@memory_options
@_AS_JSON
def show(identifier: str, place: MemoryPlace, as_json: bool) -> None:
    """Show a row: where it came from, what happened to it, where it was used."""
    told = place.ask("GET", _path(identifier, "/history"))
    if as_json:
        emit_json(told)
        return
    row = told["memory"]
    emit(_line(row))
    emit(clean_line(f"  on the word of  {row['authority']}, written by {row['writer']}"))
    emit(clean_line(f"  categories      {', '.join(row['categories']) or 'none'}; {row['type']}"))
    emit(clean_line(f"  earned          {row['earned_at'] or 'never'}; lapses {row['valid_until'] or 'as it is'}"))
    for source in row["sources"]:
        emit(clean_line(f"  from            {source['kind']} {source['id'] or ''} ({source['lane']})"))
        for span in source["spans"]:
            emit(clean_line(f"                  span {span}"))
    for other in row["contradicted_by"]:
        emit(clean_line(f"  against it      {other['id']} ({other['authority']})"))
    emit("  history")
    for event in told["history"]:
        more = event.get("by") or event.get("other") or event.get("run") or ""
        emit(clean_line(f"    {event['at']}  {event['type']} {more}"))
    emit(clean_line(f"  digest          {row['digest']}"))
    emit(clean_line(f"  head            {row['head']}"))


@memory.command("confirm")
@click.argument("identifier", metavar="ID")
@memory_options
@_AS_JSON
def confirm(identifier: str, place: MemoryPlace, as_json: bool) -> None:
    """Say that a row holds: it is earned again, and what contradicts it is not."""
    _said(place.ask("POST", _path(identifier, "/confirm"), {"by": "user"}), as_json=as_json)


@memory.command("correct")
@click.argument("identifier", metavar="ID")
@click.argument("text", metavar="TEXT")
@memory_options
@_AS_JSON
def correct(identifier: str, text: str, place: MemoryPlace, as_json: bool) -> None:
    """Put TEXT, in your own words, in a row's place. The old one stays in its history."""
    _said(place.ask("POST", _path(identifier, "/correct"), {"content": text}), as_json=as_json)


@memory.command("withdraw")
@click.argument("identifier", metavar="ID")
@memory_options
@_AS_JSON
def withdraw(identifier: str, place: MemoryPlace, as_json: bool) -> None:
    """Have a row used no more. It stays, with its history; 'erase' removes it."""
    _said(place.ask("POST", _path(identifier, "/withdraw"), {"by": "user"}), as_json=as_json)


@memory.command("contradictions")
@memory_options
@_AS_JSON
def contradictions(place: MemoryPlace, as_json: bool) -> None:
    """List rows that contradict each other, in pairs. Confirm one, or withdraw one."""
    told = place.ask("GET", "/contradictions")
    if as_json:
        emit_json(told)
        return
    if not told["contradictions"]:
        emit("nothing contradicts anything")
    for pair in told["contradictions"]:
        emit(clean_line(f"{pair['slot']}:"))
        for row in pair["memories"]:
            emit(f"  {_line(row)}")


@memory.command("export")
@memory_options
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to write it; - for standard output.")
@written_option
@_PASSPHRASE
def export(place: MemoryPlace, output: str, passphrase: str | None, as_json: bool) -> None:
    """Write every row with its history into one file, sealed under a passphrase of its own."""
    given = _passphrase(passphrase, "Passphrase of the file", new=True)
    raw = place.fetch("POST", "/export", {"passphrase": given})
    rows = canonical.decode_object(raw)["rows"]
    write_file(output, raw)
    if as_json:
        emit_json({"rows": rows, "written": output})
        return
    click.echo(f"{rows} rows with their histories", err=True)


@memory.command("import")
@click.argument("file", metavar="FILE")
@memory_options
@_PASSPHRASE
@click.option("--believe", metavar="DIGEST", help="Take histories along that the node with this key document signed.")
@_AS_JSON
def import_(file: str, place: MemoryPlace, passphrase: str | None, believe: str | None, as_json: bool) -> None:
    """Take in FILE: an export, or a file of Mem0 or MemSync.

    Histories come along where the node's trust admits the one that wrote the file, or where you name it. All else comes
    in as imported and stands background until you confirm it.
    """
    given = canonical.decode(read_file(file))
    body: dict[str, Any] = {"file": given}
    if isinstance(given, dict) and str(given.get("type", "")).startswith("urn:holdfast:memory-export:"):
        body = {"export": given, "passphrase": _passphrase(passphrase, "Passphrase of the file")}
        body |= {} if believe is None else {"believe": believe}
    told = place.ask("POST", "/import", body)
    if as_json:
        emit_json(told)
        return
    emit(f"{told['added']} rows added, {told['extended']} extended, {told['known']} were here already")
    if told["differs"]:
        emit(f"{told['differs']} rows have another history here; they were left as they are")
    if told["erased"]:
        emit(f"{told['erased']} rows were erased here and stay so")
    if told["as_imported"]:
        emit("they came in as imported: background until you confirm them")


@memory.command("erase")
@click.argument("identifiers", metavar="[ID]...", nargs=-1)
@memory_options
@click.option("--cascade", is_flag=True, help="With every row that was derived from them.")
@click.option(
    "--everything", metavar="USER", help="Everything of this user: rows, keys, the user. There is no way back."
)
@_AS_JSON
def erase(
    identifiers: tuple[str, ...], place: MemoryPlace, cascade: bool, everything: str | None, as_json: bool
) -> None:
    """Remove rows so that nobody can read them again."""
    if bool(identifiers) == (everything is not None):
        raise UsageError("usage.arguments", "name rows, or --everything USER")
    if everything is not None:
        told = place.ask("POST", "/erase", {"user_id": everything})
    else:
        told = place.ask("POST", "/memories/batch-delete", {"memory_ids": list(identifiers), "cascade": cascade})
    if as_json:
        emit_json(told)
        return
    emit("erased" if everything is not None else clean_line(f"erased {', '.join(told['erased'])}"))
    if not told["scrubbed"]:
        emit("another process reads the store: the last bytes go as soon as it lets go")


@memory.group("key")
def key() -> None:
    """Make, list, end and change keys."""


@key.command("new")
@memory_options
@_PASSPHRASE
@click.option("--token", metavar="REF", help="Registration token of the node.  [default: the state folder's]")
@click.option("--output", "output", type=click.Path(path_type=Path), metavar="FILE",
              help="Where the API key goes.  [default: keys/memory.key in the state folder]")  # fmt: skip
@_AS_JSON
def new(place: MemoryPlace, passphrase: str | None, token: str | None, output: Path | None, as_json: bool) -> None:
    """Become a user of the node: a passphrase of yours, and an API key in a file of mode 0600."""
    given = None if token is None else read_key(token)
    if given is None and place.network is not None and isinstance(place.network.given.get("memory_token_file"), str):
        given = read_key(f"file:{place.network.given['memory_token_file']}")
    if given is None:
        raise UsageError("memory.token", "who registers shows the node's token", hint="--token file:PATH")
    path = output or place.key_path
    if path.exists():
        raise UsageError("memory.key_exists", f"{path} is there already", hint="--output FILE, or move it away")
    body = {"passphrase": _passphrase(passphrase, new=True)}
    told = place.ask("POST", "/users", body, {"authorization": f"Bearer {given.reveal()}"})
    create_secret(path, f"{told['api_key']}\n".encode())
    if as_json:
        emit_json({"user_id": told["user_id"], "key_file": str(path)})
        return
    emit(clean_line(f"you are {told['user_id']}; your key is in {path}"))
    emit("Keep the passphrase: with neither of them nobody can read your rows, you included.")


@key.command("add")
@click.argument("name", metavar="NAME")
@memory_options
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE",
              help="memories:read, memories:write, profile:read, owner.  [default: all but the last]")  # fmt: skip
@click.option("--expires-at", metavar="TIME", help="When it ends, as 2026-01-01T00:00:00.000Z.")
@click.option("--output", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Where the key goes.")
@_AS_JSON
def key_add(
    name: str, place: MemoryPlace, scopes: tuple[str, ...], expires_at: str | None, output: Path, as_json: bool
) -> None:
    """Make a key for an application, in a file of mode 0600."""
    if output.exists():
        raise UsageError("memory.key_exists", f"{output} is there already", hint="choose another file")
    body: dict[str, Any] = {"name": name, "expires_at": expires_at}
    told = place.ask("POST", "/api-keys", {**body, **({"scopes": list(scopes)} if scopes else {})})
    create_secret(output, f"{told.pop('key')}\n".encode())
    if as_json:
        emit_json({**told, "key_file": str(output)})
        return
    emit(clean_line(f"{told['api_key_id']} ({', '.join(told['scopes'])}) is in {output}"))


@key.command("ls")
@memory_options
@_AS_JSON
def key_ls(place: MemoryPlace, as_json: bool) -> None:
    """List API keys. None of them is shown."""
    told = place.ask("GET", "/api-keys")
    if as_json:
        emit_json(told)
        return
    for item in told["api_keys"]:
        ends = f"until {item['expires_at']}" if item["expires_at"] else "without end"
        emit(clean_line(f"{item['api_key_id']}  {item['name']}  {', '.join(item['scopes'])}; {ends}"))


@key.command("end")
@click.argument("identifier", metavar="ID")
@memory_options
@_AS_JSON
def key_end(identifier: str, place: MemoryPlace, as_json: bool) -> None:
    """End an API key."""
    told = place.ask("DELETE", f"/api-keys/{quote(identifier, safe='')}")
    if as_json:
        emit_json(told)
    else:
        emit("ended")


@key.command("rotate")
@memory_options
@_PASSPHRASE
@click.option("--new-passphrase", metavar="REF", help="Another passphrase from now on: file:PATH or env:NAME.")
@_AS_JSON
def rotate(place: MemoryPlace, passphrase: str | None, new_passphrase: str | None, as_json: bool) -> None:
    """Encrypt everything under new keys. Your key and passphrase go on; every other key ends."""
    body = {"passphrase": _passphrase(passphrase)}
    if new_passphrase is not None:
        body["new_passphrase"] = _passphrase(new_passphrase)
    told = place.ask("POST", "/rotate", body)
    if as_json:
        emit_json(told)
        return
    emit(clean_line(f"everything is under new keys; ended: {', '.join(told['ended']) or 'none'}"))
