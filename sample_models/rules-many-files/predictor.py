"""Parcel prices: the rules of 100 regions and 50 services, each in a file of its own, in pure Python."""

from __future__ import annotations

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RULES = "weights/rules"

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "at least": operator.ge,
    "below": operator.lt,
    "is": operator.eq,
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One line of a tariff: where its condition holds it adds cents, then hundredths of a per cent of the price."""

    name: str
    field: str
    holds: Callable[[Any, Any], bool]
    value: Any
    cents: int
    basis_points: int


@dataclass(frozen=True, kw_only=True)
class Tariff:
    """What one service costs in one region: a base price, a price for each started kilogram, and rules in order."""

    base_cents: int
    kilogram_cents: int
    rules: tuple[Rule, ...]


def load(model_dir: Path) -> dict[tuple[str, str], Tariff]:
    """Every tariff by region and service, each read from ``weights/rules/<region>/<service>.json``."""
    return {
        (file.parent.name, file.stem): _tariff(json.loads(file.read_text(encoding="utf-8")))
        for file in sorted((model_dir / RULES).glob("*/*.json"))
    }


def predict(model: dict[tuple[str, str], Tariff], inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each parcel its price in cents, and the names of the rules that applied, in order.

    A parcel has ``region``, ``service``, ``grams``, ``value_cents``, ``express`` and ``zone`` ("city", "land",
    "island"); where no tariff is known the price is None.
    """
    return [_answer(model.get((parcel["region"], parcel["service"])), parcel) for parcel in inputs]


def _tariff(table: dict[str, Any]) -> Tariff:
    rules = tuple(
        Rule(
            name=rule["name"],
            field=rule["if"][0],
            holds=_COMPARISONS[rule["if"][1]],
            value=rule["if"][2],
            cents=rule.get("cents", 0),
            basis_points=rule.get("basis_points", 0),
        )
        for rule in table["rules"]
    )
    return Tariff(base_cents=table["base_cents"], kilogram_cents=table["kilogram_cents"], rules=rules)


def _answer(tariff: Tariff | None, parcel: dict[str, Any]) -> dict[str, Any]:
    if tariff is None:
        return {"cents": None, "rules": []}
    cents = tariff.base_cents + tariff.kilogram_cents * -(-parcel["grams"] // 1000)
    applied = []
    for rule in tariff.rules:
        if rule.holds(parcel[rule.field], rule.value):
            # Whole numbers only, rounded down, so that every machine agrees on the cent.
            cents += rule.cents + cents * rule.basis_points // 10_000
            applied.append(rule.name)
    return {"cents": cents, "rules": applied}
