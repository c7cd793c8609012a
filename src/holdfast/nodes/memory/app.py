"""The memory node's HTTP shape (``spec/memory.md`` §9): MemSync's surface, and what is ours.

Every path is there with ``/v1`` before it and without: MemSync's own pages show both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdfast.core.encoding import time_encode
from holdfast.core.recall_orders import parse_recall_order
from holdfast.errors import UsageError
from holdfast.nodes import edge
from holdfast.nodes.edge import Edge, Lifespan, Limits, json_response, read_json, require_token
from holdfast.nodes.memory import profile, reading
from holdfast.nodes.memory.keyring import DEFAULT_SCOPES, Principal
from holdfast.nodes.memory.portability import Portability
from holdfast.nodes.memory.recalling import Recalls
from holdfast.nodes.memory.search import memory_json
from holdfast.nodes.memory.service import MemoryService
from holdfast.ports.memory_store import Wrap
from holdfast.ports.settings import Secret

Answer = Callable[[Request, Principal], Awaitable[Response]]
_FRESH = {"cache-control": "no-store"}


def create_app(
    service: MemoryService,
    portability: Portability,
    recalls: Recalls,
    *,
    identity: Callable[[], dict[str, Any]],
    registration: Secret | None,
    limits: Limits,
    lifespan: Lifespan,
    metrics: Callable[[], bytes],
) -> Edge:
    """The node as an ASGI app. Without a registration token nobody can become a user."""
    pages = [
        *_rows(service),
        *_judging(service),
        *_profiles(service),
        *_conversations(service),
        *_keys(service, registration),
        *_files(service, portability),
        *_recalls(service, recalls),
    ]

    async def who(_: Request) -> Response:
        return json_response(identity())

    routes = [Route("/v1/identity", who)]
    for path, handler, methods in pages:
        routes += [Route(f"{prefix}{path}", handler, methods=methods) for prefix in ("/v1", "")]
    return edge.create_app(routes, readiness=service.waiting_for, metrics=metrics, lifespan=lifespan, limits=limits)


Page = tuple[str, Callable[[Request], Awaitable[Response]], list[str]]


def _page(service: MemoryService, method: str, path: str, answer: Answer) -> Page:
    """A page for whoever presents a key."""

    async def handler(request: Request) -> Response:
        principal = await service.open(request.headers.get("x-api-key"), request.headers.get("authorization"))
        response = await answer(request, principal)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return path, handler, [method]


def _id(request: Request) -> str:
    return str(request.path_params["id"])


def _rows(service: MemoryService) -> list[Page]:
    async def remember(request: Request, principal: Principal) -> Response:
        body = await read_json(request)
        now = service.clock.now()
        if "messages" not in body and "memory" in body:
            claim, members = reading.claim_of(body)
            return json_response(memory_json(await service.write(principal, claim, members), now), 201)
        done = await service.remember(principal, reading.conversation_of(body, principal.user))
        now = service.clock.now()
        return json_response(
            {
                "success": True,
                "memories_created": len(done.created),
                "categories_detected": sorted({name for row in done.created for name in row.categories}),
                "memories": [memory_json(row, now) for row in done.created],
                "renewed": [row.id for row in done.renewed],
                "known": [row.id for row in done.known],
            },
            201,
        )

    async def search(request: Request, principal: Principal) -> Response:
        return json_response(await service.search(principal, reading.query_of(await read_json(request))))

    async def listed(request: Request, principal: Principal) -> Response:
        vault, now = await service.vault(principal), service.clock.now()
        page, size = reading.number_of(request, "page", 1, 10**6), reading.number_of(request, "page_size", 50, 500)
        wanted = request.query_params
        shown = [memory_json(row, now) for row in vault.rows.values()]
        for name in ("standing", "agent_id", "thread_id", "type"):
            if name in wanted:
                shown = [item for item in shown if item[name] == wanted[name]]
        if "standing" not in wanted:
            shown = [item for item in shown if item["standing"] != "withdrawn"]
        shown.sort(key=lambda item: (item["created_at"], item["id"]), reverse=True)
        pages = max(1, -(-len(shown) // size))
        return json_response(
            {
                "data": shown[(page - 1) * size : page * size],
                "pagination": {
                    "page": page,
                    "page_size": size,
                    "total_items": len(shown),
                    "total_pages": pages,
                    "has_next": page < pages,
                    "has_previous": page > 1,
                },
            }
        )

    async def one(request: Request, principal: Principal) -> Response:
        vault = await service.vault(principal)
        return json_response(memory_json(vault.row(_id(request)), service.clock.now()))

    async def history(request: Request, principal: Principal) -> Response:
        return json_response(await service.history(principal, _id(request)))

    async def change(request: Request, principal: Principal) -> Response:
        change, ignored = reading.change_of(await read_json(request))
        row = await service.correct(principal, _id(request), change)
        shown = memory_json(row, service.clock.now())
        second = {"memory_id": row.id, "content": row.claim, "memory_type": row.kind, "ignored": ignored}
        return json_response({**shown, **second, "category": row.categories[0] if row.categories else None})

    async def erase(request: Request, principal: Principal) -> Response:
        cascade = request.query_params.get("cascade", "false") == "true"
        done = await service.erase(principal, [_id(request)], cascade=cascade)
        return json_response(
            {
                "success": True,
                "memory_id": _id(request),
                "deleted_at": time_encode(service.clock.now()),
                "cascade_deletions": {"derived_insights": len(done["derived"])},
                "backup_id": None,
                **done,
            }
        )

    async def erase_many(request: Request, principal: Principal) -> Response:
        body = await read_json(request)
        done = await service.erase(
            principal, reading.ids_of(body, "memory_ids"), cascade=reading.flag_of(body, "cascade", default=False)
        )
        return json_response({"success": True, "deleted": len(done["erased"]), "backup_id": None, **done})

    return [
        _page(service, "POST", "/memories", remember),
        _page(service, "GET", "/memories", listed),
        _page(service, "POST", "/memories/search", search),
        _page(service, "POST", "/memories/batch-delete", erase_many),
        _page(service, "GET", "/memories/{id}", one),
        _page(service, "PATCH", "/memories/{id}", change),
        _page(service, "DELETE", "/memories/{id}", erase),
        _page(service, "GET", "/memories/{id}/history", history),
    ]


def _recalls(service: MemoryService, recalls: Recalls) -> list[Page]:
    async def recall(request: Request, principal: Principal) -> Response:
        order = parse_recall_order(await read_json(request))
        return json_response((await recalls.recall(principal, order)).to_json())

    return [_page(service, "POST", "/recall", recall)]


def _judging(service: MemoryService) -> list[Page]:
    async def confirm(request: Request, principal: Principal) -> Response:
        return _row(await service.confirm(principal, _id(request), await _by(request)))

    async def withdraw(request: Request, principal: Principal) -> Response:
        return _row(await service.withdraw(principal, _id(request), await _by(request)))

    async def correct(request: Request, principal: Principal) -> Response:
        change, _ = reading.change_of(await read_json(request))
        return _row(await service.correct(principal, _id(request), change))

    async def agree(request: Request, principal: Principal) -> Response:
        source = reading.source_of(await read_json(request))
        return _row(await service.agree(principal, _id(request), source))

    async def contradictions(_: Request, principal: Principal) -> Response:
        return json_response({"contradictions": await service.contradictions(principal)})

    def _row(row: Any) -> Response:
        return json_response(memory_json(row, service.clock.now()))

    return [
        _page(service, "POST", "/memories/{id}/confirm", confirm),
        _page(service, "POST", "/memories/{id}/withdraw", withdraw),
        _page(service, "POST", "/memories/{id}/correct", correct),
        _page(service, "POST", "/memories/{id}/agree", agree),
        _page(service, "GET", "/contradictions", contradictions),
    ]


async def _by(request: Request) -> str:
    """Who judges: the owner, or a reviewer in their name. The body may be empty."""
    if not await request.body():
        return "user"
    by = (await read_json(request)).get("by", "user")
    if by not in ("user", "reviewer"):
        raise reading.wrong("by", "by is user or reviewer")
    return str(by)


def _profiles(service: MemoryService) -> list[Page]:
    async def whole(_: Request, principal: Principal) -> Response:
        vault = await service.vault(principal, "profile:read")
        return json_response(profile.profile_json(principal.user, list(vault.rows.values()), service.clock.now()))

    async def guide(_: Request, principal: Principal) -> Response:
        vault, now = await service.vault(principal, "profile:read"), service.clock.now()
        rows = list(vault.rows.values())
        known = profile.categories_json(profile.facts(rows, now))
        return json_response({"user_bio": profile.bio_text(rows, now), "profiles": known, "insights": {}})

    async def bio(request: Request, principal: Principal) -> Response:
        vault, wanted = await service.vault(principal, "profile:read"), request.query_params
        without = [name for name in wanted.get("exclude_categories", "").split(",") if name]
        shown = profile.bio_json(
            list(vault.rows.values()),
            service.clock.now(),
            wanted.get("format", "full"),
            wanted.get("style", "factual"),
            without,
        )
        return json_response(shown)

    async def write_bio(request: Request, principal: Principal) -> Response:
        principal.require("owner")
        body = await read_json(request)
        text = reading.text_of(body, "bio" if "bio" in body else "user_bio", 4 * profile.MAX_BIO_CHARACTERS)
        if len(text) > profile.MAX_BIO_CHARACTERS:
            message = f"a bio has at most {profile.MAX_BIO_CHARACTERS} characters"
            raise UsageError("memory.bio_too_long", message, param="bio")
        row = await service.write_bio(principal, text)
        return json_response(
            {
                "bio": row.claim,
                "user_bio": row.claim,
                "is_manual": True,
                "id": row.id,
                "updated_at": time_encode(row.created),
            }
        )

    return [
        _page(service, "GET", "/profile", whole),
        _page(service, "GET", "/users/profile", guide),
        _page(service, "GET", "/profile/bio", bio),
        _page(service, "PATCH", "/profile/bio", write_bio),
        _page(service, "PUT", "/users/bio", write_bio),
    ]


def _conversations(service: MemoryService) -> list[Page]:
    async def chat(request: Request, principal: Principal) -> Response:
        body = await read_json(request)
        said = body.get("chat_data", body.get("data"))
        platform = body.get("platform", body.get("type"))
        conversation = reading.conversation_of(
            {**body, "messages": said, "source": platform, "run": None}, principal.user
        )
        done = await service.remember(principal, conversation)
        now = service.clock.now()
        return json_response(
            {
                "status": "SUCCESS",
                "type": "CHAT",
                "memories_created": len(done.created),
                "memories": [memory_json(row, now) for row in done.created],
            }
        )

    async def elsewhere(_: Request, principal: Principal) -> Response:
        principal.require("memories:write")
        raise UsageError(
            "memory.integration",
            "this node fetches nothing from elsewhere",
            hint="send conversations to /v1/integrations/chat, exports of other systems to /v1/import",
            status=501,
        )

    paths = ("/integrations/social", "/integrations/index/social", "/integrations/files", "/integrations/index/file")
    return [
        _page(service, "POST", "/integrations/chat", chat),
        _page(service, "POST", "/integrations/index/chat", chat),
        *[_page(service, "POST", path, elsewhere) for path in paths],
    ]


def _caller(request: Request) -> str:
    """The address that a request came from; of IPv6 its network, for a host has as many addresses as it likes."""
    host = request.client.host if request.client is not None else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return host if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _keys(service: MemoryService, registration: Secret | None) -> list[Page]:
    keyring, vaults = service.keyring, service.vaults

    async def register(request: Request) -> Response:
        require_token(request.headers.get("authorization"), *(() if registration is None else (registration,)))
        body = await read_json(request)
        passphrase = reading.text_of(body, "passphrase", 1024)
        new = await service.unlocking.new_passphrase(passphrase, _caller(request))
        user, api_key = await vaults.run(keyring.create_user, new)
        return json_response({"user_id": user, "api_key": api_key, "scopes": ["owner"]}, 201, _FRESH)

    async def unlock(request: Request) -> Response:
        body = await read_json(request)
        user, passphrase = reading.text_of(body, "user_id"), reading.text_of(body, "passphrase", 1024)
        token, until = await service.unlocking.unlock(user, passphrase, _caller(request))
        return json_response({"token": token, "locks_at": time_encode(until)}, headers=_FRESH)

    async def lock(_: Request, principal: Principal) -> Response:
        sessions = keyring.lock(principal.user)
        async with vaults.lock(principal.user):  # what is being read now is let go of too
            vaults.drop(principal.user)
        return json_response({"locked": True, "sessions": sessions})

    async def rotate(request: Request, principal: Principal) -> Response:
        body = await read_json(request)
        new = body.get("new_passphrase")
        ended = await service.rotate(
            principal,
            reading.text_of(body, "passphrase", 1024),
            None if new is None else reading.text_of(body, "new_passphrase", 1024),
            request.headers.get("x-api-key"),
            _caller(request),
        )
        return json_response({"rotated": True, "ended": ended})

    async def make(request: Request, principal: Principal) -> Response:
        principal.require("owner")
        body = await read_json(request)
        scopes = body.get("scopes", list(DEFAULT_SCOPES))
        if not isinstance(scopes, list) or not all(isinstance(item, str) for item in scopes):
            raise reading.wrong("scopes", "scopes are a list")
        vault = await service.vault(principal, "owner")
        name, expires = reading.text_of(body, "name"), reading.time_of(body, "expires_at")
        brought = reading.text_of(body, "key", 128) if "key" in body else None
        api_key, wrap = await vaults.run(keyring.add_key, principal, vault.version, name, scopes, expires, brought)
        return json_response({**_wrap_json(wrap), **({} if brought else {"key": api_key})}, 201)

    async def listed(_: Request, principal: Principal) -> Response:
        principal.require("owner")
        found = await vaults.run(vaults.store.wraps, principal.user)
        keys = [_wrap_json(wrap) for wrap in found if wrap.kind == "api_key"]
        return json_response({"api_keys": keys, "total": len(keys), "has_more": False})

    async def end(request: Request, principal: Principal) -> Response:
        principal.require("owner")
        found = await vaults.run(vaults.store.wrap, _id(request))
        if found is None or found.user != principal.user or found.kind != "api_key":
            raise UsageError("memory.unknown_key", "there is no such key", status=404)
        await vaults.run(vaults.store.remove_wrap, principal.user, found.id)
        await service.scrub()
        shown = {"success": True, "api_key_id": found.id, "deleted_at": time_encode(service.clock.now())}
        return json_response(shown)

    return [
        ("/users", register, ["POST"]),
        ("/unlock", unlock, ["POST"]),
        _page(service, "POST", "/lock", lock),
        _page(service, "POST", "/rotate", rotate),
        _page(service, "POST", "/api-keys", make),
        _page(service, "GET", "/api-keys", listed),
        _page(service, "DELETE", "/api-keys/{id}", end),
    ]


def _wrap_json(wrap: Wrap) -> dict[str, Any]:
    return {
        "api_key_id": wrap.id,
        "name": wrap.name,
        "scopes": list(wrap.scopes),
        "created_at": wrap.created_at,
        "expires_at": wrap.expires_at,
    }


def _files(service: MemoryService, portability: Portability) -> list[Page]:
    async def export(request: Request, principal: Principal) -> Response:
        passphrase = reading.text_of(await read_json(request), "passphrase", 1024)
        raw = await portability.export(principal, passphrase)
        name = {"content-disposition": 'attachment; filename="memory.json"'}
        return Response(raw, headers=name, media_type="application/json")

    async def take_in(request: Request, principal: Principal) -> Response:
        return json_response((await portability.take_in(principal, await read_json(request))).to_json())

    async def erase(request: Request, principal: Principal) -> Response:
        if (await read_json(request)).get("user_id") != principal.user:
            raise UsageError(
                "memory.erase",
                "everything is erased only for whoever writes their user id",
                hint='send {"user_id": "usr_…"}; there is no way back',
                param="user_id",
            )
        return json_response({"erased": True, "scrubbed": await service.erase_everything(principal)})

    async def me(_: Request, principal: Principal) -> Response:
        return json_response({"user_id": principal.user, "scopes": sorted(principal.scopes), "key": principal.wrap})

    return [
        _page(service, "POST", "/export", export),
        _page(service, "POST", "/import", take_in),
        _page(service, "POST", "/erase", erase),
        _page(service, "GET", "/me", me),
    ]
