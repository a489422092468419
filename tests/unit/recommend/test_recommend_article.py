"""The article's rules as a baseline, and how our winner stands to them."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from harness.recommend import article
from harness.spec.model import ModelFile
from harness.spec.scenario import Quality, Target, Traffic


def order(make: Any, scenario: Any, model: article.Features | None = None) -> list[str]:
    """The four methods in the article's order."""
    return [choice.method for choice in article.rank(scenario, make.four(), model)]


@pytest.mark.parametrize(
    ("case", "method", "phrase"),
    [
        ("container", "container", "complex models that have many dependencies"),
        ("virtual-environment", "venv", "reproducing a specific environment"),
        ("executable", "pex", "low-resource devices"),
        ("api", "rest-api", "integrated into existing systems"),
    ],
)
def test_the_case_decides_first(make: Any, case: str, method: str, phrase: str) -> None:
    """The family of the scenario's case comes first, with the article's own words for it."""
    advice = article.advise(make.scenario(case=case), make.four(), eligible=list(make.four()), winner=method, tie=())
    assert advice.ranked[0].method == advice.pick == method
    assert phrase in advice.quote
    assert phrase in advice.ranked[0].because[0]
    assert advice.agreement == "agrees"


def test_without_other_reasons_the_articles_order_stands(make: Any) -> None:
    """Families that no rule speaks for follow in the article's order, without a reason."""
    ranked = article.rank(make.scenario(case="api"), make.four())
    assert [(choice.method, bool(choice.because)) for choice in ranked] == [
        ("rest-api", True),
        ("container", False),
        ("venv", False),
        ("pex", False),
    ]


def test_the_scenario_calls_up_rules(make: Any) -> None:
    """A low-resource target speaks for PEX, a form page for an API; both go before families without a reason."""
    scenario = make.scenario(case="virtual-environment", target=Target(memory_mb=512), needs=("form-page",))
    assert order(make, scenario) == ["venv", "pex", "rest-api", "container"]


def test_traffic_calls_up_rules(make: Any) -> None:
    """Rare requests speak for serverless, bursts for a cloud platform, as the article says."""
    methods = {
        "lambda-zip": make.packager("lambda-zip", "serverless"),
        "vertex": make.packager("vertex", "cloud-platform"),
    }
    for traffic, first in ((Traffic(pattern="rare"), "lambda-zip"), (Traffic(pattern="bursty"), "vertex")):
        scenario = make.scenario(case="api", traffic=traffic)
        ranked = article.rank(scenario, methods)
        assert [choice.method for choice in ranked if choice.because] == [first]


def test_the_model_calls_up_rules(make: Any) -> None:
    """Many dependencies and system packages speak for a container, pinned versions for an environment."""
    scenario = make.scenario(case="api")
    heavy = article.Features(dependencies=40, pinned=0, system_packages=1)
    assert order(make, scenario, heavy) == ["rest-api", "container", "venv", "pex"]
    assert len(article.rank(scenario, make.four(), heavy)[1].because) == 2
    pinned = article.Features(dependencies=2, pinned=2)
    assert order(make, scenario, pinned) == ["rest-api", "venv", "container", "pex"]


def test_needs_call_up_rules(make: Any) -> None:
    """System libraries, locked dependencies and an HTTP API each have their rule."""
    needs = ("carries-system-libraries", "locked-dependencies", "http-api")
    ranked = article.rank(make.scenario(case="executable", needs=needs), make.four())
    assert [choice.method for choice in ranked if choice.because] == ["pex", "container", "venv", "rest-api"]


@pytest.mark.parametrize(
    ("need", "family"),
    [
        ("scales-to-zero", "serverless"),
        ("carries-python", "executable"),
        ("autoscaling", "cloud-platform"),
        ("managed-monitoring", "cloud-platform"),
        ("managed-patching", "cloud-platform"),
        ("form-page", "api"),
    ],
)
def test_a_need_calls_up_the_family_that_the_article_praises_for_it(make: Any, need: Any, family: str) -> None:
    """Its words stand in the reason; the article says nothing of the other families."""
    methods = {name: make.packager(name, name) for name in article.SAYS}
    ranked = article.rank(make.scenario(case="container", needs=(need,)), methods)
    assert [choice.method for choice in ranked if choice.because] == ["container", family]
    [because] = next(choice.because for choice in ranked if choice.method == family)
    assert because.startswith("'")


def test_the_article_is_silent_about_other_needs(make: Any) -> None:
    """What it does not speak of calls up no rule."""
    needs = tuple(set(typing.get_args(Quality)) - set(article.CALLED_UP))
    assert set(needs) == {"single-file", "isolated", "offline-install", "rollback"}
    ranked = article.rank(make.scenario(case="container", needs=needs), make.four())
    assert [choice.method for choice in ranked if choice.because] == ["container"]


def test_features_of_a_model() -> None:
    """Pins and system packages are counted; dependencies are the lock's, else the direct requirements."""
    file = ModelFile(
        spec_version=1,
        name="m",
        version="1",
        description="",
        framework="f",
        requirements=("numpy==2.0", "scipy"),
        system_packages=("libgomp1",),
    )
    assert article.features(file) == article.Features(dependencies=2, pinned=1, system_packages=1)
    assert article.features(file, 30).dependencies == 30


@pytest.mark.parametrize(
    ("eligible", "winner", "tie", "expected", "pick"),
    [
        (["pex", "venv"], "pex", (), "agrees", "pex"),
        (["pex", "venv"], "venv", (), "differs", "pex"),
        (["pex", "venv"], "venv", ("venv", "pex"), "tied", "pex"),
        (["pex", "venv", "rest-api"], "rest-api", ("rest-api", "venv"), "differs", "pex"),
        (["venv"], "venv", (), "excluded", None),
        ([], None, (), "excluded", None),
    ],
)
def test_agreement(
    make: Any, *, eligible: list[str], winner: str | None, tie: tuple[str, ...], expected: str, pick: str | None
) -> None:
    """How our decision stands to the article's, and which method the article's rules would take of those left."""
    advice = article.advise(make.scenario(), make.four(), eligible=eligible, winner=winner, tie=tie)
    assert (advice.agreement, advice.pick) == (expected, pick)
    assert advice.text.startswith("The article recommends the family 'executable'")


def test_a_tie_within_the_articles_family_agrees(make: Any) -> None:
    """Where only methods of the article's family cannot be told apart, the measurements agree with it."""
    methods = {name: make.packager(name, "executable") for name in ("pex", "pex-scie")}
    advice = article.advise(make.scenario(), methods, eligible=list(methods), winner="pex", tie=("pex", "pex-scie"))
    assert advice.agreement == "agrees"


def test_a_family_that_no_method_has(make: Any) -> None:
    """Where the article's family was not considered, that is said; no agreement is claimed."""
    advice = article.advise(make.scenario(case="serverless"), make.four(), eligible=["pex"], winner="pex", tie=())
    assert advice.agreement == "not offered"
    assert "no method of that family was considered; of the others, pex is best" in advice.text


def test_what_the_article_says_of_pex_is_corrected_where_it_does_not_hold(make: Any) -> None:
    """A method of the family 'executable' that needs Python on the target contradicts the article, and only it."""
    scenario = make.scenario(case="executable")
    advice = article.advise(scenario, make.four(), eligible=["pex"], winner="pex", tie=())
    assert ["pex needs a Python installation" in text for text in advice.corrections] == [True]
    scie = {"pex-scie": make.packager("pex-scie", "executable")}
    assert article.advise(scenario, scie, eligible=["pex-scie"], winner="pex-scie", tie=()).corrections == ()
