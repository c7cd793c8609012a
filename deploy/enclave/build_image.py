"""Build the image of a Nitro enclave that runs a Holdfast node: the same inputs give the same bytes, anywhere.

    python deploy/enclave/build_image.py RECIPE --inputs DIR --lock FILE -o IMAGE [--write-lock]

RECIPE (``gateway.toml``, ``data.toml``) names what goes in; DIR holds the inputs; FILE holds the SHA-256 of each of
them, and an input that is missing, changed or not listed is refused. What is built is measured and printed, as
``holdfast enclave measure`` does.

The second ramdisk is what AWS's bootstrap expects: ``cmd``, ``env``, and the root filesystem below ``rootfs/``. It is
an uncompressed cpio archive, since two versions of a compressor make different bytes; entries are sorted, owned by
root, without times, with two modes. Bytecode is left out: it holds times, and Python makes it anew.

Not covered: fetching inputs, and signing images (``nitro-cli sign-eif``); see ``docs/operate/nitro.md``.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from holdfast.core.attestation.eif import build_image, measure_image, parse_image
from holdfast.errors import HoldfastError, MalformedError, RefusedError, UsageError

HERE = Path(__file__).parent
DIRECTORY, EXECUTABLE, FILE, LINK = 0o040755, 0o100755, 0o100644, 0o120777
"""The modes of everything in an image."""
EMPTY = ("dev", "proc", "run", "sys", "tmp", "var", "etc/holdfast", "holdfast")
"""Folders that a running node needs."""
SITE = "holdfast/lib"
"""Where wheels are unpacked, below the root."""
SKIPPED = ("__pycache__", ".pyc")
MAX_TREE_BYTES = 4 << 30
"""Larger images do not boot in any enclave that makes sense."""
_MEMBERS = {"name", "role", "module", "architecture", "memory_mib", "cpus", "cmdline"}
_MEMBERS |= {"secrets", "inputs", "inbound", "outbound"}
_INPUTS = {"kernel", "init", "base", "wheels", "settings", "files"}


@dataclass(frozen=True)
class Entry:
    """One path of the image: its mode, and its bytes (of a link, its target)."""

    mode: int
    data: bytes = b""


Tree = dict[str, Entry]
"""Paths without a leading slash to entries."""


# Inputs


def load_recipe(path: Path) -> dict[str, Any]:
    """A recipe as a value. Raises ``image.recipe``."""
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError("image.recipe", f"cannot read {path}: {error}") from error
    if found.keys() != _MEMBERS or not set(found["inputs"]) <= _INPUTS:
        raise UsageError("image.recipe", f"{path} has exactly {', '.join(sorted(_MEMBERS))}")
    return found


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file below a folder, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_lock(found: Mapping[str, str], lock: Path) -> None:
    """Refuse inputs that differ from the lock in anything. Raises ``image.lock``."""
    try:
        wanted = json.loads(lock.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("image.lock", f"cannot read {lock}: {error}", hint="--write-lock makes one") from error
    wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if wrong:
        raise RefusedError("image.lock", f"{len(wrong)} inputs are not those of {lock.name}: {', '.join(wrong[:5])}")


# The tree


def apply_layer(tree: Tree, raw: bytes) -> None:
    """Unpack one layer of a root filesystem (tar, perhaps gzip) over what is there, with its white-outs.

    Devices, sockets and owners are left out. Raises ``image.layer`` for a path or a link that leads outside.
    """
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for member in archive:
            path = _inside(member.name)
            if path is None or _is_skipped(path):
                continue
            head, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                _remove(tree, head, keep=True)
            elif name.startswith(".wh."):
                _remove(tree, f"{head}/{name[4:]}".lstrip("/"))
            elif member.isdir():
                _put(tree, path, Entry(DIRECTORY))
            elif member.issym():
                _put(tree, path, Entry(LINK, member.linkname.encode()))
            elif member.islnk():
                target = _inside(member.linkname)
                if target is None or target not in tree:
                    raise MalformedError("image.layer", f"{path} is a link to nothing")
                _put(tree, path, tree[target])
            elif member.isfile():
                content = archive.extractfile(member)
                _put(tree, path, Entry(EXECUTABLE if member.mode & 0o111 else FILE, content.read() if content else b""))


def unpack_wheel(tree: Tree, raw: bytes, folder: str) -> None:
    """The library files of a wheel below a folder; scripts and data are left out."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        for name in archive.namelist():
            first, _, rest = name.partition("/")
            if first.endswith(".data"):
                kind, _, place = rest.partition("/")
                place = place if kind in ("purelib", "platlib") else ""
            else:
                place = name
            path = _inside(place)
            if path is not None and not name.endswith("/") and not _is_skipped(path):
                _put(tree, f"{folder}/{path}", Entry(FILE, archive.read(name)))


