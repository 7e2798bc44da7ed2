"""Whether the subscription has cores left for both colours, before minutes are spent on finding out. Pure.

Source: learn.microsoft.com/azure/machine-learning/how-to-manage-quotas (managed online endpoints count against the
cores of their VM family and of the region; 20 % more instances are reserved for upgrades: ten of a 4-core type need 48
cores), read 2026-11-25; field names from azure-ai-ml 1.35.2 (``Usage``, ``VirtualMachineSize``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SUFFIX = re.compile(r"(?:cluster)?(?:dedicated)?(?:v?cpus|cores)$")


@dataclass(frozen=True, slots=True)
class Size:
    """One instance type of a region."""

    name: str
    family: str
    vcpus: int
    memory_gb: float
    gpus: int
    usd_per_hour: float | None = None
    """Linux, pay as you go, as the service estimates it; None: it does not, or not in USD."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Cores of one VM family, or of the region."""

    name: str
    used: int
    limit: int
    """-1: no limit."""

    @property
    def free(self) -> float:
        """Cores left."""
        return float("inf") if self.limit < 0 else self.limit - self.used


@dataclass(frozen=True, slots=True)
class Need:
    """Cores that deployments take on top of what is used now."""

    instance_type: str
    instances: tuple[int, ...]
    """Of each deployment; the reserve is rounded up for each."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What needs find together."""

    cores: int
    """With the reserve for upgrades."""
    limits: tuple[Usage, ...]
    """What they are counted against; empty: nothing known."""
    problem: str | None
    suggestion: str = ""
    """Instance type for which there is room; empty: none is known."""
    instead_of: str = ""
    only_reserve: bool = False
    """There is room but for the reserve, from which some instance types are exempt."""
    unknown: str = ""
    """Instance type that the region does not offer: nothing else is said."""

    @property
    def text(self) -> str:
        """Say need and supply."""
        supply = "; ".join(
            f"{usage.name}: {usage.used} of {usage.limit if usage.limit >= 0 else 'any'} used" for usage in self.limits
        )
        return f"{self.cores} vCPUs needed, upgrades' 20 % reserve included ({supply or 'limits unknown'})"


def read_sizes(items: Iterable[Mapping[str, Any]]) -> dict[str, Size]:
    """Read ``/vmSizes``; keys are the names in lower case."""
    sizes = [
        Size(
            name=str(item.get("name", "")),
            family=str(item.get("family", "")),
            vcpus=int(item.get("vCPUs") or 0),
            memory_gb=float(item.get("memoryGB") or 0),
            gpus=int(item.get("gpus") or 0),
            usd_per_hour=_price(item.get("estimatedVMPrices") or {}),
        )
        for item in items
    ]
    return {size.name.lower(): size for size in sizes}


def _price(prices: Mapping[str, Any]) -> float | None:
    if prices.get("billingCurrency") != "USD":
        return None
    hourly = [
        float(value.get("retailPrice") or 0)
        for value in prices.get("values") or ()
        if value.get("osType") == "Linux" and value.get("vmTier") == "Standard"
    ]
    return max(hourly) if hourly and max(hourly) > 0 else None


def read_usages(items: Iterable[Mapping[str, Any]], workspace: str) -> tuple[Usage, ...]:
    """Read ``/usages``; what is another workspace's own is left out."""
    found: list[Usage] = []
    for item in items:
        owner = re.search(r"/workspaces/([^/]+)", str(item.get("id", "")), re.IGNORECASE)
        if owner is not None and owner[1].lower() != workspace.lower():
            continue
        name: Mapping[str, Any] = item.get("name") or {}
        limit = item.get("limit")
        found.append(
            Usage(
                str(name.get("value") or name.get("localizedValue") or ""),
                int(item.get("currentValue") or 0),
                -1 if limit is None else int(limit),
            )
        )
    return tuple(found)


def reserved(instances: int) -> int:
    """Instances that quota is taken for: a fifth more, rounded up (a few instance types are exempt; which, changes)."""
    return -(-12 * instances // 10)


def check_quota(needs: Sequence[Need], sizes: Mapping[str, Size], usages: Sequence[Usage]) -> Quota:
    """Compare what is needed at the same time, summed by what it is counted against, with what is left."""
    found: list[tuple[Need, Size]] = []
    for need in needs:
        size = sizes.get(need.instance_type.lower())
        if size is None:
            return Quota(0, (), None, unknown=need.instance_type)
        found.append((need, size))
    limits = tuple(usage for usage in usages if any(_counts(usage, size) for _, size in found))
    cores = sum(_cores(need, size) for need, size in found)
    short = [usage for usage in limits if usage.free < _against(usage, found)]
    if not short:
        return Quota(cores, limits, None)
    scarce = min(short, key=lambda usage: usage.free - _against(usage, found))
    wanted = _against(scarce, found)
    problem = f"{wanted} vCPUs are needed and {max(int(scarce.free), 0)} are left of {scarce.name} ({scarce.limit})"
    if all(usage.free >= _against(usage, found, lambda instances: instances) for usage in limits):
        return Quota(cores, limits, problem, only_reserve=True)
    counted = [at for at, (_, size) in enumerate(found) if _counts(scarce, size)]
    others = sorted(counted, key=lambda at: -_cores(*found[at]))  # the one that takes most is the one to change
    replaced = next(((at, best) for at in others if (best := _fitting(found, at, sizes, usages))), None)
    if replaced is None:
        return Quota(cores, limits, problem)
    at, suggestion = replaced
    return Quota(cores, limits, problem, suggestion, instead_of=found[at][0].instance_type)


def _cores(need: Need, size: Size, taken: Callable[[int], int] = reserved) -> int:
    return sum(taken(each) for each in need.instances) * size.vcpus


def _against(usage: Usage, found: Iterable[tuple[Need, Size]], taken: Callable[[int], int] = reserved) -> int:
    """Cores that are counted against ``usage``."""
    return sum(_cores(need, size, taken) for need, size in found if _counts(usage, size))


def _fitting(found: Sequence[tuple[Need, Size]], at: int, sizes: Mapping[str, Size], usages: Sequence[Usage]) -> str:
    """The cheapest instance type that can do as much as the one ``at``, and fits beside the others; empty: none."""
    need, wanted = found[at]

    def fits(size: Size) -> bool:
        family = any(_counts(usage, size) and not _is_total(usage) for usage in usages)
        together = [*found[:at], (need, size), *found[at + 1 :]]
        return family and all(usage.free >= _against(usage, together) for usage in usages)

    able = [
        size
        for size in sizes.values()
        if size.vcpus >= wanted.vcpus and size.memory_gb >= wanted.memory_gb and size.gpus == wanted.gpus and fits(size)
    ]
    best = min(able, key=lambda size: (size.usd_per_hour or float("inf"), size.vcpus, size.memory_gb), default=None)
    return best.name if best else ""


def _counts(usage: Usage, size: Size) -> bool:
    return _is_total(usage) or _plain(usage.name) == _plain(size.family)


def _is_total(usage: Usage) -> bool:
    name = re.sub(r"[^a-z0-9]", "", usage.name.lower())
    return name.startswith("total") and "lowpriority" not in name


def _plain(name: str) -> str:
    """``standardDSv2Family`` and ``Standard DSv2 Family Cluster Dedicated vCPUs`` are the same."""
    return _SUFFIX.sub("", re.sub(r"[^a-z0-9]", "", name.lower()))
