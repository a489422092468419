"""Results folders that others sent: read by ``runs``, ``compare``, ``report`` and what else looks at results."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hostile.campaign import Case, Command
from hostile.ground import Ground

from harness import paths

#: A run that travels with the harness; what is hostile lies beside it, or is made of it.
GOOD_RUN = "20261124-013612-ab83"
BAD_RUN = "20261201-000000-bad0"
_MODEL = "digits-forest"

_AT: Command = ("--results", "{results}")
RUNS: Command = ("runs", *_AT)
COMPARE: Command = ("compare", _MODEL, "--run", BAD_RUN, *_AT)
CLAIMS: Command = ("claims", *_AT)
REPORT: Command = ("report", _MODEL, "--run", BAD_RUN, "--out", "{folder}/report.md", *_AT)
REPORT_HTML: Command = ("report", _MODEL, "--run", BAD_RUN, "--out", "{folder}/report.html", *_AT)
EXPORT: Command = ("export", BAD_RUN, "--format", "csv", "--out", "{folder}/samples.csv", *_AT)
VERIFY: Command = ("verify", "{results}/runs/" + BAD_RUN, *_AT)
CHANGES: Command = ("changes", *_AT)
RECOMMEND: Command = ("recommend", _MODEL, "--scenario", "edge-device", "--run", BAD_RUN, *_AT)

Put = Callable[[Ground, Path], object]


def _folder(put: Put) -> Callable[[Ground], None]:
    """Results with a good run, and a copy of it that ``put`` spoils."""

    def make(place: Ground) -> None:
        runs = place.folder / "results" / "runs"
        for name in (GOOD_RUN, BAD_RUN):
            shutil.copytree(paths.data("results") / "reference" / "runs" / GOOD_RUN, runs / name)
        manifest = json.loads((runs / BAD_RUN / "run.json").read_text())
        (runs / BAD_RUN / "run.json").write_text(json.dumps({**manifest, "run_id": BAD_RUN}))
        (runs / BAD_RUN / "samples.parquet").unlink()  # it is made again of the lines
        put(place, runs / BAD_RUN)

    return make


def _case(name: str, put: Put, *commands: Command, **more: object) -> Case:
    """The bad run is refused, or left out with a word; what is good beside it is read all the same."""
    return Case(
        name=f"results-{name}",
        kind="results",
        make=_folder(put),
        commands=commands or (COMPARE, RUNS),
        timeout_s=60.0,
        **{"exits": (0, 1, 2), "memory_mb": 700, **more},  # type: ignore[arg-type]
    )


def _manifest(**changed: object) -> Put:
    """Other values in ``run.json``."""

    def put(_: Ground, run: Path) -> None:
        table = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps({**table, **changed}))

    return put


def _plan(**changed: object) -> Put:
    def put(_: Ground, run: Path) -> None:
        table = json.loads((run / "run.json").read_text())
        table["plan"] |= changed
        (run / "run.json").write_text(json.dumps(table))

    return put


def _text(name: str, text: str | bytes) -> Put:
    return lambda _, run: (run / name).write_bytes(text.encode() if isinstance(text, str) else text)


def _instead(name: str, make: Callable[[Ground, Path], object]) -> Put:
    def put(place: Ground, run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        make(place, run / name)

    return put


def _samples(change: Callable[[dict[str, Any]], object]) -> Put:
    """Every sample changed."""

    def put(_: Ground, run: Path) -> None:
        lines = []
        for line in (run / "samples.jsonl").read_text().splitlines()[:400]:
            sample = json.loads(line)
            change(sample)
            lines.append(json.dumps(sample))
        (run / "samples.jsonl").write_text("\n".join([*lines, ""]))

    return put


def _more_samples(*more: str) -> Put:
    def put(_: Ground, run: Path) -> None:
        with (run / "samples.jsonl").open("a", encoding="utf-8", errors="surrogatepass") as file:
            file.writelines(f"{line}\n" for line in more)

    return put


def _fifo(_: Ground, file: Path) -> None:
    os.mkfifo(file)


def _link(target: str) -> Callable[[Ground, Path], None]:
    return lambda place, file: file.symlink_to(str(place.where.get(target, target)))


def _sparse(_: Ground, file: Path) -> None:
    file.touch()
    os.truncate(file, 2**31)


def _renamed(name: str) -> Put:
    """A run's folder with a name that a query or a shell takes for more than a name."""
    return lambda _, run: run.rename(run.with_name(name))


