"""Tokenizers of the embedded models: one token for each word that captions use, one for all others.

Promises token numbers that follow from the words of `scenes.py` alone.
"""

from __future__ import annotations

from typing import Any, Final

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from vdb_participant.embedded.scenes import every_scene

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"

LONGEST: Final = 12
"""Tokens of a prompt, the end among them: captions have ten. Wan's attention sees padding, so training pads to it too."""


def word_tokenizer() -> Any:
    """Return a tokenizer that reads a text as lower-case words and puts an end token behind them."""
    words = sorted({word for scene in every_scene() for word in scene.caption.split()} | {"an", "the"})
    vocabulary = {word: number for number, word in enumerate((PAD, END, UNKNOWN, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {END}", special_tokens=[(END, vocabulary[END])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, model_max_length=LONGEST
    )
