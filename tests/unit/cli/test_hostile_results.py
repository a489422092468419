"""Results folders that somebody made to do harm, or that broke: every command that reads them ends with a message."""

from __future__ import annotations

import copy
import itertools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import BadInput, CheckFailure, HarnessError
from harness.store import query, runs, samples, tables

Harness = Callable[..., Any]

#: What may stand anywhere in JSON that others wrote.
VALUES: dict[str, Any] = {
    "nothing": None,
    "true": True,
    "zero": 0,
    "negative": -1,
    "fraction": 1.5,
    "huge": 2**70,
    "digits": 10**400,
    "large": 1e308,
    "least": 5e-324,
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "empty": "",
    "long": "x" * 100_000,
    "markup": "<script>alert(1)</script>",
    "formula": "=1+1",
    "escape": "\x1b[2J\x9b31m",
    "turned": "a\u202eb\u200b",
    "half": "\ud800",
    "lines": "a\nharness: all is well\x00",
    "path": "../../../etc/passwd",
    "list": [],
    "table": {},
    "nested": [[[[{"a": [{}]}]]]],
    "deep": json.loads("[" * 300 + "]" * 300),
}

#: Signs that no command may print as they are.
OBEYED = "\x1b\x9b\u202e\u200b\x00"

COMMANDS: dict[str, tuple[str, ...]] = {
    "runs": ("runs",),
    "compare": ("compare", "tiny"),
    "compare-run": ("compare", "tiny", "--run", "{run}"),
    "recommend": ("recommend", "tiny", "--scenario", "edge-device"),
    "report-md": ("report", "--scenario", "edge-device", "--format", "md", "--out", "{out}.md"),
    "report-html": ("report", "tiny", "--scenario", "edge-device", "--format", "html", "--out", "{out}.html"),
    "appendix": ("appendix", "tiny", "--scenario", "edge-device", "--out", "{out}.a.md"),
    "verify": ("verify", "{folder}"),
    "changes": ("changes", "--all"),
    "claims": ("claims", "venv-reproduces"),
    "export-csv": ("export", "{run}", "--format", "csv", "--out", "{out}.csv"),
    "export-benchmark": ("export", "{run}", "--format", "pytest-benchmark", "--out", "{out}.json"),
    "calibrate": ("calibrate", "--splits", "0"),
}


