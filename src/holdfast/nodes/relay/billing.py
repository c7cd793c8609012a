"""Takes OpenGradient's plaintext billing frames out of a chunked answer (``spec/relay.md`` §2(4)).

Their gateways write what an answer cost between its last two chunks, in the clear, for their own relay to read and
remove. A frame stands where a chunk would begin, and no chunk begins with a line feed: that would be a length of 10,
less than the 16 bytes of a tag alone. So the frame is found by place, not by looking for its words in ciphertext.
"""

from __future__ import annotations

from holdfast.errors import MalformedError

MARKER = b"\n--opengradient-ohttp-billing-v1--\n"
MAX_FRAME_BYTES = 64 << 10
"""More than this is no price."""
NONCE_BYTES = {1: 16, 2: 32, 3: 32}
"""Size of a response nonce by AEAD id (RFC 9458 §4.4): the larger of its key and nonce sizes."""
_HEADER_BYTES = 7
_LENGTHS = {0: 1, 1: 2, 2: 4, 3: 8}
"""Size of a QUIC integer by its two top bits (RFC 9000 §16)."""


def nonce_bytes(request: bytes) -> int | None:
    """How many bytes of nonce the answer to an encapsulated request begins with; None where nobody can tell."""
    if len(request) < _HEADER_BYTES:
        return None
    return NONCE_BYTES.get(int.from_bytes(request[5:7]))


class FrameStripper:
    """Fed pieces as they come, gives back the same without billing frames. Holds back at most one length or frame."""

    def __init__(self, nonce_size: int) -> None:
        self._pass = nonce_size
        """Bytes that belong to the nonce or the chunk under way, to be passed on unread."""
        self._held = b""
        self._final = False
        """After the length 0 the final chunk runs to the end."""

    def feed(self, piece: bytes) -> bytes:
        """Raises ``relay.billing`` for a frame that is none."""
        if self._final:
            return piece
        data, out = self._held + piece, []
        self._held = b""
        place = 0
        while place < len(data):
            if self._pass:
                step = min(self._pass, len(data) - place)
                out.append(data[place : place + step])
                self._pass -= step
                place += step
                continue
            if data[place] == MARKER[0]:
                end = self._frame_end(data, place)
                if end is None:
                    break
                place = end
                continue
            size = _LENGTHS[data[place] >> 6]
            if len(data) - place < size:
                break
            length = int.from_bytes(data[place : place + size]) & ((1 << (8 * size - 2)) - 1)
            out.append(data[place : place + size])
            place += size
            if length == 0:
                self._final = True
                out.append(data[place:])
                return b"".join(out)
            self._pass = length
        self._held = data[place:]
        return b"".join(out)

    def end(self) -> bytes:
        """What was held back when the answer ended: an answer that was cut, passed on as it is."""
        held, self._held = self._held, b""
        return held

    def _frame_end(self, data: bytes, place: int) -> int | None:
        """Where the frame that begins here ends; None while it has not arrived."""
        found = data[place : place + len(MARKER)]
        if not MARKER.startswith(found):
            raise MalformedError("relay.billing", "between two chunks stands something that is no chunk", status=502)
        head = place + len(MARKER)
        if len(data) < head + 4:
            return None
        size = int.from_bytes(data[head : head + 4])
        if size > MAX_FRAME_BYTES:
            raise MalformedError("relay.billing", "a billing frame is too large", status=502)
        return head + 4 + size if len(data) >= head + 4 + size else None
