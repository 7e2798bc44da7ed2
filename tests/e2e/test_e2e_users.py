"""What users see of a rollout: nothing, unless the new version is better."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.e2e.stage import Stage, until
from tests.e2e.users import using

pytestmark = pytest.mark.e2e


def test_no_request_fails_in_a_good_rollout_nor_when_it_is_rolled_back_after_all(stage: Stage) -> None:
    manifest = stage.manifest()
    rollout = stage.start("rollout", manifest)
    rollout.wait_for("ready .*blue 100%")
    with using(stage.platform.scoring_target()) as users:
        assert rollout.wait() == 0, rollout.text
        until(lambda: users.answers[-1].served_by == "green")
        assert users.served_by().keys() == {"blue", "green"}
        assert stage.traffic() == {"green": 100}

        again = stage.json("rollout", manifest)
        assert (again["exit_code"], again["rollout"]) == (0, None)
        assert "green already serves this version" in again["text"]

        assert "blue" not in stage.observe().deployments
        back = stage.json("rollback", stage.endpoint, "--reason", "users complain")
        assert back["exit_code"] == 0, back
        until(lambda: users.answers[-1].served_by == "blue")
    assert stage.traffic() == {"blue": 100}
    assert users.failed == []


def test_after_the_rollback_write_nobody_is_answered_by_the_candidate(stage: Stage) -> None:
    stage.seed()
    rollout = stage.start("rollout", stage.manifest(environment={"RAISES": "no such feature"}, smoke=None))
    with using(stage.platform.scoring_target()) as users:
        assert rollout.wait() == 10, rollout.text
        until(lambda: len(users.served_by(stage.event("reverted"))) and len(users.answers) > 20)
    at: datetime = stage.event("reverted")
    assert users.served_by()["green"] > 0
    assert users.served_by(at).keys() == {"blue"}
    assert [each for each in users.failed if each.served_by != "green"] == []
    assert stage.traffic() == {"blue": 100}
    assert stage.observe().deployments.keys() == {"blue"}
