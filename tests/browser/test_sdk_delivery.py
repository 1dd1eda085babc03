"""Once in the queue, an event counts exactly once or is counted as dropped: through a bad network, a refusing
collector, reloads and closed tabs. Custom events are numbered, so each one can be followed."""

import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from browser.browsing import Site, Window
from browser.misbehaving import Attempt, Behaviour, Cut, Hang, MisbehavingCollector, Pass, Refuse, TearAnswer
from browser.sdk_pages import arrive, check, flush, made, make, publish, types
from collecting import until
from playwright.sync_api import Page

pytestmark = pytest.mark.slow

OpenWindow = Callable[..., Window]
NETWORK = "Failed to load resource"

QUEUED = """() => new Promise((resolve) => {
  indexedDB.databases().then((all) => {
    const name = all.map((one) => one.name).find((one) => one.startsWith('isotherm.'));
    if (!name) return resolve(-1);
    const opening = indexedDB.open(name);
    opening.onsuccess = () => {
      const counting = opening.result.transaction('batches').objectStore('batches').count();
      counting.onsuccess = () => { opening.result.close(); resolve(counting.result); };
    };
  });
})"""


def queued(page: Page) -> int:
    """Batches in the page's queue; -1 without a database."""
    return page.evaluate(QUEUED)


def empty(page: Page) -> None:
    until(lambda: queued(page) == 0, "the queue is empty")


