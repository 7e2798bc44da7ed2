"""What an instance costs: as the service says, else Azure's public price list, else the list as it once was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

from deployer.platforms.inspection.quota import Size
from deployer.ports.inspection import Price

RETAIL = "https://prices.azure.com/api/retail/prices"
"""Public, without authentication (learn.microsoft.com/rest/api/cost-management/retail-prices, read 2026-11-25)."""
PAGES_MAX = 20
"""A page holds 1000 prices, and one size in one region has a few dozen."""


def price_of(
    instance_type: str, region: str, size: Size | None, today: date, fetch: Callable[[str], Any] | None
) -> Price | None:
    """Find the price of ``instance_type`` in ``region``; None: nobody says.

    Args:
        instance_type: as ``Standard_F4s_v2``.
        region: as ``westeurope``.
        size: what ``/vmSizes`` says of it, if anything.
        today: the day of asking.
        fetch: reads JSON from an address, or raises OSError or ValueError; None: the public list does not hold.
    """
    if size is not None and size.usd_per_hour is not None:
        return Price(size.usd_per_hour, "the service's estimate", today.isoformat())
    if fetch is not None:
        try:
            listed = from_retail({"Items": list(_items(retail_url(instance_type, region), fetch))}, today)
        except (OSError, ValueError):
            listed = None
        if listed is not None:
            return listed
    return from_snapshot(instance_type, region)


def _items(url: str, fetch: Callable[[str], Any]) -> Iterator[Any]:
    """Read the list page after page, as long as the next page is on the same host.

    Raises:
        ValueError: it names a page elsewhere, or more than ``PAGES_MAX``.
    """
    for _ in range(PAGES_MAX):
        answer = fetch(url)
        found = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
        yield from found.get("Items") or []
        following: str | None = found.get("NextPageLink")
        if not following:
            return
        if urlsplit(following)[:2] != urlsplit(RETAIL)[:2]:
            raise ValueError(f"the price list goes on elsewhere: {following[:80]}")
        url = following
    raise ValueError(f"the price list has over {PAGES_MAX} pages")


def retail_url(instance_type: str, region: str) -> str:
    """Address of the public list's entries for ``instance_type``."""
    asked = (
        f"serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and "
        f"armRegionName eq '{_word(region)}' and armSkuName eq '{_word(instance_type)}'"
    )
    return f"{RETAIL}?currencyCode=USD&$filter={quote(asked)}"


def from_retail(answer: Any, today: date) -> Price | None:
    """Read the public list: Linux, pay as you go, neither spot nor low priority."""
    found = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    items: list[Mapping[str, Any]] = found.get("Items") or []
    hourly = [
        float(item.get("retailPrice") or 0)
        for item in items
        if item.get("unitOfMeasure") == "1 Hour"
        and item.get("currencyCode") == "USD"
        and "Windows" not in str(item.get("productName"))
        and not any(tier in str(item.get("skuName")) for tier in ("Spot", "Low Priority"))
    ]
    positive = [price for price in hourly if price > 0]
    return Price(max(positive), "Azure's public price list", today.isoformat()) if positive else None


def from_snapshot(instance_type: str, region: str) -> Price | None:
    """Look it up in the list that deployer carries: prices of one region, on one day."""
    kept = _snapshot()
    found: Mapping[str, float] = {name.lower(): price for name, price in kept["usd_per_hour"].items()}
    price = found.get(instance_type.lower())
    if price is None:
        return None
    where = "" if region.lower() == kept["region"] else f" for {kept['region']}, not {region}"
    return Price(price, f"a list kept with deployer{where}", kept["as_of"])


@cache
def _snapshot() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8"))


def _word(text: str) -> str:
    return "".join(char for char in text if char.isalnum() or char in "_-")
