"""The command line: help, exit codes, messages, JSON. Nothing is measured here."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from harness.cli import cli, evidence
from harness.errors import MissingComponent
from harness.interpreter import Interpreter
from harness.measure import host
from harness.methods import METHODS
from harness.methods.contract import Limit
from harness.platforms import engine, engine_reach, engine_users
from harness.platforms.engine_users import EngineInUse, User
from harness.spec import model as models
from harness.spec import pythons
from harness.spec import scenario as scenarios
from harness.spec.synthetic import DESIGNS

Harness = Callable[..., Any]


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, ...]]:
    """Every command, as it is typed."""
    for name, command in group.commands.items():
        yield (*above, name)
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)


EVERY = [(), *commands(cli)]


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch, here: object) -> None:
    """No engine answers, and nobody tries out what can be enforced."""

    def missing(*_: Any) -> Any:
        raise MissingComponent("no engine answers", remedy="'harness engine start'")

    monkeypatch.setattr(engine, "connect", missing)
    monkeypatch.setattr(engine, "look", lambda: (None, "none"))


@pytest.mark.parametrize("command", EVERY, ids=lambda command: " ".join(command) or "harness")
def test_every_command_explains_itself(harness: Harness, command: tuple[str, ...]) -> None:
    """With --help and with -h: usage, what it does, every option explained; exit code 0."""
    found = harness(*command, "--help")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("Usage:")
    assert harness(*command, "-h").out == found.out
    listed: Any = cli
    for name in command:
        listed = listed.commands[name]
    assert listed.help
    for option in listed.params:
        if isinstance(option, click.Option) and not isinstance(option.type, click.Choice):
            assert option.help, f"{command} {option.name}"


def test_the_exit_codes_are_in_the_help(harness: Harness) -> None:
    """Whoever scripts it finds them."""
    text = " ".join(harness("--help").out.split())
    assert "0 done; 1 a measured model or check failed; 2 bad usage or bad input; 3 a needed component" in text
    assert "130 interrupted" in text


UNKNOWN: dict[str, tuple[tuple[str, ...], str]] = {
    "run": (("run", "nonesuch"), "spam-bayes"),
    "compare": (("compare", "nonesuch"), "spam-bayes"),
    "recommend": (("recommend", "nonesuch", "--scenario", "edge-device"), "spam-bayes"),
    "report": (("report", "nonesuch"), "spam-bayes"),
    "lock": (("lock", "nonesuch"), "spam-bayes"),
    "recommend --scenario": (("recommend", "spam-bayes", "--scenario", "nonesuch"), "edge-device"),
    "scenarios": (("scenarios", "nonesuch"), "edge-device"),
    "run --method": (("run", "spam-bayes", "--method", "nonesuch"), "container, "),
    "methods": (("methods", "nonesuch"), "container, "),
    "package": (("package", "nonesuch", "--method", "pex", "--out", "x"), "spam-bayes"),
    "package --method": (("package", "spam-bayes", "--method", "nonesuch", "--out", "x"), "container, "),
    "run --resume": (("run", "--resume", "nonesuch"), "--results"),
    "compare --run": (("compare", "spam-bayes", "--run", "nonesuch"), "--results"),
    "export": (("export", "nonesuch", "--format", "csv"), "--results"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_not_known_is_bad_input(harness: Harness, what: str) -> None:
    """Exit code 2; the value, and in the remedy those that there are; nothing on standard output."""
    argv, known = UNKNOWN[what]
    found = harness(*argv)
    assert found.code == 2
    assert found.out == ""
    assert found.err.startswith("harness: ")
    assert "nonesuch" in found.err
    assert known in found.err.partition("remedy:")[2]
    assert "Traceback" not in found.err


@pytest.mark.parametrize("what", UNKNOWN)
def test_an_error_is_an_object_for_machines(harness: Harness, what: str) -> None:
    """With --json the same on standard output as one object."""
    found = harness(*UNKNOWN[what][0], "--json")
    error = found.json["error"]
    assert found.code == error["exit_code"] == 2
    assert error["kind"] == "BadInput"
    assert "nonesuch" in error["problem"]
    assert error["remedy"]


BAD_USAGE = (
    ("nonesuch",),
    ("recommend", "spam-bayes"),
    ("compare",),
    ("run", "--profile", "fast"),
    ("run", "--rounds", "0"),
    ("run", "--seed", "x"),
    ("verify", "/no/such/path"),
    ("export", "r", "--format", "xml"),
    ("package", "spam-bayes", "--method", "pex"),
    ("package", "spam-bayes", "--out", "x"),
    ("report", "--colour"),
)


@pytest.mark.parametrize("argv", BAD_USAGE, ids=" ".join)
def test_bad_usage_ends_with_2(harness: Harness, argv: tuple[str, ...]) -> None:
    """With what is wrong and what to do on standard error."""
    found = harness(*argv)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("harness: ")
    assert "remedy:" in found.err


def test_bad_usage_is_an_object_for_machines(harness: Harness) -> None:
    """A program that asked for JSON gets JSON, also where it asked wrongly."""
    assert harness("run", "--profile", "fast", "--json").json["error"]["exit_code"] == 2


def test_resuming_follows_its_own_plan(harness: Harness) -> None:
    """Models and methods are not given again."""
    found = harness("run", "spam-bayes", "--resume", "x")
    assert found.code == 2
    assert "leave out models and methods" in found.err


def test_a_model_is_given_once(harness: Harness, folder: Any) -> None:
    """Results tell models apart by their names."""
    found = harness("run", folder.path, folder.path)
    assert found.code == 2
    assert "given twice" in found.err


def test_an_interrupt_ends_with_130(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it comes, it is said what became of what was measured."""

    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(evidence, "of", interrupt)
    found = harness("compare", "spam-bayes")
    assert found.code == 130
    assert "interrupted; what was measured is kept" in found.err
    assert harness("compare", "spam-bayes", "--json").json["error"]["exit_code"] == 130


