"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/autoregression.json."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import predictor
from statsmodels.datasets import sunspots

#: The last twenty years of the series, 1989 to 2008, are held out.
HELD_OUT = 20


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Fit, write the weights, print the error of forecasting each held-out year from those before it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    numbers = sunspots.load_pandas().data["SUNACTIVITY"].tolist()
    series, later = numbers[:-HELD_OUT], numbers[-HELD_OUT:]
    fitted = predictor.autoregression(series).fit(disp=False, maxiter=500)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    contents = {"parameters": np.asarray(fitted.params).tolist(), "series": series}
    weights.write_text(json.dumps(contents, indent=0) + "\n", encoding="utf-8")

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, [{"observed": later[:year], "years": 1} for year in range(HELD_OUT)])
    errors = [answer["mean"][0] - number for answer, number in zip(answers, later, strict=True)]
    naive = [before - number for before, number in zip([series[-1], *later], later, strict=False)]
    for name, found in (("the year before as the forecast", naive), ("mean absolute error one year ahead", errors)):
        print(f"{name}: {sum(map(abs, found)) / HELD_OUT:.1f}")
    if arguments.examples:
        inputs: list[dict[str, Any]] = [
            {"observed": [], "years": 5},
            {"observed": later[:3], "years": 1},
            {"observed": later[:10], "years": 11},
            {"observed": later, "years": 3},
        ]
        write_examples(arguments.out_dir / "examples.json", inputs, predictor.predict(model, inputs))


if __name__ == "__main__":
    main()
