import math

import pytest

from tomopilot.bench.alarms import RESERVE, fit
from tomopilot.design.trust import Alarm

SCANS = [[None, 1.0, 2.0, 0.5, 3.0, 3.0], [None, None, 0.7, 1.5, 1.0, 0.4]]


def test_a_fitted_alarm_is_quiet_on_its_own_scans_with_a_reserve():
    alarm = fit(SCANS)
    assert [alarm(surprises) for surprises in SCANS] == [None, None]
    highest = max(Alarm(alarm.drift, math.inf).peak(surprises) for surprises in SCANS)
    assert alarm.threshold == pytest.approx(RESERVE * highest) and highest > 0


def test_a_fitted_alarm_rings_on_lasting_surprise():
    assert fit(SCANS)([None, 30.0, 30.0, 30.0]) == 2


def test_too_little_to_fit():
    with pytest.raises(ValueError, match="scan longer"):
        fit([[None, 1.0]])


def test_one_odd_scan_among_many_does_not_make_it_deaf():
    quiet, odd = [[None, 1.0, 2.0, 0.5, 1.5]] * 19, [[None, 50.0, 50.0, 50.0, 50.0]]
    alarm = fit([*quiet, *odd])
    assert [alarm(surprises) for surprises in quiet] == [None] * 19 and alarm(odd[0]) is not None
