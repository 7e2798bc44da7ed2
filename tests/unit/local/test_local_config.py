"""Envoy's configuration as data: what it must and must not say. What Envoy makes of it is in ``test_local_envoy``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deployer.local.envoy_config import ACCESS_LOG, Split, Target, bootstrap, clusters, endpoints, read_split, routes
from deployer.local.layout import Layout

LAYOUT = Layout(Path("/state/digits"))
TARGETS = [Target("blue", 5000, 2), Target("green", 300, 1)]


def dump(split: Split, version: str = "7-abc") -> dict[str, Any]:
    """What Envoy reports of a route table: the resource as it was written, without its type."""
    (resource,) = routes(TARGETS, split, "key", version)["resources"]
    config = {name: value for name, value in resource.items() if name != "@type"}
    return json.loads(json.dumps({"configs": [{"version_info": version, "route_config": config}]}))


@pytest.mark.parametrize(
    "split",
    [
        Split({}, {}),
        Split({"blue": 100}, {}),
        Split({"blue": 99, "green": 1}, {}),
        Split({"blue": 100}, {"green": 50}),
    ],
)
def test_the_split_that_is_written_is_the_split_that_is_read(split: Split):
    assert read_split(dump(split)) == ("7-abc", split)


@pytest.mark.parametrize("answer", [{}, {"configs": []}, {"configs": [{"route_config": {"name": "other"}}]}])
def test_without_a_route_table_there_is_no_split(answer: dict[str, Any]):
    assert read_split(answer) is None


def test_two_versions_of_the_same_table_differ_in_content():
    def content(version: str) -> Any:
        return routes(TARGETS, Split({"blue": 100}, {}), "key", version)["resources"]

    assert content("1") != content("2")


def test_every_route_but_the_last_takes_the_key():
    table = dump(Split({"blue": 100}, {}))["configs"][0]["route_config"]["virtual_hosts"][0]["routes"]
    keyed = [any(header["name"] == "authorization" for header in route["match"].get("headers", [])) for route in table]
    assert keyed == [True] * (len(table) - 1) + [False]
    assert table[-1]["direct_response"]["status"] == 401


def test_nothing_is_retried_and_clusters_are_validated():
    (resource,) = routes(TARGETS, Split({"blue": 100}, {}), "key", "1")["resources"]
    assert resource["validate_clusters"] is True
    assert "retry" not in json.dumps(resource)


def test_users_requests_come_in_on_the_loopback_only():
    text = json.dumps(bootstrap(LAYOUT, 20000))
    assert '"address": "127.0.0.1", "port_value": 20000' in text
    assert "0.0.0.0" not in text  # noqa: S104
    assert text.count("port_value") == 1


def test_the_taken_port_of_another_program_is_never_shared():
    (live,) = [each for each in bootstrap(LAYOUT, 20000)["static_resources"]["listeners"] if each["name"] == "live"]
    assert live["enable_reuse_port"] is False


def test_the_limits_follow_the_concurrency():
    (blue, _) = clusters(LAYOUT, TARGETS, "1")["resources"]
    (limits,) = blue["circuit_breakers"]["thresholds"]
    assert (limits["max_connections"], limits["max_pending_requests"]) == (2, 4)


def test_a_deployment_without_instances_has_an_empty_list_of_hosts():
    (assignment,) = endpoints("blue", {}, "1")["resources"]
    assert assignment["endpoints"] == [{"lb_endpoints": []}]


def test_the_log_never_holds_a_query_or_a_key():
    text = json.dumps(ACCESS_LOG).lower()
    assert "authorization" not in text
    assert "req(:path)" not in text
