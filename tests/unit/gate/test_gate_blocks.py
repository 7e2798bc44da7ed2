from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.gate.worlds import ERROR, OK, T0, TIMEOUT, after, gate, moment, pair, traffic

from deployer.gate.blocks import ENOUGH, LONGEST_S, fetch_block_s, fresh_blocks, least_s, score_blocks
from deployer.gate.ledger import CANDIDATE, STABLE, Ledger, class_codes
from deployer.gate.samples import Cell, Samples
from deployer.gate.verdict import Shift

START = T0.timestamp()


def ledger(cells, limits=(), block_s=1.0):
    return Ledger.of(Samples(tuple(cells), block_s, None), "candidate", "stable", limits)


@pytest.mark.parametrize(
    ("keys", "cell_s"),
    [
        ({"look": "1s"}, 1.0),
        ({"look": "10s"}, 10.0),
        ({"look": "5m"}, 10.0),
        ({"look": "200ms"}, 1.0),
        ({"look": "10s", "block": "45s"}, 45 / 4),
        ({"look": "10s", "block": "5s"}, 5.0),
    ],
)
def test_telemetry_is_counted_in_whole_parts_of_a_block(keys, cell_s):
    assert fetch_block_s(gate(**keys)) == pytest.approx(cell_s)


def test_an_automatic_block_is_three_looks_within_a_second_and_half_a_minute():
    assert [least_s(gate(look=look)) for look in ("200ms", "1s", "10s", "5m")] == [1, 3, 30, 30]


def test_busy_traffic_is_cut_into_blocks_of_three_looks():
    blocks = score_blocks(ledger(pair(30)), gate(warm_up="0s"), moment(30), START + 30)
    assert (blocks.length_s == 3).all()
    assert blocks.n.sum() == sum(cell.n for cell in pair(30))


def test_thin_traffic_is_cut_where_there_is_enough_or_after_the_longest():
    cells = [Cell(after(20 * k), "stable", OK, 5, 1) for k in range(100)]
    blocks = score_blocks(ledger(cells), gate(warm_up="0s"), moment(2000), START + 2000)
    assert (blocks.n.sum(axis=1) <= ENOUGH).all()
    assert (blocks.length_s <= LONGEST_S + 1).all()
    assert blocks.n.sum() == 100


def test_a_pause_of_traffic_makes_no_block_longer_than_the_longest():
    cells = [Cell(after(at), "stable", OK, 5, 1) for at in (0, 5, 5000, 5003)]
    blocks = score_blocks(ledger(cells), gate(warm_up="0s"), moment(6000), START + 6000)
    assert blocks.n.sum(axis=1).tolist() == [2, 2]
    assert (blocks.length_s <= LONGEST_S).all()


def test_a_given_block_is_kept_to_the_second():
    cells = [Cell(after(at), "stable", OK, 5, 1) for at in range(40) if not 10 <= at < 25]
    blocks = score_blocks(ledger(cells), gate(warm_up="0s", block="5s"), moment(40), START + 38)
    assert ((blocks.starts - START) % 5 == 0).all()
    assert blocks.n.sum(axis=1).tolist() == [5, 5, 5, 5, 3]


def test_no_block_spans_a_change_of_weight_or_the_end_of_the_warm_up():
    shifts = (Shift(T0, 20), Shift(after(20.5), 50), Shift(after(40), 100))
    blocks = score_blocks(ledger(pair(60)), gate(warm_up="10s"), moment(60, shifts=shifts), START + 60)
    for edge in (10, 20.5, 40):
        assert not ((blocks.starts < START + edge) & (blocks.ends > START + edge)).any()
    assert (blocks.warm == (blocks.starts >= START + 10)).all()
    assert (blocks.paired == (blocks.starts < START + 40)).all()
    straddling = sum(cell.n for cell in pair(60) if cell.start == after(20))
    assert blocks.n.sum() == sum(cell.n for cell in pair(60)) - straddling


def test_what_came_before_the_first_exposure_is_left_out():
    cells = [*pair(20), *traffic("stable", 30, 20, first=-20)]
    blocks = score_blocks(ledger(cells), gate(), moment(20), START + 20)
    assert blocks.n[:, STABLE].sum() == sum(cell.n for cell in pair(20) if cell.deployment == "stable")


