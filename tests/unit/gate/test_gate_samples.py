import pytest

from deployer.gate.samples import AnswerClass, classify
from deployer.gate.verdict import Arm


@pytest.mark.parametrize(
    ("codes", "answer"),
    [
        ((200, 201, 204, 302, 100), AnswerClass.OK),
        ((424, 500, 502, 503, 507, 599), AnswerClass.ERROR),
        ((408, 499, 504), AnswerClass.TIMEOUT),
        ((429,), AnswerClass.THROTTLED),
        ((0, 400, 401, 403, 404, 413, 422), AnswerClass.CLIENT),
    ],
)
def test_codes_are_classed_by_who_is_to_blame(codes, answer):
    assert {classify(code) for code in codes} == {answer}


def test_an_error_rate_needs_requests():
    assert Arm(0, 0, 0, None, None, None).error_rate is None
    assert Arm(8, 2, 0, None, None, None).error_rate == 0.25
