"""An MLflow model's folder: what MLmodel, the lists of requirements and the input example may say."""

from __future__ import annotations

from pathlib import Path

from fuzz import bundles
from fuzz.confined import PYTHON
from harness import process
from harness.spec import model as models
from harness.spec.mlflow import folder, importing, question, requirements, variants
from harness.spec.mlflow.variants import Header, Refusal
from harness.spec.model import Examples


def mlflow_folder(data: bytes, place: Path) -> None:
    """The whole folder, as far as both variants are written; ``--input`` is the part called so."""
    source = place / "saved"
    files = bundles.write(data, source)
    found = folder.read(source)
    asked = question.asked(found, files.get("--input"))
    needs = requirements.read(source, PYTHON)
    for plan in (variants.pyfunc(found, asked, needs), variants.native(found, asked, needs)):
        if isinstance(plan, Refusal):
            continue
        made = place / plan.name
        variants.write(plan, found, asked, made, Header(name="tiny", description="d", python="==3.11.*"))
        variants.write_examples(made, asked.value, asked.value)
        models.read(made)


def printed_answer(data: bytes, place: Path) -> None:
    """What a model prints as its answer when it is imported."""
    (place / "tiny").mkdir()
    file = models.ModelFile(spec_version=1, name="tiny", version="1", description="", framework="none")
    examples = Examples(inputs=(1,), outputs=(None,))
    model = models.Model(folder=place / "tiny", file=file, examples=examples)
    for code in (0, 1):
        said = data.decode("utf-8", "replace")
        done = process.Completed(argv=("python",), returncode=code, stdout=said, stderr=said, wall_s=0.1)
        importing._checked_answer(model, done)
