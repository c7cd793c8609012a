"""``send``: one message to a receiver that the owner chose, as a JSON object over HTTP POST.

Settings: ``to``, its URL; ``fields``, the texts that a message has (``text`` unless said); ``idempotent``, whether the
receiver promises that what comes again under one ``idempotency-key`` does nothing twice (it does not unless said).
Secret: ``authorization``, the value of that header. The key is the run of the act, and stands in the message with the
agent run.

After a crash only a receiver that keeps keys is sent the same again. Of every other it cannot be known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.agents.tool import Act, Fate, Happened, ToolError
from holdfast.agents.world import World, describe_arguments, list_setting, only_settings, text_setting
from holdfast.core import canonical
from holdfast.core.agent_files import ToolFile
from holdfast.core.canonical import JSON
from holdfast.errors import UnavailableError, UsageError

MAX_TEXT, MAX_ANSWER_BYTES, SHOWN = 16_384, 1 << 20, 4_096
"""Characters of one field, bytes of an answer, characters of it that stand in the result."""
TIMEOUT_S = 30.0
_OPEN = (408, 409, 425, 429)
"""Refusals that say nothing of what was done: too slow, too early, too often, or the first is under way."""


class SendTool:
    """See the module."""

    description = "Proposes to send a message to a fixed receiver. It waits until people and proofs let it go."

    def __init__(self, file: ToolFile, world: World) -> None:
        only_settings(file, "to", "fields", "idempotent")
        fields = list_setting(file, "fields") if "fields" in file.settings else ("text",)
        if not fields or {"act", "agent"} & set(fields):
            raise UsageError("tool.settings", "fields are names of texts, none of them act or agent", param=file.name)
        about = {name: {"type": "string", "maxLength": MAX_TEXT} for name in fields}
        self.parameters: Mapping[str, Any] = describe_arguments(**about)
        self.name, self.effect = file.name, file.effect
        self._to = text_setting(file, "to")
        if not self._to.startswith(("http://", "https://")):
            raise UsageError("tool.settings", "to is an http:// or https:// URL", param=f"{file.name}.to")
        self._idempotent = file.settings.get("idempotent", False) is True
        self._http = world.http

    async def prepare(self, act: Act) -> bytes:
        """The body."""
        said = {name: str(text) for name, text in act.arguments.items()}
        return canonical.encode({**said, "act": act.run, "agent": act.agent})

    async def carry_out(self, act: Act, prepared: bytes) -> JSON:
        """Post it; the receiver's status and the beginning of its answer."""
        headers = {"content-type": "application/json", "idempotency-key": f'"{act.run}"'}
        secret = act.secrets.get("authorization")
        headers |= {} if secret is None else {"authorization": secret.reveal()}
        answer = await self._http.request(
            "POST", self._to, body=prepared, headers=headers, timeout_s=TIMEOUT_S, max_bytes=MAX_ANSWER_BYTES
        )
        if 200 <= answer.status < 300:
            return {"status": answer.status, "answer": answer.body.decode("utf-8", "replace")[:SHOWN]}
        if 400 <= answer.status < 500 and answer.status not in _OPEN:
            raise ToolError(f"the receiver refused it with {answer.status}")
        raise UnavailableError("tool.receiver", f"the receiver answered {answer.status}")

    async def look(self, act: Act, prepared: bytes) -> Happened | Fate:
        """Only a receiver that keeps keys may be asked again."""
        del act, prepared
        return Fate.NOT_YET if self._idempotent else Fate.UNKNOWN
