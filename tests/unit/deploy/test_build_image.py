"""The image builder: only what the lock names goes in, and the same inputs give the same bytes, wherever they lie."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import shutil
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from holdfast.core.attestation.eif import measure_image, parse_image
from holdfast.errors import MalformedError, RefusedError, UsageError

FOLDER = Path(__file__).parents[3] / "deploy" / "enclave"


def load(name: str) -> ModuleType:
    """A program of the folder, imported."""
    spec = importlib.util.spec_from_file_location(f"deploy_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


builder: Any = load("build_image")


def layer(*members: tuple[str, Any], mtime: int = 1) -> bytes:
    """A layer: folders (None), files (bytes), links (text), hard links (a tuple), devices (0)."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mtime, info.uid, info.uname, info.mode = mtime, 1000, "somebody", 0o755 if "bin/" in name else 0o600
            data = None
            match content:
                case None:
                    info.type = tarfile.DIRTYPE
                case 0:
                    info.type = tarfile.CHRTYPE
                case str():
                    info.type, info.linkname = tarfile.SYMTYPE, content
                case tuple():
                    info.type, info.linkname = tarfile.LNKTYPE, content[0]
                case _:
                    info.size, data = len(content), io.BytesIO(content)
            archive.addfile(info, data)
    return made.getvalue()


