"""Where a price comes from, and that it says so."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

import deployer.platforms.inspection.prices
from deployer.platforms.inspection.prices import from_retail, from_snapshot, price_of, retail_url
from deployer.platforms.inspection.quota import Size

TODAY = date(2026, 11, 25)
LISTED = {
    "Items": [
        {
            "retailPrice": 0.15,
            "unitOfMeasure": "1 Hour",
            "currencyCode": "USD",
            "productName": "FSv2 Series",
            "skuName": "F4s v2",
        },
        {
            "retailPrice": 0.34,
            "unitOfMeasure": "1 Hour",
            "currencyCode": "USD",
            "productName": "FSv2 Series Windows",
            "skuName": "F4s v2",
        },
        {
            "retailPrice": 0.02,
            "unitOfMeasure": "1 Hour",
            "currencyCode": "USD",
            "productName": "FSv2 Series",
            "skuName": "F4s v2 Spot",
        },
        {
            "retailPrice": 0.03,
            "unitOfMeasure": "1 Hour",
            "currencyCode": "USD",
            "productName": "FSv2 Series",
            "skuName": "F4s v2 Low Priority",
        },
    ]
}


def size(usd: float | None) -> Size:
    return Size("Standard_F4s_v2", "standardFSv2Family", 4, 8.0, 0, usd)


def listing(answer: Any) -> Any:
    def fetch(_url: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return fetch


def test_the_service_is_believed_first() -> None:
    found = price_of("Standard_F4s_v2", "eastus", size(0.2), TODAY, listing(LISTED))
    assert found is not None
    assert (found.usd_per_hour, found.source, found.as_of) == (0.2, "the service's estimate", "2026-11-25")


def test_then_the_public_list_of_linux_pay_as_you_go() -> None:
    found = price_of("Standard_F4s_v2", "eastus", size(None), TODAY, listing(LISTED))
    assert found is not None
    assert (found.usd_per_hour, found.as_of) == (0.15, "2026-11-25")
    assert "public" in found.source


@pytest.mark.parametrize("answer", [OSError("down"), ValueError("no JSON"), {}, {"Items": None}, [], {"Items": []}])
def test_then_the_list_that_was_kept_with_its_day(answer: Any) -> None:
    found = price_of("Standard_F4s_v2", "eastus", None, TODAY, listing(answer))
    assert found is not None
    assert found.usd_per_hour == 0.169
    assert "kept" in found.source
    assert found.as_of < "2026"


def test_elsewhere_than_in_its_region_the_kept_price_says_for_where_it_is() -> None:
    found = from_snapshot("standard_f4s_v2", "westeurope")
    assert found is not None
    assert "eastus, not westeurope" in found.source


def test_in_another_cloud_the_public_list_is_not_asked() -> None:
    found = price_of("Standard_F4s_v2", "usgovvirginia", None, TODAY, None)
    assert found is not None
    assert "kept" in found.source


def test_nobody_knows_an_unknown_type() -> None:
    assert price_of("Standard_X1", "eastus", None, TODAY, listing({})) is None


def test_the_address_asks_for_one_type_in_one_region_and_cannot_be_broken_out_of() -> None:
    asked = parse_qs(urlsplit(retail_url("Standard_F4s_v2' or '1' eq '1", "east us")).query)
    assert asked["$filter"][0].count("'") == 8
    assert "armRegionName eq 'eastus'" in asked["$filter"][0]


def test_a_price_of_nothing_is_no_price() -> None:
    free = [{**item, "retailPrice": 0} for item in LISTED["Items"]]
    assert from_retail({"Items": free}, TODAY) is None


def test_what_is_kept_is_dated_sourced_and_positive() -> None:
    kept = json.loads(Path(deployer.platforms.inspection.prices.__file__).with_name("prices.json").read_text())
    assert date.fromisoformat(kept["as_of"]) < TODAY
    assert kept["source"]
    assert all(price > 0 for price in kept["usd_per_hour"].values())


def test_the_list_is_followed_page_by_page() -> None:
    asked: list[str] = []

    def fetch(url: str) -> Any:
        asked.append(url)
        if len(asked) == 1:
            return {
                "Items": LISTED["Items"][1:],
                "NextPageLink": "https://prices.azure.com/api/retail/prices?$skip=100",
            }
        return {"Items": LISTED["Items"][:1], "NextPageLink": None}

    found = price_of("Standard_F4s_v2", "eastus", size(None), TODAY, fetch)
    assert found is not None
    assert found.usd_per_hour == 0.15
    assert asked[1] == "https://prices.azure.com/api/retail/prices?$skip=100"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://prices.azure.com.evil.example/api/retail/prices",
        "http://prices.azure.com/api",
        "//x/y",
        "file:///etc/x",
    ],
)
def test_a_page_on_another_host_is_not_asked_for(elsewhere: str) -> None:
    asked: list[str] = []

    def fetch(url: str) -> Any:
        asked.append(url)
        return {"Items": LISTED["Items"], "NextPageLink": elsewhere}

    found = price_of("Standard_F4s_v2", "eastus", size(None), TODAY, fetch)
    assert found is not None
    assert "kept" in found.source
    assert len(asked) == 1


def test_a_list_without_end_is_left() -> None:
    endless = {"Items": [], "NextPageLink": "https://prices.azure.com/api/retail/prices?again"}
    found = price_of("Standard_F4s_v2", "eastus", size(None), TODAY, listing(endless))
    assert found is not None
    assert "kept" in found.source
