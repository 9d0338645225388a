"""What all tests share: the folder of real images, and a reason when it is not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """A home of their own for all Java programs: dialogs remember their values in ImageJ's preferences there."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # processes that share the cores and each start threads for all of them wait for one another
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    home = tempfile.mkdtemp(prefix="mikata-java-home-")
    os.environ["JAVA_TOOL_OPTIONS"] = f"-Duser.home={home}"
    os.environ["MIKATA_LANGUAGE"] = "en"  # what tests compare sentences with
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))


def shared_folder() -> Path:
    """Where the shared folder of real images is said to be (it may be absent)."""
    default = Path(__file__).parents[2] / "shared"
    return Path(os.environ.get("MIKATA_SHARED", default)).resolve()


def missing(reason: str) -> None:
    """Skip, or fail where the shared folder must be there."""
    if os.environ.get("MIKATA_REQUIRE_SHARED") == "1":
        pytest.fail(f"MIKATA_REQUIRE_SHARED=1, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = shared_folder()
    if not (folder / "data").is_dir():
        missing("the shared folder of real images is not there (MIKATA_SHARED)")
    return folder


@pytest.fixture
def hard_path(tmp_path: Path) -> Path:
    """A folder whose name breaks naive quoting."""
    folder = tmp_path / "山田 太郎 (test) [1]"
    folder.mkdir()
    return folder
