import pytest
pytestmark = pytest.mark.e2e
from tests.e2e.users import using

def test_good(stage):
    m = stage.manifest()
    r = stage.start("rollout", m)
    r.wait_for("ready .*blue 100%")
    with using(stage.platform.scoring_target()) as users:
        code = r.wait()
    print(r.text)
    print(users.served_by(), len(users.answers), users.failed)
    assert code == 0
    assert users.failed == []