def wheel(*members: tuple[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


def make_inputs(folder: Path) -> Path:
    """A small set of inputs with stand-ins for kernel and bootstrap."""
    (folder / "wheels").mkdir(parents=True)
    files = {
        "bzImage": b"kernel" * 99,
        "init.cpio": b"bootstrap" * 9,
        "base.tar": layer(
            ("./", None),
            ("usr/", None),
            ("usr/bin/python3", b"\x7fELF"),
            ("usr/lib/libc.so", b"libc"),
            ("lib", "usr/lib"),
            ("dev/null", 0),
            ("etc/hosts", b"old"),
        ),
        "upper.tar": layer(
            ("lib/extra.so", b"extra"), ("usr/lib/.wh.gone", b""), ("usr/lib/same.so", ("usr/lib/libc.so",))
        ),
        "wheels/holdfast-0-py3-none-any.whl": wheel(
            ("holdfast/nodes/gateway/__main__.py", b"main"),
            ("holdfast/__pycache__/x.pyc", b"times"),
            ("holdfast-0.data/scripts/holdfast", b"script"),
            ("holdfast-0.data/platlib/more.so", b"more"),
            ("holdfast-0.dist-info/METADATA", b"Name: holdfast"),
        ),
        "node.toml": b'[gateway]\nenclave = "nitro"\n',
        "trust.json": b"{}",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def recipe(**change: Any) -> dict[str, Any]:
    found = tomllib.loads((FOLDER / "gateway.toml").read_text("utf-8"))
    found["inputs"] = {**found["inputs"], "base": ["base.tar", "upper.tar"], **change}
    return found


def entries(raw: bytes) -> list[tuple[str, dict[str, int], bytes]]:
    """A cpio archive (newc) read back: name, fields, data."""
    names = [
        "ino",
        "mode",
        "uid",
        "gid",
        "nlink",
        "mtime",
        "filesize",
        "devmajor",
        "devminor",
        "rdevmajor",
        "rdevminor",
        "namesize",
        "check",
    ]
    found, at = [], 0
    while True:
        assert raw[at : at + 6] == b"070701"
        fields = {
            name: int(raw[at + 6 + 8 * place : at + 14 + 8 * place], 16)
            for place, name in enumerate(" ".join(names).split())
        }
        name = raw[at + 110 : at + 110 + fields["namesize"] - 1].decode()
        start = at + 110 + fields["namesize"]
        start += -start % 4
        end = start + fields["filesize"]
        found.append((name, fields, raw[start:end]))
        at = end + -end % 4
        if name == "TRAILER!!!":
            assert at == len(raw)
            return found[:-1]


def command(tmp_path: Path, *more: str) -> int:
    recipe_file = tmp_path / "recipe.toml"
    shutil.copy(FOLDER / "gateway.toml", recipe_file)
    code: int = builder.main(
        [str(recipe_file), "--inputs", str(tmp_path / "in"), "--lock", str(tmp_path / "lock"), "-o",
         str(tmp_path / "out.eif"), *more]
    )  # fmt: skip
    return code


# Refusals


def test_without_a_lock_nothing_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_inputs(tmp_path / "in")
    assert command(tmp_path) == 1
    assert "image.lock" in capsys.readouterr().err
    assert not (tmp_path / "out.eif").exists()


@pytest.mark.parametrize("change", ["changed", "missing", "more"])
def test_inputs_that_the_lock_does_not_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    make_inputs(tmp_path / "in")
    assert command(tmp_path, "--write-lock") == 0
    (tmp_path / "out.eif").unlink()
    match change:
        case "changed":
            (tmp_path / "in" / "bzImage").write_bytes(b"another")
        case "missing":
            (tmp_path / "in" / "trust.json").unlink()
        case _:
            (tmp_path / "in" / "wheels" / "more.whl").write_bytes(wheel(("more.py", b"")))
    assert command(tmp_path) == 1
    assert "1 inputs are not those" in capsys.readouterr().err
    assert not (tmp_path / "out.eif").exists()


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/../outside"])
def test_a_path_that_leads_outside_is_refused(name: str) -> None:
    tree: dict[str, Any] = {}
    with pytest.raises(MalformedError):
        builder.apply_layer(tree, layer((name, b"x")))
    with pytest.raises(MalformedError):
        builder.unpack_wheel(tree, wheel((name, b"x")), "site")
    with pytest.raises(MalformedError):
        builder.apply_layer(tree, layer(("a", ("nothing",))))
    assert tree == {}


def test_an_image_without_its_node_is_refused(tmp_path: Path) -> None:
    """The data node's recipe, over inputs whose wheel has none."""
    found = tomllib.loads((FOLDER / "data.toml").read_text("utf-8"))
    assert found["module"] == "holdfast.nodes.data"
    with pytest.raises(RefusedError) as caught:
        builder.build_tree(found, make_inputs(tmp_path / "in"))
    assert caught.value.code == "image.module"


@pytest.mark.parametrize("text", ["", "name = ", 'name = "x"', "more = 1"])
def test_a_recipe_that_says_too_little_or_too_much_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.toml"
    whole = (FOLDER / "gateway.toml").read_text("utf-8")
    path.write_text(f"{text}\n{whole}" if text == "more = 1" else text, "utf-8")
    with pytest.raises(UsageError) as caught:
        builder.load_recipe(path)
    assert caught.value.code == "image.recipe"


# What is built


def test_building_twice_gives_identical_bytes(tmp_path: Path) -> None:
    """In other folders, with other times, owners' masks and orders of the files."""
    first = make_inputs(tmp_path / "one")
    second = tmp_path / "two" / "deeper"
    shutil.copytree(first, second)
    for number, path in enumerate(sorted(second.rglob("*"), reverse=True)):
        os.utime(path, (10**9 + number, 10**9 + number))
        path.chmod(0o700 if path.is_dir() else 0o600)
    images = [builder.build(recipe(), folder) for folder in (first, second)]
    assert images[0] == images[1]
    assert builder.digests(first) == builder.digests(second)
    (second / "node.toml").write_bytes(b"[gateway]\n")
    other = measure_image(parse_image(builder.build(recipe(), second)))
    one = measure_image(parse_image(images[0]))
    assert {name for name in one if one[name] != other[name]} == {"pcr0", "pcr2"}


def test_the_command_prints_what_the_image_measures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_inputs(tmp_path / "in")
    assert command(tmp_path, "--write-lock") == 0
    lines = capsys.readouterr().out.splitlines()
    raw = (tmp_path / "out.eif").read_bytes()
    assert lines[0].split()[0] == hashlib.sha256(raw).hexdigest()
    parts = {section.kind: bytes(section.data) for section in parse_image(raw).sections[:3]}
    ramdisks = [bytes(data) for data in parse_image(raw).data("ramdisk")]
    whole = b"".join([parts["kernel"], parts["cmdline"], *ramdisks])
    assert lines[1] == f"pcr0    {hashlib.sha384(bytes(48) + hashlib.sha384(whole).digest()).hexdigest()}"
    assert command(tmp_path) == 0
    assert (tmp_path / "out.eif").read_bytes() == raw


def test_the_ramdisk_is_what_the_bootstrap_expects(tmp_path: Path) -> None:
    tree = builder.build_tree(recipe(), make_inputs(tmp_path / "in"))
    found = entries(builder.build_cpio(tree))
    names = [name for name, _, _ in found]
    assert names == sorted(names)
    content = {name: data for name, _, data in found}
    assert content["cmd"].splitlines()[-1] == b"/holdfast/start.py"
    assert content["rootfs/holdfast/start.py"] == (FOLDER / "start.py").read_bytes()
    assert content["rootfs/holdfast/lib/holdfast/nodes/gateway/__main__.py"] == b"main"
    assert content["rootfs/holdfast/lib/more.so"] == b"more"
    assert content["rootfs/etc/holdfast/trust.json"] == b"{}"
    assert b"127.0.1.1 log.example\n" in content["rootfs/etc/hosts"]
    told = json.loads(content["rootfs/etc/holdfast/enclave.json"])
    assert (told["module"], told["inbound"]) == ("holdfast.nodes.gateway", [{"vsock": 8443, "port": 8443}])
    assert not any("__pycache__" in name or name.endswith((".pyc", "/null", "bin/holdfast")) for name in names)
    for name, fields, _ in found:
        assert fields["mtime"] == fields["uid"] == fields["gid"] == fields["check"] == 0
        assert fields["mode"] in (0o040755, 0o100755, 0o100644, 0o120777), name
        parent = name.rpartition("/")[0]
        assert not parent or parent in names, name
    assert {name: fields["mode"] for name, fields, _ in found}["rootfs/usr/bin/python3"] == 0o100755
    assert {"rootfs/proc", "rootfs/run", "rootfs/tmp"} <= set(names)


def test_layers_lie_over_each_other_as_they_do_elsewhere() -> None:
    tree: dict[str, Any] = {}
    builder.apply_layer(tree, layer(("a/one", b"1"), ("a/two", b"2"), ("b/three", b"3"), ("lib", "a"), ("c", b"file")))
    builder.apply_layer(tree, layer(("a/.wh.one", b""), ("b/.wh..wh..opq", b""), ("b/four", b"4"), ("lib/five", b"5")))
    builder.apply_layer(tree, layer(("c/six", b"6"), ("a/seven", ("a/two",))))
    found = {path: entry.data for path, entry in builder.resolve_links(tree).items() if entry.mode == builder.FILE}
    assert found == {"a/two": b"2", "b/four": b"4", "a/five": b"5", "c/six": b"6", "a/seven": b"2"}
