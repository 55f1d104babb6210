"""The report page in a real browser: headless Chromium, as a reader would use it.

Without Chromium the tests are skipped, and fail where CI is set. $ROUTING_JAX_BROWSER names a
browser that is not found by itself.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from routing_jax.reporting.page.collect import collect
from routing_jax.reporting.page.make import make_page

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
NASTY = "<img src=x onerror=hacked()> & <b>bold</b>"
QUIET = ("--disable-gpu", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A running browser."""
    path = os.environ.get("ROUTING_JAX_BROWSER") or next(
        filter(None, map(shutil.which, BROWSERS)), None
    )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        reason = f"no browser for the report page: install playwright and one of {BROWSERS}"
        pytest.fail(reason, pytrace=False) if os.environ.get("CI") else pytest.skip(reason)
    # Chromium refuses its sandbox to root.
    sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*QUIET, *sandbox])
        yield started
        started.close()


@pytest.fixture(scope="module")
def opened(browser, write_run, write_sweep, tmp_path_factory) -> Iterator[tuple[object, list[str]]]:
    """A page with everything on it, opened from disk, and what the browser had to report of it."""
    folder = tmp_path_factory.mktemp("report")
    nasty = [NASTY, "task 10", "task 9", "Task 8"]
    workdirs = [
        write_run(folder / "pair", seeds=2),
        write_run(folder / "<i>nasty", names=nasty, rho=0.1),
        write_run(folder / "switches", kind="switches", rho=0.3),
        write_run(folder / "deep", kind="weights", tasks=2, depth=7),
        write_run(folder / "wide", tasks=20, blocks=20, pass_action=True),
        write_sweep(folder / "grid", tuple(rho / 10 for rho in range(9))),
    ]
    _lose_a_number(workdirs[1] / "results.json")
    path = folder / "page.html"
    path.write_text(make_page(collect(workdirs))[0], encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    page, reported = context.new_page(), []
    page.on("console", lambda message: reported.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: reported.append(f"error: {error}"))
    page.on("dialog", lambda dialog: reported.append(f"dialog: {dialog.message}"))
    page.on("request", lambda asked: reported.append(asked.url))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=true]")
    assert reported.pop(0) == path.as_uri()
    yield page, reported
    context.close()


@pytest.fixture
def page(opened) -> Iterator[object]:
    """The page; nothing but itself was asked for, and nothing went wrong, during the test too."""
    page, reported = opened
    yield page
    assert reported == []


def _lose_a_number(path: Path) -> None:
    """The accuracies of the four tasks become not finite, 0.5, 1 and 0.75."""
    results = json.loads(path.read_text())
    results["test"]["accuracy"]["per_task"] = [None, 0.5, 1.0, 0.75]
    path.write_text(json.dumps(results))


def choose(page, line: str) -> None:
    """Shows the routing of a line after its last step."""
    page.evaluate("delete document.getElementById('line').dataset.drawn")
    page.select_option("#line", label=line)
    page.wait_for_function(
        "label => document.getElementById('line').dataset.drawn === label", arg=line
    )


def z_of_map(page, panel: int = 0) -> np.ndarray:
    return np.array(page.evaluate(f"document.getElementById('map').data[{2 * panel}].z"))


def title_of(page, name: str) -> str:
    return page.evaluate(f"document.getElementById('{name}').layout.title.text")


def wait_for_title(page, name: str, end: str) -> None:
    title = f"document.getElementById('{name}').layout.title.text"
    page.wait_for_function(f"{title}.endsWith('{end}')")


def test_everything_is_drawn(page):
    # Five figures of curves, two of the sweep; map, flow and similarity.
    assert page.locator(".js-plotly-plot .main-svg").first.is_visible()
    assert page.locator(".js-plotly-plot").count() == 10
    choose(page, "pair")
    assert title_of(page, "map") == "Routing map after 100 steps"
    assert title_of(page, "flow") == "Tasks through blocks after 100 steps"
    assert page.locator("#flow .sankey-link").count() > 0
    names = page.locator("#map .ytick text").all_text_contents()
    assert names[:3] == ["digit 0", "digit 1", "digit 2"]


def test_the_slider_moves_the_map(page, make_results):
    probabilities = make_results(seeds=2)[1].probabilities  # [S, snapshot, T, D, A]

    def matches(seed: int, snapshot: int, depth: int) -> bool:
        difference = z_of_map(page, depth) - probabilities[seed, snapshot, :, depth]
        return bool(np.abs(difference).max() < 0.51 / 255)

    choose(page, "pair")
    assert matches(0, 2, 0) and matches(0, 2, 1)
    slider = page.locator("#snapshot")
    slider.focus()
    slider.press("ArrowLeft")
    wait_for_title(page, "flow", "after 50 steps")
    assert page.locator("#step").text_content() == "50 of 100"
    assert matches(0, 1, 0) and not matches(0, 2, 0)
    assert title_of(page, "map") == "Routing map after 50 steps"
    slider.fill("0")
    wait_for_title(page, "flow", "after 0 steps")
    assert matches(0, 0, 1)
    page.select_option("#seed", label="1")
    wait_for_title(page, "flow", "after 100 steps")
    assert matches(1, 2, 0) and not matches(0, 2, 0)


