"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/model.json.

The corpus is generated, so there is nothing to download and nobody's mail in it. The weights are
integer counts; the logarithms are taken when the model is loaded, so that no C library's last
digit can change the file.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from pathlib import Path

import predictor

SEED = 20240501
MESSAGES = 4000
HELD_OUT = 1000
SPAM_SHARE = 0.4

# What messages are made of. A class takes most of its topical words from its own list and some from
# the other's: a prize draw at the office is ham, a "meeting" with an investor may be spam.
WORDS = {
    "common": """
        a about after all an and are as at be but by can do for from get have he here how i if in is it just
        know like me more my no not now of on one only or our out please see she so some thanks that the there
        they this time to today tomorrow up us want was we week what when will with would yes you your
    """,
    "ham": """
        agenda attached birthday branch budget bug build calendar children coffee comments conference
        corrections customer deadline deploy dinner discuss doctor document draft evening feedback figures
        flight football friday garden holiday homework hotel invoice keys kitchen lecture library lunch meeting
        minutes monday morning mother museum notes office parents patch pick plan present project question
        quarter recipe release report review room schedule school server shopping slides station students
        summary table team tests thursday ticket train travel tuesday update version wednesday weekend wine
        workshop
    """,
    "spam": """
        100 1000 50 account act apply approved bargain bitcoin bonus buy cash casino cheap claim click
        congratulations credit cure debt deal dear debit discount dollars double earn exclusive expires fast
        free fortune friend gift guarantee guaranteed hurry income instant investment investor jackpot limited
        link loan lose lottery luxury membership million miracle money offer online order password payment
        pharmacy pills prescription prize profit promotion rates refund refinance replica reward risk sale save
        secret selected stock subscribe suspended transfer trial unlimited urgent verify viagra vip visit
        warranty watches weight win winner wire
    """,
}
COMMON, HAM, SPAM = (text.split() for text in WORDS.values())
#: How often a word is common, of the message's own class, of the other class.
MIXTURE = (50, 38, 12)

EXAMPLES = [
    "Congratulations, you are the lucky winner of a free prize! Click the link to claim your cash now",
    "Can we move the meeting to Thursday morning? The agenda is attached.",
    "URGENT: your account was suspended, verify your password here",
    "I put the slides and the minutes in the project folder, comments please",
    "Cheap pills online, no prescription, limited offer, order today!!!",
    "Thanks for dinner on Friday, the children loved the museum",
    "Is the prize for the team lunch in the budget, or do we save it for the workshop?",
    "",
]


def message(rng: random.Random, *, spam: bool) -> str:
    """A message of 6 to 24 words."""
    own, other = (SPAM, HAM) if spam else (HAM, SPAM)
    # Only random() and what is made of it alone (choices) are the same in every version of Python.
    length = 6 + int(rng.random() * 19)
    lists = rng.choices((COMMON, own, other), weights=MIXTURE, k=length)
    return " ".join(words[int(rng.random() * len(words))] for words in lists)


def corpus(rng: random.Random, size: int) -> list[tuple[str, str]]:
    """Pairs of a label and a message."""
    labels = ["spam" if rng.random() < SPAM_SHARE else "ham" for _ in range(size)]
    return [(label, message(rng, spam=label == "spam")) for label in labels]


def counts(pairs: list[tuple[str, str]]) -> dict[str, object]:
    """For each label the number of messages and of each word."""
    result: dict[str, object] = {}
    for label in ("ham", "spam"):
        messages = [text for found, text in pairs if found == label]
        words = Counter(word for text in messages for word in predictor.tokens(text))
        result[label] = {"messages": len(messages), "words": dict(words)}
    return result


def write_examples(path: Path, inputs: list[object], outputs: list[object]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Train, write the weights, print the accuracy on messages that were not trained on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    rng = random.Random(SEED)
    training, held_out = corpus(rng, MESSAGES), corpus(rng, HELD_OUT)
    weights = arguments.out_dir / predictor.WEIGHTS
    weights.parent.mkdir(parents=True, exist_ok=True)
    weights.write_text(json.dumps(counts(training), sort_keys=True, indent=0) + "\n", encoding="utf-8")

    model = predictor.load(arguments.out_dir)
    answers = predictor.predict(model, [text for _, text in held_out])
    right = sum(answer["label"] == label for answer, (label, _) in zip(answers, held_out, strict=True))
    print(f"accuracy on {HELD_OUT} held-out messages: {right / HELD_OUT:.4f}")
    if arguments.examples:
        write_examples(arguments.out_dir / "examples.json", [*EXAMPLES], [*predictor.predict(model, EXAMPLES)])


if __name__ == "__main__":
    main()