def _no_markup(place: Ground) -> Iterable[str]:
    """A report shows what results say as text: no tag, and no link, whose bracket is escaped."""
    tags = ("<script>alert\\(", "<img src=x")
    marks = {"report.md": (*tags, r"(?<!\\)\]\(javascript:"), "report.html": tags}
    for name, forbidden in marks.items():
        file = place.folder / name
        text = file.read_text(errors="replace") if file.is_file() else ""
        if name == "report.md":
            text = re.sub(r"^<!-- contents [^<>]* -->$", "", text, flags=re.MULTILINE)  # a comment is no markup
        yield from (f"{name} holds {mark} as it is" for mark in forbidden if re.search(mark, text))


def _no_formula(place: Ground) -> Iterable[str]:
    """No cell of a table begins as a formula does."""
    import csv

    file = place.folder / "samples.csv"
    if file.is_file():
        with file.open(newline="", encoding="utf-8", errors="replace") as lines:
            cells = {cell for row in csv.reader(lines) for cell in row if cell[:1] in ("=", "+", "@", "\t", "\r")}
        yield from (f"the table holds the formula {cell!r}" for cell in sorted(cells)[:3])


_SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(1)>[x](javascript:alert(1))"
_ESCAPES = "\x1b[2J\x1b]0;x\x07\x9b31m\u202e"
_LISTED = {"says": (GOOD_RUN,), "exits": (0, 1, 2)}
_NESTED = "[" * 100_000

