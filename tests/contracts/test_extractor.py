"""What ``holdfast.ports.extractor`` promises, of workers that read files meaning harm."""

import asyncio
import time

import pytest

from holdfast import __version__
from holdfast.adapters.extractor_worker import WorkerExtractor
from holdfast.core.file_bytes import kind_of
from holdfast.errors import HoldfastError
from tests.helpers.hostile_files import ENDLESS, MALFORMED, bomb, locked, packed_script, text_pdf
from tests.helpers.office_files import (
    big_part,
    docx,
    encrypted_entry,
    laughs,
    outside,
    overlapping,
    packed,
    paragraph,
    pptx,
    sheet,
    sheet_parts,
    slide,
    xlsx,
)

CODES = {"file.malformed", "file.too_large", "file.time"}


def extract(data, kind="pdf", **bounds):
    return asyncio.run(WorkerExtractor(**bounds).extract(kind, data))


def refusal(data, kind="pdf", **bounds):
    with pytest.raises(HoldfastError) as caught:
        extract(data, kind, **bounds)
    return caught.value.code


def test_a_pdf_is_read_page_by_page_and_says_by_what():
    found = extract(text_pdf(b"First page.", b"Second page."))
    assert [page.strip() for page in found.pages] == ["First page.", "Second page."]
    assert (found.paged, found.media_type, found.name, found.notes) == (True, "application/pdf", "pypdf", ())
    assert found.version


def test_what_a_pdf_would_run_is_told_and_not_run():
    script = text_pdf(b"hello").replace(b"/Type /Catalog", b"/Type /Catalog /OpenAction << /S /JavaScript /JS (x) >>")
    assert "scripts" in extract(script).notes


def test_what_a_pdf_would_run_is_told_where_its_name_is_spelled_otherwise_or_packed():
    spelled = text_pdf(b"hello").replace(
        b"/Type /Catalog", b"/Type /Catalog /OpenAction << /S /Java#53cript /JS (x) >>"
    )
    assert "scripts" in extract(spelled).notes
    found = extract(packed_script())
    assert (found.pages[0].strip(), found.notes) == ("hello", ("scripts",))


def test_a_kind_that_nobody_reads_is_refused():
    assert refusal(b"x", "spreadsheet") == "file.type"


def test_a_locked_file_is_refused_as_that():
    assert refusal(locked()) == "file.encrypted"


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_refused_as_that(name):
    assert refusal(MALFORMED[name]) == "file.malformed"


@pytest.mark.parametrize("name", ENDLESS)
def test_a_file_without_end_ends(name):
    began = time.monotonic()
    try:
        extract(ENDLESS[name], cpu_s=5, timeout_s=60.0)
    except HoldfastError as error:
        assert error.code in CODES  # noqa: PT017 (some of them can be read)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("times", [1, 3])
def test_a_file_that_grows_is_refused_before_it_fills_the_memory(times):
    assert refusal(bomb(times), memory_bytes=128 << 20, cpu_s=20, timeout_s=60.0) in CODES


def test_a_worker_that_takes_too_long_is_ended():
    assert refusal(text_pdf(b"hello"), timeout_s=0.0) == "file.time"


def test_more_text_than_anybody_takes_is_refused():
    assert refusal(text_pdf(*[b"x" * 30_000] * 90)) == "file.too_large"


OFFICE = {
    "docx": (docx(paragraph("hello")), ("hello\n",), False),
    "xlsx": (xlsx({"A": sheet([("A1", "", "<v>1</v>")])}), ("Sheet A\n1\n\n",), True),
    "pptx": (pptx(slide("one"), slide("two")), ("one\n", "two\n"), True),
}


@pytest.mark.parametrize("name", OFFICE)
def test_an_office_document_is_read_and_says_by_what(name):
    data, pages, paged = OFFICE[name]
    found = extract(data, kind_of(data))
    assert (found.pages, found.paged, found.name) == (pages, paged, "holdfast")
    assert found.version == __version__


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (laughs(), "file.malformed"),
        (outside(), "file.malformed"),
        (overlapping(), "file.malformed"),
        (big_part(64 << 20), "file.too_large"),
        (packed({"a": "no document"}), "file.type"),
        (encrypted_entry(), "file.encrypted"),
    ],
    ids=["a billion laughs", "an external entity", "overlapping entries", "a bomb", "an archive", "encrypted"],
)
def test_an_office_document_that_means_harm_is_refused_in_the_worker_as_outside_of_it(data, code):
    assert refusal(data, "office") == code


def test_a_sheet_without_end_is_ended_by_the_bounds_of_its_worker():
    rows = b"<row><c><v>1</v></c></row>" * 3_000_000
    huge = sheet_parts({"A": sheet()})
    huge["xl/worksheets/sheet1.xml"] = sheet().encode().replace(b"</sheetData>", rows + b"</sheetData>")
    assert refusal(packed(huge), "office", cpu_s=1, memory_bytes=96 << 20) in CODES


def test_several_files_are_read_at_once_and_one_that_fails_is_alone():
    async def main():
        reader = WorkerExtractor(at_once=2)
        files = [text_pdf(b"one"), MALFORMED["cut-short"], text_pdf(b"three")]
        return await asyncio.gather(*(reader.extract("pdf", data) for data in files), return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert (first.pages[0].strip(), third.pages[0].strip()) == ("one", "three")
    assert isinstance(second, HoldfastError)
