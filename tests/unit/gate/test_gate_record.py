import json

import pytest
from unit.gate.worlds import GATE, SLO, gate, moment, pair, samples, slo

from deployer.gate.judge import judge
from deployer.gate.record import RULE, Record, samples_from_data, samples_to_data
from deployer.manifest.schema import Gate


def record(cells, now, *, gate=GATE, slo=SLO, complete=None, **more):
    given = samples(cells, now if complete is None else complete, **more)
    return Record(given, slo, gate, moment(now), judge(given, slo, gate, moment(now)))


@pytest.mark.parametrize(
    "kept",
    [
        record(pair(20), 20),
        record(pair(20, error=0.5), 20, expected={"candidate": 7}),
        record(pair(9, ms=300.0), 9, slo=slo(error_rate="1%"), problem="two writers"),
        record((), 9, gate=gate(observe_only=["p50"], telemetry={"source": "local", "max_lag": "1m"})),
    ],
)
def test_evidence_recomputes_to_the_same_verdict(kept):
    read = Record.from_json(kept.to_json())
    assert (read.slo, read.gate, read.moment, read.verdict) == (kept.slo, kept.gate, kept.moment, kept.verdict)
    assert read.recompute() == kept.verdict
    assert read.to_json() == kept.to_json()


def test_a_record_of_before_rules_had_numbers_is_of_the_first():
    document = json.loads(record(pair(5), 5).to_json())
    assert document.pop("rule") == RULE
    assert Record.from_json(json.dumps(document)).rule == 1


def test_unknown_completeness_is_kept_as_unknown():
    given = samples(pair(3), None)
    assert samples_from_data(samples_to_data(given)).complete_until is None


def test_defaults_survive_the_round_trip():
    kept = record((), 5, gate=Gate())
    assert Record.from_json(kept.to_json()).gate == Gate()


def test_cells_are_kept_compactly_and_all():
    given = samples(pair(20), 20)
    data = samples_to_data(given)
    assert sum(row[4] for row in data["cells"]) == sum(cell.n for cell in given.cells)
    assert len(json.dumps(data["cells"])) < 30 * len(given.cells)


@pytest.mark.parametrize("text", ["[]", "{}", '{"version": 99}'])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(ValueError, match="not a record"):
        Record.from_json(text)