def test_the_breaker_sees_the_newest_and_the_straddling_cells():
    shifts = (Shift(after(0.5), 20), Shift(after(7.5), 100))
    fresh = fresh_blocks(ledger(pair(10)), gate(), moment(10, shifts=shifts))
    assert fresh.n.sum() == sum(cell.n for cell in pair(10))
    assert fresh.paired.any()
    assert not fresh.paired.all()


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3)), max_size=60))
def test_blocks_depend_on_totals_alone_and_not_on_who_answered_what(rows):
    def cut(flip):
        cells = [
            Cell(after(at), "stable" if (kind + flip) % 2 else "candidate", ERROR if kind > 1 else OK, 5, 2)
            for at, kind in rows
        ]
        return score_blocks(ledger(cells), gate(warm_up="0s"), moment(400), START + 400)

    one, other = cut(0), cut(1)
    assert np.array_equal(one.starts, other.starts)
    assert np.array_equal(one.ends, other.ends)
    assert np.array_equal(one.n, other.n[:, ::-1])


def test_a_ledger_adds_up_whatever_the_order_and_the_splitting():
    cells = pair(15, error=0.1, answer=TIMEOUT)
    whole = ledger(cells, (8.0,))
    split = Ledger(1.0, (8.0,))
    for part in (cells[::2], cells[1::2], ()):
        piece = ledger(part, (8.0,))
        for row, start in enumerate(piece.starts):
            for arm in (CANDIDATE, STABLE):
                name = ("candidate", "stable")[arm]
                mine = [cell for cell in part if cell.start.timestamp() == start and cell.deployment == name]
                assert piece.served(arm)[row] == sum(cell.n for cell in mine)
                assert piece.errors(arm)[row] == sum(cell.n for cell in mine if cell.answer is TIMEOUT)
        split.add(*_columns(part))
    assert np.array_equal(whole.starts, split.starts)
    for name in ("counts", "late", "raw"):
        assert np.array_equal(getattr(whole, name), getattr(split, name))
    assert whole.timeout_ms == split.timeout_ms


def _columns(cells):
    return (
        np.array([cell.start.timestamp() for cell in cells]),
        np.array([0 if cell.deployment == "candidate" else 1 for cell in cells], np.int64),
        class_codes([cell.answer for cell in cells]),
        np.array([cell.duration_ms for cell in cells], np.int64),
        np.array([cell.n for cell in cells], np.int64),
    )


def test_excess_over_a_target_is_counted_exactly():
    cells = [Cell(T0, "candidate", OK, ms, 1) for ms in (199, 200, 201, 5000)]
    cells += [Cell(T0, "candidate", TIMEOUT, 3, 1), Cell(T0, "candidate", ERROR, 9000, 1)]
    assert ledger(cells, (200.0,)).late[0, CANDIDATE].tolist() == [3]


def test_answers_with_a_latency_are_those_of_the_grid():
    blocks = score_blocks(ledger(pair(9, error=0.3, answer=TIMEOUT)), gate(warm_up="0s"), moment(9), START + 9)
    assert np.array_equal(blocks.timed, np.stack([blocks.fine[arm].sum(axis=1) for arm in (CANDIDATE, STABLE)], axis=1))
    assert blocks.timed.sum() == blocks.n.sum()
    assert blocks.reached()[-1] == blocks.n.sum()


def test_fast_errors_have_no_latency():
    kept = ledger([Cell(T0, "stable", ERROR, 3, 7), Cell(T0, "stable", OK, 9, 2)])
    assert kept.raw[0, STABLE].sum() == 2


def test_answers_of_others_are_left_out():
    assert ledger([Cell(T0, "someone", OK, 3, 7)]).counts.sum() == 0


def test_cells_are_whole_parts_of_the_epoch():
    cells = [replace(cell, start=after(7.2)) for cell in traffic("stable", 5, 1)]
    assert (ledger(cells, block_s=5.0).starts == START + 5).all()


@given(seed=st.integers(0, 10_000), late=st.floats(0, 0.5))
def test_a_ledger_that_grows_look_by_look_gives_the_blocks_of_one_that_is_made_anew(seed, late):
    rng = np.random.default_rng(seed)
    limits = (8.0,)
    rules = gate(warm_up="5s")
    grown, rows = Ledger(1.0, limits), []
    for now in (6, 13, 14, 25, 40):
        n = int(rng.integers(0, 60))
        starts = START + np.where(rng.random(n) < late, rng.integers(0, now, n), now - 1 - rng.integers(0, 4, n))
        part = (
            starts,
            rng.integers(0, 2, n),
            rng.integers(0, 3, n),
            rng.integers(1, 400, n),
            np.ones(n, np.int64),
        )
        rows.append(part)
        grown.add(*part)
        fresh = Ledger(1.0, limits)
        fresh.add(*(np.concatenate(column) for column in zip(*rows, strict=True)))
        for until in (now - 5, now):
            mine, theirs = (score_blocks(each, rules, moment(now), START + until) for each in (grown, fresh))
            for name in ("starts", "ends", "n", "errors", "timed", "late"):
                assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
            assert all(np.array_equal(*arms) for arms in zip(mine.fine, theirs.fine, strict=True))
