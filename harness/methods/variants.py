"""Ways to build the same model with the same method, so that their effect can be measured: bytecode and weights.

A variant is a cell of its own. What a method can't honour it refuses, with the reason: nothing is ignored.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from harness.errors import BadInput
from harness.methods.contract import BuildOptions, Bytecode, Placement
from harness.spec import reading
from harness.spec.model import Model

_EVERY = frozenset(typing.get_args(Bytecode))

_ZIP_DATES = (
    "a zip that is unpacked does not give files the dates that they had, so bytecode that goes by dates never counts"
)
_PEX_DATES = "what PEX extracts is dated then, so bytecode that goes by dates never counts"
_FROZEN = "PyInstaller puts every module into its archive as bytecode that is never checked"
_PLATFORM = "the platform has ways of its own to bring weights beside {}, which are not built here"

#: Which kinds of bytecode a method can't ship, and why. Whatever is not listed here is honoured.
BYTECODE_REFUSED: dict[str, tuple[frozenset[Bytecode], str]] = {
    "lambda-zip": (frozenset({"timestamp"}), _ZIP_DATES),
    "cloud-functions": (frozenset({"timestamp"}), _ZIP_DATES),
    "pex": (frozenset({"timestamp"}), _PEX_DATES),
    "pex-scie": (frozenset({"timestamp"}), _PEX_DATES),
    "pyinstaller": (_EVERY - {"unchecked-hash"}, _FROZEN),
    "pyinstaller-onefile": (_EVERY - {"unchecked-hash"}, _FROZEN),
}

#: Why a method has its weights in the artifact and nowhere else. The others take every placement.
PLACEMENT_REFUSED: dict[str, str] = {
    "lambda-zip": _PLATFORM.format("a function (S3, EFS)"),
    "lambda-image": _PLATFORM.format("a function (S3, EFS)"),
    "cloud-functions": _PLATFORM.format("a function (Cloud Storage)"),
    "sagemaker": "SageMaker itself keeps the weights apart from the image, in a model.tar.gz: there is no other way",
    "vertex": _PLATFORM.format("an image (AIP_STORAGE_URI)"),
    "azureml": _PLATFORM.format("an image (registered models)"),
    "pex-scie": "no scie was ever made here, with or without its weights",
    "pyinstaller": "PyInstaller takes the model along as data of the executable; another way is not built here",
    "pyinstaller-onefile": "PyInstaller takes the model along as data of the executable; another way is not built here",
}

#: They ship bytecode where pruning the dependencies has made room for it.
_PEX = frozenset({"pex", "pex-scie"})

#: The methods that apply the rule 'sources' of ``prune``, after which there is bytecode and nothing else.
_PRUNING_SOURCES = frozenset({"container", "lambda-zip", "lambda-image", "sagemaker", "vertex", "azureml"})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What may differ between two builds with the same method; the default is what every method is built with."""

    bytecode: Bytecode = "unchecked-hash"
    weights: Placement = "inside"

    @property
    def label(self) -> str:
        """The text that :func:`parse` reads, ``default`` for the default; the same for the same variant."""
        told = [f"{one.name}={value}" for one in fields(self) if (value := getattr(self, one.name)) != one.default]
        return ",".join(told) or "default"

    def options(self, tool_cache: Path) -> BuildOptions:
        """The options of such a build."""
        return BuildOptions(tool_cache=tool_cache, bytecode=self.bytecode, weights=self.weights)


#: What every method is built with where nothing else is asked for.
DEFAULT = Variant()


def parse(texts: Iterable[str]) -> Variant:
    """The variant that texts like ``bytecode=none,weights=mounted`` say together; BadInput for a word unknown."""
    known = {"bytecode": typing.get_args(Bytecode), "weights": typing.get_args(Placement)}
    chosen: dict[str, typing.Any] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        if part in ("", "default"):
            continue
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in known:
            raise BadInput("is not a build option", key="--with", value=part, remedy=reading.one_of(name, known))
        if value not in known[name]:
            raise BadInput(
                f"is not a value of {name}", key="--with", value=part, remedy=reading.one_of(value, known[name])
            )
        if chosen.setdefault(name, value) != value:
            remedy = "give one value of each option; another value is another variant"
            raise BadInput(f"is given besides {name}={chosen[name]}", key="--with", value=part, remedy=remedy)
    return Variant(**chosen)


def unsupported(method: str, variant: Variant | BuildOptions, model: Model | None = None) -> str:
    """Why ``method`` can't build ``variant``, or not of ``model``; empty if it can."""
    kinds, why = BYTECODE_REFUSED.get(method, (frozenset(), ""))
    if variant.bytecode in kinds:
        return f"{method} can't be built with bytecode={variant.bytecode}: {why}"
    if model is not None and method in _PEX and variant.bytecode == "checked-hash" and not model.file.requirements:
        return (
            f"{method} can't be built with bytecode=checked-hash: {model.name} has no dependencies to make room for it"
        )
    pruned = model is not None and "sources" in model.file.prune and method in _PRUNING_SOURCES
    if pruned and variant.bytecode != "unchecked-hash":
        return f"{method} can't be built with bytecode={variant.bytecode}: 'prune' in model.toml leaves out the sources"
    if variant.weights == "inside":
        return ""
    if method in PLACEMENT_REFUSED:
        return f"{method} can't be built with weights={variant.weights}: {PLACEMENT_REFUSED[method]}"
    if model is not None and not model.file.artifacts:
        return (
            f"weights={variant.weights} says nothing of {model.name}: its model.toml lists no weights under 'artifacts'"
        )
    return ""


def require(method: str, options: BuildOptions, model: Model) -> None:
    """BadInput where ``method`` can't build ``model`` with these options."""
    why = unsupported(method, options, model)
    if why:
        raise BadInput(why, remedy="leave the option out, or choose another method")
