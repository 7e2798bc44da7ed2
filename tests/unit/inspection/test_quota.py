"""Cores for both colours, counted before minutes are spent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.platforms.inspection.quota import Need, Usage, check_quota, read_sizes, read_usages, reserved

F4 = {
    "name": "Standard_F4s_v2",
    "family": "standardFSv2Family",
    "vCPUs": 4,
    "memoryGB": 8.0,
    "gpus": 0,
    "estimatedVMPrices": {
        "billingCurrency": "USD",
        "unitOfMeasure": "OneHour",
        "values": [
            {"retailPrice": 0.36, "osType": "Windows", "vmTier": "Standard"},
            {"retailPrice": 0.169, "osType": "Linux", "vmTier": "Standard"},
            {"retailPrice": 0.03, "osType": "Linux", "vmTier": "LowPriority"},
        ],
    },
}
DS3 = {"name": "Standard_DS3_v2", "family": "standardDSv2Family", "vCPUs": 4, "memoryGB": 14.0, "gpus": 0}
DS2 = {"name": "Standard_DS2_v2", "family": "standardDSv2Family", "vCPUs": 2, "memoryGB": 7.0, "gpus": 0}
E4 = {"name": "Standard_E4s_v3", "family": "standardESv3Family", "vCPUs": 4, "memoryGB": 32.0, "gpus": 0}
NC4 = {"name": "Standard_NC4as_T4_v3", "family": "Standard NCASv3_T4 Family", "vCPUs": 4, "memoryGB": 28.0, "gpus": 1}
SIZES = read_sizes([F4, DS3, DS2, E4, NC4])


def usage(name: str, used: int, limit: int, **more: Any) -> dict[str, Any]:
    return {
        "name": {"value": name, "localizedValue": name},
        "currentValue": used,
        "limit": limit,
        "unit": "Count",
    } | more


def usages(*items: dict[str, Any]) -> tuple[Usage, ...]:
    return read_usages(items, "ml-prod")


D, F = Need("Standard_DS3_v2", (2,)), Need("Standard_F4s_v2", (2,))
TOTAL = usage("Total Cluster Dedicated Regional vCPUs", 20, 500)


@pytest.mark.parametrize(("instances", "with_reserve"), [(0, 0), (1, 2), (2, 3), (3, 4), (5, 6), (10, 12), (11, 14)])
def test_a_fifth_more_is_reserved_rounded_up(instances: int, with_reserve: int) -> None:
    assert reserved(instances) == with_reserve


@given(st.integers(0, 10_000))
def test_the_reserve_is_the_least_whole_number_that_is_a_fifth_more(instances: int) -> None:
    assert 10 * reserved(instances) >= 12 * instances > 10 * (reserved(instances) - 1)


def test_ten_instances_of_four_cores_need_48() -> None:
    found = check_quota([Need("Standard_DS3_v2", (10,))], SIZES, usages(usage("standardDSv2Family", 0, 48), TOTAL))
    assert (found.cores, found.problem) == (48, None)


def test_one_core_too_few_is_refused_with_the_numbers() -> None:
    found = check_quota([Need("Standard_DS3_v2", (10,))], SIZES, usages(usage("standardDSv2Family", 1, 48), TOTAL))
    assert found.problem == "48 vCPUs are needed and 47 are left of standardDSv2Family (48)"


def test_the_reserve_of_each_colour_is_rounded_up_by_itself() -> None:
    found = check_quota([Need("Standard_F4s_v2", (1, 1))], SIZES, usages(usage("standardFSv2Family", 0, 100)))
    assert found.cores == 16


def test_two_sizes_of_one_family_are_counted_together() -> None:
    """24 and 12 cores do not fit into 24, though each of them does."""
    needs = [Need("Standard_DS3_v2", (5,)), Need("Standard_DS2_v2", (5,))]
    found = check_quota(needs, SIZES, usages(usage("standardDSv2Family", 0, 24), TOTAL))
    assert found.problem == "36 vCPUs are needed and 24 are left of standardDSv2Family (24)"
    assert not found.only_reserve
    assert check_quota(needs, SIZES, usages(usage("standardDSv2Family", 0, 36), TOTAL)).problem is None


def test_two_families_meet_in_the_regions_total() -> None:
    needs = [Need("Standard_DS3_v2", (5,)), Need("Standard_F4s_v2", (5,))]
    families = usage("standardDSv2Family", 0, 24), usage("standardFSv2Family", 0, 24)
    found = check_quota(needs, SIZES, usages(*families, usage("Total Cluster Dedicated Regional vCPUs", 0, 39)))
    assert found.problem == "48 vCPUs are needed and 39 are left of Total Cluster Dedicated Regional vCPUs (39)"
    assert check_quota(needs, SIZES, usages(*families)).problem is None


def test_room_without_the_reserve_is_told_from_no_room() -> None:
    for limit, only_reserve in ((20, True), (19, False)):
        found = check_quota([Need("Standard_DS3_v2", (5,))], SIZES, usages(usage("standardDSv2Family", 0, limit)))
        assert (found.problem is not None, found.only_reserve) == (True, only_reserve)


def test_the_region_as_a_whole_counts_too() -> None:
    total = usage("Total Cluster Dedicated Regional vCPUs", 495, 500)
    found = check_quota([Need("Standard_F4s_v2", (1,))], SIZES, usages(usage("standardFSv2Family", 0, 100), total))
    assert found.problem is not None
    assert "5 are left of Total Cluster Dedicated Regional vCPUs" in found.problem


@pytest.mark.parametrize(
    "name", ["standardFSv2Family", "Standard FSv2 Family Cluster Dedicated vCPUs", "standardFSv2Family vCPUs"]
)
def test_a_family_is_known_by_all_its_spellings(name: str) -> None:
    found = check_quota([Need("standard_f4s_V2", (3,))], SIZES, usages(usage(name, 100, 100)))
    assert found.problem is not None


def test_the_cheapest_type_that_can_as_much_and_has_room_is_suggested() -> None:
    full = usages(
        usage("standardDSv2Family", 100, 100),
        usage("standardFSv2Family", 0, 100),  # less memory: it cannot as much
        usage("standardESv3Family", 0, 100),
        usage("Standard NCASv3_T4 Family", 0, 100),  # another kind of machine
        TOTAL,
    )
    found = check_quota([Need("Standard_DS3_v2", (2,))], SIZES, full)
    assert found.suggestion == "Standard_E4s_v3"


def test_of_two_types_the_one_that_lacks_room_is_the_one_to_change() -> None:
    full = usages(
        usage("standardDSv2Family", 96, 100), usage("standardFSv2Family", 0, 100), usage("standardESv3Family", 0, 100)
    )
    for needs in ([F, D], [D, F]):
        found = check_quota(needs, SIZES, full)
        assert (found.suggestion, found.instead_of) == ("Standard_E4s_v3", "Standard_DS3_v2")


def test_what_is_suggested_fits_beside_the_other_type() -> None:
    """The candidate's 12 cores would fit into the baseline's family, but not together with it."""
    full = usages(usage("standardDSv2Family", 96, 100), usage("standardESv3Family", 0, 20))
    found = check_quota([D, Need("Standard_E4s_v3", (2,))], SIZES, full)
    assert (found.problem is not None, found.suggestion) == (True, "")


def test_nothing_is_suggested_when_nothing_fits() -> None:
    found = check_quota([Need("Standard_F4s_v2", (2,))], SIZES, usages(usage("standardFSv2Family", 9, 9)))
    assert (found.problem is not None, found.suggestion) == (True, "")


def test_a_type_that_the_region_does_not_offer_is_named() -> None:
    assert check_quota([Need("Standard_F2s_v2", (1,))], SIZES, ()).unknown == "Standard_F2s_v2"


def test_a_limit_of_minus_one_is_no_limit() -> None:
    found = check_quota([Need("Standard_F4s_v2", (40,))], SIZES, usages(usage("standardFSv2Family", 900, -1)))
    assert found.problem is None


def test_without_any_limit_nothing_is_known() -> None:
    found = check_quota([Need("Standard_F4s_v2", (1,))], SIZES, usages(usage("standardDSv2Family", 0, 10)))
    assert (found.limits, found.problem) == ((), None)
    assert "limits unknown" in found.text


def test_another_workspaces_own_limit_does_not_count() -> None:
    other = usage(
        "standardFSv2Family", 9, 9, id="/subscriptions/0/resourceGroups/g/providers/x/workspaces/theirs/usages"
    )
    ours = usage(
        "standardFSv2Family", 0, 99, id="/subscriptions/0/resourceGroups/g/providers/x/workspaces/ML-prod/usages"
    )
    found = check_quota([Need("Standard_F4s_v2", (1,))], SIZES, usages(other, ours))
    assert [each.limit for each in found.limits] == [99]


def test_low_priority_cores_are_another_matter() -> None:
    spot = usage("Total Low Priority Regional vCPUs", 100, 100)
    found = check_quota([Need("Standard_F4s_v2", (1,))], SIZES, usages(usage("standardFSv2Family", 0, 99), spot))
    assert found.problem is None


def test_the_price_is_that_of_linux_pay_as_you_go_in_usd() -> None:
    assert SIZES["standard_f4s_v2"].usd_per_hour == 0.169
    euros = read_sizes([{**F4, "estimatedVMPrices": {**F4["estimatedVMPrices"], "billingCurrency": "EUR"}}])  # type: ignore[dict-item]
    assert euros["standard_f4s_v2"].usd_per_hour is None
    assert SIZES["standard_ds3_v2"].usd_per_hour is None
