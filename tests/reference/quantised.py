#!/usr/bin/env python3
"""Writes tests/fixtures/gguf/blocks.json and pieces.json: random blocks of each quantised type with the numbers that
the `gguf` package reads from them, and a small SentencePiece model with the tokens that `sentencepiece` makes of texts.

    python3 -m venv VENV && VENV/bin/pip install gguf sentencepiece
    VENV/bin/python tests/reference/quantised.py
"""

import io
import json
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "gguf"
TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
# Where the scales in f16 stand in blocks that the package reads and does not write.
HALVES = {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
TEXTS = [
    "", " ", "a", "Tom has 12 apples.", "  two  blanks ", "\n\nlines\n", "tabs\tand ünïcödé ☃ 漢字 🦀", "3/4 + 1.5 = 2.25",
    "unseen: ~^`|", "Tom eats 12 of them. How many are left?", "▁already", "\r\n", "a" * 40,
    "    four and     five", " " * 13,
]


def blocks():
    random = np.random.default_rng(20)
    out = {}
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        numbers, size = gguf.GGML_QUANT_SIZES[kind]
        if name in HALVES:
            data = random.integers(0, 256, (2, size), dtype=np.uint8)
            for at in HALVES[name]:
                scale = random.normal(0, 0.01, 2).astype(np.float16)
                data[:, at : at + 2] = scale.view(np.uint8).reshape(2, 2)
            data = data.reshape(-1)
            given = None
        else:
            given = random.normal(0, 1, 64).astype(np.float32)
            given[5] = 0.0
            data = gguf.quantize(given, kind)
        read = gguf.dequantize(data, kind)
        out[name] = {"bytes": data.tobytes().hex(), "numbers": [float(number) for number in read.reshape(-1)]}
        if name in ("F16", "BF16", "Q8_0"):
            out[name]["given"] = [float(number) for number in given]
    (HERE / "blocks.json").write_text(json.dumps(out) + "\n")


def pieces(symbols, **options):
    """A model with symbols of its own, as llama.cpp's converter writes it."""
    import sentencepiece

    names = ["Tom", "Anna", "Ben", "Lena"]
    things = ["apples", "marbles", "books", "coins"]
    lines = [
        f"{names[n % 4]} has {n * 7 % 90} {things[n % 3]}. {names[(n + 1) % 4]} gives {n % 11} more. How many {things[n % 3]} are there?"
        for n in range(400)
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=390, byte_fallback=True,
        split_digits=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, user_defined_symbols=symbols, minloglevel=2, **options,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.get_piece_size())
    own = [id for id in ids if processor.id_to_piece(id) in symbols]

    def kind(id):
        if processor.is_unknown(id):
            return 2
        if processor.is_control(id):
            return 3
        return 4 if id in own else 6 if processor.is_byte(id) else 1

    def token(id):
        piece = processor.id_to_piece(id)
        return piece.replace("\u2581", " ") if id in own else piece

    return {
        "prefix": options.get("add_dummy_prefix", True),
        "tokens": [token(id) for id in ids],
        "scores": [-1000.0 if id in own else processor.get_score(id) for id in ids],
        "types": [kind(id) for id in ids],
        "texts": [[text, processor.encode(text)] for text in TEXTS],
    }


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    blocks()
    blank = "\u2581"
    models = [pieces(["<tool>"]), pieces(["\n\n", *(blank * n for n in range(2, 6))], add_dummy_prefix=False)]
    (HERE / "pieces.json").write_text(json.dumps(models, ensure_ascii=False) + "\n")
    print(*(f"{path.name}: {path.stat().st_size} bytes" for path in sorted(HERE.iterdir())), sep="\n")
