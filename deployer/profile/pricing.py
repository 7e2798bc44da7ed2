"""What a configuration costs an hour: by its instance type, by the cores of this machine, or by its share of a node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from deployer.manifest.configuration import CLUSTER_CORE, LOCAL_CORE, Configuration
from deployer.manifest.quantities import read_amount
from deployer.manifest.schema import PlatformType

DEFAULTS = {LOCAL_CORE: 0.05, CLUSTER_CORE: 0.048}
"""USD per hour. A core of a Standard_F2s_v2 costs 0.042 and one of a Standard_D4s_v5, with 4 GiB, 0.048 (East US, pay
as you go, 2024-09-19): the order of magnitude, so that configurations can be compared when nobody says more."""
GIB_A_CORE = 4.0
"""Memory that a core of a general-purpose node comes with: an instance costs the larger of its two shares."""


@dataclass(frozen=True, slots=True)
class PriceTag:
    """The price of one instance."""

    usd_per_hour: float
    source: str
    as_of: str | None = None
    """Date; None: it has none."""

    def __str__(self) -> str:
        """``$0.169 an hour (the service's estimate, 2026-11-25)``."""
        return f"${self.usd_per_hour:,.4g} an hour ({', '.join(filter(None, (self.source, self.as_of)))})"


def own_price(configuration: Configuration, platform: PlatformType, given: Mapping[str, float]) -> PriceTag | None:
    """Work out the price of one instance without asking anybody; None: the price of its type must be looked up.

    Args:
        configuration: of the instance.
        platform: where it would run.
        given: prices of the profile.
    """
    if configuration.instance_type is not None and configuration.instance_type in given:
        return PriceTag(given[configuration.instance_type], "the profile's prices")
    match platform:
        case PlatformType.LOCAL:
            return _by_core(LOCAL_CORE, float(configuration.workers), given)
        case PlatformType.KUBERNETES:
            return _by_core(CLUSTER_CORE, _cores(configuration.resources), given)
        case PlatformType.MANAGED:
            return None
        case _:
            assert_never(platform)


def _by_core(key: str, cores: float, given: Mapping[str, float]) -> PriceTag:
    source = f"the profile's {key}" if key in given else f"deployer's own {key}, for comparison only"
    return PriceTag(cores * given.get(key, DEFAULTS[key]), source)


def _cores(resources: str | None) -> float:
    asked: Mapping[str, object] = json.loads(resources or "{}").get("requests", {})
    cores, memory = (read_amount(asked.get(key, least)) or 0.0 for key, least in (("cpu", "0.1"), ("memory", "0")))
    return max(cores, memory / 2**30 / GIB_A_CORE)