def test_switches_that_are_on_are_marked(page, make_results):
    choose(page, "switches")
    assert title_of(page, "map") == "Allocation matrix after 100 steps"
    on = np.argwhere(make_results()[1].probabilities[0, -1, :, 0] >= 0.5)
    dots = page.evaluate(
        "(({ x, y }) => y.map((row, i) => [row, x[i]]))(document.getElementById('map').data[1])"
    )
    assert sorted(map(tuple, dots)) == sorted(map(tuple, on.tolist())) != []


def test_more_depths_than_tasks_give_a_panel_for_each_task(page, make_results):
    choose(page, "deep")
    weights = make_results(tasks=2, depth=7)[1].probabilities[0, -1]
    for task in range(2):
        np.testing.assert_allclose(z_of_map(page, task), weights[task], atol=0.51 / 255)
    heads = page.evaluate("document.getElementById('map').layout.annotations.map((a) => a.text)")
    assert heads == ["digit 0", "digit 1"]


def test_a_click_on_a_head_sorts(page):
    table = page.locator("#tasks table", has_text="task 10").first
    heads = table.locator("thead button")

    def column(number: int) -> list[str]:
        return table.locator(f"tbody tr > :nth-child({number + 1})").all_text_contents()

    assert column(0) == [NASTY, "task 10", "task 9", "Task 8"]
    heads.nth(0).click()
    assert column(0) == [NASTY, "Task 8", "task 9", "task 10"]  # by the number in it
    heads.nth(0).click()
    assert column(0) == ["task 10", "task 9", "Task 8", NASTY]
    heads.nth(1).click()
    assert column(1) == ["50.0 %", "75.0 %", "100.0 %", "nan %"]  # not by the first digit
    heads.nth(1).click()
    assert column(1) == ["100.0 %", "75.0 %", "50.0 %", "nan %"]  # no number stays behind
    assert column(0) == ["task 9", "Task 8", "task 10", NASTY]
    assert table.locator("thead th").nth(1).get_attribute("aria-sort") == "descending"
    assert table.locator("thead [aria-sort]").count() == 1
    assert table.locator("tfoot th").text_content() == "mean"


def test_names_with_html_in_them_are_shown_and_not_executed(page):
    choose(page, "<i>nasty")
    assert NASTY in page.locator("#map .ytick text").all_text_contents()
    assert NASTY in page.locator("#flow .node-label").all_text_contents()
    assert "<i>nasty" in page.locator("#curves .legendtext").all_text_contents()
    assert NASTY in page.locator("#tasks tbody th").all_text_contents()
    assert page.locator("main img").count() == page.locator("main i").count() == 0


def test_flows_by_hand(page):
    # One task, two depths, two blocks: 3/4 and 1/4, then 0 and 1.
    flows = """taskFlows({ tasks: 1, depths: 2, actions: 2,
        at: (task, depth, action) => [[3, 1], [0, 2]][depth][action] })"""
    assert page.evaluate(flows) == [
        {"depth": 0, "from": 0, "to": 0, "task": 0, "value": 0.75},
        {"depth": 0, "from": 0, "to": 1, "task": 0, "value": 0.25},
        {"depth": 1, "from": 0, "to": 1, "task": 0, "value": 0.75},
        {"depth": 1, "from": 1, "to": 1, "task": 0, "value": 0.25},
    ]
    # Twenty tasks over ten blocks evenly: 0.1 and then 0.01 of a task in a link, which is too
    # faint; of all together a link has 0.2.
    together = """linksToDraw(taskFlows({ tasks: 20, depths: 3, actions: 10, at: () => 0.1 }))
        .filter(({ depth }) => depth > 0)"""
    links = page.evaluate(together)
    assert len(links) == 200 and {link["task"] for link in links} == {None}
    assert [link["value"] for link in links] == pytest.approx([0.2] * 200)


def test_it_fits_on_a_laptop_and_on_paper(page):
    choose(page, "wide")
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    heights = "[...document.querySelectorAll('.js-plotly-plot')].map((e) => e._fullLayout._size.h)"
    drawn = page.evaluate(heights)
    for media, width in (("screen", 1280), ("screen", 1024), ("print", 1040)):
        page.emulate_media(media=media)
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_timeout(300)
        assert page.evaluate(overflow) <= 0, (media, width)
        assert page.evaluate(heights) == drawn
    assert page.locator("nav").is_hidden()
    assert len(page.pdf(prefer_css_page_size=True)) > 20_000
    page.emulate_media(media="screen")
