"""The README that a package carries: how to run it by hand, for each method.

``harness/resources/package/README.md`` is the frame, ``METHOD.md`` beside it says how to run what the method
makes. ``{{name}}`` in them stands for what :func:`_values` gives.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness import paths
from harness.recommend import words

FOLDER = paths.PACKAGE / "resources" / "package"


@dataclass(frozen=True, kw_only=True)
class Manual:
    """What is particular to a method: the files that travel, and the keys that its requests and answers have.

    In the files' names ``{model}`` stands for the model's. Where there is an image, its file is the first.
    """

    files: tuple[str, ...]
    asked: str = "inputs"
    answered: str = "outputs"


_IMAGE = "image.tar.gz"

#: One for each method; a test holds it against ``METHODS``.
MANUALS: Mapping[str, Manual] = {
    "container": Manual(files=(_IMAGE,)),
    "conda": Manual(files=("{model}-conda.tar.gz",)),
    "venv": Manual(files=("{model}-venv.tar.gz",)),
    "lambda-zip": Manual(files=("{model}-lambda.zip",)),
    "lambda-image": Manual(files=(_IMAGE,)),
    "cloud-functions": Manual(files=("{model}-source.zip",)),
    "pex": Manual(files=("{model}.pex",)),
    "pex-scie": Manual(files=("{model}",)),
    "pyinstaller": Manual(files=("{model}-pyinstaller.tar.gz",)),
    "pyinstaller-onefile": Manual(files=("{model}",)),
    "sagemaker": Manual(files=(_IMAGE, "model.tar.gz")),
    "vertex": Manual(files=(_IMAGE,), asked="instances", answered="predictions"),
    "azureml": Manual(files=(_IMAGE,)),
    "rest-api": Manual(files=("{model}-rest-api.tar.gz",)),
}


def readme(record: Mapping[str, Any], manual: Manual) -> str:
    """The README of the package that ``record`` describes."""
    values = _values(record, manual)
    values["how"] = by_hand(record["method"]["id"], values)
    return _filled(_template("README"), values)


def by_hand(method: str, values: Mapping[str, str]) -> str:
    """How to run what the method makes without the harness."""
    return _filled(_template(method), values).strip()


def _template(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def _filled(text: str, values: Mapping[str, str]) -> str:
    # In one go: what a description says must not be taken for a placeholder.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], text)


def _values(record: Mapping[str, Any], manual: Manual) -> dict[str, str]:
    model, method, artifact, built = (record[key] for key in ("model", "method", "artifact", "built_on"))
    files = [name.format(model=model["name"]) for name in manual.files]
    python = built["python"]
    return {
        "model": model["name"],
        "version": model["version"],
        "description": model["description"].strip(),
        "method": method["id"],
        "layers": "; ".join(f"{layer}: {what}" for layer, what in method["layers"].items()),
        "file": files[0],
        "more_file": files[-1],
        "image": artifact["image"] or "",
        "python": python.rpartition(".")[0],
        "python_flat": python.rpartition(".")[0].replace(".", ""),
        "architecture": {"aarch64": "arm64"}.get(built["machine"], built["machine"]),  # as AWS calls it
        "needs": _needs(record),
        "files": _files(record),
        "asked": manual.asked,
        "answered": manual.answered,
        "checked": _checked(record),
        "limits": _limits(record),
        "facts": _listed({"digest": artifact["digest"], **artifact["facts"]}),
        "made_by": record["made_by"],
    }


def _needs(record: Mapping[str, Any]) -> str:
    """What the target must have, as a list."""
    built, method, needs = record["built_on"], record["method"], record["needs"]
    minor = built["python"].rpartition(".")[0]
    lines = [f"- {built['system']} on {built['machine']}"]
    if needs["glibc"]:
        lines[0] += f", with glibc {needs['glibc']} or newer (built with {built['libc']})"
    if needs["level"] > 1:
        lines.append(f"- A processor of x86-64-v{needs['level']}")
    known = {"python": f"Python {minor} (built with {built['python']})"}
    lines += [f"- {known.get(name, words.facility(name))}" for name in method["target_must_have"]]
    if needs["packages"]:
        lines.append(
            f"- System libraries that it does not bring; on Debian: `apt-get install {' '.join(needs['packages'])}`"
        )
    return "\n".join(lines)


def _files(record: Mapping[str, Any]) -> str:
    rows = [
        f"| `{name}` | {file['bytes']:,} | `{file['sha256']}` |"
        for name, file in record["files"].items()
        if name != "README.md"
    ]
    return "\n".join(["| file | bytes | sha256 |", "| --- | ---: | --- |", *rows])


def _checked(record: Mapping[str, Any]) -> str:
    count = record["examples_answered_right"]
    if count is None:
        return "It was **not tried** before it was left here (`--no-check`)."
    return f"Before it was left here it was installed, started and asked all {count} examples; each answer was right."


def _limits(record: Mapping[str, Any]) -> str:
    if not record["limits"]:
        return "The platform states none that this method has to keep."
    lines = [f"- **Does not fit: {text}**" for text in record["beyond_limits"]]
    lines += [
        f"- {limit['name']}: {limit['value']:,.15g} {limit['unit']} ({limit['source']}, {limit['read_on']})"
        for limit in record["limits"]
    ]
    return "\n".join(lines)


def _listed(facts: Mapping[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())
