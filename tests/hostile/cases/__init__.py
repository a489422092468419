"""All hostile inputs: one module for each kind, each with a list ``CASES``."""

from __future__ import annotations

from hostile.campaign import Case, by_name
from hostile.cases import builds, conda, folders, locks, mlflow, models, results, scenarios, training, wheels

CASES: list[Case] = [
    case
    for module in (models, training, wheels, locks, builds, conda, folders, mlflow, results, scenarios)
    for case in module.CASES
]

#: The part in ``nox -s tests``: one of each cause, which takes a second or two and needs no engine.
QUICK = frozenset(
    {
        *("model-reads-secrets", "model-reads-other-models", "model-reads-processes", "model-kills-others"),
        *("model-connects", "model-makes-namespaces", "model-writes-outside", "model-outlives", "model-forks"),
        *("model-fills-many-files", "model-nests-1500-folders", "model-prints-endlessly"),
        *("model-says-times-long-ago", "model-says-error-of-other-types", "model-says-endless-answer"),
        *("train-prints-endlessly", "train-fills-many-files", "train-weights-link-to-secret", "train-weights-setuid"),
        *("train-more-than-weights", "train-of-other-data"),
        *("wheel-pth-swaps-the-socket", "wheel-entry-through-a-link", "wheel-link-to-a-secret", "wheel-fifo"),
        *("lock-url-of-a-folder", "lock-another-file", "lock-index-by-annotation", "lock-written-through-a-link"),
        *("build-pex-pth", "build-venv-looks-around"),
        *("folder-toml-fifo", "folder-examples-endless", "folder-data-a-link-to-a-secret", "folder-memory-of-2-63"),
        *("folder-nests-1500-folders", "folder-source-that-takes-memory", "folder-examples-infinite"),
        *("mlflow-needs-a-path", "mlflow-needs-fifo", "mlflow-code-above", "mlflow-nests-1500"),
        *("results-manifest-of-other-types", "results-manifest-fifo", "results-samples-with-escapes"),
        *("results-run-named-as-a-query", "scenario-fifo", "scenario-huge-weights"),
    }
)
assert set(by_name(CASES)) >= QUICK, QUICK - set(by_name(CASES))
