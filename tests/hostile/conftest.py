"""Options of the campaign, its ground for each worker, and the table at its end.

``--part quick`` (the default) are the cases that need no engine and take a minute together; ``--part all`` are all.
``--as-user`` tries those that apply as an ordinary user. What this machine lacks is an error, unless
``HARNESS_TEST_WITHOUT`` (``engine``, ``root``, ``network``) says what to leave out, as in ``tests/real``.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import campaign, disk
from hostile.cases import QUICK
from hostile.ground import Witness

#: The ordinary user of ``--as-user``: no account has the number.
USER_ID = 61417

_KIND = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two switches."""
    group = parser.getgroup("hostile inputs")
    group.addoption("--part", choices=("quick", "all"), default="quick", help="which hostile inputs are tried")
    group.addoption("--as-user", action="store_true", help="try them as an ordinary user instead of root")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to the other part, or cannot be tried as this user."""
    chosen: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        case = getattr(item, "callspec", None) and item.callspec.params.get("case")  # type: ignore[attr-defined]
        if case is None:
            chosen.append(item)
            continue
        item.stash[_KIND] = case.kind
        as_user = config.getoption("as_user") or os.geteuid() != 0
        fits = case.name in QUICK or config.getoption("part") == "all"
        fits &= not (as_user and ("root" in case.needs or "engine" in case.needs or case.without_root == "left out"))
        (chosen if fits else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = chosen


@pytest.fixture(scope="session")
def witness(request: pytest.FixtureRequest) -> Iterator[Witness]:
    """The ground of this worker: everything hostile code must leave alone, planted and watched."""
    as_user = request.config.getoption("as_user") and os.geteuid() == 0
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    parent = Path(os.environ.get("HARNESS_HOSTILE", "/var/cache" if os.geteuid() == 0 else "~/.cache")).expanduser()
    if as_user and not _can_start(USER_ID):
        pytest.exit(
            f"user {USER_ID} may not start {sys.executable}: make the environment below a folder that is open "
            "to all, with a Python that is",
            returncode=2,
        )
    base = parent / f"harness-hostile-{worker}{'-user' if as_user else ''}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another campaign would take this one's traces for its own
        with Witness(base=base, user=USER_ID if as_user else None).planted() as found:
            yield found
        for name in ("cases", "home", "witness"):
            disk.remove(base / name)


def _can_start(user: int) -> bool:
    """Whether that user may start the interpreter that the campaign runs under."""
    done = subprocess.run(
        [sys.executable, "-c", ""], check=False, user=user, group=user, extra_groups=[], cwd="/", capture_output=True
    )
    return done.returncode == 0


@pytest.fixture
def needed(request: pytest.FixtureRequest) -> None:
    """What the case needs is there, or was said to be left out."""
    case = request.node.callspec.params["case"]
    without = {part.strip() for part in os.environ.get("HARNESS_TEST_WITHOUT", "").split(",")}
    for what in case.needs:
        if what in without:
            pytest.skip(f"HARNESS_TEST_WITHOUT leaves out what needs: {what}")
    if "engine" in case.needs:
        request.getfixturevalue("engine")


@pytest.fixture(scope="session")
def engine(witness: Witness) -> Iterator[None]:
    """A private engine of this ground's own, stopped at the end by who started it."""
    started = campaign.harness(witness, "engine", "start", timeout_s=300)
    assert started.returncode == 0, started.stdout
    yield
    campaign.harness(witness, "engine", "stop", timeout_s=60)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of each kind were tried, and how many were held."""
    tried: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for outcome in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.getreports(outcome):
            kind = dict(getattr(report, "user_properties", ())).get("kind")
            if kind is not None and (report.when == "call" or outcome == "skipped"):
                tried[kind] += outcome != "skipped"
                held[kind] += outcome == "passed"
    if not tried:
        return
    terminalreporter.section("hostile inputs: tried and held")
    for kind in sorted(tried):
        terminalreporter.line(f"{kind:<10} {tried[kind]:>4} tried {held[kind]:>4} held")
    terminalreporter.line(f"{'all':<10} {tried.total():>4} tried {held.total():>4} held")


@pytest.fixture(autouse=True)
def _kind_told(request: pytest.FixtureRequest) -> None:
    """Tell the table the kind, also from a worker."""
    kind = request.node.stash.get(_KIND, None)
    if kind is not None:
        request.node.user_properties.append(("kind", kind))
