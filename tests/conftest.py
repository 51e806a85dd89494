"""Every test is offline, starts without settings of ours, and writes to folders of its own."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before any import of `datasets`, `huggingface_hub` or Inspect, which read these once.
_HOME = Path(tempfile.mkdtemp(prefix="value-retention-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_CACHE": str(_HOME / "datasets"),
    "XDG_CACHE_HOME": str(_HOME / "cache"),
    "XDG_DATA_HOME": str(_HOME / "data"),
    "TOKENIZERS_PARALLELISM": "false",
    "INSPECT_DISPLAY": "plain",
}
for folder in ("HF_DATASETS_CACHE", "XDG_CACHE_HOME"):
    Path(os.environ[folder]).mkdir()
_TESTS = itertools.count()

import helpers  # noqa: E402
from filelock import FileLock  # noqa: E402
from hypothesis import settings  # noqa: E402

# Time is no property of the code under test: a busy machine must not fail it.
# A shell starts commands in the background with Ctrl-C switched off, and every process of a test inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests over the workers, slow ones first, so that both end together.

    Tests that share a fixture of their file stay in one worker, which makes it once.
    """
    for item in items:
        fixtures = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009
        if any(own[-1].scope != "function" and own[-1].baseid.endswith(".py") for own in fixtures):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VALUE_RETENTION_")]:
        monkeypatch.delenv(name)
    # A journal per test: replies that one has paid for would save another its calls.
    monkeypatch.setenv("VALUE_RETENTION_JOURNAL_DIR", str(_HOME / "journals" / str(next(_TESTS))))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny, untrained Llama checkpoint with a chat template, made once for all workers."""
    place = tmp_path_factory.getbasetemp()
    folder = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "tiny"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            done = helpers.run(helpers.PYTHON, "-m", "value_retention.train.tiny", "--output", str(folder))
            assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[helpers.Server]:
    """The scripted server with plain replies; model and judge."""
    with helpers.scripted_server() as running:
        yield running
