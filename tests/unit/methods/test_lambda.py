"""The two Lambda methods without any tool: what goes into a zip, how a function is asked, what AWS says of a start."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import interpreter
from harness.errors import CheckFailure, DoesNotFit, ModelFailure
from harness.methods import functions, lambda_image, lambda_zip, layout, pruning
from harness.methods.contract import Artifact, BuildOptions, Limits
from harness.platforms import lambda_runtime

FACTS = {"memory_mb": "1024", "predict_timeout_s": "60"}
LIMITS = Limits(memory_bytes=2**30, processes=4096, disk_bytes=2**30, start_timeout_s=60, predict_timeout_s=30)


def artifact(**facts: str) -> Artifact:
    return Artifact(method="lambda-zip", model="tiny", digest="0" * 64, facts={**FACTS, **facts})


# --- the zip -------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder like a function's."""
    folder = tmp_path / "function"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "code.py").write_text("x = 1\n" * 100)
    (folder / "package" / "program").write_bytes(b"\x7fELF")
    (folder / "package" / "program").chmod(0o755)
    return folder


def test_a_zip_depends_on_the_contents_alone(tree: Path, tmp_path: Path) -> None:
    """Neither dates nor the umask nor the order in which files were made is in it."""
    lambda_zip.pack(tree, tmp_path / "first.zip")
    os.utime(tree / "package" / "code.py", (1, 1))
    (tree / "package" / "code.py").chmod(0o600)
    lambda_zip.pack(tree, tmp_path / "second.zip")
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()
    assert not (tmp_path / "second.zip.part").exists()


def test_what_was_zipped_is_unzipped(tree: Path, tmp_path: Path) -> None:
    """Contents and executable bits; readable by all."""
    lambda_zip.pack(tree, tmp_path / "a.zip")
    lambda_zip.unpack(tmp_path / "a.zip", tmp_path / "task")
    code, program = tmp_path / "task" / "package" / "code.py", tmp_path / "task" / "package" / "program"
    assert code.read_text() == "x = 1\n" * 100
    assert (code.stat().st_mode & 0o777, program.stat().st_mode & 0o777) == (0o644, 0o755)


def test_a_link_is_refused(tree: Path, tmp_path: Path) -> None:
    """Lambda's unzipping of them is not documented."""
    (tree / "link").symlink_to("package")
    with pytest.raises(CheckFailure, match="is a link"):
        lambda_zip.pack(tree, tmp_path / "a.zip")


def test_a_damaged_zip_is_said(tmp_path: Path) -> None:
    """With what to do."""
    (tmp_path / "a.zip").write_bytes(b"not a zip")
    with pytest.raises(CheckFailure, match="damaged"):
        lambda_zip.unpack(tmp_path / "a.zip", tmp_path / "task")


@pytest.mark.parametrize("name", ["a/../../b", "/b", "a" * 300, "a\\b", "a/" * 60 + "b"])
def test_a_zip_with_names_that_are_not_plain_is_damaged(tmp_path: Path, name: str) -> None:
    """Nothing of it is unpacked."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("first", "x")
        archive.writestr(name, "x")
    with pytest.raises(CheckFailure, match="damaged"):
        lambda_zip.unpack(tmp_path / "a.zip", tmp_path / "task")
    assert list((tmp_path / "task").iterdir()) == []


def test_a_name_that_would_not_be_unpacked_is_not_packed(tree: Path, tmp_path: Path) -> None:
    """It is told when the zip is made."""
    (tree / "a\\b").write_text("x")
    with pytest.raises(CheckFailure, match="not plain"):
        lambda_zip.pack(tree, tmp_path / "a.zip")


def test_sizes_are_those_of_the_files_in_it(tree: Path, tmp_path: Path) -> None:
    """Which is what Lambda's limit counts."""
    lambda_zip.pack(tree, tmp_path / "a.zip")
    found = lambda_zip.sizes(
        Artifact(method="lambda-zip", model="m", digest="", path=tmp_path / "a.zip"),
        None,  # type: ignore[arg-type]
    )
    assert (found.unpacked_bytes, found.files) == (604, 2)
    assert found.packed_bytes == (tmp_path / "a.zip").stat().st_size == sum(found.pieces.values())


