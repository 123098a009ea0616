"""Definitions that tests check are remembered apart from the user's."""

from collections.abc import Iterator

import pytest

from imagebuilder import yamlfile
from imagebuilder.state import Cache


@pytest.fixture(autouse=True, scope="session")
def remembered_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yamlfile, "default_cache", lambda: cache)
        yield
