"""The tree of questions: it finds a fork that is there, asks no more than that, and says how well it does."""

from __future__ import annotations

import dataclasses
import json
import random
import re
from typing import Any

from harness.methods import METHODS
from harness.recommend import tree
from harness.recommend.tree import Case, Fidelity, Fork, Leaf
from harness.report import tree_pictures
from harness.spec import scenario as scenarios


def cases(count: int = 400, seed: int = 1) -> list[Case]:
    """What a function and a machine are worth by the rate: they cross at a thousand a day; the weather says nothing."""
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        rate = 10 ** chance.uniform(0, 6)
        values = {"function": 0.9 if rate < 1000 else 0.2, "machine": 0.5}
        made.append(Case(facts={"requests a day": rate, "weight of money": chance.random()}, values=values))
    return made


def test_it_finds_the_fork() -> None:
    """At the rate where the better one changes, with a threshold of few digits, and nothing else is asked."""
    root = tree.fit(cases(), 5, least=4)
    assert isinstance(root, Fork)
    assert root.fact == "requests a day"
    assert 300 < root.threshold < 3000  # one of twelve that are tried
    found = tree.fidelity(root, cases(seed=2))
    assert found.agreement > 0.95
    assert found.regret < 0.02
    assert tree.decide(root, {"requests a day": 1e5, "weight of money": 0.5}).order == ("machine", "function")
    assert tree.decide(root, {"requests a day": 10.0, "weight of money": 0.5}).order == ("function", "machine")


def test_where_nothing_is_to_be_won_nothing_is_asked() -> None:
    """One method is best everywhere."""
    same = [dataclasses.replace(case, values={"machine": 0.5, "function": 0.1}) for case in cases()]
    whole = Fidelity(cases=len(same), agreement=1.0, close=1.0, regret=0.0)
    assert tree.fit(same, 5, least=4) == Leaf(order=("machine", "function"), of=whole)


def test_the_first_that_is_left_is_taken() -> None:
    """What is mostly ruled out stands first where it is the better one when it is left; then the next counts."""
    some = [
        Case(facts={"a": 1.0}, values={"rare": 1.0, "always": 0.6} if place < 20 else {"always": 0.6})
        for place in range(100)
    ]
    root = tree.fit(some, 3, least=1)
    assert isinstance(root, Leaf)
    assert root.order == ("rare", "always")
    assert (tree.first_of(root.order, {"always"}), tree.first_of(root.order, ())) == ("always", "")
    assert (root.of.agreement, root.of.regret) == (1.0, 0.0)


def test_what_was_hardly_ever_left_is_no_favourite() -> None:
    """Once the best by luck is no reason to stand before what is nearly always good."""
    usual = {"good": 0.80, "poor": 0.30}
    some = [Case(facts={"a": 1.0}, values=usual) for _ in range(60)]
    some += [Case(facts={"a": 1.0}, values={"lucky": 0.81, "good": 0.80, "poor": 0.30})]
    root = tree.fit(some, 3, least=1)
    assert isinstance(root, Leaf)
    assert root.order[0] == "good"


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
    """Mermaid names every node once, the limits first; the specification of the SVG is JSON."""
    root = tree.fit(cases(), 5, least=4)
    grown = tree.Tree(
        root=root,
        fidelity=tree.fidelity(root, cases(seed=3)),
        models=("m",),
        scenarios=("s",),
        fitted=400,
        seed=1,
    )
    text = tree_pictures.mermaid(grown)
    assert text.startswith("flowchart LR\n")
    assert len(re.findall(r"^    (?:q\w*|limits)[\[({]", text, re.MULTILINE)) == 4
    assert "limits --> q\n" in text
    assert "1. machine<br>2. function" in text
    assert text.count("-->|yes|") == text.count("-->|no|") == 1
    assert json.loads(json.dumps(tree_pictures.spec(grown)))["data"][0]["values"][0]["parent"] is None
    assert "400 decisions" in tree_pictures.words_of(grown)


def test_nothing_in_a_box_breaks_the_picture() -> None:
    """Names come from methods, questions from scenarios; quotes and brackets are words there."""
    assert tree_pictures._escaped('a "b" <c> & d') == "a &quot;b&quot; &lt;c&gt; &amp; d"
