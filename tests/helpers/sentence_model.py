"""A small sentence model of the usual shape, made here: a real ``tokenizer.json`` and a real ONNX file.

It takes what all-MiniLM-L6-v2 takes (``input_ids``, ``attention_mask``, ``token_type_ids``) and gives
``last_hidden_state``: tanh((words[id] + types[type]) · mix) · mask. ``states`` says the same in numpy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from tests.helpers import onnx_files as onnx

WIDTH, SEED = 16, 5
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "plays", "play", "the", "obo", "##e", "##s", "cello", "cafe", "in", "lis",
         "##bon", "##on", "don", "'", "t", ".", ",", "$", "!", "北", "京", "[", "]", "sep", "a", "##a")  # fmt: skip
IDS = {word: number for number, word in enumerate(WORDS)}

_chance = np.random.default_rng(SEED)
TABLE = _chance.standard_normal((len(WORDS), WIDTH)).astype(np.float32)
TYPES = _chance.standard_normal((2, WIDTH)).astype(np.float32)
MIX = (_chance.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)


def tokenizer(**normalizer: object) -> bytes:
    """As Hugging Face's tokenizers write one for a BERT without case."""
    special = [{"id": IDS[name], "content": name, "special": True, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False} for name in WORDS[:4]]  # fmt: skip
    ends = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    usual = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
             "lowercase": True}  # fmt: skip
    value = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {**usual, **normalizer},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": ends,
            "pair": [*ends, {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [IDS[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": IDS,
        },
    }
    return json.dumps(value, ensure_ascii=False).encode()


def model(output: str = "last_hidden_state", *, types: bool = True) -> bytes:
    """The ONNX file; without ``types`` it does not take ``token_type_ids``, as some exports do not."""
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if types else [])]
    nodes = [onnx.node("Gather", ["words", "input_ids"], ["w"])]
    if types:
        nodes += [onnx.node("Gather", ["types", "token_type_ids"], ["t"]), onnx.node("Add", ["w", "t"], ["e"])]
    nodes += [
        onnx.node("MatMul", ["e" if types else "w", "mix"], ["m"]),
        onnx.node("Tanh", ["m"], ["h"]),
        onnx.node("Cast", ["attention_mask"], ["f"], onnx.integer_attribute("to", onnx.FLOAT)),
        onnx.node("Unsqueeze", ["f", "last"], ["u"]),
        onnx.node("Mul", ["h", "u"], [output]),
    ]
    initialisers = [
        onnx.tensor("words", TABLE.shape, TABLE.ravel().tolist()),
        onnx.tensor("mix", MIX.shape, MIX.ravel().tolist()),
        onnx.tensor("last", [1], [-1], onnx.INT64),
        *([onnx.tensor("types", TYPES.shape, TYPES.ravel().tolist())] if types else []),
    ]
    inputs = [onnx.value_info(name, ["batch", "sequence"], onnx.INT64) for name in names]
    outputs = [onnx.value_info(output, ["batch", "sequence", WIDTH])]
    return onnx.model(onnx.graph(nodes, inputs, outputs, initialisers))


def vector(tokens: Sequence[int], *, types: bool = True) -> np.ndarray:
    """What the model's vector of these tokens has to be: mean of the states, of length one."""
    states = np.tanh((TABLE[list(tokens)] + (TYPES[0] if types else 0)) @ MIX)
    mean = states.mean(axis=0)
    return mean / np.linalg.norm(mean)