def _inside(name: str) -> str | None:
    """A path below the root without a leading slash; None for the root itself. Raises ``image.layer``."""
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", ".")]
    if ".." in parts:
        raise MalformedError("image.layer", f"{name} leads outside of the image")
    return "/".join(parts) or None


def _is_skipped(path: str) -> bool:
    return SKIPPED[0] in path.split("/") or path.endswith(SKIPPED[1])


def _put(tree: Tree, path: str, entry: Entry) -> None:
    """An entry, with the folders above it. Something else of that name makes way, as in a layer."""
    for parent in list(PurePosixPath(path).parents)[-2::-1]:
        above = tree.get(str(parent))
        if above is None or above.mode not in (DIRECTORY, LINK):
            tree[str(parent)] = Entry(DIRECTORY)
    if entry.mode != DIRECTORY and path in tree and tree[path].mode == DIRECTORY:
        _remove(tree, path)
    if not (entry.mode == DIRECTORY and path in tree and tree[path].mode == LINK):
        tree[path] = entry


def _remove(tree: Tree, path: str, *, keep: bool = False) -> None:
    for name in [name for name in tree if name.startswith(f"{path}/") or (name == path and not keep)]:
        del tree[name]


def resolve_links(tree: Tree) -> Tree:
    """The tree with files that were put behind a linked folder moved to where it leads (``lib`` to ``usr/lib``)."""
    found: Tree = {}
    for path, entry in sorted(tree.items()):
        place = path
        for _ in range(8):
            parents = [str(item) for item in list(PurePosixPath(place).parents)[-2::-1]]
            link = next((name for name in parents if name in tree and tree[name].mode == LINK), None)
            if link is None:
                break
            target = tree[link].data.decode()
            base = "" if target.startswith("/") else str(PurePosixPath(link).parent)
            inside = _inside(str(PurePosixPath(base) / target.lstrip("/")))
            place = f"{inside}{place[len(link) :]}"
        found[place] = entry
    return found


# Archive and image


def build_cpio(tree: Mapping[str, Entry]) -> bytes:
    """A cpio archive (newc): sorted, owned by root, without times, devices and hard links."""
    pieces: list[bytes] = []
    for number, (path, entry) in enumerate(sorted(tree.items()), 1):
        pieces += _cpio_entry(number, path, entry.mode, 2 if entry.mode == DIRECTORY else 1, entry.data)
    return b"".join([*pieces, *_cpio_entry(0, "TRAILER!!!", 0, 1, b"")])


def _cpio_entry(number: int, path: str, mode: int, links: int, data: bytes) -> Iterable[bytes]:
    name = path.encode() + b"\0"
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name
    return head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)


