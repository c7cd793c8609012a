"""What ``holdfast.ports.extractor`` promises, of workers that read files meaning harm."""

import asyncio
import time

import pytest

from holdfast.adapters.extractor_worker import WorkerExtractor
from holdfast.errors import HoldfastError
from tests.helpers.hostile_files import ENDLESS, MALFORMED, bomb, locked, text_pdf

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


def test_several_files_are_read_at_once_and_one_that_fails_is_alone():
    async def main():
        reader = WorkerExtractor(at_once=2)
        files = [text_pdf(b"one"), MALFORMED["cut-short"], text_pdf(b"three")]
        return await asyncio.gather(*(reader.extract("pdf", data) for data in files), return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert (first.pages[0].strip(), third.pages[0].strip()) == ("one", "three")
    assert isinstance(second, HoldfastError)
