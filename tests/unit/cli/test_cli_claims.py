"""The command ``claims``, and ``docs/claims.md`` against the table of claims.

``HARNESS_GOLDEN=write`` writes the generated part of the document anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from harness.methods import METHODS
from harness.recommend.claims.judging import Word
from harness.recommend.claims.table import CLAIMS
from harness.store import runs

Harness = Callable[..., Any]
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "claims.md"


def flat(text: str) -> str:
    """Without the breaks that a table or a paragraph makes."""
    return " ".join(text.split())


def test_the_list_has_every_claim_with_a_verdict(harness: Harness) -> None:
    """And how many there are of each; the reference results are used where nothing else is there."""
    found = harness("claims")
    assert found.code == 0
    for claim in CLAIMS:
        assert re.search(rf"^ {claim.name} .* ({'|'.join(get_args(Word))})\b", found.out, flags=re.MULTILINE)
    counts = [int(number) for number in re.findall(r"(\d+) (?:supported|contradicted|depends|not )", found.out)]
    assert sum(counts) == len(CLAIMS)
    assert f"{len(CLAIMS)} claims: " in found.out
    assert "Judged from run" in found.out


@pytest.mark.parametrize("columns", [80, 120, 200])
@pytest.mark.parametrize("claim", ["", "serverless-infrequent", "use-case-decides"])
def test_it_fits_the_terminal(harness: Harness, monkeypatch: pytest.MonkeyPatch, claim: str, columns: int) -> None:
    """No line is longer than it but the addresses of sources, which are copied."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = harness("claims", *([claim] if claim else [])).out.splitlines()
    assert max(len(line.rstrip()) for line in lines if not re.match(r"\[\d+\] ", line)) <= columns


def test_one_claim_is_explained(harness: Harness, made: Any) -> None:
    """Its words, the test, the experiment, the verdict, the samples with n and interval, and the run."""
    made.write()
    text = flat(harness("claims", "pex-lightweight", "--results", made.results).out)
    for part in (
        'pex-lightweight: "models that need to be deployed in a lightweight environment" (PEX)',
        "As a test: A PEX is smaller than",
        "Verdict: depends",
        "Because: For it: packed size, pex to rest-api 0.75",
        "Against it: packed size, pex to container 3",
        "It depends on: what it is compared with: for it: rest-api; against it: container and venv",
        f"From run: {made.RUN}, by tiny",
        "tiny pex to container packed size, ratio 3",
    ):
        assert part in text


def test_what_is_not_measured_says_how_to(harness: Harness, made: Any) -> None:
    """And what is documented all the same, with its source."""
    made.write()
    found = harness("claims", "pex-no-python", "--results", made.results)
    assert found.code == 0
    assert "Verdict: not measured yet" in found.out
    assert "To measure it: harness run digits-forest --method pex" in found.out
    assert re.search(r"carries-python +no +the file begins .* pex +$", found.out, flags=re.MULTILINE)
    assert re.search(r"^\[1\] PEX, https://\S+, read 20\d\d-\d\d-\d\d$", found.out, flags=re.MULTILINE)


def test_a_contradicted_claim_is_no_failure(harness: Harness) -> None:
    """Of the command."""
    found = harness("claims", "cloud-automatic-patching")
    assert (found.code, "Verdict: contradicted" in found.out) == (0, True)


def test_for_machines(harness: Harness, made: Any) -> None:
    """All, or the one asked for; with every number behind it."""
    made.write()
    tables = harness("claims", "--json", "--results", made.results).json
    assert [table["claim"]["name"] for table in tables] == [claim.name for claim in CLAIMS]
    one = harness("claims", "pex-low-cpu", "--json", "--results", made.results).json
    assert one["run_id"] == made.RUN
    assert {number["over"] for number in one["numbers"]} == {"container", "venv", "rest-api"}
    assert set(one["numbers"][0]) >= {"run_id", "model", "method", "metric", "state", "n", "median", "low", "high"}


def test_a_folder_that_is_named_is_used_alone(harness: Harness, tmp_path: Path) -> None:
    """Without the reference results."""
    tables = harness("claims", "--json", "--results", tmp_path / "none").json
    assert all(table["word"] == "not measured yet" for table in tables if table["claim"]["looks_at"])


def test_one_model_alone(harness: Harness, made: Any) -> None:
    """What others say does not count; one that nobody knows is an error, one that nobody measured a note."""
    made.write()
    assert harness("claims", "pex-lightweight", "--model", "tiny", "--json").json["models"] == ["tiny"]
    assert harness("claims", "--model", "nobodys").code == 2
    unmeasured = harness("claims", "pex-lightweight", "--model", "slow-import", "--results", made.results)
    assert "'harness run slow-import' measures it" in unmeasured.err
    assert "not measured yet" in unmeasured.out


def test_runs_that_disagree_are_shown_to(harness: Harness, made: Any) -> None:
    """The newest has the word; the list says that another says otherwise."""
    made.write([made.sample("reproducible", 0.0), made.sample("parity", 1.0)])
    made.RUN = "20240303-030405-made"
    newer = [made.sample("reproducible", 1.0, run=made.RUN), made.sample("parity", 1.0, run=made.RUN)]
    made.write(newer, run_id=made.RUN)
    text = flat(harness("claims", "--results", made.results).out)
    assert "reproducing a specific environment supported (older runs: contradicted) measured" in text
    assert "Other runs, which are not pooled with it: 20240102-030405-made: contradicted" in flat(
        harness("claims", "venv-reproduces", "--results", made.results).out
    )


def test_a_damaged_run_is_left_out(harness: Harness, made: Any) -> None:
    """And said to be; the others are used."""
    folder = made.write(compact=False)
    (folder / "samples.jsonl").write_text("{\n", encoding="utf-8")
    found = harness("claims")
    assert f"Run {runs.run_ids(made.results)[0]} is left out" in found.err
    assert found.code == 0


def test_an_unknown_claim_is_bad_usage(harness: Harness) -> None:
    """With the one that is meant."""
    found = harness("claims", "pex-lightweigt")
    assert (found.code, "did you mean 'pex-lightweight'" in found.err) == (2, True)


# --- the document --------------------------------------------------------------------------------


def all_claims() -> str:
    """Each claim below its heading: the article's words, the test, the experiment, and what decides."""
    lines: list[str] = []
    for about in dict.fromkeys(claim.about for claim in CLAIMS):
        lines += [f"### {about[0].upper()}{about[1:]}", ""]
        for claim in (one for one in CLAIMS if one.about == about):
            decides = "runs" if claim.measured else "documents" if claim.judge else "nothing here"
            lines += [f"**`{claim.name}`** — *“{claim.quote}”*", "", f"- As a test: {claim.means}"]
            lines += [f"- Experiment: {claim.experiment}" if claim.judge else f"- Instead: {claim.instead}"]
            lines += [
                f"- Decided by {decides}" + (f"; `{claim.command}` measures it" if claim.command else "") + ".",
                "",
            ]
    return "\n".join(lines).rstrip()


def test_the_document_is_up_to_date(up_to_date: Any) -> None:
    """Every claim stands in it as the code has it."""
    up_to_date(DOCUMENT, {"claims": all_claims})


def test_the_document_explains_every_verdict() -> None:
    """And names no method that there is not."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for word in get_args(Word):
        assert f"**{word}**" in text
    named = {name for command in re.findall(r"`harness run ([^`]*)`", text) for name in command.split("--method ")[1:]}
    assert {name.split()[0] for name in named} <= set(METHODS)