def build_tree(recipe: Mapping[str, Any], inputs: Path) -> Tree:
    """Everything of the second ramdisk. Raises ``image.*``."""
    given = recipe["inputs"]
    root: Tree = {}
    for layer in given["base"]:
        apply_layer(root, (inputs / layer).read_bytes())
    for name in EMPTY:
        _put(root, name, Entry(DIRECTORY))
    wheels = sorted((inputs / given["wheels"]).glob("*.whl"))
    for wheel in wheels:
        unpack_wheel(root, wheel.read_bytes(), SITE)
    package = f"{SITE}/{recipe['module'].replace('.', '/')}/__main__.py"
    if package not in root:
        raise RefusedError("image.module", f"no wheel among the inputs has {recipe['module']}")
    _put(root, "holdfast/start.py", Entry(FILE, (HERE / "start.py").read_bytes()))
    _put(root, "etc/holdfast/node.toml", Entry(FILE, (inputs / given["settings"]).read_bytes()))
    hosts = ["127.0.0.1 localhost", *(f"{item['address']} {item['host']}" for item in recipe["outbound"])]
    _put(root, "etc/hosts", Entry(FILE, "".join(f"{line}\n" for line in hosts).encode()))
    _put(root, "etc/holdfast/enclave.json", Entry(FILE, _configuration(recipe)))
    for place, name in sorted(given.get("files", {}).items()):
        _put(root, _inside(place) or "", Entry(FILE, (inputs / name).read_bytes()))
    tree: Tree = {
        "cmd": Entry(FILE, b"/usr/bin/env\npython3\n-I\n/holdfast/start.py\n"),
        "env": Entry(FILE, b"PATH=/usr/local/bin:/usr/bin:/bin\nLANG=C.UTF-8\nHOME=/run\n"),
        "rootfs": Entry(DIRECTORY),
    }
    tree |= {f"rootfs/{path}": entry for path, entry in resolve_links(root).items()}
    if sum(len(entry.data) for entry in tree.values()) > MAX_TREE_BYTES:
        raise RefusedError("image.size", "the root filesystem is too large for an enclave")
    return tree


def _configuration(recipe: Mapping[str, Any]) -> bytes:
    """What ``start.py`` reads: whom to start, and which ports lead where."""
    told = {name: recipe[name] for name in ("name", "role", "module", "inbound", "outbound", "secrets")}
    return (json.dumps(told, sort_keys=True, indent=1) + "\n").encode()


def build(recipe: Mapping[str, Any], inputs: Path) -> bytes:
    """The image. Raises ``image.*`` and ``eif.*``."""
    given = recipe["inputs"]
    metadata = {
        "ImageName": recipe["name"],
        "ImageVersion": "1",
        "BuildMetadata": {
            "BuildTime": "1970-01-01T00:00:00+00:00",
            "BuildTool": "holdfast",
            "BuildToolVersion": "1",
            "OperatingSystem": "",
            "KernelVersion": "",
        },
        "DockerInfo": {},
        "CustomMetadata": {},
    }
    return build_image(
        (inputs / given["kernel"]).read_bytes(),
        recipe["cmdline"].encode(),
        [(inputs / given["init"]).read_bytes(), build_cpio(build_tree(recipe, inputs))],
        json.dumps(metadata, separators=(",", ":")).encode(),
        architecture=recipe["architecture"],
        memory_bytes=recipe["memory_mib"] << 20,
        cpus=recipe["cpus"],
    )


def main(arguments: list[str]) -> int:
    """Build one image; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--inputs", type=Path, required=True, metavar="DIR")
    parser.add_argument("--lock", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--write-lock", action="store_true", help="take the inputs as they are, and write their digests"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="IMAGE")
    given = parser.parse_args(arguments)
    try:
        recipe = load_recipe(given.recipe)
        found = digests(given.inputs)
        if given.write_lock:
            given.lock.write_text(json.dumps(found, sort_keys=True, indent=1) + "\n", "utf-8")
        check_lock(found, given.lock)
        image = build(recipe, given.inputs)
        given.output.write_bytes(image)
    except (HoldfastError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{hashlib.sha256(image).hexdigest()}  {given.output}")
    for name, register in measure_image(parse_image(image)).items():
        print(f"{name}    {register.hex()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
