"""Sentences as vectors: a BERT of six layers by transformers, on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import BertModel, PreTrainedTokenizerFast

WEIGHTS = "weights/encoder"
MAX_TOKENS = 128


def load(model_dir: Path) -> tuple[PreTrainedTokenizerFast, BertModel]:
    """The tokenizer and the encoder, from the folder's files alone: nothing is asked of a hub."""
    # One thread: compared like with like.
    torch.set_num_threads(1)
    folder = model_dir / WEIGHTS
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    encoder = BertModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    return tokenizer, encoder.eval()


def predict(model: tuple[PreTrainedTokenizerFast, BertModel], inputs: list[str]) -> list[list[float]]:
    """For each sentence a vector of 384 numbers and length 1: the mean of what the encoder says of its words.

    What a sentence has beyond 128 pieces of words is cut off.
    """
    tokenizer, encoder = model
    tokens: Any = tokenizer(inputs, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    with torch.inference_mode():
        states = encoder(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1).to(states.dtype)
        means = (states * mask).sum(dim=1) / mask.sum(dim=1)
        return torch.nn.functional.normalize(means, dim=1).tolist()
