"""The article's six rules of thumb as a baseline, in its own words.

"Which method of model packaging should I used?", 2023-01-27. It names a family for each case and leaves
the rest open ("the choice of packaging method will depend on the specific requirements"). So its order is:
the family of the scenario's case; then the families whose rules the scenario or the model call up; then the
others, in the article's order. It says nothing about methods within a family: they keep the table's order.

What is ours, since the article gives no numbers: ``MANY_DEPENDENCIES`` and ``LOW_MEMORY_MB``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.recommend import words

if TYPE_CHECKING:
    from harness.methods.contract import Family
    from harness.recommend.limits import Packaging
    from harness.spec.model import ModelFile
    from harness.spec.scenario import Quality, Scenario

#: From how many locked packages on a model counts as one of "many dependencies".
MANY_DEPENDENCIES = 20

#: Up to how much memory a target counts as a "low-resource" device.
LOW_MEMORY_MB = 1024

#: Each family with what the article says it is for, in the article's order.
SAYS: dict[Family, str] = {
    "container": "complex models that have many dependencies, "
    "or for models that need to run on specific operating systems",
    "virtual-environment": "models that have specific version requirements, or for reproducing a specific environment",
    "serverless": "models that need to be invoked on-demand or for models that have infrequent usage",
    "executable": "models that need to be deployed in a lightweight environment, "
    "or for models that need to run in low-resource devices",
    "cloud-platform": "easy to use environment for deploying, managing, and monitoring ML models",
    "api": "models that need to be integrated into existing systems "
    "or for making the model accessible to non-technical users",
}

#: The family whose rule a need calls up, with the article's words; of the other needs it says nothing.
CALLED_UP: dict[Quality, tuple[Family, str]] = {
    "carries-system-libraries": (
        "container",
        "'need to run on specific operating systems': system libraries have to come along",
    ),
    "locked-dependencies": (
        "virtual-environment",
        "'reproducing a specific environment': dependencies have to be locked",
    ),
    "scales-to-zero": ("serverless", "'without provisioning or managing servers': nothing may run while nobody asks"),
    "carries-python": ("executable", "'run without a separate Python installation': it has to bring its own"),
    "autoscaling": ("cloud-platform", "'automatic scaling': the platform has to add instances"),
    "managed-monitoring": ("cloud-platform", "'managing, and monitoring': the platform has to do it"),
    "managed-patching": ("cloud-platform", "'automatic patching': the platform has to do it"),
    "http-api": ("api", "'integrated into existing systems': other programs call it over HTTP"),
    "form-page": ("api", "'accessible to non-technical users': it needs a form page"),
}

Agreement = Literal["agrees", "tied", "differs", "excluded", "not offered"]


@dataclass(frozen=True, kw_only=True)
class Features:
    """What of a model the article's rules speak about: counts of locked packages, exact pins, system packages."""

    dependencies: int = 0
    pinned: int = 0
    system_packages: int = 0


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One method in the article's order; ``because`` is empty where no rule speaks for its family."""

    method: str
    family: Family
    because: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What the article recommends, and whether the measurements agree.

    ``pick`` is its first method that the hard limits leave in, None where its rules name none of those.
    ``agreement``: the winner is of its family (``agrees``), shares a tie with it (``tied``) or neither
    (``differs``); or its family is ``excluded`` by hard limits or ``not offered`` by any method here.
    ``corrections`` say where a method of the family does not keep what the article says of it.
    """

    family: Family
    quote: str
    ranked: tuple[Choice, ...]
    pick: str | None
    agreement: Agreement
    text: str
    corrections: tuple[str, ...] = ()


def features(file: ModelFile, dependencies: int | None = None) -> Features:
    """The features of a model; ``dependencies`` is the size of its lock, else its direct requirements count."""
    return Features(
        dependencies=len(file.requirements) if dependencies is None else dependencies,
        pinned=sum("==" in requirement for requirement in file.requirements),
        system_packages=len(file.system_packages),
    )


def advise(
    scenario: Scenario,
    methods: Mapping[str, Packaging],
    *,
    eligible: Collection[str],
    winner: str | None,
    tie: Sequence[str],
    model: Features | None = None,
) -> Advice:
    """The article's order of ``methods``, set against our ``winner`` and the ``tie`` it stands in."""
    ranked = rank(scenario, methods, model)
    pick = next((choice.method for choice in ranked if choice.because and choice.method in eligible), None)
    family = scenario.article_case
    agreement = _agreement(family, methods, eligible, winner, tie)
    return Advice(
        family=family,
        quote=SAYS[family],
        ranked=ranked,
        pick=pick,
        agreement=agreement,
        text=_text(family, agreement, winner),
        corrections=_corrections(family, methods),
    )


