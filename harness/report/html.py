"""The report as one HTML file: nothing is loaded, it opens from disk.

Jinja2 (of the ``report`` extra, loaded only when used) fills one template with autoescape on. Each
shown fact stands in an element with its short name in ``data-id``, and all of them are embedded as JSON, so
that ``harness verify`` can compute each again. The page's policy forbids every request, and every script but the one
that ranks again while sliders are moved, which it knows by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import MissingComponent, printable
from harness.report import charts, facts, overview
from harness.report.contents import FOLDED
from harness.report.facts import Fact

if TYPE_CHECKING:
    from jinja2 import Environment

    from harness.report.appendix import Appendix
    from harness.report.comparison import Cell
    from harness.report.contents import ReportContents

#: Draws a chart; a checker that only needs the words gives its own.
Draw = Callable[[charts.Chart, str], str]

_SCRIPTS = ("what_if.js", "what_if_page.js")

#: What a reader must know of each mark.
MARKS = {
    "few": "too few replicates for a headline number",
    "unstable": "the 95 % interval is wider than 5 % of the median",
}


def render(contents: ReportContents, draw: Draw = charts.render) -> str:
    """The whole page. MissingComponent where Jinja2 or, for ``draw``, vl-convert is not installed."""
    template = _environment().get_template("report.html.j2")
    from markupsafe import Markup  # comes with Jinja2

    def drawn(chart: charts.Chart, prefix: str) -> Markup:
        return Markup(draw(chart, prefix))  # noqa: S704  (an SVG of ours: Vega escapes texts, a test holds it to that)

    # Each chart twice: a picture that is scaled down to a phone's width has letters that nobody can read.
    pictures = [
        [
            (chart, drawn(chart, f"c{place}-{chart.name}"), drawn(charts.narrow(chart), f"n{place}-{chart.name}"))
            for chart in charts.of(model)
        ]
        for place, model in enumerate(contents.models, start=1)
    ]
    named = facts.names(contents)
    data = Markup(facts.embedded(facts.as_dict(contents, named)))  # noqa: S704  (no '<', '>' or '&' is left in it)
    script, digest = _script() if contents.what_if else ("", "")
    page: str = template.render(
        made=contents,
        c=contents,
        named=named,
        pictures=pictures,
        data=data,
        marks=MARKS,
        overview=overview.of(contents.advice),
        matrices=overview.matrices(contents.models),
        folded=len(contents.models) > FOLDED,
        script=Markup(script),  # noqa: S704  (a file of ours)
        script_digest=digest,
    )
    return page


def _script() -> tuple[str, str]:
    """The page's one script, and the digest by which its policy allows that one and no other."""
    folder = Path(__file__).parent / "templates"
    text = "\n" + "".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return text, f"sha256-{digest}"


def render_appendix(appendix: Appendix) -> str:
    """A decision record as a page. MissingComponent where Jinja2 is not installed."""
    template = _environment().get_template("appendix.html.j2")
    from markupsafe import Markup

    data = Markup(facts.embedded(appendix.data()))  # noqa: S704  (as above)
    page: str = template.render(made=appendix, named=facts.names(appendix), data=data)
    return page


@lru_cache(maxsize=1)
def _environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingComponent("the HTML report needs the package jinja2", remedy=charts.REMEDY) from error
    made = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    made.filters.update(is_fact=lambda part: isinstance(part, Fact), wide=_wide, apart=_apart, kind=_kind)
    return made


def _shown(value: object) -> object:
    """Words with all that is obeyed and not shown escaped: what turns letters round, what has no width."""
    return printable(value) if type(value) is str else value


def _wide(cell: Cell) -> bool:
    """Whether the interval has two ends: an exact value is shown alone."""
    return cell.low is not None and cell.high is not None and cell.low.value != cell.high.value


def _apart(cell: Cell) -> bool:
    """Whether the ratio's interval has two ends."""
    return cell.ratio_low is not None and cell.ratio_high is not None and cell.ratio_low.value != cell.ratio_high.value


def _kind(part: object) -> str:
    """What a part of a document is: ``str``, ``Fact``, ``Ref``, ``Heading``, ..."""
    return type(part).__name__
