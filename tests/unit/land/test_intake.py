"""What several landers read, counted together in one cache."""

from contextlib import closing

from isotherm.clock import SECOND_MS, ManualClock
from isotherm.config import Settings
from isotherm.land.intake import SharedIntake
from isotherm.land.waiting import Intake
from isotherm.store.cache import open_cache


def test_landers_count_together() -> None:
    clock = ManualClock(1_000_000_000_000)
    with closing(open_cache(Settings(cache="memory://"), clock)) as cache:
        first, second, reader = (SharedIntake(cache, clock) for _ in range(3))
        assert reader.look() == Intake(0, 0.0)
        first.tell(30)
        second.tell(50)
        first.tell(30)
        # The second that runs is in the sum and not yet in the rate.
        assert reader.look() == Intake(80, 0.0)
        clock.advance(SECOND_MS)
        second.tell(70)
        assert reader.look() == Intake(100, 8.0)
        clock.advance(5 * SECOND_MS)
        assert first.look() == Intake(100, 10.0)
        clock.advance(5 * SECOND_MS)
        assert reader.look() == Intake(100, 2.0)
        clock.advance(SECOND_MS)
        assert reader.look() == Intake(100, 0.0)


def test_a_cache_that_is_away_says_nothing_and_stops_nobody() -> None:
    clock = ManualClock(1_000_000_000_000)
    with closing(open_cache(Settings(cache="redis://127.0.0.1:1"), clock)) as cache:
        intake = SharedIntake(cache, clock)
        intake.tell(7)
        assert intake.look() is None
