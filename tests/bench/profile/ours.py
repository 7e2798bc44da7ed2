"""Drives the product's search against a simulated server."""

from __future__ import annotations

import numpy as np
from servers import Live, Server

from deployer.manifest.schema import Slo
from deployer.profile.capacity import CapacitySearch
from deployer.profile.trials import Capacity, Probe, Seen, Tally


def slo_of(server: Server) -> Slo:
    latency = {name: f"{1000 * limit:.6g}ms" for name, limit in server.slo.items() if name != "error_rate"}
    document = {"latency": latency} if latency else {}
    if "error_rate" in server.slo:
        document["error_rate"] = f"{100 * server.slo['error_rate']:.6g}%"
    return Slo.model_validate(document)


def send(live: Live, probe: Probe, search: CapacitySearch, chance: np.random.Generator) -> Seen:
    if probe.kind == "open":
        count = chance.poisson(probe.rps * probe.seconds)
        arrivals = np.sort(chance.random(max(count, 1))) * probe.seconds

        def stop(seconds, arrival, latency, status):
            failed = status != 200
            late = {limit: int(np.count_nonzero(failed | (1000 * latency > limit))) for limit in search.limits_ms}
            return search.is_hopeless(Tally(seconds, arrival.size, int(failed.sum()), late))

        arrival, latency, status, spent = live.open(arrivals, stop if probe.stop_when_hopeless else None)
    else:
        arrival, latency, status, spent = live.closed(max(probe.concurrency, 1), probe.seconds)
    return Seen(probe, arrival, 1000 * latency, status, spent)


def search(server: Server, seed: int, show=None) -> Capacity:
    live = Live(server, seed)
    chance = np.random.default_rng([seed, 13])
    asking = CapacitySearch(slo_of(server), admission_limit=server.limit if server.tells_limit else None, seed=seed)
    while isinstance(probe := asking.next(), Probe):
        seen = send(live, probe, asking, chance)
        asking.tell(seen)
        if show:
            show(asking, probe, seen)
    return asking.answer_so_far()
