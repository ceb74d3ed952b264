"""Shared by all tests: a hypothesis profile for busy machines, and no hub of data sets."""

import os

import pytest
from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)  # a slow moment is not a failure
settings.load_profile("shared-machine")


@pytest.fixture(scope="session", autouse=True)
def _no_hub(tmp_path_factory: pytest.TempPathFactory) -> None:
    # `datasets` reads this when it is imported: it keeps copies of what it opens, and asks its hub.
    os.environ |= {"HF_HOME": str(tmp_path_factory.mktemp("hf")), "HF_HUB_OFFLINE": "1"}
