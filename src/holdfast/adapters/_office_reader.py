"""Text of office documents (docx, xlsx, pptx): loaded by ``_file_worker``, by path, and by nobody else
(``spec/files.md`` §2).

A document is a zip of XML parts. Parts are found by their relationships alone and read as a stream by expat; what is
not needed is not unpacked. Rules: no two entries of the zip share bytes or a name, none is encrypted, none is anything
but stored or deflated; all that is unpacked is bounded before it is parsed; a part with a document type is refused, so
no entity is ever declared; what points outside of the file is not followed, what is embedded is not opened, and macros
are looked at by nobody. All of that is told in notes.

Not covered: text in pictures and charts, layout, headers and footers, and formulas beyond the value that was stored.
It imports nothing of Holdfast.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from xml.parsers import expat

MOST_ENTRIES = 10_000
MOST_UNPACKED = 192 << 20
"""Bytes that come out of all parts that are read."""
MOST_RATIO, RATIO_FROM = 400, 4 << 20
"""How often larger a part may be than what it is packed in, once that many bytes came out of it."""
MOST_DEPTH = 256
MOST_SHARED = 16 << 20
"""Characters of a workbook's shared strings."""
MOST_TEXT = 4 << 20
"""Characters of one part's text: more than anybody takes of a whole file."""
MOST_GAP = 16
"""Empty cells that are shown between two others of a row."""
_PIECE = 1 << 16
_HEADER = 30
"""Bytes of a local header before the name (APPNOTE §4.3.7)."""
_TYPES = {
    "wordprocessingml": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "spreadsheetml": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "presentationml": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
"""Media type by the family of the main part's content type."""
_FAMILIES = re.compile(r"\A(?:http://schemas\.openxmlformats\.org|http://purl\.oclc\.org/ooxml)/(\w+)(?:/2006)?/main\Z")
_DATES = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})
"""Number formats that are built in and show dates or times (ECMA-376 part 1 §18.8.30)."""
_EPOCH, _EPOCH_1904 = (dt.datetime(*day, tzinfo=dt.UTC) for day in ((1899, 12, 30), (1904, 1, 1)))
"""What day 0 of a workbook is (ECMA-376 part 1 §18.17.4.1). Cells have no time zone, and none is shown."""
_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
_CELL = re.compile(r"\A([A-Z]{1,3})[0-9]{1,7}\Z")
Attributes = dict[str, str]