def paths_in(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to everything in a JSON value but the whole."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        yield (*above, key)
        yield from paths_in(part, (*above, key))


def replaced(table: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of ``table`` with ``value`` at ``path``."""
    made = copy.deepcopy(table)
    place = made
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return made


@pytest.fixture
def run(made: Any) -> Path:
    """A small run of a night with everything that a manifest has."""
    known = {"digest": "a" * 64, "memory_mb": "512", "python": "3.11.2"}
    described = {
        "payload": "0" * 24,
        "family": "trees",
        "framework": "none",
        "version": "1.0",
        "features": {"dependencies": 3, "pinned": 3, "system_packages": 0},
        "locks": {"0123456789ab": {"packages": 3, "wheel_bytes": 10}},
        "memory_mb": 512,
        "system_packages": ["libgomp1"],
        "whole": True,
    }
    folder: Path = made.write(
        [*made.samples(("venv", "pex"), 2), made.sample("parity", None, "container", flags=("failed",), note="no")],
        compact=False,
        plan=made.plan(profile="nightly", canary="venv", parts=("load",), kept=("build",)).as_dict(),
        models={"tiny": described},
        artifacts={"tiny/venv": known},
        availability={"rest-api": {"ready": False, "reason": "it is not here", "remedy": "install it"}},
        tools={"uv": "0.13.9"},
        timings={"wall_s": 1.0},
        steps={"tiny/_sentinel": {"sentinel_n": 2, "sentinel_s": 0.2}},
        digests={"samples.parquet": "b" * 64},
    )
    return folder


def told_of(error: HarnessError, place: str) -> None:
    """The error names the place and what to do."""
    assert place in str(error)
    assert error.remedy


Try = Callable[..., None]


@pytest.fixture
def tried(harness: Harness, run: Path, made: Any, tmp_path: Path) -> Try:
    """Runs commands on the results as they are now; each has to end with a message and a code that is documented."""

    def hold(*names: str) -> None:
        given = {"run": run.name, "folder": str(run), "out": str(tmp_path / "made")}
        for name in names or COMMANDS:
            found = harness(
                *(part.format(**given) for part in COMMANDS[name]),
                *(() if name == "verify" else ("--results", made.results)),
            )
            assert found.code in (0, 1, 2, 3), (name, found.err)
            assert found.out or found.err, name
            assert "Traceback" not in found.err
            assert not any(sign in found.out + found.err for sign in OBEYED), (name, found)

    return hold


def shown(folder: Path) -> Any:
    """The manifest of the run as JSON."""
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def _manifest_paths() -> list[str]:
    plan = ["models", "methods", "profile", "rounds", "builds", "seed", "states", "folders", "parts", "canary", "kept"]
    plan += ["most", "installs", "variants", "every", "night", "models.0", "methods.0", "folders.tiny", "states.0"]
    return [
        *("schema_version", "run_id", "created_at", "finished_at", "harness_version"),
        *("plan", *(f"plan.{name}" for name in plan)),
        *("host", *(f"host.{name}" for name in ("processor", "cores", "machine", "python", "memory_bytes"))),
        *("tools", "tools.uv", "models", "models.tiny", "models.tiny.features", "models.tiny.features.pinned"),
        *("models.tiny.memory_mb", "models.tiny.locks", "models.tiny.locks.0123456789ab", "models.tiny.payload"),
        *("models.tiny.system_packages", "models.tiny.system_packages.0", "models.tiny.family"),
        *("artifacts", "artifacts.tiny/venv", "artifacts.tiny/venv.memory_mb", "artifacts.tiny/venv.python"),
        *("availability", "availability.rest-api", "availability.rest-api.ready", "availability.rest-api.reason"),
        *("timings", "timings.wall_s", "steps", "steps.tiny/_sentinel", "steps.tiny/_sentinel.sentinel_n"),
        *("digests", "digests.samples.parquet", "new field"),
    ]


def _path(table: Any, told: str) -> tuple[Any, ...]:
    if told == "new field":
        return ("colour\x1b[2J",)
    found = {".".join(map(str, path)): path for path in paths_in(table)}
    return found[told]


@pytest.mark.parametrize("told", _manifest_paths())
def test_a_manifest_with_a_hostile_value(run: Path, tried: Try, told: str) -> None:
    """It is refused by name of file and key, or every command copes with it: of those that are taken, every third."""
    table, turns = shown(run), itertools.cycle(COMMANDS)
    taken = len(told)
    for _ in range(taken % len(COMMANDS)):
        next(turns)
    for what, value in VALUES.items():
        text = json.dumps(replaced(table, _path(table, told), value))
        (run / "run.json").write_text(text, encoding="utf-8")
        try:
            runs.read_manifest(run)
        except BadInput as error:
            told_of(error, "run.json")
            if what == "markup":
                tried("runs", next(turns))
        else:
            taken += 1
            if taken % 3 == 0:
                tried(next(turns))


SAMPLE = ["run", "cell", "cell.model", "cell.method", "cell.limits", "metric", "value", "unit", "round", "state"]
SAMPLE += ["fidelity", "at", "flags", "flags.0", "note", "colour"]


@pytest.mark.parametrize("told", SAMPLE)
def test_a_sample_with_a_hostile_value(run: Path, tried: Try, told: str) -> None:
    """The line is named, or every command copes with it."""
    file = run / "samples.jsonl"
    *lines, last = file.read_text().splitlines()
    table, turns = json.loads(last), itertools.cycle(COMMANDS)
    for what, value in VALUES.items():
        path = ("colour",) if told == "colour" else _path(table, told)
        file.write_text("\n".join([*lines, json.dumps(replaced(table, path, value))]) + "\n", encoding="utf-8")
        try:
            runs.read_samples(run)
        except CheckFailure as error:
            told_of(error, f"line {len(lines) + 1} is not a sample")
            with pytest.raises(CheckFailure):
                query.values(run)
            if what == "markup":
                tried("verify", next(turns))
        else:
            query.values(run)
            tried(next(turns))


def _linked(target: str) -> Callable[[Path], None]:
    return lambda file: os.symlink(target, file)


#: What may lie where a file is expected.
FILES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "zeros": lambda file: file.write_bytes(b"\0" * 5000),
    "not UTF-8": lambda file: file.write_bytes(b'{"a": "\xff\xfe"}\n'),
    "UTF-16": lambda file: file.write_bytes('{"schema_version": 1}\n'.encode("utf-16")),
    "marked": lambda file: file.write_bytes(b'\xef\xbb\xbf{"schema_version": 1}\n'),
    "deep lists": lambda file: file.write_bytes(b"[" * 200_000 + b"\n"),
    "deep tables": lambda file: file.write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n"),
    "digits": lambda file: file.write_bytes(b'{"schema_version": ' + b"9" * 1_000_000 + b"}\n"),
    "long line": lambda file: file.write_bytes(b'{"note": "' + b"x" * (2 * 2**20) + b'"}\n'),
    "twice": lambda file: file.write_bytes(b'{"schema_version": 1, "schema_version": 1, "value": 1, "value": 2}\n'),
    "list": lambda file: file.write_bytes(b"[]\n"),
    "text": lambda file: file.write_bytes(b'"text"\n'),
    "large": lambda file: os.truncate(_touched(file), 2**31),
    "link": _linked("/etc/passwd"),
    "link to a device": _linked("/dev/zero"),
    "dangling link": _linked("nowhere"),
    "link to itself": lambda file: os.symlink(file, file),
    "pipe": os.mkfifo,
    "folder": lambda file: file.mkdir(),
    "gone": lambda _file: None,
}


def _touched(file: Path) -> Path:
    file.touch()
    return file


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("name", ["run.json", "samples.jsonl", "samples.parquet", "calibration.json", "profile"])
def test_something_else_in_place_of_a_file(run: Path, made: Any, tried: Try, name: str, what: str) -> None:
    """Nothing hangs, nothing breaks: the file is named."""
    places = {"calibration.json": made.results / name, "profile": made.results / "profiles" / f"tiny-{'0' * 24}.json"}
    file = places.get(name, run / name)
    if name == "samples.parquet":
        query.compact(run)
        (run / "samples.jsonl").unlink()
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    FILES[what](file)
    turn = ("compare", "verify", "changes", "export-csv")[len(what) % 4]
    by_name = {"calibration.json": ("report-md",), "profile": ("calibrate",), "run.json": ("runs", turn)}
    tried(*by_name.get(name, (turn,)))


PARQUET = {
    "truncated": None,
    "other columns": "SELECT 1 AS a",
    "other types": "SELECT * REPLACE (round::VARCHAR AS round) FROM compacted",
    "more columns": "SELECT *, 1 AS more FROM compacted",
    "a value that is none": "SELECT * REPLACE ('nan'::DOUBLE AS value) FROM compacted",
    "infinity": "SELECT * REPLACE ('inf'::DOUBLE AS value) FROM compacted",
    "negative": "SELECT * REPLACE (-1.0::DOUBLE AS value) FROM compacted",
    "nothing": "SELECT * REPLACE (NULL::VARCHAR AS metric) FROM compacted",
    "no cell": "SELECT * REPLACE (NULL AS cell) FROM compacted",
    "no round": "SELECT * REPLACE (NULL::BIGINT AS round) FROM compacted",
    "a round of long ago": "SELECT * REPLACE ((-1)::BIGINT AS round) FROM compacted",
    "no flags": "SELECT * REPLACE (NULL::VARCHAR[] AS flags) FROM compacted",
    "markup": "SELECT * REPLACE ('<script>' AS state) FROM compacted",
    "escape": "SELECT * REPLACE (chr(27) || '[2J' AS unit) FROM compacted",
    "another metric": "SELECT * REPLACE ('speed' AS metric) FROM compacted",
    "a method with a line": "SELECT * REPLACE (struct_update(cell, method := 'a' || chr(10)) AS cell) FROM compacted",
    "a long note": "SELECT * REPLACE (repeat('x', 2000000) AS note) FROM compacted LIMIT 2",
    "no rows": "SELECT * FROM compacted LIMIT 0",
    "many rows": "SELECT compacted.* FROM compacted, range(40)",
}


@pytest.mark.parametrize("what", PARQUET)
def test_a_hostile_parquet(run: Path, tried: Try, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Other columns, types and values than a harness writes are refused."""
    import duckdb

    monkeypatch.setattr(samples, "COUNT", 2000)
    query.compact(run)
    file, select = run / tables.PARQUET, PARQUET[what]
    (run / "samples.jsonl").unlink()
    if select is None:
        file.write_bytes(file.read_bytes()[:-20])
    else:
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE compacted AS FROM read_parquet('{file}')")
            connection.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet)")
    if what != "no rows":
        with pytest.raises(CheckFailure):
            query.values(run)
    tried("compare", "verify")


@pytest.mark.parametrize(
    "name", ["a b", "it's", "x;DROP", "*", "a\nb", "\x1b[2J", "-rf", ".hidden", "a\u202eb", "x" * 200, "http:", "[a]"]
)
def test_a_run_in_a_folder_of_another_name(made: Any, run: Path, tried: Try, name: str) -> None:
    """It is shown as damaged, the others are used."""
    target = made.results / "runs" / name
    target.mkdir()
    (target / "run.json").write_bytes((run / "run.json").read_bytes())
    (target / "samples.jsonl").write_bytes((run / "samples.jsonl").read_bytes())
    tried("runs", "compare", "claims", "changes")


def test_one_damaged_run_does_not_stop_the_others(made: Any, run: Path, harness: Harness) -> None:
    """It is named with the reason, shown as damaged; where it is asked for by name, that is an error."""
    bad = made.results / "runs" / "20290101-000000-aaaa"
    bad.mkdir()
    (bad / "run.json").write_text("{}")
    for argv in (("runs",), ("compare", "tiny"), ("claims",), ("changes",), ("report", "--format", "md")):
        found = harness(*argv, "--results", made.results)
        assert found.code == 0, found.err
        assert "Run 20290101-000000-aaaa is left out" in found.err
        assert found.err.count("20290101-000000-aaaa is left out") == 1
    table = harness("runs", "--json", "--results", made.results).json
    assert [one["finished"] for one in table if "damaged" in one] == ["damaged"]
    assert harness("compare", "tiny", "--run", bad.name, "--results", made.results).code == 2
    assert harness("export", bad.name, "--format", "csv", "--results", made.results).code in (1, 2)
    assert run.name in harness("runs", "--results", made.results).out


REPORTED = [
    "models",
    "models.0",
    "models.0.run",
    "models.0.model",
    "advice",
    "advice.0",
    "advice.0.scenario",
    "made_at",
]
REPORTED += ["advice.0.requirements", "advice.0.requirements.objectives", "advice.0.requirements.traffic"]
REPORTED += ["advice.0.features", "advice.0.features.pinned", "calibration", "predicted", "schema_version", "kind"]
REPORTED += ["harness_version", "advice.0.run", "advice.0.model", "advice.0.scenario", "glossary", "runs", "answer"]


def test_a_report_with_a_hostile_value(run: Path, harness: Harness, made: Any, tmp_path: Path) -> None:
    """What is embedded in a report is other people's too: what differs is told, on lines of its own."""
    file = tmp_path / "report.md"
    argv = ("--scenario", "edge-device", "--results", made.results, "--out", file)
    assert harness("report", "tiny", *argv).code == 0
    page = file.read_text()
    begin, end = page.index("<!-- contents ") + len("<!-- contents "), page.rindex(" -->")
    table = json.loads(page[begin:end])
    for place, told in enumerate(REPORTED):
        path = tuple(int(part) if part.isdigit() else part for part in told.split("."))
        # One of the values at each place: every verification makes the report anew.
        for what in list(VALUES)[place % 24 :: 24]:
            text = json.dumps(replaced(table, path, VALUES[what]))
            file.write_text(page[:begin] + text + page[end:], encoding="utf-8")
            found = harness("verify", file, "--results", made.results)
            assert found.code in (0, 1, 2), (told, what, found.err)
            assert not any(sign in found.out + found.err for sign in OBEYED), (told, what)
            assert "harness: all is well" not in found.out.splitlines()


@pytest.mark.parametrize("what", FILES)
def test_something_else_in_place_of_a_report(harness: Harness, tmp_path: Path, what: str) -> None:
    """It is named; nothing waits for a pipe."""
    file = tmp_path / "report"
    FILES[what](file)
    found = harness("verify", file)
    assert found.code in (1, 2), found.err
    assert found.err


@pytest.mark.parametrize(
    "data", [b"%PDF-1.7\n", b"%PDF-" + b"x" * 1000, b"%PDF-1.4\nxref\n0 9999999999\ntrailer<</Root 1 0 R>>"]
)
def test_what_only_begins_as_a_pdf(harness: Harness, tmp_path: Path, data: bytes) -> None:
    """A file that is broken is named, whatever its reader says."""
    (tmp_path / "x.pdf").write_bytes(data)
    found = harness("verify", tmp_path / "x.pdf")
    assert found.code in (2, 3), found.err
