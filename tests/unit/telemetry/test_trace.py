from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from unit.gate.worlds import gate, slo

from deployer.errors import UsageError
from deployer.gate.ledger import CANDIDATE, STABLE, Ledger
from deployer.gate.verdict import Result
from deployer.telemetry.trace import Trace, replay_trace, run_simulation

EPOCH = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
SLO = slo(latency={"p95": "200ms"}, error_rate="5%")
GATE = gate(settle="auto")
NAMES = {"stable": "blue", "candidate": "green"}


def rows(seconds=40.0, rps=40.0, *, share=0.2, error=0.0, lag_s=0.5, seed=1, first=0.0):
    rng = np.random.default_rng(seed)
    n = rng.poisson(seconds * rps)
    at = np.sort(rng.uniform(first, first + seconds, n))
    mine = rng.random(n) < share
    return {
        "at": at,
        "seen": at + lag_s * rng.uniform(0.5, 1, n),
        "deployment": np.where(mine, "green", "blue"),
        "duration_ms": np.round(rng.lognormal(1.6, 0.3, n), 3),
        "status": np.where(mine & (rng.random(n) < error), 500, 200),
    }


def table(data, **more):
    instants = {
        name: pa.array(((EPOCH + data[key]) * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC"))
        for name, key in (("timestamp", "at"), ("ingested_at", "seen"))
    }
    rest = {name: data[name] for name in ("deployment", "duration_ms", "status")}
    return pa.table({**instants, **rest, **more})


@pytest.fixture
def save(tmp_path):
    def write(data, name="trace.parquet", **more):
        path = tmp_path / name
        if path.suffix.lower() == ".csv":
            pa.csv.write_csv(table(data, **more), path)
        else:
            pa.parquet.write_table(table(data, **more), path)
        return path

    return write


def backtested(path, **how):
    return replay_trace(SLO, how.pop("gate", GATE), path, **NAMES, every_s=1.0, **how).document()


@pytest.mark.parametrize("name", ["trace.parquet", "trace.csv", "TRACE.CSV"])
def test_a_recording_is_judged_whatever_its_format(save, name):
    good = backtested(save(rows(), name))
    assert good["verdict"] == "pass"
    bad = backtested(save(rows(error=0.6), name))
    assert bad["verdict"] == "fail"
    assert bad["decided_at"] < good["decided_at"]


def test_times_without_a_zone_are_utc(save, tmp_path):
    data = table(rows())
    bare = data.set_column(0, "timestamp", data["timestamp"].cast(pa.timestamp("us")))
    path = tmp_path / "bare.parquet"
    pa.parquet.write_table(bare, path)
    assert backtested(path) == backtested(save(rows()))


def test_the_order_of_rows_in_the_file_does_not_matter(save, tmp_path):
    data = table(rows())
    path = tmp_path / "shuffled.parquet"
    pa.parquet.write_table(data.take(np.random.default_rng(0).permutation(len(data))), path)
    assert backtested(path) == backtested(save(rows()))


def test_what_was_ingested_later_cannot_have_been_used(save):
    data = rows(error=0.6)
    data["seen"] = data["at"] + 25.0
    found = backtested(save(data))
    assert found["verdict"] == "fail"
    assert datetime.fromisoformat(found["decided_at"]).timestamp() >= EPOCH + 25


def test_rows_after_the_decision_change_nothing(save):
    data = rows(error=0.3)
    whole = backtested(save(data))
    until = datetime.fromisoformat(whole["decided_at"]).timestamp() - EPOCH
    kept = data["seen"] <= until
    assert backtested(save({name: values[kept] for name, values in data.items()}, "cut.parquet")) == whole


def test_recorded_weights_are_the_changes_of_weight(save):
    data = rows()
    weight = np.select([data["at"] < 5, data["at"] < 20], [0, 20], 50)
    with Trace(save(data, weight=weight), **NAMES) as trace:
        shifts, known = trace.shifts("green")
    assert known
    assert [shift.weight_pct for shift in shifts] == [20, 50]
    assert [round(shift.at.timestamp() - EPOCH) for shift in shifts] == [5, 20]


def test_without_weights_the_first_answer_of_the_candidate_is_the_beginning(save):
    data = rows()
    with Trace(save(data), **NAMES) as trace:
        shifts, known = trace.shifts("green")
    assert not known
    first = data["at"][data["deployment"] == "green"].min()
    assert shifts[0].at.timestamp() == pytest.approx(EPOCH + first, abs=1e-3)


@pytest.mark.parametrize(
    "weight",
    [
        lambda at: np.full(at.size, 100.0),
        lambda at: 19.0 + np.floor(at) % 3,
        lambda at: np.full(at.size, np.nan),
        lambda at: np.where(at < 60, 0.2, 1.0),
    ],
    ids=["a full stable beside it", "another one each second", "none", "shares"],
)
def test_weights_that_nobody_set_are_not_believed(save, weight):
    data = rows(120.0)
    slow = dict(
        data, duration_ms=np.where(data["deployment"] == "green", 4 * data["duration_ms"] + 20, data["duration_ms"])
    )
    assert backtested(save(slow, weight=weight(data["at"])))["verdict"] == "fail"
    assert backtested(save(data, weight=weight(data["at"])))["verdict"] != "fail"


@pytest.mark.parametrize("weight", [150.0, -1.0, "20%"])
def test_a_weight_that_is_none_is_refused(save, weight):
    data = rows(5.0)
    path = save(data, weight=pa.array([weight] * data["at"].size))
    with pytest.raises(UsageError, match=r"a weight is|cannot be read"):
        backtested(path)


def test_a_time_out_may_last_for_ever(save):
    data = rows()
    hung = data["deployment"] == "green"
    data = dict(data, status=np.where(hung, 504, 200), duration_ms=np.where(hung, np.inf, data["duration_ms"]))
    assert backtested(save(data))["verdict"] == "fail"


def test_a_silence_of_days_takes_no_time(save):
    early, late = rows(10.0, 1.0, share=1.0), rows(120.0, first=30 * 86400.0)
    both = {name: np.concatenate([early[name], late[name]]) for name in late}
    path = save(both)
    with Trace(path, **NAMES) as trace:
        shifts, _ = trace.shifts("green")
        looks = sum(1 for _ in trace.arrivals(shifts[0].at.timestamp(), 10.0, 1.0, SLO))
    assert looks < 800


def test_a_first_deployment_has_no_stable_to_compare_with(save):
    found = backtested(save(rows(240.0, share=1.0)))
    assert (found["verdict"], found["stable_requests"]) == ("pass", 0)
    broken = backtested(save(rows(60.0, share=1.0, error=0.5)))
    assert broken["verdict"] == "fail"


def test_a_recording_that_nobody_could_have_judged_in_time_says_why(save):
    late = replay_trace(SLO, GATE, save(rows(120.0, lag_s=1800.0)), **NAMES, every_s=5.0)
    assert late.result is late.verdict.result is Result.INCONCLUSIVE
    assert "it would pass" in late.verdict.text
    assert "looks the gate was blind: " in late.verdict.text


def test_a_candidate_that_goes_silent_leaves_the_gate_blind_and_no_proof(save):
    data = rows(240.0)
    kept = (data["deployment"] == "blue") | (data["at"] < 4)
    silent = {name: column[kept] for name, column in data.items()}
    found = replay_trace(SLO, GATE, save(silent, weight=np.full(kept.sum(), 20.0)), **NAMES, every_s=5.0)
    assert found.result is Result.INCONCLUSIVE
    assert "with all of it at hand the gate is blind: " in found.verdict.text
    assert "proof" not in found.verdict.text
    assert found.verdict.text.count("blind") == 2


def test_counts_are_those_of_the_file(save):
    data = rows(error=0.2)
    ledger = Ledger(1.0, (6.0,))
    with Trace(save(data), **NAMES) as trace:
        batches = list(
            trace.arrivals(
                EPOCH,
                1.0,
                1.0,
                slo(latency={"p95": "6ms"}),
            )
        )
    for batch in batches:
        ledger.add(batch.starts, batch.arms, batch.classes, batch.duration_ms, batch.n)
    mine = data["deployment"] == "green"
    assert ledger.served(CANDIDATE).sum() == mine.sum()
    assert ledger.errors(CANDIDATE).sum() == (mine & (data["status"] == 500)).sum()
    slow = (data["duration_ms"] > 6) & (data["status"] == 200)
    assert ledger.late[:, STABLE, 0].sum() == (slow & ~mine).sum()
    assert sum(batch.lags.sum() for batch in batches) == len(mine)
    assert [batch.now_s for batch in batches] == [EPOCH + 1 + k for k in range(len(batches))]


def test_a_row_of_an_interim_code_is_no_answer(save):
    data = rows(20.0)
    data = dict(data, status=np.where(np.arange(len(data["status"])) % 4, data["status"], 100))
    with Trace(save(data), **NAMES) as trace:
        seen = sum(int(batch.n.sum()) for batch in trace.arrivals(EPOCH, 1.0, 1.0, SLO))
    assert seen == (data["status"] >= 200).sum()


def test_quiet_looks_are_looked_at_too(save):
    early, late = rows(5.0), rows(5.0, first=60.0, seed=2)
    data = {name: np.concatenate([early[name], late[name]]) for name in early}
    with Trace(save(data), **NAMES) as trace:
        batches = list(trace.arrivals(EPOCH, 1.0, 1.0, SLO))
    assert len(batches) >= 65
    assert any(batch.n.size == 0 for batch in batches)


def test_a_recording_in_many_batches_is_the_same(save, monkeypatch):
    path = save(rows())
    whole = backtested(path)
    monkeypatch.setattr("deployer.telemetry.trace._BATCH", 50)
    assert backtested(path) == whole


def test_a_given_settle_and_a_least_time_are_kept(save):
    path = save(rows())
    assert backtested(path, gate=gate(settle="5s"))["verdict"] == "pass"
    assert backtested(path, least_s=3600.0)["verdict"] == "inconclusive"


def test_the_outcome_explains_itself(save):
    outcome = replay_trace(SLO, GATE, save(rows(error=0.6)), **NAMES, every_s=1.0)
    assert "errors" in outcome.verdict.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.drop_columns(["status"]), "no column status"),
        (lambda data: data.set_column(3, "duration_ms", pa.array([-1.0] * len(data))), "negative duration"),
        (lambda data: data.set_column(4, "status", pa.array(["x"] * len(data))), "cannot be read"),
        (lambda data: data.set_column(2, "deployment", pa.array(["red"] * len(data))), "no rows of blue, green"),
        (lambda data: data.slice(0, 0), "it holds nothing"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_with_the_reason(tmp_path, change, words):
    path = tmp_path / "bad.parquet"
    pa.parquet.write_table(change(table(rows(5.0))), path)
    with pytest.raises(UsageError) as refused:
        backtested(path)
    assert words in refused.value.message
    assert refused.value.hint


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read as a telemetry trace"):
        backtested(tmp_path / "none.parquet")


def test_one_deployment_cannot_be_both(save):
    with pytest.raises(UsageError, match="both green"):
        replay_trace(SLO, GATE, save(rows(5.0)), stable="green", candidate="green", every_s=1.0)


def test_names_of_deployments_are_values_and_not_sql(save):
    with pytest.raises(UsageError, match="no rows of"):
        replay_trace(SLO, GATE, save(rows(5.0)), stable="blue' OR '1'='1", candidate="green", every_s=1.0)


def test_a_simulation_comes_with_its_picture():
    found = run_simulation(SLO, gate(min_requests=30), rps=40.0, weight_pct=20, duration_s=3.0, runs=1)
    assert found["picture"].startswith("1 rollouts each")