class RefusedError(Exception):
    """Why a document is not read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def _malformed(message: str) -> RefusedError:
    return RefusedError("file.malformed", message)


class _Package:
    """The zip, and how much came out of it."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, RuntimeError, OSError, EOFError) as error:
            raise _malformed("this begins as an archive and is none") from error
        entries = self._zip.infolist()
        if len(entries) > MOST_ENTRIES:
            raise RefusedError("file.too_large", f"an office document has at most {MOST_ENTRIES} parts")
        _refuse_overlaps(entries, self._zip.start_dir)
        self._entries = {entry.filename: entry for entry in entries}
        self._unpacked = 0
        self.notes: set[str] = set()
        folded = [name.casefold() for name in self._entries]
        if len({*folded}) != len(entries):
            raise _malformed("two parts have one name")
        if any(name.endswith("vbaproject.bin") for name in folded):
            self.notes.add("macros")
        if any("/embeddings/" in name or "/activex/" in name for name in folded):
            self.notes.add("embedded-files")

    def has(self, name: str) -> bool:
        return name in self._entries

    def pieces(self, name: str) -> Iterator[bytes]:
        """A part, unpacked piece by piece within the bounds."""
        entry = self._entries.get(name)
        if entry is None:
            raise _malformed("a part that the document names is not there")
        if entry.flag_bits & 1:
            raise RefusedError("file.encrypted", "the document is encrypted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _malformed("a part is packed in a way that documents are not")
        came = 0
        try:
            with self._zip.open(entry) as file:
                while piece := file.read(_PIECE):
                    came += len(piece)
                    self._unpacked += len(piece)
                    if self._unpacked > MOST_UNPACKED or (
                        came > RATIO_FROM and came > MOST_RATIO * max(entry.compress_size, 1)
                    ):
                        raise RefusedError("file.too_large", "what would come out of the document is too large")
                    yield piece
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
            raise _malformed("a part of the document cannot be unpacked") from error

    def parse(self, name: str, begin: Callable[[str, Attributes], None], **more: Callable[[str], None]) -> None:
        """Read a part as XML: ``begin`` for each element, ``end`` and ``text`` where they are wanted. Names are
        ``NAMESPACE LOCAL``."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        depth = 0

        def started(tag: str, attributes: Attributes) -> None:
            nonlocal depth
            depth += 1
            if depth > MOST_DEPTH:
                raise _malformed("elements stand too deep in each other")
            begin(tag, attributes)

        def ended(tag: str) -> None:
            nonlocal depth
            depth -= 1
            if "end" in more:
                more["end"](tag)

        parser.StartElementHandler, parser.EndElementHandler = started, ended
        parser.StartDoctypeDeclHandler = _refuse_type
        if "text" in more:
            parser.CharacterDataHandler = more["text"]
        try:
            for piece in self.pieces(name):
                parser.Parse(piece, False)
            parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise _malformed("a part of the document is no XML") from error

    def related(self, name: str) -> dict[str, tuple[str, str]]:
        """By id: the last word of the kind, and the target, of what a part (the empty name: the package) is related
        to. What is outside is told and left out."""
        folder, base = posixpath.split(name)
        place = posixpath.join(folder, "_rels", f"{base}.rels")
        found: dict[str, tuple[str, str]] = {}
        if not self.has(place):
            return found

        def begin(tag: str, given: Attributes) -> None:
            if not tag.endswith("/relationships Relationship"):
                return
            if given.get("TargetMode") == "External":
                self.notes.add("external-links")
                return
            kind, target = given.get("Type", "").rpartition("/")[2], given.get("Target", "")
            whole = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            found[given.get("Id", "")] = (kind, whole)

        self.parse(place, begin)
        return found


class _Room:
    """What is left of the text that is taken."""

    def __init__(self, most: int = MOST_TEXT) -> None:
        self._left = most

    def take(self, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            raise RefusedError("file.too_large", "there is too much text in the file")


def _refuse_type(*_: Any) -> None:
    raise _malformed("a part of the document declares a document type")


def _refuse_overlaps(entries: list[zipfile.ZipInfo], directory: int) -> None:
    """No byte belongs to two entries, so nothing is unpacked more often than it is there."""
    at = 0
    for entry in sorted(entries, key=lambda item: item.header_offset):
        if entry.header_offset < at:
            raise _malformed("parts of the archive overlap")
        at = entry.header_offset + _HEADER + len(entry.orig_filename.encode()) + entry.compress_size
    if at > directory:
        raise _malformed("parts of the archive overlap")


def read_office(data: bytes, bounds: dict[str, int]) -> dict[str, Any]:
    """``pages``, ``paged``, ``media_type`` and ``notes`` of a document. Raises :class:`RefusedError`."""
    package = _Package(data)
    mains = [target for kind, target in package.related("").values() if kind == "officeDocument"]
    if not mains:
        raise RefusedError("file.type", "an archive, and no document of Word, Excel or PowerPoint")
    if len(mains) != 1:
        raise _malformed("the document has two main parts")
    family = _family(package, mains[0])
    read, paged = {"wordprocessingml": (_word, False), "spreadsheetml": (_sheets, True)}.get(family, (_slides, True))
    pages: list[str] = []
    left = bounds["text_bytes"]
    for text in read(package, mains[0]):
        left -= len(text.encode("utf-8", "replace"))
        if left < 0 or len(pages) >= bounds["pages"]:
            raise RefusedError("file.too_large", "there is too much text in the file")
        pages.append(text)
    if not paged:
        pages = ["".join(pages)]
    return {"pages": pages, "paged": paged, "media_type": _TYPES[family], "notes": sorted(package.notes)}


def warm_up() -> None:
    """Read an archive that is none of these documents: what reading imports is there afterwards, codecs too."""
    blank = io.BytesIO()
    with zipfile.ZipFile(blank, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", "<Relationships/>")
    with contextlib.suppress(RefusedError):
        read_office(blank.getvalue(), {"text_bytes": 0, "pages": 0})


def _family(package: _Package, main: str) -> str:
    """Which kind of document its main part is, by its content type."""
    found: list[str] = []

    def begin(tag: str, given: Attributes) -> None:
        if tag.endswith(" Override") and given.get("PartName", "").lstrip("/").casefold() == main.casefold():
            found.append(given.get("ContentType", ""))

    package.parse("[Content_Types].xml", begin)
    kind = found[0] if len(found) == 1 else ""
    if "macroenabled" in kind.casefold():
        package.notes.add("macros")
    family = {"word": "wordprocessingml", "excel": "spreadsheetml", "powerpoint": "presentationml"}
    for word, name in family.items():
        if name in kind or kind.casefold().startswith(f"application/vnd.ms-{word}."):
            return name
    raise RefusedError("file.type", "an archive, and no document of Word, Excel or PowerPoint")


def _local(tag: str, family: str) -> str:
    """The local name of an element of a family, else empty."""
    space, _, name = tag.rpartition(" ")
    match = _FAMILIES.match(space)
    return name if match is not None and match[1] == family else ""


class _Paragraphs:
    """Collects the text of paragraphs, of Word and of slides. ``family`` names the elements that text stands in."""

    def __init__(self, package: _Package, family: str) -> None:
        self.package, self.family = package, family
        self.made: list[str] = []
        self._line: list[str] = []
        self._in_text = 0
        self._skip = 0
        self._cells = 0
        self._room = _Room()

    def begin(self, tag: str, given: Attributes) -> None:
        if self._skip or tag.endswith("/markup-compatibility/2006 Fallback"):
            self._skip += 1  # the same again, for programs that know less
            return
        name = _local(tag, self.family)
        if name == "t":
            self._in_text += 1
        elif name == "tab":
            self._line.append("\t")
        elif name in ("br", "cr"):
            self._line.append("\n")
        elif name == "tc":
            self._cells += 1
        elif name in ("ins", "del", "moveFrom", "moveTo") and self.family == "wordprocessingml":
            self.package.notes.add("tracked-changes")
        elif name == "vanish" and _on(given):
            self.package.notes.add("hidden-text")

    def end(self, tag: str) -> None:
        if self._skip:
            self._skip -= 1
            return
        name = _local(tag, self.family)
        if name == "t":
            self._in_text -= 1
        elif name == "p":
            self._line.append(" " if self._cells else "\n")
            self._flush()
        elif name == "tc":
            self._cells -= 1
            self.made.append("\t")
        elif name == "tr":
            self.made.append("\n")

    def text(self, data: str) -> None:
        if self._in_text and not self._skip:
            self._room.take(data)
            self._line.append(data)

    def _flush(self) -> None:
        self.made.append("".join(self._line))
        self._line.clear()

    def take(self) -> str:
        self._flush()
        found, self.made = "".join(self.made), []
        return found


def _on(given: Attributes) -> bool:
    """Whether a property that may be there is on."""
    values = [value for name, value in given.items() if name.rpartition(" ")[2] == "val"]
    return not values or values[0] not in ("0", "false", "off")


def _paragraphs(package: _Package, name: str, family: str) -> str:
    found = _Paragraphs(package, family)
    package.parse(name, found.begin, end=found.end, text=found.text)
    return found.take()


def _word(package: _Package, main: str) -> Iterator[str]:
    related = package.related(main)
    yield _paragraphs(package, main, "wordprocessingml")
    for kind, heading in (("footnotes", "Footnotes"), ("endnotes", "Endnotes"), ("comments", "Comments")):
        for found, target in related.values():
            if found == kind and package.has(target):
                text = _paragraphs(package, target, "wordprocessingml")
                if text.strip():
                    yield f"\n{heading}\n{text}"


def _slides(package: _Package, main: str) -> Iterator[str]:
    related = package.related(main)
    order: list[str] = []

    def begin(tag: str, given: Attributes) -> None:
        if _local(tag, "presentationml") == "sldId":
            order.extend(value for name, value in given.items() if name.endswith("/relationships id"))

    package.parse(main, begin)
    for number in order:
        kind, target = related.get(number, ("", ""))
        if kind != "slide":
            raise _malformed("a slide that the presentation names is not there")
        _look_for_hidden(package, target)
        text = _paragraphs(package, target, "drawingml")
        for found, notes in package.related(target).values():
            if found == "notesSlide" and package.has(notes):
                text += f"Notes\n{_paragraphs(package, notes, 'drawingml')}"
        yield text


def _look_for_hidden(package: _Package, slide: str) -> None:
    def begin(tag: str, given: Attributes) -> None:
        if _local(tag, "presentationml") == "sld" and given.get("show") in ("0", "false"):
            package.notes.add("hidden-slides")

    package.parse(slide, begin)


def _sheets(package: _Package, main: str) -> Iterator[str]:
    related, sheets, epoch = package.related(main), [], [_EPOCH]

    def begin(tag: str, given: Attributes) -> None:
        name = _local(tag, "spreadsheetml")
        if name == "workbookPr" and given.get("date1904") in ("1", "true"):
            epoch[0] = _EPOCH_1904
        if name == "sheet":
            if given.get("state", "visible") != "visible":
                package.notes.add("hidden-sheets")
            ids = [value for key, value in given.items() if key.endswith("/relationships id")]
            sheets.append((given.get("name", ""), ids[0] if ids else ""))

    package.parse(main, begin)
    places = {kind: target for kind, target in related.values() if kind in ("sharedStrings", "styles")}
    shared = _shared(package, places.get("sharedStrings"))
    dates = _date_styles(package, places.get("styles"))
    for name, number in sheets:
        kind, target = related.get(number, ("", ""))
        if kind == "worksheet":
            yield f"Sheet {name}\n" + "".join(_Cells(package, shared, dates, epoch[0]).rows(target)) + "\n"
        elif kind != "chartsheet":
            raise _malformed("a sheet that the workbook names is not there")


def _shared(package: _Package, name: str | None) -> list[str]:
    """The texts that cells name by number, without the phonetic ones."""
    found: list[str] = []
    state, room = {"text": 0, "phonetic": 0}, _Room(MOST_SHARED)
    line: list[str] = []

    def begin(tag: str, _given: Attributes) -> None:
        local = _local(tag, "spreadsheetml")
        state["text"] += local == "t"
        state["phonetic"] += local == "rPh"

    def end(tag: str) -> None:
        local = _local(tag, "spreadsheetml")
        state["text"] -= local == "t"
        state["phonetic"] -= local == "rPh"
        if local == "si":
            found.append("".join(line))
            line.clear()

    def text(data: str) -> None:
        if state["text"] and not state["phonetic"]:
            room.take(data)
            line.append(data)

    if name is not None and package.has(name):
        package.parse(name, begin, end=end, text=text)
    return found


def _date_styles(package: _Package, name: str | None) -> frozenset[int]:
    """Styles of cells whose number is a date or a time."""
    formats: dict[str, str] = {}
    styles: list[str] = []
    inside: list[str] = []

    def begin(tag: str, given: Attributes) -> None:
        local = _local(tag, "spreadsheetml")
        if local == "cellXfs":
            inside.append(local)
        elif local == "numFmt":
            formats[given.get("numFmtId", "")] = given.get("formatCode", "")
        elif local == "xf" and inside:
            styles.append(given.get("numFmtId", ""))

    def end(tag: str) -> None:
        if _local(tag, "spreadsheetml") == "cellXfs":
            inside.clear()

    if name is not None and package.has(name):
        package.parse(name, begin, end=end)
    return frozenset(number for number, kind in enumerate(styles) if _shows_dates(kind, formats))


def _shows_dates(kind: str, formats: dict[str, str]) -> bool:
    if kind in formats:
        bare = _QUOTED.sub("", formats[kind].split(";")[0]).casefold()
        return any(letter in bare for letter in "ydhs") or ("m" in bare and "#" not in bare and "0" not in bare)
    return kind.isdigit() and len(kind) < 4 and int(kind) in _DATES


class _Cells:
    """The rows of one sheet, as lines of cells with a tab between them."""

    def __init__(self, package: _Package, shared: list[str], dates: frozenset[int], epoch: dt.datetime) -> None:
        self.package, self.shared, self.dates, self.epoch = package, shared, dates, epoch
        self._lines: list[str] = []
        self._row: list[str] = []
        self._column = 0
        self._kind, self._style = "", ""
        self._value: list[str] = []
        self._taking = False
        self._room = _Room()

    def rows(self, name: str) -> list[str]:
        self.package.parse(name, self._begin, end=self._end, text=self._text)
        return self._lines

    def _begin(self, tag: str, given: Attributes) -> None:
        name = _local(tag, "spreadsheetml")
        if name == "row":
            self._row, self._column = [], 0
        elif name == "c":
            self._skip_to(given.get("r", ""))
            self._kind, self._style, self._value = given.get("t", "n"), given.get("s", ""), []
        elif name == "f":
            self.package.notes.add("formulas")
        elif name in ("v", "t"):
            self._taking = True

    def _skip_to(self, place: str) -> None:
        """Tabs for the cells that are left out before this one."""
        match = _CELL.match(place)
        column = self._column + 1
        if match is not None:
            column = 0
            for letter in match[1]:
                column = column * 26 + ord(letter) - 64
        gap = column - self._column - 1
        if gap > MOST_GAP:
            self.package.notes.add("cells-closed-up")
        self._row.extend([""] * min(max(gap, 0), MOST_GAP))
        self._column = max(column, self._column)

    def _end(self, tag: str) -> None:
        name = _local(tag, "spreadsheetml")
        if name in ("v", "t"):
            self._taking = False
        elif name == "c":
            self._row.append(" ".join(self._shown().split("\n")))
        elif name == "row" and any(self._row):
            line = "\t".join(self._row) + "\n"
            self._room.take(line)
            self._lines.append(line)

    def _text(self, data: str) -> None:
        if self._taking:
            self._room.take(data)
            self._value.append(data)

    def _shown(self) -> str:
        text = "".join(self._value)
        if self._kind == "s":
            if not text.isdigit() or len(text) > 9 or int(text) >= len(self.shared):
                raise _malformed("a cell names a text that is not there")
            return self.shared[int(text)]
        if self._kind == "b":
            return {"1": "TRUE", "0": "FALSE"}.get(text, text)
        if self._kind == "n" and self._style.isdigit() and len(self._style) < 6 and int(self._style) in self.dates:
            return self._date(text)
        return text

    def _date(self, text: str) -> str:
        """A serial number as a date and time; as it is where it is none."""
        try:
            days = float(text)
            found = self.epoch + dt.timedelta(days=days)
        except (ValueError, OverflowError):
            return text
        if not 0 <= days < 2_958_466:  # 9999-12-31
            return text
        if days < 1:
            return found.strftime("%H:%M:%S")
        whole = found.replace(microsecond=0) + dt.timedelta(seconds=found.microsecond >= 500_000)
        return whole.strftime("%Y-%m-%d" if days == int(days) else "%Y-%m-%d %H:%M:%S")
