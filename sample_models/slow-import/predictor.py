"""What heating a house takes: equations that were found in measurements, solved and differentiated by sympy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx as nx
import sympy
from sympy.physics import units

WEIGHTS = "weights/equations.json"
ANSWER = "energy"

#: One term of an equation: its coefficient as decimal text, and the power of each quantity in it.
Term = tuple[str, dict[str, int]]


@dataclass(frozen=True, kw_only=True)
class House:
    """The energy a day as one formula of the inputs, with its derivatives; ``units`` are what it counts in."""

    formula: sympy.Expr
    inputs: tuple[str, ...]
    units: dict[str, str]
    value: Callable[..., float]
    slopes: dict[str, Callable[..., float]]


def load(model_dir: Path) -> House:
    """The equations put into one, in the order in which they need each other."""
    weights = json.loads((model_dir / WEIGHTS).read_text(encoding="utf-8"))
    equations: dict[str, list[Term]] = weights["equations"]
    graph = nx.DiGraph((name, result) for result, terms in equations.items() for _, powers in terms for name in powers)
    known: dict[str, sympy.Expr] = {}
    for name in nx.lexicographical_topological_sort(graph.subgraph({ANSWER, *nx.ancestors(graph, ANSWER)})):
        known[name] = total(equations[name], known) if name in equations else symbol(name)
    formula = sympy.expand(known[ANSWER])
    inputs = tuple(sorted(found.name for found in formula.free_symbols))
    arguments = [symbol(name) for name in inputs]
    return House(
        formula=formula,
        inputs=inputs,
        units=weights["units"],
        value=sympy.lambdify(arguments, formula, modules="math"),
        slopes={name: sympy.lambdify(arguments, sympy.diff(formula, symbol(name)), modules="math") for name in inputs},
    )


def predict(model: House, inputs: list[dict[str, list[Any]]]) -> list[dict[str, Any]]:
    """For each house (a value and a unit for every input, such as ``[20, "kilometer/hour"]``) its energy a day.

    ``energy`` is in kilowatt hours; ``slopes`` say how much more it is for one unit more of each input, in the units
    of ``model.units``; ``formula`` is what was computed.
    """
    return [_answer(model, question) for question in inputs]


def symbol(name: str) -> sympy.Symbol:
    """The quantity of that name; all are real numbers."""
    return sympy.Symbol(name, real=True)


def total(terms: list[Term], known: dict[str, sympy.Expr]) -> sympy.Expr:
    """The sum of the terms, each quantity in them replaced by what is known of it."""
    return sympy.Add(
        *(
            sympy.Rational(coefficient) * sympy.Mul(*(known[name] ** power for name, power in powers.items()))
            for coefficient, powers in terms
        )
    )


def converted(value: float, unit: str, target: str) -> float:
    """``value`` in another unit; ValueError where the two don't measure the same."""
    factor = units.convert_to(_unit(unit), _unit(target)) / _unit(target)
    if not factor.is_number:
        raise ValueError(f"{unit} cannot be converted to {target}")
    return value * float(factor)


def _unit(text: str) -> sympy.Expr:
    above, *below = text.split("/")
    return _product(above) / sympy.Mul(*(_product(part) for part in below))


def _product(text: str) -> sympy.Expr:
    # A number of people is counted in ones.
    return sympy.Mul(*(getattr(units, name) for name in text.split("*") if name != "one"))


def _answer(model: House, question: dict[str, list[Any]]) -> dict[str, Any]:
    values = [converted(*question[name], model.units[name]) for name in model.inputs]
    return {
        "energy": model.value(*values),
        "slopes": {name: slope(*values) for name, slope in model.slopes.items()},
        "formula": str(sympy.N(model.formula, 4)),
    }
