"""Who else may read a run that is to be reviewed: the panel of its workspace (``spec/sealed.md`` §2).

Rules: a wrap is made only to a panel that trust admits at that moment and whose key document has a key for it. The
secret itself is kept nowhere. A panel that trust no longer admits gets no further wraps; what it has, it keeps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from holdfast.core.keys import KeyDocument
from holdfast.core.trust import Trust
from holdfast.nodes.gateway.turn import Wrap
from holdfast.ports.clock import Clock

_LOG = logging.getLogger("holdfast.gateway.wraps")


class Wraps:
    """Makes wraps. ``panels`` gives each workspace's panel; ``wrap`` encrypts (public key, run, secret) to bytes."""

    def __init__(
        self,
        panels: Mapping[str, KeyDocument],
        trust: Callable[[], Trust | None],
        clock: Clock,
        wrap: Callable[[bytes, str, bytes], bytes],
    ) -> None:
        self._panels = panels
        self._trust = trust
        self._clock = clock
        self._wrap = wrap
        self._told: set[str] = set()

    def make(self, workspace: str, run: str, secret: bytes) -> Wrap | None:
        """The run secret for the panel of a workspace; None where it has none that may read."""
        panel = self._panels.get(workspace)
        if panel is None:
            return None
        key, why = panel.key_for("hpke"), self._refusal(panel)
        if key is None or why is not None:
            self._tell(workspace, why or "its key document has no hpke key")
            return None
        self._told.discard(workspace)
        return Wrap(panel.digest, self._wrap(key.public, run, secret))

    def _refusal(self, panel: KeyDocument) -> str | None:
        trust, now = self._trust(), self._clock.now()
        admission = trust.admission(panel.digest) if trust is not None else None
        if admission is None:
            return "trust does not know it"
        return admission.refusal(now, now) or (None if "panel" in panel.roles else "it is no panel")

    def _tell(self, workspace: str, why: str) -> None:
        """Once, until it changes: this is asked at every run."""
        if workspace not in self._told:
            self._told.add(workspace)
            _LOG.warning("the panel of workspace %s cannot read its runs: %s", workspace, why)
