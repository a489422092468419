"""The tree of questions: it finds a fork that is there, asks no more than that, and says how well it does."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from typing import Any

import pytest

from harness.methods import METHODS
from harness.recommend import tree
from harness.recommend.tree import Case, Fork, Leaf
from harness.report import tree_pictures
from harness.spec import scenario as scenarios


def cases(count: int = 400, seed: int = 1) -> list[Case]:
    """What a function and a machine are worth by the rate: they cross at a thousand a day; the weather says nothing."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        rate = 10 ** chance.uniform(0, 6)
        values = {"function": 0.9 if rate < 1000 else 0.2, "machine": 0.5}
        made.append(Case(facts={"requests a day": rate, "has aws": float(chance.random() < 0.5)}, values=values))
    return made


def test_it_finds_the_fork() -> None:
    """At the rate where the better one changes, with a threshold of few digits, and nothing else is asked."""
    root = tree._grown(cases(), 5, 4)
    assert isinstance(root, Fork)
    assert root.fact == "requests a day"
    assert root.threshold == pytest.approx(1000, rel=0.2)
    assert (root.yes, root.no) == (
        dataclasses.replace(root.yes, method="machine", agreement=1.0, close=1.0, regret=0.0),
        dataclasses.replace(root.no, method="function", agreement=1.0, close=1.0, regret=0.0),
    )
    found = tree.fidelity(root, cases(seed=2))
    assert found.agreement > 0.95
    assert found.regret < 0.02
    assert found.excluded == 0


def test_where_nothing_is_to_be_won_nothing_is_asked() -> None:
    """One method is best everywhere."""
    same = [dataclasses.replace(case, values={"machine": 0.5, "function": 0.1}) for case in cases()]
    assert tree._grown(same, 5, 4) == Leaf(method="machine", agreement=1.0, close=1.0, regret=0.0, cases=len(same))


def test_what_is_excluded_is_worth_nothing() -> None:
    """A leaf does not name what is mostly ruled out, however good it is else; and the share is told."""
    some = [
        Case(facts={"a": 1.0}, values={"rare": 1.0, "always": 0.6} if place < 2 else {"always": 0.6})
        for place in range(10)
    ]
    root = tree._grown(some, 3, 1)
    assert isinstance(root, Leaf)
    assert root.method == "always"
    wrong = tree.fidelity(Leaf(method="rare", agreement=0, close=0, regret=0, cases=0), some)
    assert (wrong.excluded, wrong.agreement) == (0.8, 0.2)


def test_the_engine_s_own_cases(make: Any) -> None:
    """Grown from evidence it is the same for the same seed, and every fact that it may ask about has words."""
    evidence = make.evidence(
        {name: {"packed_bytes": [10.0 * place + 1], "unpacked_bytes": [50.0]} for place, name in enumerate(METHODS)}
    )
    wanted = [scenarios.find(name) for name in ("edge-device", "infrequent-use")]
    one, other = (tree.grow([evidence], wanted, METHODS, fitted=60, held=20, depth=3) for _ in range(2))
    assert one == other
    assert one.fidelity.cases <= 20
    for fact in tree.facts_of(evidence, wanted[0]):
        assert tree.question(fact, 0.5).endswith("?")
        assert "None" not in tree.question(fact, 0.5)


def test_pictures() -> None:
    """Mermaid names every node once; the specification of the SVG is JSON and has as many boxes."""
    grown = tree.Tree(
        root=tree._grown(cases(), 5, 4),
        fidelity=tree.fidelity(tree._grown(cases(), 5, 4), cases(seed=3)),
        models=("m",),
        scenarios=("s",),
        fitted=400,
        seed=1,
    )
    text = tree_pictures.mermaid(grown)
    assert text.startswith("flowchart LR\n")
    assert len(re.findall(r"^    q\w*[\[({]", text, re.MULTILINE)) == 3
    assert text.count("-->|yes|") == text.count("-->|no|") == 1
    assert json.loads(json.dumps(tree_pictures.spec(grown)))["data"][0]["values"][0]["parent"] is None
    assert "400 decisions" in tree_pictures.words_of(grown)


def test_nothing_in_a_box_breaks_the_picture() -> None:
    """Names come from methods, questions from scenarios; quotes and brackets are words there."""
    assert tree_pictures._escaped('a "b" <c> & d') == "a &quot;b&quot; &lt;c&gt; &amp; d"
