"""The report in a real Chromium: tables that sort, and nothing wider than a telephone's screen."""

import json

import pytest

from pipeline.report import page
from tests.report.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")

FIRST = "document.querySelector('#result ~ table')"


@pytest.fixture
def browser(tmp_path, make_run):
    params, layout = make_run()
    page.build(params, layout)
    with Browser(tmp_path / "profile") as opened:
        opened.set_size(1280, 800)
        opened.open(layout.report.resolve())
        yield opened


def column(browser: Browser, number: int) -> list[str]:
    script = f"[...{FIRST}.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[{number}].textContent)"
    return browser.evaluate(script)


def head(browser: Browser, number: int) -> str:
    return browser.evaluate(f"{FIRST}.tHead.rows[1].cells[{number}].getAttribute('aria-sort')")


def click(browser: Browser, number: int) -> None:
    browser.evaluate(f"{FIRST}.tHead.rows[1].cells[{number}].click()")


def test_a_click_on_a_head_sorts_up_then_down_then_as_it_was(browser):
    before = column(browser, 0)
    figures = [float(text.split(" ")[0]) for text in column(browser, 3)]
    assert figures != sorted(figures)
    click(browser, 3)
    assert head(browser, 3) == "ascending"
    assert [float(text.split(" ")[0]) for text in column(browser, 3)] == sorted(figures)
    click(browser, 3)
    assert head(browser, 3) == "descending"
    assert [float(text.split(" ")[0]) for text in column(browser, 3)] == sorted(figures, reverse=True)
    click(browser, 3)
    assert head(browser, 3) == "none"
    assert column(browser, 0) == before


def test_texts_sort_by_the_alphabet_and_blank_cells_stay_last(browser):
    click(browser, 0)
    names = column(browser, 0)
    assert names == sorted(names)
    for _ in range(2):
        click(browser, 6)  # the paper's precision, which the side methods lack
        filled = [text != "" for text in column(browser, 6)]
        assert False in filled
        assert filled == sorted(filled, reverse=True)


def test_enter_on_a_head_sorts_as_a_click_does(browser):
    browser.evaluate(f"{FIRST}.tHead.rows[1].cells[4].focus()")
    browser.press("Enter")
    assert head(browser, 4) == "ascending"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser, width):
    browser.set_size(width, 800)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('p, h1, h2, li, figure, dl')].filter((one) => one.scrollWidth > innerWidth)"
    assert browser.evaluate(f"{wide}.map((one) => one.textContent.slice(0, 40))") == []
    assert json.dumps([event for event in browser.events if event.get("method") == "Runtime.exceptionThrown"]) == "[]"
