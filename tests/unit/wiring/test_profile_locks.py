"""What a lock beside a manifest changes: warnings, and the size of steps."""

from __future__ import annotations

import json
from pathlib import Path

from deployer.manifest.spec import RolloutSpec
from deployer.profile.lock import NAME, Lock, identity_of, slo_record, to_json
from deployer.wiring.checks import load
from deployer.wiring.locks import departures, measured


def manifest(folder: Path, workers: int = 1) -> RolloutSpec:
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "score.py").write_text("")
    deployment = {
        "code_configuration": {"code": "code", "scoring_script": "score.py"},
        "environment": "azureml:x:1",
        "environment_variables": {"WORKER_COUNT": str(workers)},
    }
    content = {
        "version": 1,
        "name": "digits",
        "platform": "local",
        "endpoint": {"name": "digits"},
        "deployment": deployment,
        "slo": {"latency": {"p95": "100ms"}},
        "strategy": {"canary": {"steps": [50]}},
    }
    path = folder / "rollout.yaml"
    path.write_text(json.dumps(content))
    return load(path)


def lock_of(spec: RolloutSpec, platform: str = "local") -> Lock:
    return Lock(
        profile="size",
        made_at="2026-11-25T00:00:00+00:00",
        platform=platform,
        **identity_of(spec.deployment),
        configuration={"instance_count": 1, "workers": 1, "max_concurrent_requests_per_instance": 1},
        slo=slo_record(spec.manifest.slo),
        peak_rps=50.0,
        headroom=0.2,
        sustainable_rps=70.0,
        lower=65.0,
        upper=75.0,
        rps_per_instance=70.0,
        usd_per_hour=0.05,
        result="r",
    )


def test_without_a_lock_nothing_is_said_or_sized(tmp_path: Path) -> None:
    spec = manifest(tmp_path)
    assert (departures(spec), measured(spec)) == ((), None)


def test_a_manifest_as_it_was_measured_is_sized_by_it(tmp_path: Path) -> None:
    spec = manifest(tmp_path)
    (tmp_path / NAME).write_text(to_json(lock_of(spec)))
    assert departures(spec) == ()
    found = measured(spec)
    assert found is not None
    assert (found.rps_per_instance, found.peak_rps) == (70.0, 60.0)


def test_one_that_departs_is_warned_of_and_not_sized(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(to_json(lock_of(manifest(tmp_path))))
    spec = manifest(tmp_path, workers=2)
    assert departures(spec) == ("profile.lock.json (size, 2026-11-25): workers is 2, measured was 1",)
    assert measured(spec) is None


def test_what_was_measured_elsewhere_or_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    spec = manifest(tmp_path)
    for text in (to_json(lock_of(spec, "managed")), "{", "\x00"):
        (tmp_path / NAME).write_text(text)
        assert (departures(spec), measured(spec)) == ((), None)
    (tmp_path / NAME).write_bytes(b"\xff\xfe")
    assert measured(spec) is None
