"""What a calibration is fitted from: the values of runs, and the profiles of the models that they measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from harness.calibrate import laws, records
from harness.errors import BadInput
from harness.measure import profile as profiles
from harness.measure.profile import Profile
from harness.measure.sample import SENTINEL
from harness.spec import model as models
from harness.store import query, runs
from harness.store.query import Value
from harness.store.records import Manifest


@dataclass(frozen=True, kw_only=True)
class Study:
    """Values by model, each model from the newest run that measured it, with its profile; all of one machine.

    ``sentinel_s`` is the sentinel's median over all, ``sentinels`` that over the rounds of each model: a shared machine
    is half as fast for an hour, and what was measured then is told apart from the model by that.
    """

    host: Mapping[str, Any]
    sentinel_s: float
    sentinels: Mapping[str, float]
    sources: tuple[records.Source, ...]
    run_of: Mapping[str, str]
    profiles: Mapping[str, Profile]
    values: Mapping[str, tuple[Value, ...]]
    memory_mb: Mapping[str, int]

    def without(self, family: str) -> Study:
        """The same without the models of a family."""
        kept = {model for model, profile in self.profiles.items() if profile.family != family}
        return dataclasses.replace(
            self,
            run_of={model: run_id for model, run_id in self.run_of.items() if model in kept},
            profiles={model: profile for model, profile in self.profiles.items() if model in kept},
            values={model: values for model, values in self.values.items() if model in kept},
        )


def gather(results: Path, run_ids: Sequence[str]) -> Study:
    """The study of those runs. BadInput where they are of several machines, or a model has no profile that fits."""
    names = sorted(set(run_ids))
    folders = {name: runs.folder_of(results, name) for name in names}
    manifests = {name: runs.read_manifest(folder) for name, folder in folders.items()}
    hosts = [manifest.host for manifest in manifests.values()]
    if records.differing_hosts(hosts):
        raise BadInput(
            "are of different machines; results of two are never pooled",
            key="--run",
            value=names,
            remedy="name runs of one machine with --run",
        )
    values: dict[str, tuple[Value, ...]] = {}
    run_of: dict[str, str] = {}
    sentinels: dict[str, list[float]] = {}
    for name, folder in folders.items():
        every = query.values(folder)
        taken = {value.model: [*value.by_round.values()] for value in every if value.method == SENTINEL}
        for model in sorted({v.model for v in every if v.interval and (v.metric, v.state) in laws.LAWS}):
            values[model] = tuple(v for v in every if v.model == model and v.method != SENTINEL)
            run_of[model] = name
            sentinels[model] = taken.get(model, [])
    known = {model: _profile(results, model, manifests[run_of[model]]) for model in values}
    used = [name for name in names if name in run_of.values()]
    every_s = [second for found in sentinels.values() for second in found]
    usual_s = median(every_s) if every_s else median(one.sentinel_s for one in known.values())
    return Study(
        host=hosts[0],
        sentinel_s=usual_s,
        sentinels={model: median(found) if found else usual_s for model, found in sentinels.items()},
        sources=tuple(records.source(results, name) for name in used),
        run_of=run_of,
        profiles=known,
        values=values,
        memory_mb={
            model: int(noted)
            for model, name in run_of.items()
            if (noted := manifests[name].models.get(model, {}).get("memory_mb")) is not None
        },
    )


def runs_of_one_machine(results: Path) -> tuple[list[str], list[str]]:
    """The runs below ``results`` of the machine of the newest one, and those of others, which are left out."""
    names = runs.run_ids(results)
    hosts = {name: runs.read_manifest(runs.folder_of(results, name)).host for name in names}
    alike = [name for name in names if not records.differing_hosts([hosts[names[-1]], hosts[name]])]
    return alike, [name for name in names if name not in alike]


def _profile(results: Path, model: str, manifest: Manifest) -> Profile:
    """The newest profile of the model as the run measured it, from beside the results or from the cache."""
    noted = manifest.models.get(model, {})
    name = f"{model}-{noted.get('payload')}.json"
    folder = model if model in models.sample_names() else manifest.plan.get("folders", {}).get(model, model)
    remedy = f"harness profile {folder}"
    files = [place / name for place in (results / "profiles", profiles.kept()) if (place / name).is_file()]
    if not files:
        raise BadInput(
            f"{model}, as run {manifest.run_id} measured it, has no profile in {results / 'profiles'} or the cache",
            remedy=remedy,
        )
    found = sorted((profiles.read(file) for file in files), key=lambda one: one.created_at)
    here = [one for one in found if not records.differing_hosts([manifest.host, one.host])]
    if not here:
        raise BadInput(
            f"{model} was profiled on another machine than run {manifest.run_id}",
            remedy=f"{remedy}, on the machine of the run",
        )
    if not any(here[-1].lock.startswith(known) for known in noted.get("locks", {})):
        raise BadInput(
            f"{model} was profiled with another lock than run {manifest.run_id} used",
            remedy=f"{remedy}; or measure the model again as it is now, with a method that adds no requirements",
        )
    return here[-1]