CASES = [
    # run.json
    _case("manifest-not-json", _text("run.json", "{"), CLAIMS, RUNS, **_LISTED),
    _case("manifest-empty", _text("run.json", ""), **_LISTED),
    _case("manifest-nested", _text("run.json", _NESTED), COMPARE, RUNS, **_LISTED),
    _case("manifest-a-list", _text("run.json", "[]"), **_LISTED),
    _case("manifest-not-utf-8", _text("run.json", b"\xff\xfe"), **_LISTED),
    _case(
        "manifest-million-digits",
        _text("run.json", '{"schema_version": ' + "9" * 10**6 + "}"),
        COMPARE,
        RUNS,
        **_LISTED,
    ),
    _case("manifest-fifo", _instead("run.json", _fifo), RUNS, **_LISTED),
    _case("manifest-endless", _instead("run.json", _link("/dev/zero")), RUNS, **_LISTED),
    _case("manifest-a-secret", _instead("run.json", _link("secret")), **_LISTED),
    _case("manifest-of-2-gb", _instead("run.json", _sparse), RUNS, **_LISTED),
    _case("manifest-a-folder", _instead("run.json", lambda _, file: file.mkdir()), **_LISTED),
    _case(
        "manifest-of-other-types",
        _manifest(host=7, tools=[1], models="x", artifacts=None, timings=[], steps=1, availability=2),
        COMPARE,
        REPORT,
        RUNS,
        **_LISTED,
    ),
    _case(
        "manifest-models-of-types",
        _manifest(models={_MODEL: 1}, artifacts={f"{_MODEL}/venv": [1]}),
        COMPARE,
        REPORT,
        RUNS,
        **_LISTED,
    ),
    _case(
        "manifest-created-as-number",
        _manifest(created_at=7, finished_at={}),
        COMPARE,
        CHANGES,
        RUNS,
        **_LISTED,
    ),
    _case(
        "manifest-created-never",
        _manifest(created_at="9999-99-99T99:99", finished_at="yesterday"),
        CHANGES,
        CLAIMS,
        RUNS,
        **_LISTED,
    ),
    _case("manifest-times-of-nan", _text("run.json", '{"schema_version": 1, "timings": {"wall_s": NaN}}'), **_LISTED),
    _case("manifest-version-true", _manifest(schema_version=True), **_LISTED),
    _case("manifest-version-infinite", _text("run.json", '{"schema_version": 1e999}'), **_LISTED),
    _case(
        "manifest-run-id-with-a-path",
        _manifest(run_id="../../../escaped"),
        COMPARE,
        REPORT,
        RUNS,
        **_LISTED,
    ),
    _case(
        "manifest-plan-of-types",
        _plan(models=[1, None], methods=[[]], rounds="x", states=7),
        COMPARE,
        REPORT,
        RUNS,
        **_LISTED,
    ),
    _case(
        "manifest-plan-with-paths",
        _plan(models=["../../etc"], folders={"../../etc": "/etc"}),
        COMPARE,
        CLAIMS,
        RUNS,
        **_LISTED,
    ),
    _case(
        "manifest-with-markup",
        _manifest(tools={"uv": _SCRIPT}, host={"cores": _SCRIPT, "kernel": _SCRIPT}),
        REPORT,
        REPORT_HTML,
        after=_no_markup,
    ),
    _case(
        "manifest-with-escapes",
        _manifest(created_at=_ESCAPES, harness_version=_ESCAPES, tools={_ESCAPES: _ESCAPES}),
        RUNS,
    ),
    _case(
        "manifest-of-100000-models", _plan(models=[f"m{number}" for number in range(100_000)]), COMPARE, RUNS, **_LISTED
    ),
    # samples
    _case("samples-fifo", _instead("samples.jsonl", _fifo), COMPARE),
    _case("samples-endless", _instead("samples.jsonl", _link("/dev/zero")), COMPARE),
    _case("samples-a-secret", _instead("samples.jsonl", _link("secret")), COMPARE, VERIFY),
    _case("samples-of-2-gb", _instead("samples.jsonl", _sparse), COMPARE),
    _case("samples-not-utf-8", _text("samples.jsonl", b"\xff\xfe\n" * 100), COMPARE, VERIFY),
    _case("samples-nested", _more_samples(_NESTED), COMPARE, VERIFY),
    _case("samples-lists", _more_samples("[]", "7", "null"), COMPARE, VERIFY),
    _case("samples-infinite", _samples(lambda one: one.update(value=float("inf"))), COMPARE, REPORT, RECOMMEND),
    _case("samples-huge", _samples(lambda one: one.update(value=1e308)), COMPARE, REPORT, RECOMMEND),
    _case("samples-huge-integers", _samples(lambda one: one.update(value=10**400)), COMPARE, RECOMMEND),
    _case("samples-negative", _samples(lambda one: one.update(value=-1e6)), COMPARE, RECOMMEND, REPORT),
    _case("samples-zero", _samples(lambda one: one.update(value=0)), COMPARE, RECOMMEND, REPORT),
    _case("samples-as-text", _samples(lambda one: one.update(value="1")), COMPARE, VERIFY),
    _case("samples-rounds-huge", _samples(lambda one: one.update(round=10**30)), COMPARE, VERIFY),
    _case("samples-flags-of-types", _samples(lambda one: one.update(flags=[1, None, {}], note=7)), COMPARE, REPORT),
    _case(
        "samples-at-of-types",
        _samples(lambda one: one.update(at=[], unit={}, fidelity=7)),
        COMPARE,
        REPORT,
        VERIFY,
    ),
    _case(
        "samples-states-with-markup",
        _samples(lambda one: one.update(state=_SCRIPT)),
        REPORT,
        REPORT_HTML,
        after=_no_markup,
    ),
    _case(
        "samples-notes-with-markup",
        _samples(lambda one: one.update(note=_SCRIPT, flags=["failed"], value=None)),
        REPORT,
        REPORT_HTML,
        after=_no_markup,
    ),
    _case(
        "samples-with-escapes",
        _samples(lambda one: one.update(note=_ESCAPES, state=_ESCAPES, unit=_ESCAPES)),
        COMPARE,
        RUNS,
    ),
    _case(
        "samples-with-formulas",
        _samples(lambda one: one.update(note="=cmd|' /C calc'!A0", unit="@SUM(1)", state="+1+1")),
        EXPORT,
        after=_no_formula,
    ),
    _case(
        "samples-of-other-methods",
        _samples(lambda one: one["cell"].update(method="__class__", limits="../..")),
        COMPARE,
        REPORT,
        RECOMMEND,
    ),
    _case(
        "samples-cells-of-types",
        _samples(lambda one: one.update(cell={"model": [], "method": {}, "limits": 7})),
        COMPARE,
        VERIFY,
    ),
    _case(
        "samples-half-characters",
        _more_samples('{"run": "\\ud800", "cell": {"model": "\\ud800", "method": "x"}}'),
        COMPARE,
        VERIFY,
    ),
    # The compacted samples, and names.
    _case("parquet-damaged", _text("samples.parquet", b"PAR1" + bytes(1000) + b"PAR1"), COMPARE, VERIFY),
    _case("parquet-fifo", _instead("samples.parquet", _fifo), COMPARE),
    _case("parquet-a-folder", _instead("samples.parquet", lambda _, file: file.mkdir()), COMPARE),
    _case(
        "parquet-alone-and-damaged",
        _instead("samples.jsonl", lambda _, file: file.with_suffix(".parquet").write_bytes(b"PAR1")),
        COMPARE,
        VERIFY,
    ),
    _case("run-named-as-a-query", _renamed("20261201'; COPY (SELECT 1) TO 'x'; --"), CLAIMS, RUNS, **_LISTED),
    _case("run-named-as-a-pattern", _renamed("2026*[a]{b}?"), CLAIMS, RUNS, **_LISTED),
    _case("run-named-with-escapes", _renamed("2026\x1b[2J\n\u202e"), CLAIMS, RUNS, **_LISTED),
    _case(
        "run-named-not-utf-8",
        lambda _, run: os.rename(os.fsencode(run), os.fsencode(run.parent) + b"/2026\xff"),
        CLAIMS,
        RUNS,
        **_LISTED,
    ),
    _case("run-a-link-to-itself", lambda _, run: (shutil.rmtree(run), run.symlink_to(run.name)), RUNS, **_LISTED),
]
