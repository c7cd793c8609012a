"""Files that mean harm, made here: PDF that is broken, endless, nested, locked, or far larger than it looks."""

import io
import zlib

import pypdf


def pdf(*objects, trailer=b"/Root 1 0 R", start=None):
    """A PDF of these objects, numbered from 1, with a table of where they are."""
    data, places = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n" % number + item + b"\nendobj\n"
    table = len(data) if start is None else start
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % place for place in places)
    return data + b"trailer\n<< /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, table)


def stream(data, more=b""):
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(data), more, data)


CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
PAGE = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /MediaBox [0 0 9 9] /Resources << /Font << /F 5 0 R >> >> >>"


def shown(text):
    return b"BT /F 9 Tf 9 9 Td (%s) Tj ET" % text


def text_pdf(*texts):
    """A PDF of one page for each text."""
    kids, objects = [], []
    for text in texts:
        number = 4 + len(objects)
        kids.append(b"%d 0 R" % number)
        objects += [PAGE.replace(b"5 0 R", b"3 0 R").replace(b"4 0 R", b"%d 0 R" % (number + 1)), stream(shown(text))]
    pages = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    return pdf(CATALOG, pages, FONT, *objects)


def one_page(content, pages=b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>", page=PAGE):
    return pdf(CATALOG, pages, page, content, FONT)


def locked():
    """A PDF under a password."""
    writer = pypdf.PdfWriter()
    writer.append(io.BytesIO(text_pdf(b"secret")))
    writer.encrypt("password", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def packed_script():
    """A PDF of one page whose objects, a script among them, stand in a packed stream (ISO 32000-1 §7.5.7)."""
    catalog = b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (x) >> >>"
    pages = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    inner, head, body = {1: catalog, 2: pages, 3: PAGE, 5: FONT}, b"", b""
    for number, item in inner.items():
        head += b"%d %d " % (number, len(body))
        body += item + b" "
    packed = zlib.compress(head + body)
    more = b"/Type /ObjStm /N 4 /First %d /Filter /FlateDecode" % len(head)
    data, places = b"%PDF-1.5\n", {}
    for number, item in {4: stream(shown(b"hello")), 6: stream(packed, more)}.items():
        places[number] = len(data)
        data += b"%d 0 obj\n" % number + item + b"\nendobj\n"
    rows = [(0, 0, 65535), (2, 6, 0), (2, 6, 1), (2, 6, 2), (1, places[4], 0), (2, 6, 3), (1, places[6], 0)]
    rows.append((1, len(data), 0))
    table = b"".join(kind.to_bytes() + place.to_bytes(4) + last.to_bytes(2) for kind, place, last in rows)
    start = len(data)
    return data + b"7 0 obj\n%s\nendobj\nstartxref\n%d\n%%%%EOF\n" % (
        stream(table, b"/Type /XRef /Size 8 /W [1 4 2] /Root 1 0 R"),
        start,
    )


def deflated(data, times):
    for _ in range(times):
        data = zlib.compress(data, 9)
    return data


LARGE = 256 << 20


def bomb(times):
    """A page of 256 MB of spaces, deflated again and again."""
    packer = zlib.compressobj(9)
    spaces = b" " * (1 << 20)
    data = b"".join(packer.compress(spaces) for _ in range(LARGE >> 20)) + packer.flush()
    filters = b"/Filter [%s]" % b" ".join([b"/FlateDecode"] * times)
    return one_page(stream(deflated(data, times - 1), filters))


MALFORMED = {
    "nothing-behind-its-name": b"%PDF-1.7\n",
    "cut-short": text_pdf(b"hello")[:120],
    "random": b"%PDF-1.7\n" + bytes(range(256)) * 50,
    "no-pages": pdf(b"<< /Type /Catalog >>"),
    "table-leads-nowhere": pdf(b"<< /Nothing 1 >>", start=10**9),
}
"""By what is wrong: PDF that nobody can read."""
ENDLESS = {
    "pages-that-hold-themselves": one_page(stream(b""), b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"),
    "tables-in-a-circle": text_pdf(b"hello").replace(b"/Root 1 0 R", b"/Root 1 0 R /Prev 9"),
    "length-that-is-itself": one_page(b"<< /Length 4 0 R >>\nstream\nx\nendstream"),
    "two-thousand-million-pages": one_page(stream(shown(b"hi")), b"<< /Type /Pages /Kids [3 0 R] /Count 2000000000 >>"),
    "nested-arrays": one_page(stream(b"[" * 200_000)),
    "nested-dictionaries": pdf(b"<< /A " * 50_000),
    "polyglot": b"PK\x03\x04" + b"\0" * 40 + text_pdf(b"hello"),
}
"""By what they try: whatever becomes of them, it ends soon."""
