"""Commands that look and change nothing: doctor, methods, runs, compare."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from harness.cli import console
from harness.errors import BadInput, HarnessError, one_line

#: Room for the wheels, images and artifacts of the sample models, in GB.
_ENOUGH_GB = 5


@click.command()
@console.json_option
def doctor(as_json: bool) -> int:
    """What is ready on this machine, and the remedy for what isn't.

    Exit code 0 when every method is ready, 3 otherwise.
    """
    import shutil

    from harness import ceiling, door, interpreter, paths, tools
    from harness.measure import budget, host
    from harness.methods import METHODS
    from harness.platforms import engine
    from harness.spec import pythons

    found: list[dict[str, Any]] = []

    def add(what: str, ready: bool, detail: str, remedy: str = "") -> None:
        found.append({"what": what, "ready": ready, "detail": detail, "remedy": remedy})

    python = interpreter.default()
    add("Python for models", True, f"{python.version} ({python.path})")
    others = [one.version for one in pythons.others() if one.version != python.version]
    add("other Pythons, for models that ask", True, ", ".join(others) or "none; uv fetches one where it may")
    add("uv", True, f"{tools.uv_version()} ({tools.uv()})")
    able = door.abilities()
    missing = able.missing()
    remedy = "run the harness as root, or read docs/security.md on what this changes" if missing else ""
    add(
        "isolation of models",
        not missing,
        "; ".join(missing) or "user, files, processes, network, system calls, memory, disk",
        remedy,
    )
    running, _ = engine.look()
    if running is not None:
        remedy = "let systemd delegate control groups of version 2 to users, or use an engine that root runs"
        remedy = remedy if running.unbounded else ""
        bounded = running.unbounded or "memory, processes, processors"
        add("bounds of containers", not running.unbounded, f"{running.described}: {bounded}", remedy)
    cache = paths.cache()
    free_gb = shutil.disk_usage(cache).free / 1e9
    enough = free_gb > _ENOUGH_GB
    add("cache folder", enough, f"{cache}, {free_gb:.0f} GB free", "" if enough else "free some space")
    add("budget of the cache", True, budget.described())
    for one in ceiling.ceilings():
        add(f"ceiling of {one.what}", True, f"{one.shown} for any one model: {one.source}")
    for method_id, method in METHODS.items():
        available = method.check()
        add(f"method {method_id}", available.ready, available.reason or "ready", available.remedy)
    for what, ready, detail, remedy in _extras():
        add(what, ready, detail, remedy)
    if as_json:
        console.as_json({"ready": all(item["ready"] for item in found), "checks": found, "host": host.facts()})
    else:
        rows = [("ok" if item["ready"] else "MISSING", item["what"], item["detail"], item["remedy"]) for item in found]
        console.table("", ("", "what", "found", "remedy"), rows)
    return 0 if all(item["ready"] for item in found if item["what"].startswith("method ")) else 3


def _extras() -> list[tuple[str, bool, str, str]]:
    import importlib.util

    from harness.platforms import registry

    rows = []
    try:
        registry.check()
        rows.append(("image registry", True, "docker-registry, for the packed size of images", ""))
    except HarnessError as error:
        rows.append(("image registry", False, error.problem, error.remedy))
    drawn = importlib.util.find_spec("vl_convert") is not None and importlib.util.find_spec("jinja2") is not None
    remedy = "" if drawn else "pip install 'ml-packaging-harness[report]'"
    rows.append(("HTML report", drawn, "jinja2 and vl-convert" if drawn else "needs the [report] extra", remedy))
    return rows


@click.command()
@click.argument("method", required=False)
@console.json_option
def methods(method: str | None, as_json: bool) -> None:
    """List the packaging methods; with METHOD, explain one."""
    from harness.methods import METHODS
    from harness.spec import reading

    if method is not None and method not in METHODS:
        raise BadInput("is not a method", key="METHOD", value=method, remedy=reading.one_of(method, METHODS))
    chosen = {method: METHODS[method]} if method else METHODS
    described = {name: _described(one) for name, one in chosen.items()}
    if as_json:
        console.as_json(described[method] if method else described)
        return
    if method:
        _explain(described[method])
    else:
        _list_methods(described)


#: From this width on each layer has a column of its own.
_WIDE = 118


def _list_methods(described: Mapping[str, Mapping[str, Any]]) -> None:
    """By family: layers, fidelity, ready or not; below it the reasons and remedies."""
    from harness.report import numbers

    wide = console.width() >= _WIDE
    families = dict.fromkeys(one["family"] for one in described.values())
    rows: list[tuple[str, ...]] = []
    for family in families:
        rows.append((family.replace("-", " "), *[""] * (5 if wide else 3)))
        for name, one in described.items():
            if one["family"] == family:
                layers = [*one["layers"].values()] if wide else ["; ".join(one["layers"].values())]
                rows.append((f"  {name}", *layers, one["fidelity"], _plain(one["ready"])))
    layers = ["environment", "interface", "platform"] if wide else ["environment; interface; platform"]
    console.table("", ("method", *layers, "fidelity", "here"), rows)
    for name, one in described.items():
        if not one["ready"]:
            remedy = f" (remedy: {one['remedy']})" if one["remedy"] else ""
            console.item(f"{name} is not ready: {numbers.brief(one['reason'], 400)}{remedy}", indent=0)
    console.say("'harness methods METHOD' explains one, with its limits and their sources.")


def _explain(one: Mapping[str, Any]) -> None:
    console.say(one["about"] + "\n")
    told = {"layers", "reason", "remedy", "about", "limits", "qualities", "summary"}
    rows = [(key, _plain(value)) for key, value in one.items() if key not in told]
    rows[2:2] = list(one["layers"].items())
    rows += [(key, one[key]) for key in ("reason", "remedy") if one[key]]
    console.table("", (one["id"], ""), rows)
    sources = list(dict.fromkeys(map(_source, [*one["limits"], *one["qualities"]])))
    if one["limits"]:
        limits = [
            (
                each["name"],
                f"{each['value']:,.15g} {each['unit']}".removesuffix(" n"),
                _METRIC_HELD.get(each["metric"], "by the method, or told only"),
                f"[{sources.index(_source(each)) + 1}]",
            )
            for each in one["limits"]
        ]
        console.table("Limits", ("what", "value", "here", "source"), limits)
    else:
        console.say("Its platform states no limit that it has to keep.\n")
    qualities = [
        (
            each["quality"],
            "has it" if each["has"] else "lacks it",
            each["statement"],
            f"[{sources.index(_source(each)) + 1}]",
        )
        for each in one["qualities"]
    ]
    console.table("Qualities that a scenario can need", ("quality", "", "stated", "source"), qualities)
    for number, source in enumerate(sources, start=1):
        console.say(f"[{number}] {source}")


def _qualities(layers: Any) -> list[dict[str, Any]]:
    """For each quality what is stated of the layers that decides about it."""
    import dataclasses

    from harness.spec import capabilities

    return [
        {"quality": quality, **dataclasses.asdict(stated[0])}
        for quality in capabilities.QUALITIES
        if (stated := capabilities.about(quality, layers))
    ]


def _source(stated: Mapping[str, Any]) -> str:
    return f"{stated['source']}, read {stated['read_on']}"


#: What becomes of a limit here, by the metric that it names.
_METRIC_HELD = {"packed_bytes": "held against packed size", "unpacked_bytes": "held against unpacked size"}


def _described(method: Any) -> dict[str, Any]:
    import dataclasses
    import inspect

    available = method.check()
    about = inspect.getdoc(method) or ""
    return {
        "id": method.ID,
        "summary": about.splitlines()[0].partition(": ")[2],
        "about": about,
        "family": method.FAMILY,
        "layers": dataclasses.asdict(method.LAYERS),
        "fidelity": method.FIDELITY,
        "target must have": sorted(method.REQUIRES),
        "gives": sorted(method.PROVIDES),
        "adds to the model's requirements": method.REQUIREMENTS,
        "limits": [dataclasses.asdict(limit) for limit in method.LIMITS],
        "qualities": _qualities(method.LAYERS),
        "ready": available.ready,
        "reason": available.reason,
        "remedy": available.remedy,
    }


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "ready" if value else "not ready"
    if isinstance(value, dict):
        return "; ".join(f"{key}: {part}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "none"
    return str(value)


@click.command()
@console.results_option
@console.json_option
def runs(results: str | None, as_json: bool) -> None:
    """List the runs that were measured."""
    from harness import paths
    from harness.cli import evidence
    from harness.store import runs as stored

    folder = paths.results(Path(results) if results else None)
    damaged: dict[str, str] = {}

    def left_out(run_id: str, error: HarnessError) -> None:
        evidence.left_out(run_id, error)
        damaged[run_id] = error.problem

    found: list[dict[str, Any]] = [
        {
            "run": run_id,
            "finished": manifest.finished_at or "no",
            "profile": manifest.plan.get("profile", ""),
            "models": list(manifest.plan["models"]),
            "methods": list(manifest.plan["methods"]),
        }
        for run_id, manifest in stored.readable(folder, left_out)
    ]
    for name in stored.strangers(folder):
        left_out(name, BadInput("its folder is not called as runs are", remedy="rename the folder"))
    found += [
        {"run": run_id, "finished": "damaged", "profile": "", "models": [], "methods": [], "damaged": why}
        for run_id, why in damaged.items()
    ]
    found.sort(key=lambda one: str(one["run"]))
    if as_json:
        console.as_json(found)
        return
    rows = [
        (one_line(one["run"]), one["finished"], one["profile"], " ".join(one["models"]), " ".join(one["methods"]))
        for one in found
    ]
    console.table("", ("run", "finished", "profile", "models", "methods"), rows)
    if not found:
        console.say(f"No run in {folder}; 'harness run MODEL' measures one.")


@click.command()
@click.argument("model")
@click.option("--run", "run_id", help="The run to compare within. [default: the newest with this model]")
@console.results_option
@console.json_option
def compare(model: str, run_id: str | None, results: str | None, as_json: bool) -> None:
    """The methods side by side for MODEL, each number with its interval."""
    from harness.cli import evidence

    found = evidence.of(model, run_id, results, predicted=True)
    if as_json:
        console.as_json(evidence.as_dict(found))
        return
    evidence.print_comparison(found)


COMMANDS = (doctor, methods, runs, compare)