def test_a_reader_that_leaves_is_no_failure(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """'harness models | head -1' ends quietly."""

    def leave(*_: Any, **__: Any) -> Any:
        raise BrokenPipeError

    monkeypatch.setattr(click, "echo", leave)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert harness("scenarios", "--json").code == 0


@pytest.mark.parametrize("name", ["new", "My Model!", "-a-", "x" * 100, "a.b_c", "2023", "modèle", "模型", "___"])
def test_a_new_folder_is_a_model(harness: Harness, tmp_path: Path, name: str) -> None:
    """Whatever the folder is called, the model in it is whole, and its examples are right."""
    found = harness("init", tmp_path / name, "--json")
    assert found.code == 0
    model = models.read(tmp_path / name)
    assert model.name == (found.json["name"] or "my-model")
    names: dict[str, Any] = {}
    exec((tmp_path / name / "predictor.py").read_text(), names)  # noqa: S102 -- it is ours
    answers = names["predict"](names["load"](tmp_path / name), list(model.examples.inputs))
    assert models.answers_match(list(model.examples.outputs), answers, 0.0)


def test_init_says_what_to_do_next(harness: Harness, tmp_path: Path) -> None:
    """The next command is on the screen."""
    assert f"harness run {tmp_path / 'new'}" in harness("init", tmp_path / "new").out


@pytest.mark.parametrize("kind", ["full", "a file", "below a file"])
def test_init_overwrites_nothing(harness: Harness, tmp_path: Path, kind: str) -> None:
    """A folder that is not empty, and a file, are left as they are."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "model.toml").write_text("mine")
    place = {"full": "full", "a file": "full/model.toml", "below a file": "full/model.toml/x"}[kind]
    found = harness("init", tmp_path / place)
    assert found.code == 2
    assert str(tmp_path / place) in found.err
    assert "remedy:" in found.err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["model.toml"]
    assert (tmp_path / "full" / "model.toml").read_text() == "mine"


def test_init_fills_an_empty_folder(harness: Harness, tmp_path: Path) -> None:
    """One that is there and empty is as good as a new one."""
    (tmp_path / "empty").mkdir()
    assert harness("init", tmp_path / "empty").code == 0
    assert models.read(tmp_path / "empty").name == "empty"


def test_models_are_listed(harness: Harness) -> None:
    """As a table and for machines."""
    listed = harness("models", "--json").json
    assert [one["name"] for one in listed] == models.sample_names()
    since = {"clusters-modern", "wine-legacy"}  # they came after the last night of the reference results
    assert {one["name"] for one in listed if not one["profile"]} <= since, (
        "the reference results hold a profile of each"
    )
    text = harness("models").out
    assert all(name in text for name in models.sample_names())
    with_generated = harness("models", "--synthetic", "--json").json
    assert [one["name"] for one in with_generated if one["family"] == "synthetic"] == [d.name for d in DESIGNS]


def test_the_documentation_names_every_model() -> None:
    """docs/models.md says why each is in the set, and names none that is not."""
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", text, flags=re.MULTILINE)) == models.sample_names()


def test_a_model_is_explained(harness: Harness, folder: Any) -> None:
    """With what it brings along where a profile tells; one without says how to make one."""
    (known,) = harness("models", "digits-forest", "--json").json
    assert known["profile"]["packages"] == 7
    assert re.search(r"packages +7\b", harness("models", "digits-forest").out)
    text = harness("models", folder.path).out
    assert "harness profile tiny" in text
    assert harness("models", "nonesuch").code == 2


def test_the_spread_of_the_models_is_drawn(harness: Harness, tmp_path: Path, folder: Any) -> None:
    """Of those that have a profile; without any, and where nothing can be written, it is bad input."""
    picture = tmp_path / "models.svg"
    assert harness("models", "--plot", picture).code == 0
    assert picture.read_text().startswith("<svg")
    assert harness("models", "--plot", tmp_path / "no" / "folder.svg").code == 2
    found = harness("models", folder.path, "--plot", tmp_path / "none.svg")
    assert found.code == 2
    assert "harness profile" in found.err


def test_methods_are_listed_and_explained(harness: Harness) -> None:
    """Those that are not ready say why; one alone is told in full."""
    listed = harness("methods", "--json").json
    assert list(listed) == list(METHODS)
    assert (listed["container"]["ready"], listed["container"]["reason"]) == (False, "no engine answers")
    assert listed["venv"]["ready"] is True
    assert all(one["summary"] for one in listed.values())
    assert "not ready" in harness("methods").out
    assert harness("methods", "pex", "--json").json == listed["pex"]
    assert harness("methods", "pex").out.startswith("``pex``: ")


@pytest.mark.parametrize("columns", [80, 120])
def test_the_list_of_methods_fits_the_terminal(harness: Harness, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """By family, each with its fidelity; the reason and remedy of what is not ready stand below."""
    monkeypatch.setenv("COLUMNS", str(columns))
    text = harness("methods").out
    assert max(len(line.rstrip()) for line in text.splitlines()) <= columns
    for name, method in METHODS.items():
        assert re.search(rf"^   {name} +\S.* {method.FIDELITY} +(not )?ready", text, flags=re.MULTILINE), name
        assert re.search(rf"^ {method.FAMILY.replace('-', ' ')} *$", text, flags=re.MULTILINE)
    assert "container is not ready: no engine answers (remedy: 'harness engine start')" in " ".join(text.split())


def test_limits_are_told_with_their_sources(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the explanation of one method: value, source, date, and what becomes of it here."""
    held = Limit(name="zip", value=262144000, unit="bytes", source="AWS", read_on="2026-11-23", metric="unpacked_bytes")
    told = Limit(name="timeout", value=900, unit="s", source="AWS too", read_on="2026-11-22")
    monkeypatch.setattr(METHODS["pex"], "LIMITS", (held, told))
    text = harness("methods", "pex").out
    assert re.search(r"zip +262,144,000 bytes +held against unpacked size +\[1\]", text)
    assert re.search(r"timeout +900 s +by the method, or told only +\[2\]", text)
    assert "[1] AWS, read 2026-11-23\n[2] AWS too, read 2026-11-22\n" in text
    assert harness("methods", "pex", "--json").json["limits"][1]["read_on"] == "2026-11-22"
    assert "states no limit" in harness("methods", "venv").out


def test_scenarios_are_listed_and_shown(harness: Harness) -> None:
    """By name, and by file."""
    listed = harness("scenarios", "--json").json
    assert [one["name"] for one in listed] == scenarios.names()
    for name in scenarios.names():
        assert name in harness("scenarios").out
        shown = harness("scenarios", name)
        assert shown.code == 0
        assert "worth 1 at" in shown.out
        assert harness("scenarios", name, "--json").json["name"] == name


@pytest.fixture
def other_pythons(monkeypatch: pytest.MonkeyPatch, here: Interpreter) -> None:
    """One other Python is on the machine; none is looked for."""
    other = dataclasses.replace(here, version="3.9.18", path=Path("/opt/python3.9"))
    monkeypatch.setattr(pythons, "others", lambda: (other, here))


@pytest.mark.usefixtures("other_pythons")
def test_the_doctor_says_what_is_missing(harness: Harness) -> None:
    """Exit code 3 where a method is not ready; each check with its remedy."""
    found = harness("doctor", "--json")
    assert found.code == 3
    checks = {one["what"]: one for one in found.json["checks"]}
    assert checks["method container"]["ready"] is False
    assert checks["method container"]["remedy"] == "'harness engine start'"
    assert checks["method venv"]["ready"] is True
    assert set(checks) >= {f"method {name}" for name in METHODS}
    assert checks["other Pythons, for models that ask"]["detail"] == "3.9.18"
    assert all(one["remedy"] for one in checks.values() if not one["ready"])
    assert "MISSING" in harness("doctor").out


@pytest.mark.usefixtures("other_pythons")
def test_the_doctor_says_what_an_engine_cannot_bound(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a rootless one without control groups; with all of them nothing is missing."""
    info = {"ServerVersion": "4.3.1", "BuildahVersion": "1", "Rootless": True}
    given: list[str] = []
    monkeypatch.setattr(
        engine, "look", lambda: (engine_reach.described("unix:///x", "private", info, lambda: given), "")
    )
    told = {one["what"]: one for one in harness("doctor", "--json").json["checks"]}["bounds of containers"]
    assert told["ready"] is False
    assert "Podman 4.3.1, rootless: memory is bounded process by process" in told["detail"]
    assert "delegate" in told["remedy"]
    assert any("in containers memory" in one for one in host.facts()["not_enforced"])
    given += ["memory", "pids", "cpu"]
    told = {one["what"]: one for one in harness("doctor", "--json").json["checks"]}["bounds of containers"]
    assert (told["ready"], told["remedy"]) == (True, "")


@pytest.mark.usefixtures("other_pythons")
def test_the_doctor_tells_the_ceilings(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its value, where that is from, and the variable that sets it."""
    monkeypatch.setenv("HARNESS_MAX_MEMORY_MB", "2048")
    monkeypatch.delenv("HARNESS_MAX_PROCESSES", raising=False)
    checks = {one["what"]: one["detail"] for one in harness("doctor", "--json").json["checks"]}
    assert checks["ceiling of memory"] == "2 GiB for any one model: set by HARNESS_MAX_MEMORY_MB"
    assert checks["ceiling of processes"] == (
        "4,096 for any one model: the default; HARNESS_MAX_PROCESSES sets another"
    )
    assert {"ceiling of disk", "ceiling of time"} <= set(checks)
    monkeypatch.setenv("HARNESS_MAX_SECONDS", "long")
    found = harness("doctor")
    assert (found.code, "HARNESS_MAX_SECONDS" in found.err) == (2, True)


SOMEBODY = User(pid=17, command="harness run digits-onnx", since="2026-11-30T12:00:00+00:00")


def test_the_engine_s_users_are_told(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """To people and to machines."""
    monkeypatch.setattr(engine, "look", lambda: (engine_reach.described("unix:///x", "private", {}), ""))
    monkeypatch.setattr(engine_users, "users", lambda _: (SOMEBODY,))
    assert "process 17 (harness run digits-onnx)" in harness("engine", "status").out
    assert harness("engine", "status", "--json").json["users"] == [dataclasses.asdict(SOMEBODY)]


def test_the_engine_is_not_stopped_under_its_users(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1, who uses it, and both ways on; --wait and --force are passed on, and are not given together."""

    def stop(*, force: bool = False) -> bool:
        if not force:
            raise EngineInUse([SOMEBODY])
        return True

    monkeypatch.setattr(engine, "stop", stop)
    monkeypatch.setattr(engine, "stop_when_unused", lambda say: say("waiting for somebody") is None)
    found = harness("engine", "stop")
    assert found.code == 1
    for text in ("process 17 (harness run digits-onnx)", "--wait", "--force"):
        assert text in found.err
    assert harness("engine", "stop", "--json").json["error"]["kind"] == "EngineInUse"
    waited = harness("engine", "stop", "--wait")
    assert (waited.code, waited.err) == (0, "waiting for somebody\n")
    assert harness("engine", "stop", "--force", "--json").json == {"stopped": True}
    assert harness("engine", "stop", "--force", "--wait").code == 2


@pytest.mark.spawns
def test_help_answers_at_once() -> None:
    """Nothing heavy is imported for it."""
    code = (
        "import sys; sys.argv = ['harness', '--help']; from harness.cli import _run; code = _run(); "
        "import json; print(json.dumps(sorted(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert done.stdout.startswith("Usage:")
    assert not {"duckdb", "docker", "pydantic", "rich", "psutil", "packaging", "jinja2", "vl_convert", "uv"} & loaded


@pytest.mark.spawns
def test_it_runs_as_a_module() -> None:
    """``python -m harness`` is the same command, with its exit codes, and without a traceback."""
    argv = [sys.executable, "-m", "harness", "compare", "/no/such/model"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "remedy:" in done.stderr
    assert "Traceback" not in done.stderr
