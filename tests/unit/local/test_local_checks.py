from typing import Any

import pytest

from deployer.errors import PlatformError
from deployer.local.checks import check_split, check_tags
from deployer.local.envoy_config import Split


def test_zeros_are_left_out_of_a_split():
    assert check_split({"blue": 100, "green": 0}, {"green": 50, "red": 0}) == Split({"blue": 100}, {"green": 50})
    assert check_split({}, {}) == Split({}, {})


@pytest.mark.parametrize(
    ("traffic", "mirror", "said"),
    [
        ({"blue": 99}, {}, "99"),
        ({"blue": 101}, {}, "101"),
        ({"blue": -1, "green": 101}, {}, "share"),
        ({"blue": 99.5, "green": 0.5}, {}, "99.5"),
        ({"blue": True}, {}, "True"),
        ({"blue": "100"}, {}, "'100'"),
        ({"blue": 100}, {"green": 51}, "51"),
        ({"blue": 100}, {"green": 10, "red": 10}, "mirrored"),
        ({"blue": 100}, {"blue": 10}, "both"),
    ],
)
def test_a_split_that_azure_refuses_is_refused(traffic: dict[str, Any], mirror: dict[str, Any], said: str):
    with pytest.raises(PlatformError, match=said):
        check_split(traffic, mirror)


@pytest.mark.parametrize("tags", [{"": "x"}, {"k" * 257: "x"}, {"k": "x" * 257}, {"k": 1}])
def test_a_tag_that_is_no_short_text_is_refused(tags: dict[str, Any]):
    with pytest.raises(PlatformError, match="256"):
        check_tags(tags)


def test_none_stands_for_a_tag_to_remove():
    assert check_tags({"k": None, "l": ""}) == {"k": None, "l": ""}
