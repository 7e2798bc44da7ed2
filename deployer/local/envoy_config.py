"""Envoy's configuration as pure functions of what the endpoint should be, and the way back from what Envoy reports.

Two listeners use one route table: ``live`` takes users' requests on 127.0.0.1, ``shadow`` takes Envoy's own mirrored
copies on a private socket and logs them apart, because a mirrored request leaves no line in the log of its original.
A mirrored copy carries the header that pins a deployment, so both follow the same routes.

The access log (``live.log``, ``shadow.log``) holds one JSON object a line with the keys of ``ACCESS_LOG``; a value that
does not exist is null:

- ``start``, ``end``: UTC with milliseconds; ``end`` is when the line was written and does not decrease within a file.
- ``code``: int, sent to the client; 0 when it hung up before an answer (``flags`` DC).
- ``details``: ``via_upstream`` when the model answered, else why Envoy did.
- ``flags``: ``-``, or UT (408), UO (429), DC, UF, UC, UH ..., with commas.
- ``model_code``: str, the model's own code if it was not 2xx (``code`` is 424 then).
- ``duration_ms``, ``duration_us``: int, first byte in to last byte out; ``request_ms``: int, to the last byte in;
  ``response_ms``: int, to the first byte from the model.
- ``deployment``: the one chosen, also for 408, 429 and 503; null for 401 and 404. ``instance``: such as ``blue-0``.
- ``pinned``: the request's header ``azureml-model-deployment``, any text of the client, at most 64 characters.
- ``method``; ``path`` without query, at most 1024; ``protocol``; ``user_agent``, at most 70; ``bytes_in``,
  ``bytes_out``: int; ``request_id``: made by Envoy, the same for a request and its mirrored copy;
  ``client_request_id``, at most 100; ``auth``: ``Key`` when the right key was sent.

Source: measured with Envoy 1.40 (tests/unit/local/test_local_envoy.py); the codes are those of
learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployer.local.layout import Layout

Json = dict[str, Any]

PIN_HEADER = "azureml-model-deployment"
ROUTES = "endpoint"
_SHADOW = "shadow:mirror"  # not a name a deployment can have
_LIMITS = "request-limits"
_HTTP = "type.googleapis.com/envoy.extensions.filters.http"

ACCESS_LOG = {
    "start": "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "end": "%EMIT_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "code": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "model_code": "%RESP(MS-AZUREML-MODEL-ERROR-STATUSCODE)%",
    "duration_ms": "%DURATION%",
    "duration_us": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
    "request_ms": "%REQUEST_DURATION%",
    "response_ms": "%RESPONSE_DURATION%",
    "deployment": "%UPSTREAM_CLUSTER%",
    "instance": "%UPSTREAM_HOST_NAME%",
    "pinned": "%REQ(AZUREML-MODEL-DEPLOYMENT):64%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ):1024%",
    "protocol": "%PROTOCOL%",
    "user_agent": "%REQ(USER-AGENT):70%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client_request_id": "%REQ(X-MS-CLIENT-REQUEST-ID):100%",
    "auth": "%METADATA(ROUTE:deployer:auth)%",
}

_CONNECTIONS: Json = {
    "name": "envoy.resource_monitors.global_downstream_max_connections",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
        ".DownstreamConnectionsConfig",
        "max_active_downstream_connections": 10_000,
    },
}

_MODEL_ERRORS = """
function envoy_on_response(handle)
  local headers = handle:headers()
  local status = headers:get(":status")
  headers:remove("ms-azureml-model-error-statuscode")
  if headers:get("x-envoy-upstream-service-time") == nil then return end  -- the router's own answer
  headers:remove("x-envoy-upstream-service-time")
  if string.sub(status, 1, 1) ~= "2" then
    headers:replace("ms-azureml-model-error-statuscode", status)
    headers:replace(":status", "424")
  end