# --- making it fit -------------------------------------------------------------------------------


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, BuildOptions]:
    """Packages with stubs and headers, 1000 bytes each, and how they are compiled: another 1000 bytes."""
    folder = tmp_path / "packages"
    (folder / "one").mkdir(parents=True)
    for name in ("__init__.py", "types.pyi", "one.h"):
        (folder / "one" / name).write_bytes(b"#" * 1000)

    def compiled(*_: Any) -> None:
        (folder / "one" / "__pycache__").mkdir()
        (folder / "one" / "__pycache__" / "__init__.pyc").write_bytes(b"#" * 1000)

    monkeypatch.setattr(lambda_zip, "_compile", compiled)
    monkeypatch.setattr(layout, "prune", lambda packages, rules, keep, **_: pruning.prune(packages, rules, keep))
    return folder, BuildOptions(tool_cache=tmp_path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("here")
def test_what_fits_is_pruned_as_the_model_wants(
    packages: tuple[Path, BuildOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no further."""
    monkeypatch.setattr(functions, "UNZIPPED_BYTES", 3000)
    told = lambda_zip.made_to_fit(packages[0], interpreter.default(), ("stubs", "duplicates"), packages[1])
    assert names(packages[0]) == {"__init__.py", "one.h", "__init__.pyc"}
    assert "stubs" in told
    assert "duplicates" not in told
    assert "to fit" not in told


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("limit", "left", "said"),
    [
        (2999, {"__init__.py", "__init__.pyc"}, "to fit also tests, headers, symbols"),
        (1999, {"__init__.py"}, "to fit without bytecode"),
        (999, {"__init__.py"}, "does not fit"),
    ],
)
def test_more_is_left_out_step_by_step(
    packages: tuple[Path, BuildOptions], monkeypatch: pytest.MonkeyPatch, limit: int, left: set[str], said: str
) -> None:
    """First what is safe, then the bytecode; one that is still too large is left as it is, and that is told."""
    monkeypatch.setattr(functions, "UNZIPPED_BYTES", limit)
    told = lambda_zip.made_to_fit(packages[0], interpreter.default(), ("stubs",), packages[1])
    assert names(packages[0]) == left
    assert told.count("MB") >= 3
    assert said in told


def test_the_limits_are_aws_own() -> None:
    """250 MB unzipped is 262144000 bytes, as AWS's refusal says; the image's limit is of its layers unpacked."""
    by_metric = {limit.metric: limit.value for limit in lambda_zip.LIMITS if limit.metric}
    assert by_metric == {"unpacked_bytes": 262_144_000}
    assert {limit.value for limit in lambda_image.LIMITS if limit.metric} == {10 * 2**30}
    assert all(limit.source and limit.read_on for limit in (*lambda_zip.LIMITS, *lambda_image.LIMITS))


# --- what a function is given --------------------------------------------------------------------


@pytest.mark.parametrize("memory_mb", [127, 10241])
def test_memory_out_of_range_does_not_fit(memory_mb: int) -> None:
    with pytest.raises(DoesNotFit, match=str(memory_mb)):
        functions.hold_to_limits(artifact(memory_mb=str(memory_mb)))


@pytest.mark.parametrize("memory_mb", [128, 10240])
def test_memory_in_range_fits(memory_mb: int) -> None:
    functions.hold_to_limits(artifact(memory_mb=str(memory_mb)))


def test_processors_follow_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at 1769 MB, in proportion, and never more than there are; processes are Lambda's at most."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert lambda_runtime.cpus(1769) == 1.0
    assert lambda_runtime.cpus(128) == pytest.approx(128 / 1769)
    assert lambda_runtime.cpus(10240) == 2
    assert lambda_runtime.cpus(1769, 0.5) == 0.5
    given = functions.as_on_lambda(artifact(), LIMITS)
    assert given.cpus == pytest.approx(1024 / 1769)
    assert given.processes == 1024


def test_the_requirement_is_the_locked_runtime_client() -> None:
    """Image and stand-in have the same."""
    assert lambda_image.REQUIREMENTS[0].startswith(f"awslambdaric=={lambda_runtime.version('awslambdaric')};")


def test_what_lambda_reports_as_failed_is_an_error() -> None:
    """The emulator says so with HTTP 200."""
    failed = {"errorType": "Runtime.ExitError", "errorMessage": "exit status 1", "requestId": "x"}
    said = functions.HTTP.outputs(failed)
    assert said == {"error": {"type": "Runtime.ExitError", "message": "exit status 1"}}
    assert functions.HTTP.outputs({"outputs": [1]}) == {"outputs": [1]}


# --- the handler ---------------------------------------------------------------------------------


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Import the handler with a runner whose model is given."""

    def imported(load: Any) -> Any:
        runner = types.ModuleType("harness_runner.model")
        runner.PACKAGED, runner.load, runner.stamps = Path("/m"), load, {"weights": 1.0}  # type: ignore[attr-defined]
        runner.facts = lambda: {"python": "3"}  # type: ignore[attr-defined]
        runner.described = lambda error, stage: {"stage": stage, "type": type(error).__name__}  # type: ignore[attr-defined]
        package, packaged = types.ModuleType("harness_runner"), types.ModuleType("harness_runner.packaged")
        package.model, packaged.ENTRYPOINT = runner, "predictor.py"  # type: ignore[attr-defined]
        for module in (package, packaged, runner):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.syspath_prepend(functions.HANDLER_PACKAGE.parent)
        monkeypatch.delitem(sys.modules, "harness_lambda.handler", raising=False)
        return importlib.import_module("harness_lambda.handler")

    yield imported
    for name in ("harness_lambda.handler", "harness_lambda"):
        sys.modules.pop(name, None)


def test_the_handler_answers_and_tells_of_itself(handler: Any) -> None:
    """Inputs are answered; facts come with the stamps and the moment of the last answer."""
    module = handler(lambda *_: lambda inputs: [2 * value for value in inputs])
    assert module.handle({"inputs": [1, 2]}, None) == {"outputs": [2, 4]}
    told = module.handle({"facts": True}, None)
    assert told["facts"] == {"python": "3"}
    assert told["stamps"]["answered"] > told["stamps"]["weights"]


def test_the_handler_says_what_the_model_raises(handler: Any) -> None:
    """Raising, and answering what JSON has no word for."""
    module = handler(lambda *_: lambda inputs: [float("nan")] if inputs else 1 / 0)
    assert module.handle({"inputs": []}, None) == {"error": {"stage": "predict", "type": "ZeroDivisionError"}}
    assert module.handle({"inputs": [1]}, None) == {"error": {"stage": "predict", "type": "ValueError"}}


def test_a_model_that_can_not_be_loaded_answers_with_the_reason(handler: Any) -> None:
    """Every time it is asked."""

    def broken(*_: Any) -> Any:
        raise OSError

    module = handler(broken)
    assert module.handle({"inputs": [1]}, None) == {"error": {"stage": "load", "type": "OSError"}}


# --- on AWS --------------------------------------------------------------------------------------

# As the guide shows it: AWS Lambda Operator Guide, "How CloudWatch structures logs".
COLD = (
    "START RequestId: 1 Version: $LATEST\nEND RequestId: 1\n"
    "REPORT RequestId: 1\tDuration: 12.50 ms\tBilled Duration: 13 ms\tMemory Size: 1024 MB\t"
    "Max Memory Used: 118 MB\tInit Duration: 987.50 ms\t\n"
)
WARM = (
    "REPORT RequestId: 2\tDuration: 1.25 ms\tBilled Duration: 2 ms\tMemory Size: 1024 MB\tMax Memory Used: 119 MB\t\n"
)


def test_a_report_is_read() -> None:
    """Init Duration is there for a new environment only."""
    assert functions.Report.read(COLD) == functions.Report(
        init_s=0.9875, duration_s=0.0125, peak_memory_bytes=118 * 2**20
    )
    warm = functions.Report.read(WARM)
    assert warm is not None
    assert (warm.init_s, warm.duration_s) == (None, 0.00125)
    assert functions.Report.read("nothing of the kind") is None


class Aws:
    """A function in an account: it answers with the logs it was given, one for each call."""

    def __init__(self, *logs: str, answer: Any = None, failed: str = "") -> None:
        self.logs, self.answer, self.failed = list(logs), answer, failed
        self.renewed: list[Mapping[str, Any]] = []

    def client(self, service: str) -> Aws:
        assert service == "lambda"
        return self

    def get_waiter(self, name: str) -> Any:
        assert name == "function_updated_v2"
        return types.SimpleNamespace(wait=lambda **_: None)

    def update_function_configuration(self, **asked: Any) -> None:
        self.renewed.append(asked)

    def invoke(self, **asked: Any) -> dict[str, Any]:
        event = json.loads(asked["Payload"])
        answer = self.answer
        if "facts" in event:
            stamps = {"interpreter": 100.2, "imports": 100.5, "weights": 100.9, "answered": 101.0}
            answer = {"facts": {"python": "3.11"}, "stamps": stamps}
        elif answer is None:
            answer = {"outputs": event["inputs"]}
        log = self.logs.pop(0) if self.logs else WARM
        said = {
            "Payload": io.BytesIO(json.dumps(answer).encode()),
            "LogResult": base64.b64encode(log.encode()).decode(),
        }
        return {**said, **({"FunctionError": self.failed} if self.failed else {})}


def on_aws(account: Aws) -> functions.OnAws:
    deployed = functions.Deployed(account=account, name="f", seconds=1.0, how="", made=())  # type: ignore[arg-type]
    return functions.OnAws(deployed)


def test_a_cold_start_on_aws_is_what_aws_reports() -> None:
    """Init Duration and Duration end at the answer; the phases are the function's own, moved to our clock."""
    instance = on_aws(Aws(COLD))
    assert instance.predict([1]) == [1]
    stamps = instance.stamps()
    answered_s = instance._answered_s
    assert answered_s - stamps.spawned_s == pytest.approx(1.0)
    assert answered_s - stamps.weights_s == pytest.approx(0.1)
    assert stamps.spawned_s == stamps.sandbox_s <= stamps.interpreter_s <= stamps.imports_s <= stamps.weights_s
    assert instance.usage().peak_memory_bytes == 118 * 2**20
    assert instance.facts() == {"python": "3.11"}


def test_an_environment_that_was_there_already_is_not_taken_for_a_cold_start() -> None:
    """Another one is asked for; further predictions may come from the same."""
    account = Aws(WARM, COLD)
    instance = on_aws(account)
    assert instance.predict([1]) == [1]
    assert instance.predict([2]) == [2]
    assert len(account.renewed) == 2
    assert len({json.dumps(asked, sort_keys=True) for asked in account.renewed}) == 2


def test_no_cold_start_in_sight_is_said() -> None:
    with pytest.raises(ModelFailure, match="no cold start was seen"):
        on_aws(Aws(WARM, WARM, WARM)).predict([1])


def test_a_report_that_is_missing_is_said() -> None:
    with pytest.raises(ModelFailure, match="without a report"):
        on_aws(Aws("")).predict([1])


@pytest.mark.parametrize(
    ("answer", "failed", "said"),
    [
        ({"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out"}, "Unhandled", "Task timed out"),
        ({"error": {"type": "ValueError", "message": "no"}}, "", "ValueError: no"),
        ({"unasked": 1}, "", "rubbish"),
    ],
)
def test_what_went_wrong_on_aws_is_said(answer: Any, failed: str, said: str) -> None:
    with pytest.raises(ModelFailure, match=said):
        on_aws(Aws(COLD, answer=answer, failed=failed)).predict([1])


def test_events_stay_below_what_the_stand_in_takes() -> None:
    """As many examples as one argument of a process holds."""
    pairs = [["x" * 50_000, 1]] * 5
    assert len(list(functions._small_enough(pairs))) == 2
    assert list(functions._small_enough([["x" * 200_000, 1]])) == []


def test_the_zip_holds_what_the_model_wishes(tmp_path: Path) -> None:
    """A function's configuration is made of the artifact's facts alone."""
    assert functions.memory_mb(artifact()) == 1024
    assert functions._timeout_s(artifact()) == 61
    assert functions._timeout_s(artifact(predict_timeout_s="5000")) == 900
    told = functions.emulator_environment(artifact(), LIMITS)
    assert told["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "1024"


def test_entries_are_files_only(tree: Path, tmp_path: Path) -> None:
    """Permissions are Unix's, folders are made by whoever unzips."""
    lambda_zip.pack(tree, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        found = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert found == {"package/code.py": 0o100644, "package/program": 0o100755}
