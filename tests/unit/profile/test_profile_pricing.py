"""What an instance costs where no price list knows it."""

from __future__ import annotations

import pytest

from deployer.loadtest.figures import Window
from deployer.manifest.configuration import Configuration
from deployer.manifest.schema import PlatformType
from deployer.profile.pricing import PriceTag, own_price
from deployer.profile.progress import tally

RESOURCES = '{"requests":{"cpu":"500m","memory":"4Gi"}}'
HUGE, ODD = '{"requests":{"memory":"1Pi"}}', '{"requests":{"cpu":"many"}}'


@pytest.mark.parametrize(
    ("configuration", "platform", "given", "usd"),
    [
        (Configuration(3, 2, 4), PlatformType.LOCAL, {}, 0.1),
        (Configuration(3, 2, 4), PlatformType.LOCAL, {"local-core-hour": 0.2}, 0.4),
        (Configuration(3, 2, 4, "A"), PlatformType.MANAGED, {"A": 1.5}, 1.5),
        (Configuration(3, 2, 4, None, RESOURCES), PlatformType.KUBERNETES, {"cluster-core-hour": 0.1}, 0.1),
        (Configuration(3, 2, 4, None, None), PlatformType.KUBERNETES, {"cluster-core-hour": 0.1}, 0.01),
        (
            Configuration(3, 2, 4, None, '{"requests":{"cpu":2}}'),
            PlatformType.KUBERNETES,
            {"cluster-core-hour": 0.1},
            0.2,
        ),
        (Configuration(3, 2, 4, None, HUGE), PlatformType.KUBERNETES, {"cluster-core-hour": 0.1}, 0.1 * 2**20 / 4),
        (Configuration(3, 2, 4, None, ODD), PlatformType.KUBERNETES, {"cluster-core-hour": 0.1}, 0.0),
        (Configuration(3, 2, 4, "gpu", RESOURCES), PlatformType.KUBERNETES, {"gpu": 3.0}, 3.0),
    ],
)
def test_the_price_of_an_instance(
    configuration: Configuration, platform: PlatformType, given: dict[str, float], usd: float
) -> None:
    found = own_price(configuration, platform, given)
    assert found is not None
    assert found.usd_per_hour == pytest.approx(usd)
    assert ("profile's" in found.source) == bool(given)


def test_a_managed_instance_type_must_be_looked_up() -> None:
    assert own_price(Configuration(1, 1, 1, "A"), PlatformType.MANAGED, {"B": 1.0}) is None


def test_a_price_says_where_it_is_from() -> None:
    assert str(PriceTag(0.169, "the service's estimate", "2026-11-25")) == (
        "$0.169 an hour (the service's estimate, 2026-11-25)"
    )
    assert str(PriceTag(0.05, "the profile's prices")) == "$0.05 an hour (the profile's prices)"


def test_a_probe_under_way_is_counted_from_its_windows() -> None:
    first = Window(0.0, 1.0, False, 10, {200: 8, 429: 1, 0: 1}, {50.0: 9}, {50.0: 5, 150.0: 3})
    second = Window(1.0, 1.0, False, 5, {200: 2}, {50.0: 2}, {50.0: 2})
    found = tally([first, second], [100.0, 20.0])
    assert (found.seconds, found.sent, found.errors, dict(found.late)) == (2.0, 12, 2, {100.0: 5, 20.0: 12})