end
"""


@dataclass(frozen=True, slots=True)
class Target:
    """What routes and clusters need to know of a deployment."""

    name: str
    timeout_ms: int
    in_flight: int
    """Requests that are sent to it at the same time; twice as many may wait, then 429 (see ``_limits``)."""


@dataclass(frozen=True, slots=True)
class Split:
    """Which share of requests goes where, in percent; names with 0 are left out."""

    traffic: Mapping[str, int]
    mirror: Mapping[str, int]


def bootstrap(layout: Layout, port: int) -> Json:
    """Everything that stays as it is while Envoy runs."""
    live_address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    shadow_address = {"pipe": {"path": str(layout.shadow), "mode": 0o600}}
    return {
        "node": {"id": layout.endpoint, "cluster": "deployer-local"},
        "admin": {"address": {"pipe": {"path": str(layout.admin), "mode": 0o600}}},
        "dynamic_resources": {"cds_config": _watch(layout.xds / "cds.json")},
        "overload_manager": {"resource_monitors": [_CONNECTIONS]},
        "static_resources": {
            "clusters": [_shadow_cluster(layout.shadow)],
            "listeners": [
                {
                    "name": "live",
                    "address": live_address,
                    "enable_reuse_port": False,  # with it, a port that is taken would be shared silently
                    "filter_chains": [{"filters": [_connection_manager(layout, "live")]}],
                },
                {
                    "name": "shadow",
                    "address": shadow_address,
                    "filter_chains": [{"filters": [_connection_manager(layout, "shadow")]}],
                },
            ],
        },
    }


def clusters(layout: Layout, targets: Sequence[Target], version: str) -> Json:
    """One cluster a deployment."""
    return _discovery(version, "envoy.config.cluster.v3.Cluster", [_cluster(layout, target) for target in targets])


def endpoints(name: str, sockets: Mapping[str, Path], version: str) -> Json:
    """Instances of one deployment that take requests: instance name -> socket."""
    hosts = [
        {"endpoint": {"hostname": instance, "address": {"pipe": {"path": str(path)}}}}
        for instance, path in sockets.items()
    ]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}
    return _discovery(version, "envoy.config.endpoint.v3.ClusterLoadAssignment", [assignment])


def routes(targets: Sequence[Target], split: Split, key: str, version: str) -> Json:
    """The route table: who may call, which header pins, and the split.

    The version is part of the table too: Envoy's dump keeps the old version of a table whose content is the same.
    """
    authorized = {"name": "authorization", "string_match": {"exact": f"Bearer {key}"}}
    names = {target.name: target for target in targets}
    table = [_pin(target, authorized) for target in targets]
    table.append(
        _refusal([authorized, {"name": PIN_HEADER, "present_match": True}], 404, "there is no deployment of that name")
    )
    if split.traffic:
        table.append(_weighted(names, split, authorized))
    else:
        table.append(_refusal([authorized], 404, "no deployment of this endpoint has traffic"))
    table.append(_refusal([], 401, "the header `Authorization: Bearer KEY` is missing or wrong"))
    host = {"name": "endpoint", "domains": ["*"], "routes": table}
    config = {
        "name": ROUTES,
        "validate_clusters": True,  # without it, a cluster that is not there would answer 503 to everybody
        "virtual_hosts": [host],
        "metadata": {"filter_metadata": {"deployer": {"version": version}}},
    }
    return _discovery(version, "envoy.config.route.v3.RouteConfiguration", [config])


def read_split(dump: Json) -> tuple[str, Split] | None:
    """Version and split that Envoy's ``/config_dump?resource=dynamic_route_configs`` reports; None: none yet."""
    for config in dump.get("configs", []):
        if config.get("route_config", {}).get("name") != ROUTES:
            continue
        table: list[Json] = config["route_config"]["virtual_hosts"][0]["routes"]
        actions: list[Json] = [route["route"] for route in table if "weighted_clusters" in route.get("route", {})]
        action: Json = actions[0] if actions else {}
        weights: list[Json] = action["weighted_clusters"]["clusters"] if actions else []
        traffic = {cluster["name"]: int(cluster.get("weight", 0)) for cluster in weights}
        return str(config.get("version_info", "")), Split(traffic, _read_mirror(action))
    return None


def _read_mirror(action: Json) -> dict[str, int]:
    return {
        policy["request_headers_mutations"][0]["append"]["header"]["value"]: int(
            policy["runtime_fraction"]["default_value"]["numerator"]
        )
        for policy in action.get("request_mirror_policies", [])
    }


def _discovery(version: str, kind: str, resources: list[Json]) -> Json:
    typed = [{"@type": f"type.googleapis.com/{kind}", **resource} for resource in resources]
    return {"version_info": version, "resources": typed}


def _watch(path: Path) -> Json:
    """Read ``path``, and again after each rename into its directory."""
    source = {"path": str(path), "watched_directory": {"path": str(path.parent)}}
    return {"resource_api_version": "V3", "path_config_source": source}


