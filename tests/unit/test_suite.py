"""How long the tests of a machine may take."""

import pytest

from imagebuilder.cli.suite import time_limit


@pytest.mark.parametrize(
    ("models", "long", "seconds"),
    [(0, False, 900), (1, False, 900), (5, False, 2100), (1, True, 2400), (3, True, 3000)],
)
def test_each_further_model_has_time_of_its_own(models: int, long: bool, seconds: float) -> None:
    assert time_limit(models, long=long) == seconds
