"""The page and the sample shop in a real browser, on a worker and a door; each band's figures are the topic's."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import pytest

from streams.contract.metrics import ProbabilityModels
from streams.contract.records import decode_recommendation
from streams.contract.topics import CATALOGUE, CLICKSTREAM, METRICS, RECOMMENDATIONS
from streams.observability.metrics_view import MetricsView
from tests.page.browser import CHROMIUM, Browser, browser
from tests.serving.doors import DoorProcess
from tests.system.cluster import EmbeddedCluster, Worker, cluster
from tests.timeouts import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.browser]

_EVENTS: Final = 3000
_SHARES: Final = "{random = 0.4, bandit = 0.6}"
_FAINT: Final = """
(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = rgb(getComputedStyle(each).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const hides = ['SCRIPT', 'NOSCRIPT', 'OPTION'].includes(element.tagName);
    if (hides || !walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [over, under] = [light(rgb(element.closest('svg') ? style.fill : style.color)), light(ground(element))];
    const ratio = (Math.max(over, under) + 0.05) / (Math.min(over, under) + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.7 && style.fontWeight >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) faint.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...faint];
})()
"""


class Shop(NamedTuple):
    """A cluster whose shoppers have come and gone, a worker and a door that run, and a browser."""

    it: EmbeddedCluster
    workers: list[Worker]
    door: DoorProcess
    browser: Browser

    def metrics(self) -> MetricsView:
        view = MetricsView()
        for record in self.it.records(METRICS):
            view.take(record.value)
        return view

    def keep(self) -> None:
        self.workers[:] = [self.it.keep(worker) for worker in self.workers]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium: on Debian, apt-get install chromium")
    folder = tmp_path_factory.mktemp("page")
    with cluster(folder, HEADRACE_DECISIONS__SHARES=_SHARES) as it:
        worker = it.start("disk")
        it.headrace("simulate", "--events", str(_EVENTS), "--users", "300", "--items", "200")
        with DoorProcess(folder / "door", it.environment) as door, browser(folder) as tab:
            made = Shop(it, it.settle(worker), door, tab)
            ends = {record.partition: record.offset for record in it.records(CLICKSTREAM)}

            def is_measured() -> bool:
                made.keep()
                totals = made.metrics().totals()
                counted = totals.applied + totals.duplicates + sum(totals.dead_letters.values())
                return counted == sum(last + 1 for last in ends.values())

            wait_until(is_measured, door.said)
            yield made


@pytest.fixture
def page(shop: Shop) -> Browser:
    shop.keep()
    shop.browser.complaints.clear()
    shop.browser.open(shop.door.address)
    shop.browser.wait_for("document.querySelectorAll('.forest .row').length > 1")
    return shop.browser


def number(text: str) -> int:
    return int(text.replace(",", ""))


def signed(share: float) -> str:
    """Formats a lift as the page does; JavaScript rounds halves away from zero, which no test may turn on."""
    return "> +999 %" if share > 9.99 else f"{'+' if share >= 0 else '−'}{abs(100 * share):.0f} %"


def in_view(page: Browser, section: str) -> None:
    page.run(f"document.getElementById('{section}').scrollIntoView()")


def test_the_first_band_has_the_click_rates_and_lifts_of_the_topic(shop: Shop, page: Browser) -> None:
    policies = shop.metrics().totals().policies
    rows = page.run("[...document.querySelectorAll('.forest .row:not(.head)')].map((row) => row.innerText)")
    assert len(rows) == len(policies) == 2
    for name, policy in policies.items():
        [row] = [each for each in rows if each.startswith(name)]
        assert f"of {policy.impressions:,}" in row
        assert policy.ctr is not None
        assert f"{100 * policy.ctr.estimate:.1f} %" in row
    lift = policies["bandit"].lift["random"]
    assert lift is not None, policies
    low, high = lift.anytime95
    assert f"{signed(lift.estimate)} ({signed(low)} to {signed(high)})" in next(row for row in rows if "bandit" in row)
    assert signed(lift.estimate) in page.text('#worth [data-part="headline"]')
    assert page.complaints == []


def test_the_second_band_shows_decisions_as_they_were_published_and_the_drawer_their_log(
    shop: Shop, page: Browser
) -> None:
    published = [decode_recommendation(record.value) for record in shop.it.records(RECOMMENDATIONS)]
    by_id = {decision.decision_id: decision for decision in published}
    products = [msgspec.json.decode(record.value or b"") for record in shop.it.records(CATALOGUE)]
    listed = {product["item_id"]: product["title"] for product in products}
    user = published[-1].user_id
    in_view(page, "doing")
    page.run(
        "(() => { const input = document.querySelector('[name=user_id]');"
        f"input.value = {json.dumps(user)}; input.dispatchEvent(new Event('input', {{bubbles: true}})); }})()"
    )
    page.wait_for(
        "(() => { const rows = [...document.querySelectorAll('.decision')];"
        f"return rows.length && rows.every((row) => row.querySelector('.who').innerText === {json.dumps(user)}); }})()"
    )
    shown = page.run(
        "[...document.querySelectorAll('.decision')].map((row) => [row.dataset.key,"
        "[...row.querySelectorAll('.title')].map((title) => title.innerText),"
        "[...row.querySelectorAll('.propensity')].map((each) => each.innerText)])"
    )
    for decision_id, titles, propensities in shown:
        items = by_id[decision_id].items
        assert titles == [listed[item.item_id] for item in items]
        assert [float(each) for each in propensities] == pytest.approx([i.propensity for i in items], abs=0.006)
    page.run("document.querySelector('.decision .open').click()")
    text = page.wait_for("document.querySelector('dialog[open] tbody') && document.querySelector('dialog').innerText")
    assert user in text
    assert "Model versions" in text
    page.run("document.querySelector('dialog .close').click()")
    assert page.complaints == []


def test_the_third_band_has_the_quality_of_the_topic(shop: Shop, page: Browser) -> None:
    in_view(page, "belief")
    page.wait_for("document.querySelectorAll('#belief article').length > 0")
    learners = shop.metrics().learners()
    cards = page.run(
        "Object.fromEntries([...document.querySelectorAll('#belief article')].map((card) =>"
        "[card.dataset.key, card.textContent]))"
    )
    assert set(cards) == {"purchase", "cart", "click", "spend"}
    for name, card in cards.items():
        models = learners[name].quality
        if isinstance(models, ProbabilityModels) and models.served.quality.auc is not None:
            assert f"AUC{models.served.quality.auc:.3f}" in card
            assert f"{models.served.quality.examples:,} served" in card
    assert page.complaints == []


def test_the_fourth_band_has_the_funnel_of_the_topic_and_its_lists_as_files(shop: Shop, page: Browser) -> None:
    in_view(page, "who")
    page.wait_for("document.querySelectorAll('[data-part=funnel] tbody tr').length > 0")
    rows = page.run("[...document.querySelectorAll('[data-part=funnel] tbody tr')].map((row) => row.innerText)")
    funnel = shop.metrics().totals().funnel
    for row in rows:
        category, views, carts, purchases, *_ = row.split()
        assert tuple(map(number, (views, carts, purchases))) == (
            funnel[category].views,
            funnel[category].carts,
            funnel[category].purchases,
        )
    for name in ("buyers", "leavers"):
        lines = page.run(f"fetch('/page/{name}.csv').then((response) => response.text())").splitlines()
        assert lines[0] == "user_id,purchase_probability,expected_spend,idle_s,cart_items,last_event_ms"
    assert page.complaints == []


def test_the_fifth_band_has_books_that_balance(shop: Shop, page: Browser) -> None:
    in_view(page, "health")
    page.wait_for("document.querySelectorAll('.node.fold').length === 3")
    totals = shop.metrics().totals()
    text = page.text('[data-part="books"]')
    assert f"{totals.applied:,} applied + {totals.duplicates:,} duplicates" in text
    assert "They balance." in text
    assert page.complaints == []


def test_five_clicks_on_one_kind_of_thing_move_the_slate_and_the_reasons_say_so(shop: Shop) -> None:
    tab = shop.browser
    tab.complaints.clear()
    tab.open(f"{shop.door.address}/shop")
    tab.wait_for("document.querySelectorAll('#shelf .look').length >= 24")
    before = tab.run("[...document.querySelectorAll('#slate .product')].map((each) => each.dataset.item)")
    for place in range(5):
        tab.run(f"document.querySelectorAll('#shelf .look')[{place % 4}].click()")
        tab.wait_for("document.getElementById('status').textContent === 'live'")
        clicked = f"you looked at {place + 1} time" if place else "which you looked at"

        def has_answered(clicked: str = clicked) -> bool:
            shop.keep()
            return clicked in tab.text("#moved")

        wait_until(has_answered, lambda: (tab.text("body"), tab.complaints), 0.2)
    moved = tab.text("#moved")
    found = re.match(r"(\d) of (\d) are of (category-\d+), which you looked at 5 times", moved)
    assert found, moved
    assert int(found[1]) >= 2, moved
    assert tab.run("[...document.querySelectorAll('#slate .product')].map((each) => each.dataset.item)") != before
    reasons = tab.run("[...document.querySelectorAll('#slate .why')].map((each) => each.textContent)")
    assert any("goes with" in reason or "popular in this category" in reason for reason in reasons), reasons
    tab.wait_for("document.querySelectorAll('#expected strong').length >= 3")
    tab.run("document.querySelector('#shelf [data-cart]').click()")
    tab.wait_for("document.querySelector('[data-buy]') !== null")
    tab.run("document.querySelector('[data-buy]').click()")
    tab.wait_for("document.getElementById('cart').textContent.includes('empty')")
    assert tab.complaints == []


@pytest.mark.parametrize("path", ["/", "/shop", "/help"])
@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
def test_text_has_contrast_and_nothing_is_wider_than_a_phone(shop: Shop, path: str, is_dark: bool) -> None:
    tab = shop.browser
    tab.open(shop.door.address + path, 360, is_dark=is_dark)
    tab.wait_for("document.readyState === 'complete' && document.querySelector('main')?.textContent.length > 100")
    if path == "/":
        for section in ("worth", "doing", "belief", "who", "health"):
            in_view(tab, section)
            tab.wait_for(f"document.querySelectorAll('#{section} table, #{section} .row, .decision').length > 0")
    assert tab.run(_FAINT) == []
    assert tab.run("document.documentElement.scrollWidth") <= 360


def test_the_page_says_that_the_worker_is_dead_and_that_it_is_back(shop: Shop, page: Browser) -> None:
    for worker in shop.workers:
        worker.kill()
    page.wait_for("document.getElementById('status').textContent.includes('The worker is dead')")
    page.wait_for("document.getElementById('problems').textContent.includes('No worker of the fold behaviour reports')")
    shop.workers[:] = [shop.it.start("disk")]

    def is_back() -> bool:
        shop.keep()
        return "dead" not in page.text("#status") and "No worker" not in page.text("#problems")

    wait_until(is_back, lambda: (page.text("body"), shop.workers[0].said()), 0.2)
    assert page.complaints == []


def test_the_page_says_that_the_door_is_gone_and_comes_back_by_itself(
    shop: Shop, page: Browser, tmp_path: Path
) -> None:
    port = int(shop.door.address.rpartition(":")[2])
    shop.door.process.kill()
    page.wait_for("document.getElementById('status').textContent.includes('The door does not answer')")
    with DoorProcess(tmp_path / "again", shop.it.environment, port):
        page.wait_for("!document.getElementById('status').textContent.includes('does not answer')")
        page.wait_for("document.querySelectorAll('.forest .row').length > 1")