def _shadow_cluster(socket: Path) -> Json:
    host = {"endpoint": {"address": {"pipe": {"path": str(socket)}}}}
    assignment = {"cluster_name": _SHADOW, "endpoints": [{"lb_endpoints": [host]}]}
    return {"name": _SHADOW, "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}


def _cluster(layout: Layout, target: Target) -> Json:
    least_busy = {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "selection_method": "FULL_SCAN",
    }
    return {
        "name": target.name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": _watch(layout.xds / f"eds-{target.name}.json")},
        "load_balancing_policy": {
            "policies": [{"typed_extension_config": {"name": "least_request", "typed_config": least_busy}}]
        },
        "circuit_breakers": {"thresholds": [_limits(target)]},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _limits(target: Target) -> Json:
    """Accept at least what Azure does, twice the requests that are sent at the same time; refuse from 3 times on.

    A request waits while its connection is made, and the model server takes a new connection for each. With
    ``max_pending_requests`` no larger than ``max_connections``, two requests that came within 0.3 ms were refused on an
    idle deployment: 2 % of all at 80 rps (measured with Envoy 1.40).
    """
    return {
        "max_connections": target.in_flight,
        "max_pending_requests": 2 * target.in_flight,
        "max_requests": 1 << 20,
    }


def _connection_manager(layout: Layout, listener: str) -> Json:
    kind = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    log = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": str(layout.telemetry / f"{listener}.log"),
        "log_format": {"json_format": ACCESS_LOG},
    }
    config: Json = {
        "@type": f"type.googleapis.com/{kind}",
        "stat_prefix": listener,
        "generate_request_id": True,
        "always_set_request_id_in_response": True,
        "skip_xff_append": True,
        "rds": {"route_config_name": ROUTES, "config_source": _watch(layout.xds / "rds.json")},
        "access_log": [{"name": "file", "typed_config": log}],
        "http_filters": [
            {"name": _LIMITS, "typed_config": {"@type": f"{_HTTP}.header_mutation.v3.HeaderMutation"}},
            {
                "name": "model-errors",
                "typed_config": {
                    "@type": f"{_HTTP}.lua.v3.Lua",
                    "default_source_code": {"inline_string": _MODEL_ERRORS},
                },
            },
            {"name": "router", "typed_config": {"@type": f"{_HTTP}.router.v3.Router"}},
        ],
        "local_reply_config": {"mappers": [_mapper("UT", 408), _mapper("UO", 429)]},
    }
    if listener == "live":
        config["use_remote_address"] = True  # an outsider: its x-request-id and x-envoy-* headers count for nothing
    else:
        config["preserve_external_request_id"] = True
    return {"name": "http", "typed_config": config}


def _mapper(flag: str, code: int) -> Json:
    return {"filter": {"response_flag_filter": {"flags": [flag]}}, "status_code": code}


def _set_header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _serving(target: Target) -> Json:
    """What every way to a deployment does: name it in the answer, and end after its own time limit.

    A weighted route has one time limit for all its clusters, so the limit travels in the header that the router reads.
    """
    limit = _set_header("x-envoy-upstream-rq-timeout-ms", str(target.timeout_ms))
    mutation = {
        "@type": f"{_HTTP}.header_mutation.v3.HeaderMutationPerRoute",
        "mutations": {"request_mutations": [{"append": limit}]},
    }
    return {
        "response_headers_to_add": [_set_header(PIN_HEADER, target.name)],
        "typed_per_filter_config": {_LIMITS: mutation},
    }


def _authorized_metadata() -> Json:
    return {"filter_metadata": {"deployer": {"auth": "Key"}}}


def _pin(target: Target, authorized: Json) -> Json:
    pinned = {"name": PIN_HEADER, "string_match": {"exact": target.name, "ignore_case": True}}
    return {
        "match": {"prefix": "/", "headers": [authorized, pinned]},
        "route": {"cluster": target.name, "timeout": "0s"},
        "metadata": _authorized_metadata(),
        **_serving(target),
    }


def _weighted(names: Mapping[str, Target], split: Split, authorized: Json) -> Json:
    weighted = [{"name": name, "weight": weight, **_serving(names[name])} for name, weight in split.traffic.items()]
    action: Json = {"timeout": "0s", "weighted_clusters": {"clusters": weighted}}
    if split.mirror:
        action["request_mirror_policies"] = [_mirror(name, percent) for name, percent in split.mirror.items()]
    return {
        "match": {"prefix": "/", "headers": [authorized]},
        "route": action,
        "metadata": _authorized_metadata(),
    }


def _mirror(name: str, percent: int) -> Json:
    return {
        "cluster": _SHADOW,
        "runtime_fraction": {"default_value": {"numerator": percent, "denominator": "HUNDRED"}},
        "disable_shadow_host_suffix_append": True,
        "request_headers_mutations": [{"append": _set_header(PIN_HEADER, name)}],
    }


def _refusal(headers: list[Json], status: int, text: str) -> Json:
    match: Json = {"prefix": "/", "headers": headers} if headers else {"prefix": "/"}
    body = {"inline_string": f'{{"error": {{"message": "{text}"}}}}'}
    return {
        "match": match,
        "direct_response": {"status": status, "body": body},
        "metadata": _authorized_metadata() if headers else {},
    }
