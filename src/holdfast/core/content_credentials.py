"""Content credentials of images: the assertion that names a run, and what a reader's report says (``images.md`` §6).

``build_assertion`` and ``parse_assertion`` are the one thing of ours in a C2PA manifest. ``parse_report`` reads what
the C2PA library says of an image into three answers that stay apart: whether signature and bytes hold, whether the
certificates end at an anchor, and what the assertion names. ``carries_credentials`` looks whether there is a manifest
at all, without that library.

Pure. Not covered: signatures and hashes of manifests, which the library checks (``adapters/credentials_c2pa.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.core import canonical
from holdfast.core.canonical import NumberText
from holdfast.core.encoding import hex_decode
from holdfast.core.statements import is_run_id
from holdfast.errors import MalformedError

LABEL = "holdfast.run"
"""Of the assertion (``images.md`` §6(2))."""
TYPE = "urn:holdfast:image:v1"
REWRITE = "image-credentials"
"""What a route lists where credentials were put in."""
UNTRUSTED = "signingCredential.untrusted"
"""C2PA's word for certificates that end at no anchor of the reader's: no failure of signature or bytes."""
_MEMBERS = frozenset({"type", "run", "attester", "image"})
_MOST_IMAGES = 1024
_MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class ImageClaim:
    """What an assertion names."""

    run: str
    attester: str
    """Digest of the gateway's key document, hex."""
    image: int
    """Number of the image in its answer, from 0."""

    def to_json(self) -> dict[str, canonical.JSON]:
        return {"type": TYPE, "run": self.run, "attester": self.attester, "image": self.image}

    def names(self, other: ImageClaim) -> str:
        """``this_image``, ``another_image`` of this run, or ``another_run``: of what ``other`` is."""
        if (self.run, self.attester) != (other.run, other.attester):
            return "another_run"
        return "this_image" if self.image == other.image else "another_image"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an image's active manifest comes to."""

    holds: bool
    """Whether its signature is right and the bytes are those that were signed, by whoever it was."""
    anchored: bool
    """Whether its certificates end at an anchor that the reader brought."""
    codes: tuple[str, ...]
    """C2PA's codes of what does not hold."""
    signer: str
    """Common name in the signing certificate: its issuer's word."""
    claim: ImageClaim | None
    """None where there is no assertion of ours."""
    earlier: int
    """Manifests that the image carried before."""

    def to_json(self, image: ImageClaim) -> dict[str, canonical.JSON]:
        """For a reader who looks at ``image``."""
        return {
            "holds": self.holds,
            "anchored": self.anchored,
            "codes": [*self.codes],
            "signer": self.signer,
            "names": "nothing" if self.claim is None else self.claim.names(image),
            "run": None if self.claim is None else self.claim.run,
            "earlier": self.earlier,
        }

    def describe(self, image: ImageClaim) -> str:
        """One sentence for each answer."""
        held = "they hold" if self.holds else f"they do NOT hold ({', '.join(self.codes)})"
        rooted = "its certificates end at your anchor" if self.anchored else "no anchor of yours vouches for its key"
        claim = self.claim
        named = {
            "nothing": "they name no run",
            "this_image": "they name this image of this run",
            "another_image": f"they name image {claim.image + 1 if claim else 0} of this run, which this is not",
            "another_run": f"they name ANOTHER run, {claim.run if claim else ''}",
        }["nothing" if claim is None else claim.names(image)]
        before = f"; {self.earlier} earlier kept" if self.earlier else ""
        return f"content credentials by {self.signer or 'nobody named'}: {held}; {rooted}; {named}{before}"


def parse_assertion(value: object) -> ImageClaim:
    """The assertion's data, numbers as text or as numbers; raises ``image.credentials``."""
    if not isinstance(value, dict) or value.keys() != _MEMBERS or value["type"] != TYPE:
        raise _malformed(f"the assertion is an object of exactly {', '.join(sorted(_MEMBERS))}")
    run, attester, image = value["run"], value["attester"], value["image"]
    if not isinstance(run, str) or not is_run_id(run):
        raise _malformed("run is a run id")
    if isinstance(image, NumberText):
        image = int(image) if image.isascii() and image.isdigit() and str(int(image)) == str(image) else -1
    if not isinstance(image, int) or isinstance(image, bool) or not 0 <= image < _MOST_IMAGES:
        raise _malformed("image is a whole number from 0")
    try:
        digest = hex_decode(attester if isinstance(attester, str) else "", 32).hex()
    except MalformedError as error:
        raise _malformed("attester is a digest in hex") from error
    return ImageClaim(run, digest, image)


def parse_report(report: Mapping[str, Any]) -> Credentials:
    """What the library says of an image, decoded from its JSON; raises ``image.credentials``."""
    manifests, label, state = report.get("manifests"), report.get("active_manifest"), report.get("validation_state")
    found = manifests.get(label) if isinstance(manifests, dict) and isinstance(label, str) else None
    if not isinstance(found, dict) or not isinstance(manifests, dict):
        raise _malformed("the report has no active manifest")
    failures = [item for item in _list(report.get("validation_status")) if isinstance(item, dict)]
    codes = sorted({_text(item.get("code")) for item in failures} - {UNTRUSTED})
    said = found.get("signature_info")
    name = said.get("common_name") if isinstance(said, dict) else None
    return Credentials(
        state in ("Valid", "Trusted"), state == "Trusted", tuple(codes), _text(name), _claim(found), len(manifests) - 1
    )


def _claim(manifest: Mapping[str, Any]) -> ImageClaim | None:
    """What the one assertion of ours names. Two of them name nothing: either could be the pasted one."""
    found = [item for item in _list(manifest.get("assertions")) if isinstance(item, dict)]
    ours = [item.get("data") for item in found if _text(item.get("label")).split("__")[0] == LABEL]
    if len(ours) != 1:
        return None
    try:
        return parse_assertion(ours[0])
    except MalformedError:
        return None


def carries_credentials(kind: str, data: bytes) -> bool:
    """Whether an image's container (``core.images``) seems to hold a manifest."""
    marks = {"png": b"caBX", "webp": b"C2PA", "jpeg": b"jumb", "gif": b"C2PA_GIF"}
    return marks.get(kind, b"jumb") in data


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value[:_MOST_TEXT] if isinstance(value, str) else ""


def _malformed(message: str) -> MalformedError:
    return MalformedError("image.credentials", message)
