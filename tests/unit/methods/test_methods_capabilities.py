"""The methods against the table of capabilities: nothing is unsaid, and each quality tells methods apart."""

from __future__ import annotations

import dataclasses

import pytest

from harness.methods import METHODS
from harness.spec import capabilities
from harness.spec.capabilities import CAPABILITIES, QUALITIES
from harness.spec.scenario import Quality

#: Every method of the harness locks its dependencies, because the harness does it before any of them: the need stays
#: for what the article says of virtual environments, and for methods that somebody adds.
OF_ALL = {"locked-dependencies"}


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("method", METHODS)
def test_something_is_stated_of_every_method(method: str, quality: Quality) -> None:
    """No cell is empty: a method has a quality or lacks it, and a source says so."""
    assert capabilities.about(quality, METHODS[method].LAYERS)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_provides_what_the_table_says(method: str) -> None:
    """There is no second place for it."""
    assert capabilities.given(METHODS[method].LAYERS) == METHODS[method].PROVIDES


def test_every_layer_of_the_table_is_a_methods() -> None:
    """A row about a layer that no method has would be read by nobody."""
    layers = {layer for method in METHODS.values() for layer in dataclasses.asdict(method.LAYERS).values()}
    named = {layer for rows in CAPABILITIES.values() for row in rows for layer in row.layers}
    assert named - layers == set()


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_quality_tells_methods_apart(quality: Quality) -> None:
    """At least one method has it and at least one lacks it; otherwise a need for it decides nothing."""
    have = {name for name, method in METHODS.items() if quality in method.PROVIDES}
    assert have
    assert (have == set(METHODS)) == (quality in OF_ALL)


def test_what_needs_an_account_can_not_be_installed_offline() -> None:
    """The two ways of saying that a vendor is needed agree."""
    accounts = {"aws", "google-cloud", "azure"}
    for name, method in METHODS.items():
        assert ("offline-install" in method.PROVIDES) == (not method.REQUIRES & accounts), name


def test_who_carries_python_does_not_require_it() -> None:
    """A method that requires Python on the target does not bring one, and none brings libraries without one."""
    for name, method in METHODS.items():
        if "carries-python" in method.PROVIDES:
            assert "python" not in method.REQUIRES, name
        if "carries-system-libraries" in method.PROVIDES:
            assert "carries-python" in method.PROVIDES, name
