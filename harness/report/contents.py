"""What a report says, as one pure record: no clock, no file, no markup.

:func:`contents` is a function of the evidence, the recommendations and two given texts. The pages
are made from it and from nothing else, and ``harness verify`` makes it again from raw samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.metrics import METRICS, Metric
from harness.recommend import costs
from harness.report import advice, claims, comparison, money, provenance, quality, what_if
from harness.report.advice import Advice
from harness.report.claims import Claims
from harness.report.comparison import Column, Table
from harness.report.facts import Prose
from harness.report.money import Money
from harness.report.provenance import Condition, Gap, RunPart
from harness.report.quality import CalibrationPart
from harness.report.what_if import WhatIf
from harness.store.query import Evidence

if TYPE_CHECKING:
    from harness.calibrate.records import Calibration
    from harness.recommend.article import Features
    from harness.recommend.engine import Recommendation
    from harness.spec.scenario import Scenario

#: More models than this, and each one's part is folded away behind its name, and told of only the first methods.
FOLDED, FIRST = 3, 4

#: The version of the data that is embedded in a report.
SCHEMA_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class ModelPart:
    """What one run says of one model: a summary, the comparison, costs, what is missing, how calm the machine was."""

    run: str
    model: str
    methods: tuple[str, ...]
    summary: Prose
    tables: tuple[Table, ...]
    money: Money | None
    gaps: tuple[Gap, ...]
    conditions: tuple[Condition, ...]

    def table(self, name: str) -> Table | None:
        """The table called so (``size``, ``start``, ``phases-page-warm``, ...), or None."""
        return next((table for table in self.tables if table.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Term:
    """A metric's declaration, for the glossary."""

    title: str
    unit: str
    direction: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """A model of which nothing was measured: the profile that all its values were predicted from, as it was given."""

    run: str
    model: str
    memory_mb: int | None
    profile: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ReportContents:
    """Everything that a report shows."""

    schema_version: int
    title: str
    made_at: str
    harness_version: str
    answer: tuple[Prose, ...]
    advice: tuple[Advice, ...]
    what_if: tuple[WhatIf, ...]
    models: tuple[ModelPart, ...]
    predicted: tuple[Predicted, ...]
    claims: Claims | None
    calibration: CalibrationPart | None
    runs: tuple[RunPart, ...]
    glossary: tuple[Term, ...]


def contents(
    evidences: Sequence[Evidence],
    recommendations: Sequence[Recommendation] = (),
    *,
    scenarios: Mapping[str, Scenario] | None = None,
    features: Mapping[str, Features] | None = None,
    calibration: Calibration | None = None,
    made_at: str,
    harness_version: str,
) -> ReportContents:
    """The contents of a report on ``evidences`` (one per run and model).

    ``scenarios`` (by name) and ``features`` (by model) are what ``recommendations`` were made from besides
    the evidence; they are embedded, so that a recommendation can be computed again from the report and the
    samples. ``calibration`` is the one whose quality is told. ``made_at`` is shown as it is.
    """
    from harness.methods import METHODS

    models = tuple(_model(evidence) for evidence in evidences)
    most = FIRST if len(models) > FOLDED else None
    advised = tuple(
        advice.of(each, (scenarios or {}).get(each.scenario), (features or {}).get(each.model), most=most)
        for each in recommendations
    )
    given = {(evidence.run_id, evidence.model): evidence for evidence in evidences}
    known = scenarios or {}
    moved = [each for each in recommendations if each.scenario in known]
    runs = {evidence.run_id: evidence for evidence in evidences}
    return ReportContents(
        schema_version=SCHEMA_VERSION,
        title=_title(evidences),
        made_at=made_at,
        harness_version=harness_version,
        answer=tuple(each.answer for each in advised) or tuple(model.summary for model in models),
        advice=advised,
        what_if=tuple(
            what_if.of(given[each.run_id, each.model], known[each.scenario], METHODS)
            for each in moved
            if (each.run_id, each.model) in given
        ),
        models=models,
        predicted=tuple(
            Predicted(
                run=evidence.run_id,
                model=evidence.model,
                memory_mb=evidence.manifest.models.get(evidence.model, {}).get("memory_mb"),
                profile=evidence.profile,
            )
            for evidence in evidences
            if evidence.profile is not None
        ),
        claims=claims.of(evidences, METHODS),
        calibration=quality.of(calibration) if calibration else None,
        runs=tuple(provenance.run(evidence.manifest) for evidence in runs.values()),
        glossary=_glossary(models),
    )


def _title(evidences: Sequence[Evidence]) -> str:
    models = list(dict.fromkeys(evidence.model for evidence in evidences))
    if len(models) == 1:
        return f"How to package {models[0]}"
    return f"How to package {len(models)} models" if models else "How to package a model"


def _model(evidence: Evidence) -> ModelPart:
    from harness.methods import METHODS

    tables = comparison.tables(evidence)
    return ModelPart(
        run=evidence.run_id,
        model=evidence.model,
        methods=evidence.methods,
        summary=comparison.summary(evidence, tables),
        tables=tables,
        money=money.of(evidence, METHODS),
        gaps=provenance.gaps(evidence),
        conditions=provenance.conditions(evidence),
    )


def _glossary(models: Sequence[ModelPart]) -> tuple[Term, ...]:
    used = {column.metric for model in models for table in model.tables for column in table.columns}
    used |= {condition.metric for model in models for condition in model.conditions}
    used |= {costs.METRIC for model in models if model.money}
    return tuple(_term(metric) for name, metric in METRICS.items() if name in used)


def _term(metric: Metric) -> Term:
    units = {
        "bytes": "MB (10^6 bytes)",
        "s": "s, ms or µs",
        "n": "count",
        "bool": "yes or no",
        "1/s": "per second",
        "share": "%",
        "USD": "US dollars",
    }
    return Term(
        title=metric.title,
        unit=units[metric.unit],
        direction=f"{metric.direction} is better",
        meaning=metric.meaning,
    )


__all__ = ["Column", "ModelPart", "ReportContents", "Table", "Term", "contents"]
