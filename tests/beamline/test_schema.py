"""The service keeps to its own description, whatever is sent."""

import pytest
import schemathesis
from beamline.conftest import BEARER, listening
from hypothesis import HealthCheck, given, settings
from live.conftest import SETUP, open_beam
from schemathesis.checks import CHECKS, load_all_checks

from tomopilot.live.live import hold

load_all_checks()
UNSUITED = [CHECKS.get_one("positive_data_acceptance")]  # what fits the schema may not fit the scan
HOW = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": [*HealthCheck]}


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Of a scan that is held: every route but the endless one."""
    folder = tmp_path_factory.mktemp("scan")
    with hold(folder, SETUP) as live:
        open_beam(live)
        live.suggest()
        with listening(folder, live) as url:
            schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json", headers=BEARER)
            yield schema.exclude(path="/api/events")


@pytest.mark.parametrize("count", [5, pytest.param(300, marks=pytest.mark.slow)])
def test_every_route_does_as_it_says(described, count):
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) == 14
    for operation in operations:

        @given(operation.as_strategy())
        @settings(max_examples=count, **HOW)
        def keeps_to_it(case):
            case.call_and_validate(headers=BEARER, excluded_checks=UNSUITED)

        keeps_to_it()
