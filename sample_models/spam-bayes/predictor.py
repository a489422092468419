"""Spam or ham: a multinomial naive Bayes classifier in pure Python."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WEIGHTS = "weights/model.json"


@dataclass(frozen=True, kw_only=True)
class Bayes:
    """Log odds of spam against ham: of a message before it is read, and of each known word."""

    prior: float
    words: dict[str, float]


def tokens(text: str) -> list[str]:
    """The words of ``text``, in lower case; ``train.py`` counts the same ones."""
    return re.findall(r"[a-z0-9']+", text.lower())


def load(model_dir: Path) -> Bayes:
    """The classifier from the counts in ``weights/model.json``, with add-one smoothing."""
    counts = json.loads((model_dir / WEIGHTS).read_text(encoding="utf-8"))
    spam, ham = counts["spam"], counts["ham"]
    vocabulary = sorted(spam["words"].keys() | ham["words"].keys())
    spam_total = sum(spam["words"].values()) + len(vocabulary)
    ham_total = sum(ham["words"].values()) + len(vocabulary)
    words = {
        word: math.log((spam["words"].get(word, 0) + 1) / spam_total)
        - math.log((ham["words"].get(word, 0) + 1) / ham_total)
        for word in vocabulary
    }
    return Bayes(prior=math.log(spam["messages"] / ham["messages"]), words=words)


def predict(model: Bayes, inputs: list[str]) -> list[dict[str, Any]]:
    """For each message its label, and the probability (0.5 to 1) of that label; unknown words say nothing."""
    return [_answer(model.prior + sum(model.words.get(word, 0.0) for word in tokens(text))) for text in inputs]


def _answer(log_odds: float) -> dict[str, Any]:
    # The larger side's probability: exp() of a number that is never positive cannot overflow.
    probability = 1.0 / (1.0 + math.exp(-abs(log_odds)))
    return {"label": "spam" if log_odds > 0 else "ham", "probability": probability}
