"""Shared by all tests: a hypothesis profile for busy machines, and no hub of data sets."""

import os

import pytest
from hypothesis import settings

# A slow moment is not a failure. Where a landing hangs on it, examples are the same each time; whoever
# runs the tests by hand looks at new ones.
settings.register_profile("shared-machine", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("shared-machine")


@pytest.fixture(scope="session", autouse=True)
def _no_hub(tmp_path_factory: pytest.TempPathFactory) -> None:
    # `datasets` reads this when it is imported: it keeps copies of what it opens, and asks its hub.
    os.environ |= {"HF_HOME": str(tmp_path_factory.mktemp("hf")), "HF_HUB_OFFLINE": "1"}
