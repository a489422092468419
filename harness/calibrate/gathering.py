"""What a calibration is fitted from: the values of runs, and the profiles of the models that they measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from harness.calibrate import records
from harness.errors import BadInput, CheckFailure
from harness.measure import profile as profiles
from harness.measure.profile import Profile
from harness.measure.sample import SENTINEL
from harness.spec import model as models
from harness.store import query, runs
from harness.store.query import Value
from harness.store.records import Manifest
from harness.store.runs import LeftOut


@dataclass(frozen=True, kw_only=True)
class Study:
    """Values by model, each from the newest run that measured it, with its profile of the same machine.

    Seconds are compared as those of one machine as it usually was: ``hosts[0]``, which measured the most models, and
    where the sentinel's median is ``sentinel_s``. ``sentinels`` has that over the rounds of each model, because a
    shared machine is half as fast for an hour, and a model is built, installed and started within one.
    """

    hosts: tuple[Mapping[str, Any], ...]
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


def gather(results: Path, run_ids: Sequence[str], left_out: LeftOut | None = None) -> Study:
    """The study of those runs. BadInput where they have no start, or a model has no profile that fits.

    With ``left_out``, runs that cannot be read are left out, and it is told of them.
    """
    names = sorted(set(run_ids))
    manifests: dict[str, Manifest] = {}
    values: dict[str, tuple[Value, ...]] = {}
    run_of: dict[str, str] = {}
    sentinels: dict[str, list[float]] = {}
    for name in names:
        try:
            folder = runs.folder_of(results, name)
            manifests[name], every = runs.read_manifest(folder), query.values(folder)
        except (BadInput, CheckFailure) as error:
            if left_out is None:
                raise
            left_out(name, error)
            continue
        taken = {value.model: [*value.by_round.values()] for value in every if value.method == SENTINEL}
        # A model that was only built so far counts as little here as where the newest run of a model is asked for.
        for model in sorted({v.model for v in every if v.interval and v.metric == "cold_start_s"}):
            values[model] = tuple(v for v in every if v.model == model and v.method != SENTINEL)
            run_of[model] = name
            sentinels[model] = taken.get(model, [])
    if not values:
        raise BadInput("hold no start of any model", key="--run", value=names, remedy="'harness run' measures one")
    known = {model: _profile(results, model, manifests[run_of[model]]) for model in values}
    used = [name for name in names if name in run_of.values()]
    hosts = machines({model: manifests[name].host for model, name in run_of.items()})
    paces = {model: median(found) if found else known[model].sentinel_s for model, found in sentinels.items()}
    return Study(
        hosts=tuple(host for host, _ in hosts),
        sentinel_s=median([second for model in hosts[0][1] for second in sentinels[model] or [paces[model]]]),
        sentinels=paces,
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


def machines(host_of: Mapping[str, Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], list[str]]]:
    """The machines that models were measured on, each with its models; the one with the most of them first."""
    found: list[tuple[Mapping[str, Any], list[str]]] = []
    for model, host in host_of.items():
        alike = next((models for known, models in found if not records.differing_hosts([known, host])), None)
        if alike is None:
            found.append((host, [model]))
        else:
            alike.append(model)
    return sorted(found, key=lambda one: -len(one[1]))


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
