"""Make the weights: ``python train.py OUT_DIR`` writes OUT_DIR/weights/encoder/, as transformers saves a model.

Nothing is learnt: the weights are what a fresh encoder is filled with, from a fixed seed. What packaging has to carry,
and what a start has to import and load, does not depend on how clever they are.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import predictor
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SEED = 20261123
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'-"
WORDS = """
    a about after again all also an and any are as at be because been before both but by can come could day did do
    down each even every find first for from get give go good great had has have he help her here him his home how i
    if in into is it its just know large last learn leave less life like line little long look made make man many may
    me mean men more most much must my name near need never new next night no not now of off old on one only or other
    our out over own page part people place plant point read right same saw say see set she should show side small so
    some sound spell still story study such take tell than that the their them then there these they thing think this
    those thought through time to too tree try turn two under up us use very want water way we well went were what
    when where which while who why will with word work world would write year you young your
    battery cold container disk image install library memory method model night package platform processor python
    quiet rain report result river server start sun system test virtual warm weather weight winter
"""
ENDINGS = "##s ##ed ##ing ##er ##ly ##est ##ful ##less ##ment ##ness ##tion ##able"

EXAMPLES = [
    "The model starts within a second.",
    "Rain and wind all night; the river is rising.",
    "Zürich, 42 packages & no system library?",
]


def tokenizer() -> PreTrainedTokenizerFast:
    """Pieces of words, as BERT cuts them: whole words, endings, and single letters for all the rest."""
    pieces = [*SPECIAL, *sorted(set(WORDS.split())), *ENDINGS.split(), *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106 -- a token, not a secret
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.BertProcessing(("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"]))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=predictor.MAX_TOKENS, **names)


def encoder(vocabulary: int) -> BertModel:
    """A fresh encoder, of the width and depth of what is often used for sentences."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=predictor.MAX_TOKENS,
        # Wider than BERT's 0.02, so that what a fresh encoder says does depend on what it reads.
        initializer_range=0.05,
    )
    return BertModel(config, add_pooling_layer=False)


def write_examples(path: Path, inputs: list[Any], outputs: list[Any]) -> None:
    """Write examples.json, one input and one output a line."""
    asked, answered = (",\n".join(json.dumps(row) for row in rows) for rows in (inputs, outputs))
    path.write_text(f'{{"inputs": [\n{asked}\n],\n"outputs": [\n{answered}\n]}}\n', encoding="utf-8")


def main() -> None:
    """Write tokenizer and encoder, and print how alike the examples are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--examples", action="store_true", help="write OUT_DIR/examples.json as well")
    arguments = parser.parse_args()

    folder = arguments.out_dir / predictor.WEIGHTS
    made = tokenizer()
    made.save_pretrained(folder)
    encoder(len(made)).save_pretrained(folder)

    model = predictor.load(arguments.out_dir)
    # One by one: padding to the longest changes the last digits.
    answers = [predictor.predict(model, [sentence])[0] for sentence in EXAMPLES]
    alike = torch.tensor(answers) @ torch.tensor(answers).T
    print(f"cosines of the examples with the first: {', '.join(f'{value:.3f}' for value in alike[0].tolist())}")
    if arguments.examples:
        write_examples(arguments.out_dir / "examples.json", EXAMPLES, answers)


if __name__ == "__main__":
    main()
