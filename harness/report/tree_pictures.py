"""The tree of questions as pictures: Mermaid, which documents and repositories draw themselves, and SVG.

The layout is Vega's (Buchheim, Jünger and Leipert's tidy trees), rendered by vl-convert like every chart here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.errors import MissingComponent, one_line
from harness.recommend.tree import Fork, Leaf, Node, Tree
from harness.report import charts, numbers

_WRAP = 26  # letters on a line of a box
_LINE, _PADDING = 15, 9  # pixels
_BOX, _GAP = 190, 64
_ROW = 16  # between two boxes
_FONT = 12

#: Methods of a leaf's order that are told; the data has all.
_FIRST = 4

#: What comes before every question. Which limits there are stands in a table, not in a tree of all their combinations.
_FILTER = "Strike out what the target cannot run, and what does not give what is needed (harness methods)"


@dataclass(frozen=True, kw_only=True)
class _Box:
    """A node of the drawing: what stands in it, and the answer that leads to it."""

    id: str
    parent: str | None
    lines: tuple[str, ...]
    answer: str
    leaf: bool


def words_of(tree: Tree) -> str:
    """What a reader must know of the picture, in one sentence."""
    found = tree.fidelity
    return (
        f"Fitted to {tree.fitted:,} decisions of the engine over {len(tree.models)} models and variations of "
        f"{len(tree.scenarios)} scenarios. Of {found.cases:,} others it leads to the same method in "
        f"{numbers.share(found.agreement)}, and to one worth at most 0.02 less in {numbers.share(found.close)}; the "
        f"mean value lost is {found.regret:.3f} of 1. From the order at a leaf, take the first that was not struck out."
    )


def mermaid(tree: Tree) -> str:
    """A flowchart in Mermaid's language."""
    lines = ["flowchart LR"]
    for box in _boxes(tree):
        text = "<br>".join(map(_escaped, box.lines))
        lines.append(f'    {box.id}(["{text}"])' if box.leaf else f'    {box.id}{{{{"{text}"}}}}')
        if box.parent is not None:
            answer = f"|{box.answer}|" if box.answer else ""
            lines.append(f"    {box.parent} -->{answer} {box.id}")
    return "\n".join(lines) + "\n"


def svg(tree: Tree) -> str:
    """The picture as an SVG document of its own. MissingComponent where vl-convert is not installed."""
    try:
        import vl_convert
    except ImportError as error:
        raise MissingComponent("the picture needs the package vl-convert-python", remedy=charts.REMEDY) from error
    made: str = vl_convert.vega_to_svg(spec(tree), allowed_base_urls=[])
    return made


def spec(tree: Tree) -> dict[str, Any]:
    """The specification of the picture, in Vega's language."""
    boxes = list(_boxes(tree))
    tallest = max(len(box.lines) for box in boxes) * _LINE + 2 * _PADDING
    depth = 1 + _depth(tree.root)
    leaves = sum(box.leaf for box in boxes)
    values = [
        {
            "id": box.id,
            "parent": box.parent,
            "lines": list(map(one_line, box.lines)),
            "answer": box.answer,
            "leaf": box.leaf,
            "tall": len(box.lines) * _LINE + 2 * _PADDING,
        }
        for box in boxes
    ]
    layout = {
        "type": "tree",
        "method": "tidy",
        "size": [{"signal": "height"}, {"signal": "width"}],
        "as": ["y", "x", "depth", "children"],
    }
    links = [{"type": "treelinks"}, {"type": "linkpath", "orient": "horizontal", "shape": "diagonal"}]
    middle = {"align": {"value": "center"}, "baseline": {"value": "middle"}}
    return {
        "$schema": "https://vega.github.io/schema/vega/v5.json",
        "description": words_of(tree),
        "background": "white",
        "width": depth * (_BOX + _GAP),
        "height": max(leaves * (tallest + _ROW), tallest),
        "padding": {"left": _BOX / 2 + 12, "right": _BOX / 2 + 12, "top": tallest / 2 + 8, "bottom": tallest / 2 + 8},
        "data": [
            {
                "name": "tree",
                "values": values,
                "transform": [{"type": "stratify", "key": "id", "parentKey": "parent"}, layout],
            },
            {"name": "links", "source": "tree", "transform": links},
        ],
        "marks": [
            {
                "type": "path",
                "from": {"data": "links"},
                "encode": {
                    "update": {"path": {"field": "path"}, "stroke": {"value": "#8a929c"}, "strokeWidth": {"value": 1.3}}
                },
            },
            {
                "type": "rect",
                "from": {"data": "tree"},
                "encode": {
                    "update": {
                        "xc": {"field": "x"},
                        "yc": {"field": "y"},
                        "width": {"value": _BOX},
                        "height": {"field": "tall"},
                        "cornerRadius": {"signal": "datum.leaf ? 14 : 3"},
                        "fill": {"signal": "datum.leaf ? '#e8f5f0' : '#f3f5f8'"},
                        "stroke": {"signal": "datum.leaf ? '#00664b' : '#57606a'"},
                    }
                },
            },
            {
                "type": "text",
                "from": {"data": "tree"},
                "encode": {
                    "update": {
                        **middle,
                        "x": {"field": "x"},
                        "y": {"signal": f"datum.y - (length(datum.lines) - 1) * {_LINE} / 2"},
                        "text": {"field": "lines"},
                        "lineHeight": {"value": _LINE},
                        "fontSize": {"value": _FONT},
                        "font": {"value": "sans-serif"},
                        "fill": {"value": "#1b1f24"},
                    }
                },
            },
            {
                "type": "text",
                "from": {"data": "links"},
                "encode": {
                    "update": {
                        **middle,
                        "x": {"signal": f"datum.target.x - {_BOX / 2 + 16}"},
                        "y": {"signal": "datum.target.y - 8"},
                        "text": {"signal": "datum.target.answer"},
                        "fontSize": {"value": _FONT - 1},
                        "font": {"value": "sans-serif"},
                        "fontStyle": {"value": "italic"},
                        "fill": {"value": "#57606a"},
                    }
                },
            },
        ],
    }


def _boxes(tree: Tree) -> Iterator[_Box]:
    yield _Box(id="limits", parent=None, lines=_wrapped(_FILTER), answer="", leaf=False)
    yield from _below(tree.root, "q", "limits", "")


def _below(node: Node, name: str, parent: str, answer: str) -> Iterator[_Box]:
    if isinstance(node, Leaf):
        told = [f"{place}. {method}" for place, method in enumerate(node.order[:_FIRST], start=1)]
        lines = (*told, f"as good as best in {numbers.share(node.of.close)}")
        yield _Box(id=name, parent=parent, lines=lines, answer=answer, leaf=True)
        return
    yield _Box(id=name, parent=parent, lines=_wrapped(node.text), answer=answer, leaf=False)
    yield from _below(node.yes, f"{name}y", name, "yes")
    yield from _below(node.no, f"{name}n", name, "no")


def _wrapped(text: str) -> tuple[str, ...]:
    return tuple(textwrap.wrap(text, _WRAP))


def _depth(node: Node) -> int:
    return 1 + max(_depth(node.yes), _depth(node.no)) if isinstance(node, Fork) else 0


def _escaped(text: str) -> str:
    """Words between quotes in Mermaid, which knows HTML's entities."""
    for sign, entity in {"#": "#35;", "&": "&amp;", '"': "&quot;", "<": "&lt;", ">": "&gt;", "`": "#96;"}.items():
        text = text.replace(sign, entity)
    return one_line(text)