def test_a_good_day(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    page = open_window().open(publish(site, collector))
    make(page, 0, 450)
    arrive(collector, lambda: len(made(collector)) == 450, page, "all events counted")
    empty(page)
    assert made(collector) == list(range(450))
    assert types(collector) == {"pageview": 1, "made": 450}
    assert max(len(a.events) for a in collector.attempts) == 200
    assert len(collector.attempts) == len(collector.counted()), "nothing was sent twice"
    assert collector.preflights == 0, "no permission had to be asked"
    for attempt in collector.attempts:
        assert attempt.raw[:2] == b"\x1f\x8b"
        assert not {"cookie", "content-encoding"} & attempt.headers.keys()
        assert attempt.headers["referer"] == f"{site.url}/"
        assert attempt.body["sdk"].startswith("isotherm-web/")
        assert attempt.body["url"] == f"{site.url}/"
    assert {a.body["session_id"] for a in collector.attempts} == {collector.attempts[0].body["session_id"]}


def test_events_are_in_the_queue_within_a_second(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window(expected=[NETWORK]).open(publish(site, collector))
    collector.behave(Hang())
    make(page, 0, 3)
    until(lambda: queued(page) > 0, "the events are in the queue")
    collector.behave(Pass())


def test_offline_then_online(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    opened = open_window(expected=[NETWORK])
    page = opened.open(publish(site, collector))
    make(page, 0, 5)
    flush(page)
    opened.context.set_offline(True)
    before = len(collector.attempts)
    make(page, 5, 300)
    flush(page)
    until(lambda: queued(page) >= 2, "what was made offline is queued")
    assert len(collector.attempts) == before
    opened.context.set_offline(False)
    arrive(collector, lambda: len(made(collector)) == 305, page, "the queue was sent")
    empty(page)
    assert made(collector) == list(range(305))
    assert collector.totals().dropped == {}


def test_a_reload_with_a_full_queue(open_window: OpenWindow, site: Site, collector: MisbehavingCollector) -> None:
    opened = open_window(expected=[NETWORK])
    page = opened.open(publish(site, collector))
    collector.leave()
    make(page, 0, 450)
    flush(page)
    page.reload()
    make(page, 450, 5)
    collector.listen()
    arrive(collector, lambda: len(made(collector)) == 455, page, "everything of both lives counted")
    empty(page)
    assert made(collector) == list(range(455))
    assert types(collector)["pageview"] == 2


@pytest.mark.parametrize("torn", [Pass(), TearAnswer(), Cut()], ids=["sent", "answer torn", "cut"])
def test_a_tab_closed_in_mid_batch(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector, torn: Behaviour
) -> None:
    opened = open_window(expected=[NETWORK])
    url = publish(site, collector)
    page = opened.open(url)
    make(page, 0, 5)
    flush(page)
    collector.behave(torn)
    make(page, 5, 150)
    page.close(run_before_unload=True)
    until(lambda: any(len(a.events) == 150 for a in collector.attempts), "the last batch left with the tab")
    last = next(a for a in collector.attempts if len(a.events) == 150)
    assert last.raw[:1] == b"{", "nothing is packed while the page goes away"
    assert len(last.raw) <= 60_000
    collector.behave(Pass())
    again = opened.open(url)
    arrive(collector, lambda: len(made(collector)) == 155, again, "it counted")
    flush(again)
    empty(again)
    check(collector)
    assert made(collector) == list(range(155)), "and only once"


def test_what_does_not_fit_at_the_end_stays_for_the_next_page(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    # The rest goes on being sent when the test is over and the collector gone.
    opened = open_window(expected=[NETWORK])
    url = publish(site, collector)
    page = opened.open(url)
    flush(page)
    page.evaluate("() => { for (let n = 0; n < 100; n++) isotherm.track('made', {n, x: 'x'.repeat(2000)}); }")
    page.close(run_before_unload=True)
    until(lambda: made(collector), "a part left with the tab")
    check(collector)
    assert 0 < len(made(collector)) < 100
    assert all(len(a.raw) <= 60_000 for a in collector.attempts)
    again = opened.open(url)
    arrive(collector, lambda: len(made(collector)) == 100, again, "the rest followed")
    assert made(collector) == list(range(100))


@pytest.mark.parametrize("status", [429, 503])
def test_a_refusing_collector_is_given_the_time_it_asks_for(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector, status: int
) -> None:
    opened = open_window(expected=[str(status), NETWORK])
    page = opened.open(publish(site, collector))
    make(page, 0, 3)
    flush(page)
    seen = len(collector.attempts)
    collector.behave(Refuse(status, "3"))
    make(page, 3, 3)
    flush(page)
    assert len(collector.attempts) == seen + 1
    refused_at = collector.attempts[-1].at
    collector.behave(Pass())
    # New events do not make it impatient, nor does the network.
    make(page, 6, 3)
    flush(page)
    opened.context.set_offline(True)
    opened.context.set_offline(False)
    arrive(collector, lambda: len(made(collector)) == 9, page, "everything counted")
    assert collector.attempts[seen + 1].at - refused_at >= 3
    assert collector.attempts[seen + 1].batch_id == collector.attempts[seen].batch_id, "the same batch comes again"
    assert made(collector) == list(range(9))
    assert collector.totals().dropped == {}


def test_the_pauses_grow_while_the_collector_is_gone(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window(expected=[NETWORK]).open(publish(site, collector))
    flush(page)
    # Full jitter, made visible: the longest pause each time.
    page.evaluate("() => { Math.random = () => 0.999; }")
    failed: list[float] = []

    def cut(attempt: Attempt) -> Behaviour:
        failed.append(time.monotonic())
        return Cut()

    collector.behave(cut)
    make(page, 0, 3)
    until(lambda: page.evaluate("0") or len(failed) >= 4, "four failures")
    pauses = [later - earlier for earlier, later in pairwise(failed)]
    assert pauses[0] >= 1.9
    assert pauses[1] >= 3.9
    assert pauses[2] >= 7.9
    collector.leave()
    make(page, 3, 3)
    page.wait_for_timeout(14_000)
    collector.listen()
    collector.behave(Pass())
    arrive(collector, lambda: len(made(collector)) == 6, page, "everything counted when it is back")
    assert made(collector) == list(range(6))
    assert len({a.batch_id for a in collector.attempts}) == len(collector.counted())
    empty(page)


def test_a_mute_collector_is_left_and_asked_again(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window(expected=[NETWORK]).open(publish(site, collector))
    flush(page)
    collector.behave(Hang())
    make(page, 0, 3)
    until(lambda: collector.attempts[-1].events[0]["event_type"] == "made", "the attempt hangs")
    hanging = collector.attempts[-1]
    # The door is not told to let go: the SDK does, after 20 s.
    until(lambda: len([a for a in collector.attempts if a.batch_id == hanging.batch_id]) == 2, "a second attempt")
    collector.behave(Pass())
    arrive(collector, lambda: len(made(collector)) == 3, page, "everything counted")


def test_a_refused_batch_is_dropped_and_the_next_one_says_so(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window(expected=["403"]).open(publish(site, collector))
    flush(page)
    collector.behave(Refuse(403))
    make(page, 0, 7)
    flush(page)
    empty(page)
    collector.behave(Pass())
    # It survives the page that saw it, and is told once.
    page.reload()
    flush(page)
    make(page, 7, 2)
    flush(page)
    page.reload()
    flush(page)
    arrive(collector, lambda: types(collector)["pageview"] == 3, page, "three page views")
    assert made(collector) == [7, 8]
    assert collector.totals().dropped == {"refused": 7}


def test_what_a_dropped_batch_had_to_tell_is_told_by_the_next(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window(expected=["403"]).open(publish(site, collector))
    flush(page)
    collector.behave(Refuse(403))
    for first in (0, 3, 6):
        make(page, first, 3)
        flush(page)
        empty(page)
    assert collector.attempts[-1].body["dropped"] == {"refused": 6}
    collector.behave(Pass())
    make(page, 9, 1)
    flush(page)
    arrive(collector, lambda: made(collector) == [9], page, "the next one")
    assert collector.totals().dropped == {"refused": 9}


def test_a_full_queue_drops_its_oldest_and_counts_them(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    page = open_window(expected=[NETWORK]).open(publish(site, collector))
    flush(page)
    collector.leave()
    # 30 kB an event, one or two in a batch: 4 MB are full long before 200 of them.
    page.evaluate(
        "async () => { for (let n = 0; n < 200; n++) { isotherm.track('made', {n, x: 'x'.repeat(30000)});"
        " if (n % 20 === 19) await isotherm.flush(); } }"
    )
    collector.listen()
    page.evaluate("() => dispatchEvent(new Event('online'))")
    arrive(
        collector,
        lambda: len(made(collector)) + sum(collector.totals().dropped.values()) == 200,
        page,
        "every event counted or counted as dropped",
    )
    dropped = collector.totals().dropped
    assert dropped.keys() == {"queue_full"}
    assert 0 < dropped["queue_full"] < 100
    # The oldest is spared, as it may be on its way; those after it went first.
    assert made(collector)[-100:] == list(range(100, 200))


def test_what_waited_too_long_is_dropped_and_counted(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window(expected=[NETWORK])
    url = publish(site, collector)
    page = opened.open(url)
    flush(page)
    collector.behave(Refuse(503, "3600"))
    make(page, 0, 4)
    flush(page)
    until(lambda: queued(page) == 1, "queued")
    page.close()
    collector.behave(Pass())
    opened.context.add_init_script(
        "{ const real = Date.now; Date.now = () => real() + 23 * 3600000 + 60000; }",
    )
    later = opened.open(url)
    make(later, 4, 1)
    flush(later)
    make(later, 5, 1)
    flush(later)
    until(lambda: made(collector) == [4, 5], "what is fresh counted")
    assert collector.totals().dropped == {"too_old": 4}


def test_two_tabs_share_a_queue_and_count_everything_once(
    open_window: OpenWindow, site: Site, collector: MisbehavingCollector
) -> None:
    opened = open_window(expected=[NETWORK, "403"])
    url = publish(site, collector)
    one, two = opened.open(url), opened.open(url)
    flush(one)
    flush(two)
    collector.behave(Refuse(403))
    make(one, 1000, 5)
    flush(one)
    empty(one)
    collector.leave()
    for n in range(0, 200, 40):
        make(one, n, 20)
        make(two, n + 20, 20)
        flush(one)
        flush(two)
    collector.listen()
    collector.behave(Pass())
    for page in (one, two):
        page.evaluate("() => dispatchEvent(new Event('online'))")
    arrive(collector, lambda: len(made(collector)) == 200, one, "everything of both tabs counted")
    empty(one)
    assert made(collector) == list(range(200))
    assert collector.totals().dropped == {"refused": 5}
    assert collector.totals().duplicate == 0, "one tab sends at a time"
    sessions = {a.body["session_id"] for a in collector.attempts}
    assert len(sessions) == 2
