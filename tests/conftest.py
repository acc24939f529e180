"""What every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it are skipped, with this reason, where it is absent."""
    folder = Path(os.environ.get("TOCSIN_TEST_DATA", "../shared/data"))
    if not folder.is_absolute():
        folder = ROOT / folder
    if not folder.is_dir():
        pytest.skip("real data is absent: set TOCSIN_TEST_DATA to its folder")
    return folder