def rank(scenario: Scenario, methods: Mapping[str, Packaging], model: Features | None = None) -> tuple[Choice, ...]:
    """Every method in the article's order, with the rules that speak for its family."""
    reasons: dict[Family, list[str]] = {family: [] for family in SAYS}
    reasons[scenario.article_case].append(f"the scenario's case: '{SAYS[scenario.article_case]}'")
    for family, reason in (*_of_scenario(scenario), *(_of_model(model) if model else ())):
        reasons[family].append(reason)
    families = sorted(SAYS, key=lambda family: (family != scenario.article_case, not reasons[family]))
    return tuple(
        Choice(method=method_id, family=family, because=tuple(reasons[family]))
        for family in families
        for method_id, method in methods.items()
        if family == method.FAMILY
    )


def _of_scenario(scenario: Scenario) -> Iterator[tuple[Family, str]]:
    for need in scenario.needs:
        if need in CALLED_UP:
            yield CALLED_UP[need]
    if scenario.traffic.pattern == "rare":
        yield "serverless", "'infrequent usage': requests are rare"
    memory = scenario.target.memory_mb
    if memory is not None and memory <= LOW_MEMORY_MB:
        yield "executable", f"'low-resource devices': the target has {memory} MB of memory"
    if scenario.traffic.pattern == "bursty":
        yield "cloud-platform", "'automatic scaling': requests come in bursts"


def _of_model(model: Features) -> Iterator[tuple[Family, str]]:
    if model.dependencies >= MANY_DEPENDENCIES:
        yield "container", f"'many dependencies': the model has {model.dependencies}"
    if model.system_packages:
        yield "container", "'need to run on specific operating systems': the model needs system packages"
    if model.pinned:
        yield (
            "virtual-environment",
            f"'specific version requirements': the model pins {model.pinned} of its requirements",
        )


def _agreement(
    family: Family, methods: Mapping[str, Packaging], eligible: Collection[str], winner: str | None, tie: Sequence[str]
) -> Agreement:
    of_family = {method_id for method_id, method in methods.items() if family == method.FAMILY}
    if not of_family:
        return "not offered"
    if not of_family & set(eligible):
        return "excluded"
    if set(tie) & of_family and set(tie) - of_family:
        return "tied"
    return "agrees" if winner in of_family else "differs"


def _text(family: Family, agreement: Agreement, winner: str | None) -> str:
    advice = f"The article recommends the family '{family}' for '{SAYS[family]}'"
    outcome = {
        "agrees": f"the measurements agree: {winner} is of that family",
        "tied": "the measurements can tell it neither from the best nor as the best",
        "differs": f"the measurements prefer {winner}",
        "excluded": "every method of that family is excluded here"
        + (f"; of the others, {winner} is best" if winner else ""),
        "not offered": "no method of that family was considered"
        + (f"; of the others, {winner} is best" if winner else ""),
    }[agreement]
    return f"{advice}; {outcome}."


def _corrections(family: Family, methods: Mapping[str, Packaging]) -> tuple[str, ...]:
    # The article: "can be run without a separate Python installation". A plain PEX file starts with
    # "#!/usr/bin/env python"; only a scie carries an interpreter: https://github.com/pex-tool/pex/issues/1007
    return tuple(
        "The article says of this family: 'can be run without a separate Python installation'. "
        f"{method_id} needs {words.facility('python')} on the target."
        for method_id, method in methods.items()
        if family == method.FAMILY == "executable" and "python" in method.REQUIRES
    )
