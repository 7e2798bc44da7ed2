"""One look as evidence: what the gate was given and what it answered, as JSON that recomputes to the same verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast

from pydantic import TypeAdapter

from deployer.gate.judge import judge
from deployer.gate.samples import AnswerClass, Cell, Samples
from deployer.gate.verdict import Moment, Verdict
from deployer.manifest.schema import (
    Compare,
    ErrorMargin,
    Gate,
    LatencyMargin,
    LatencyTargets,
    Slo,
    Telemetry,
    TelemetrySource,
)

VERSION = 1
RULE = 3
"""Number of the gate's rule: raised when the same samples get another verdict, or the same one in other words."""


@dataclass(frozen=True, slots=True)
class Record:
    """One look."""

    samples: Samples
    slo: Slo
    gate: Gate
    moment: Moment
    verdict: Verdict
    rule: int = RULE
    """Of the gate that gave the verdict."""

    def to_json(self) -> str:
        """Write it down; numbers keep every digit."""
        document = {
            "version": VERSION,
            "rule": self.rule,
            "samples": samples_to_data(self.samples),
            "slo": self.slo.model_dump(mode="json"),
            "gate": self.gate.model_dump(mode="json"),
            "moment": _moments().dump_python(self.moment, mode="json"),
            "verdict": _verdicts().dump_python(self.verdict, mode="json"),
        }
        return json.dumps(document, separators=(",", ":"), allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Record:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: not a record of this version.
        """
        document: Any = json.loads(text)
        if not isinstance(document, dict) or document.get("version") != VERSION:  # pyright: ignore[reportUnknownMemberType]  # JSON
            raise ValueError(f"not a record of a look of the gate, version {VERSION}")
        document = cast("dict[str, Any]", document)
        return Record(
            samples_from_data(document["samples"]),
            _slo(document["slo"]),
            _gate(document["gate"]),
            _moments().validate_python(document["moment"]),
            _verdicts().validate_python(document["verdict"]),
            document.get("rule", 1),  # not recorded at first
        )

    def recompute(self) -> Verdict:
        """The verdict that the gate gives today on what it was given then."""
        return judge(self.samples, self.slo, self.gate, self.moment)


@cache
def _moments() -> TypeAdapter[Moment]:
    return TypeAdapter(Moment)


@cache
def _verdicts() -> TypeAdapter[Verdict]:
    return TypeAdapter(Verdict)


def samples_to_data(samples: Samples) -> dict[str, Any]:
    """Samples as JSON-able data: cells as rows of numbers, their starts and deployments named once."""
    starts = sorted({cell.start for cell in samples.cells})
    names = sorted({cell.deployment for cell in samples.cells})
    at = {start: place for place, start in enumerate(starts)}
    who = {name: place for place, name in enumerate(names)}
    rows = sorted([at[c.start], who[c.deployment], c.answer.value, c.duration_ms, c.n] for c in samples.cells)
    return {
        "starts": [start.isoformat() for start in starts],
        "deployments": names,
        "cells": rows,
        "block_s": samples.block_s,
        "complete_until": samples.complete_until.isoformat() if samples.complete_until else None,
        "expected": dict(samples.expected),
        "problem": samples.problem,
        "doubt": samples.doubt,
    }


def samples_from_data(data: Mapping[str, Any]) -> Samples:
    """Samples as ``samples_to_data`` wrote them (cells in its order)."""
    starts = [datetime.fromisoformat(start) for start in cast("list[str]", data["starts"])]
    names = cast("list[str]", data["deployments"])
    rows = cast("list[tuple[int, int, str, int, int]]", data["cells"])
    cells = tuple(Cell(starts[at], names[who], AnswerClass(answer), ms, n) for at, who, answer, ms, n in rows)
    until: str | None = data["complete_until"]
    complete = datetime.fromisoformat(until) if until else None
    return Samples(cells, data["block_s"], complete, dict(data["expected"]), data["problem"], data.get("doubt"))


def _slo(data: Mapping[str, Any]) -> Slo:
    latency = data["latency"]
    targets = LatencyTargets.model_construct(**latency) if latency else None
    return Slo.model_construct(latency=targets, error_rate=data["error_rate"])


def _gate(data: Mapping[str, Any]) -> Gate:
    compare = Compare.model_construct(
        latency=LatencyMargin.model_construct(**data["compare"]["latency"]),
        error_rate=ErrorMargin.model_construct(**data["compare"]["error_rate"]),
    )
    source = data["telemetry"]["source"]
    where = {**data["telemetry"], "source": TelemetrySource(source) if source else None}
    parts = {
        "compare": compare,
        "telemetry": Telemetry.model_construct(None, **where),
        "observe_only": tuple(data["observe_only"]),
    }
    return Gate.model_construct(None, **{**data, **parts})
