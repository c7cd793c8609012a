"""Commands of images and of what asks for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from holdfast.cli.conformance.arguments import Answer, Arguments, exact_object, integer
from holdfast.core import canonical, images
from holdfast.core.content_credentials import ImageClaim, parse_assertion


def _shown_image(found: images.Image) -> Answer:
    return {"kind": found.kind, "width": found.width, "height": found.height, "bytes": found.size_bytes}


def _read_image(arguments: Arguments) -> Answer:
    return _shown_image(images.parse_image(arguments.file()))


def _read_image_url(arguments: Arguments) -> Answer:
    return _shown_image(images.parse_data_url(arguments.file().decode())[0])


def _read_image_request(arguments: Arguments) -> Answer:
    return dataclasses.asdict(images.parse_request(exact_object(arguments.file())))


def _read_image_answer(arguments: Arguments) -> Answer:
    count = integer(arguments.one("count"))
    found = images.parse_answer(exact_object(arguments.file()), count)
    return {"images": [_shown_image(image) for image in found]}


def _count_images(arguments: Arguments) -> Answer:
    return {"images": images.count_images(exact_object(arguments.file()))}


def _image_claim(arguments: Arguments) -> Answer:
    looked_at = ImageClaim(arguments.one("run"), arguments.one("attester"), integer(arguments.one("image")))
    return {"names": parse_assertion(canonical.decode_exact(arguments.file())).names(looked_at)}


COMMANDS: Mapping[str, Callable[[Arguments], Answer]] = {
    "read-image": _read_image,
    "read-image-url": _read_image_url,
    "read-image-request": _read_image_request,
    "read-image-answer": _read_image_answer,
    "count-images": _count_images,
    "image-claim": _image_claim,
}
