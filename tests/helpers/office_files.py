"""Office documents for tests: made by hand, part by part, so that each can be broken in one place."""

import io
import struct
import zipfile

OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
SLIDE = "http://schemas.openxmlformats.org/presentationml/2006/main"
DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
TYPE = "application/vnd.openxmlformats-officedocument"


def relations(*items):
    """A part of relationships, each (id, kind, target) or with more attributes."""
    inside = "".join(
        f'<Relationship Id="{number}" Type="{OFFICE}/{kind}" Target="{target}"{"".join(more)}/>'
        for number, kind, target, *more in items
    )
    return f'<Relationships xmlns="{PACKAGE}/relationships">{inside}</Relationships>'


def package(main, content_type, parts):
    """The parts of a document whose main part is there."""
    types = (
        f'<Types xmlns="{PACKAGE}/content-types"><Override PartName="/{main}" ContentType="{content_type}"/></Types>'
    )
    return {"[Content_Types].xml": types, "_rels/.rels": relations(("r1", "officeDocument", main)), **parts}


def packed(parts, compression=zipfile.ZIP_DEFLATED):
    """An archive of parts, texts or bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return out.getvalue()


def paragraph(text, more=""):
    return f'<w:p><w:r>{more}<w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def word_parts(body, *, main_type=f"{TYPE}.wordprocessingml.document.main+xml", **parts):
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="{WORD}"><w:body>{body}</w:body></w:document>'
    )
    return package("word/document.xml", main_type, {"word/document.xml": document, **parts})


def docx(body, **more):
    return packed(word_parts(body, **more))


def sheet(*rows):
    """A worksheet; each row a list of (place, attributes, inside)."""
    lines = "".join(
        f"<row>{''.join(f'<c r={place!r} {given}>{inside}</c>' for place, given, inside in row)}</row>" for row in rows
    )
    return f'<worksheet xmlns="{SHEET}"><sheetData>{lines}</sheetData></worksheet>'.replace("'", '"')


def sheet_parts(sheets, *, shared=(), formats="", properties="", state="", **parts):
    """A workbook; ``sheets`` from names to worksheets."""
    named = "".join(
        f'<sheet name="{name}" sheetId="{number}" r:id="s{number}"{state}/>' for number, name in enumerate(sheets, 1)
    )
    book = f'<workbook xmlns="{SHEET}" xmlns:r="{OFFICE}">{properties}<sheets>{named}</sheets></workbook>'
    places = {f"xl/worksheets/sheet{number}.xml": text for number, text in enumerate(sheets.values(), 1)}
    links = [(f"s{number}", "worksheet", f"worksheets/sheet{number}.xml") for number in range(1, len(sheets) + 1)]
    links += [("t", "sharedStrings", "sharedStrings.xml"), ("f", "styles", "styles.xml")]
    strings = "".join(f"<si><t>{text}</t></si>" for text in shared)
    return package(
        "xl/workbook.xml",
        f"{TYPE}.spreadsheetml.sheet.main+xml",
        {
            "xl/workbook.xml": book,
            "xl/_rels/workbook.xml.rels": relations(*links),
            "xl/sharedStrings.xml": f'<sst xmlns="{SHEET}">{strings}</sst>',
            "xl/styles.xml": f'<styleSheet xmlns="{SHEET}">{formats}</styleSheet>',
            **places,
            **parts,
        },
    )


def xlsx(sheets, **more):
    return packed(sheet_parts(sheets, **more))


def slide(*texts, more=""):
    lines = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in texts)
    return f'<p:sld xmlns:p="{SLIDE}" xmlns:a="{DRAWING}"{more}><p:cSld>{lines}</p:cSld></p:sld>'


def slide_parts(*slides, **parts):
    names = "".join(f'<p:sldId id="{256 + number}" r:id="s{number}"/>' for number in range(1, len(slides) + 1))
    show = f'<p:presentation xmlns:p="{SLIDE}" xmlns:r="{OFFICE}"><p:sldIdLst>{names}</p:sldIdLst></p:presentation>'
    links = [(f"s{number}", "slide", f"slides/slide{number}.xml") for number in range(1, len(slides) + 1)]
    return package(
        "ppt/presentation.xml",
        f"{TYPE}.presentationml.presentation.main+xml",
        {
            "ppt/presentation.xml": show,
            "ppt/_rels/presentation.xml.rels": relations(*links),
            **{f"ppt/slides/slide{number}.xml": text for number, text in enumerate(slides, 1)},
            **parts,
        },
    )


def pptx(*slides, **more):
    return packed(slide_parts(*slides, **more))


def with_document(text):
    """A Word document whose main part is this very text."""
    return packed({**word_parts(""), "word/document.xml": text})


def changed_directory(data, change):
    """An archive whose directory entries went through ``change`` (number, entry, in place)."""
    raw, at, number = bytearray(data), data.index(b"PK\x01\x02"), 0
    while raw[at : at + 4] == b"PK\x01\x02":
        name, extra, comment = struct.unpack_from("<HHH", raw, at + 28)
        size = 46 + name + extra + comment
        entry = raw[at : at + size]
        change(number, entry)
        raw[at : at + size] = entry
        at, number = at + size, number + 1
    return bytes(raw)


def overlapping():
    """Two entries over one local header: what an overlapping bomb is made of."""
    plain = docx(paragraph("x" * 1000))

    def point(number, entry):
        if number == 2:
            entry[42:46] = bytes(4)

    return changed_directory(plain, point)


def encrypted_entry():
    """The flag that says that an entry is encrypted."""

    def flag(_number, entry):
        entry[8] |= 1

    return changed_directory(docx(paragraph("x")), flag)


def big_part(size, name="word/document.xml"):
    """A part that is far larger than it looks."""
    head = f'<w:document xmlns:w="{WORD}"><w:body>'.encode()
    return packed({**word_parts(""), name: head + b" " * size + b"</w:body></w:document>"})


def laughs(levels=9):
    """A billion laughs."""
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{number} "{f"&a{number - 1};" * 10}">' for number in range(1, levels + 1)
    )
    body = paragraph(f"&a{levels};")
    return with_document(f'<!DOCTYPE w [{entities}]><w:document xmlns:w="{WORD}">{body}</w:document>')


def outside(target="file:///etc/passwd"):
    """An external entity."""
    return with_document(
        f'<!DOCTYPE w [<!ENTITY x SYSTEM "{target}">]>'
        f'<w:document xmlns:w="{WORD}"><w:body>{paragraph("&x;")}</w:body></w:document>'
    )


def nested(levels=60_000):
    """Elements in each other without end."""
    return with_document(f'<w:document xmlns:w="{WORD}">' + "<w:p>" * levels + "</w:p>" * levels + "</w:document>")


def missing_main():
    """A relationship to a main part that is not there, though its type is said."""
    parts = word_parts("")
    types = parts["[Content_Types].xml"].replace("word/document.xml", "nowhere.xml")
    links = relations(("r1", "officeDocument", "nowhere.xml"))
    return packed({**parts, "[Content_Types].xml": types, "_rels/.rels": links})


MALFORMED = {
    "archive-cut": docx(paragraph("hello"))[:-30],
    "head-alone": b"PK\x03\x04" + bytes(60),
    "overlapping": overlapping(),
    "no-xml": with_document("hello"),
    "cut-xml": with_document(f'<w:document xmlns:w="{WORD}"><w:body>'),
    "main-part-missing": missing_main(),
    "two-main-parts": packed({**word_parts(""), "_rels/.rels": relations(
        ("r1", "officeDocument", "word/document.xml"), ("r2", "officeDocument", "word/document.xml"))}),
    "relationships-no-xml": packed({**word_parts(""), "_rels/.rels": "<Relationships"}),
    "document-type": laughs(),
    "external-entity": outside(),
    "deep": nested(),
    "shared-string-beyond": xlsx({"A": sheet([("A1", 't="s"', "<v>7</v>")])}),
    "shared-string-no-number": xlsx({"A": sheet([("A1", 't="s"', "<v>-1</v>")])}),
    "slide-missing": packed({name: text for name, text in slide_parts(slide("x")).items() if "slides/" not in name}),
    "names-in-two-cases": packed({**word_parts(""), "WORD/document.xml": "x"}),
}  # fmt: skip
TOO_LARGE = {
    "ratio": big_part(64 << 20),
    "many-parts": packed({**word_parts(""), **{f"x/{number}": "" for number in range(10_001)}}),
    "long-text": docx(paragraph("x" * (3 << 20))),
    "wide-shared-strings": xlsx({"A": sheet([("A1", "", "<v>1</v>")])}, shared=["y" * (1 << 20)] * 17),
}
