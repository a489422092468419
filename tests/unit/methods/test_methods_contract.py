"""Every module in METHODS has what the contract names, with the same parameters."""

from __future__ import annotations

import inspect
import typing
from typing import Any

import pytest

from harness import tools
from harness.errors import MissingComponent
from harness.methods import METHODS, hosted
from harness.methods.contract import Availability, Family, Layers, Limit, Mends, Method
from harness.metrics import Fidelity
from harness.platforms import engine
from harness.spec.scenario import Facility, Quality

FUNCTIONS = [name for name, value in vars(Method).items() if inspect.isfunction(value) and not name.startswith("_")]
CONSTANTS = typing.get_type_hints(Method)


def named(function: Any) -> list[tuple[str, Any]]:
    """The names and kinds of a function's parameters, without self."""
    return [(p.name, p.kind) for p in inspect.signature(function).parameters.values() if p.name != "self"]


def test_the_contract_is_what_it_is() -> None:
    """The tests below see all of it."""
    assert {"check", "prepare", "build", "sizes", "install", "start", "present", "remove"} == set(FUNCTIONS)
    constants = {"ID", "FAMILY", "LAYERS", "FIDELITY", "LIMITS", "REQUIREMENTS", "REQUIRES", "PROVIDES", "MENDS"}
    assert constants == set(CONSTANTS)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_a_function_has_the_contracts_parameters(method: str, name: str) -> None:
    """Same names in the same order, documented."""
    function = getattr(METHODS[method], name)
    assert named(function) == named(getattr(Method, name))
    assert inspect.getdoc(function)


@pytest.mark.parametrize("method", METHODS)
def test_the_constants_are_of_the_closed_sets(method: str) -> None:
    """Family, fidelity, facilities and qualities are words that the rest of the harness knows."""
    module: Any = METHODS[method]
    assert method == module.ID
    assert module.FAMILY in typing.get_args(Family)
    assert module.FIDELITY in typing.get_args(Fidelity)
    assert isinstance(module.LAYERS, Layers)
    assert all(isinstance(limit, Limit) for limit in module.LIMITS)
    assert set(typing.get_args(Facility)) >= module.REQUIRES
    assert set(typing.get_args(Quality)) >= module.PROVIDES
    assert set(typing.get_args(Mends)) >= module.MENDS
    assert all("==" in requirement for requirement in module.REQUIREMENTS)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_explains_itself(method: str) -> None:
    """The first line of the module says what it is, after its name: 'harness methods' shows it."""
    first = (inspect.getdoc(METHODS[method]) or "").splitlines()[0]
    assert first.startswith(f"``{method}``: ")


@pytest.mark.parametrize("method", METHODS)
def test_checking_never_raises(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is told with reason and remedy, not raised."""

    def missing(*_: Any) -> Any:
        raise MissingComponent("there is none", remedy="get one")

    monkeypatch.setattr(engine, "connect", missing)
    monkeypatch.setattr(tools, "uv", missing)
    assert METHODS[method].check() == Availability(ready=False, reason="there is none", remedy="get one")


@pytest.mark.usefixtures("here")
def test_hosted_methods_are_ready_where_uv_and_python_are() -> None:
    """Nothing else is asked for."""
    assert hosted.check() == Availability(ready=True)
