#!/usr/bin/env python3
"""Compares qstill with llama.cpp, the program that GGUF files are written for.

    python3 -m venv VENV && VENV/bin/pip install llama-cpp-py-sync gguf jinja2 numpy tokenizers

The logits that llama.cpp computes of a file, and those that transformers computed of the directory it was written from
(a folder of tests/fixtures/families):

    VENV/bin/python tests/reference/llama_cpp.py logits tiny.gguf tests/fixtures/families/qwen3

The tokens of texts (one JSON object with a `question` a line, and some odd ones) by llama.cpp, and by tokenizer.json of
the directory:

    VENV/bin/python tests/reference/llama_cpp.py tokens model.gguf path/to/model questions.jsonl

Greedy answers by llama.cpp, and by `qstill answer` of the same file or of a directory:

    VENV/bin/python tests/reference/llama_cpp.py answers model.gguf questions.jsonl --limit 50 --model path/to/model
"""

import argparse
import json
import subprocess
from pathlib import Path

import numpy as np
from llama_cpp_py_sync import Llama

ODD = [
    "", " ", "  two  blanks ", "\n\nlines\n\n\n", "tabs\tand\r\nreturns", "ünïcödé ☃ 漢字 🦀 e\u0301", "12345.678 3/4 ¼ ١٢",
    "don't they'RE I'll", "<|im_start|>user\nhi<|im_end|>\n", "<|endoftext|>", "a" * 100, "x = {\n\t'k': [1, 2]\n}", " \u00a0 ",
]


def questions(path):
    return [json.loads(line)["question"] for line in open(path, encoding="utf-8")]


def load(path, context, threads=2):
    # Keys and values in f32: what is compared are the weights.
    model = Llama(path, n_ctx=context, n_batch=context, n_threads=threads, n_threads_batch=threads, flash_attn_type=0, type_k="f32", type_v="f32")
    model._lib.llama_set_embeddings(model._ctx, False)
    return model


def template(path):
    """The chat template of a file, rendered by jinja2 as llama-server does by an engine of its own."""
    import gguf
    import jinja2

    fields = gguf.GGUFReader(path).fields
    text = fields["tokenizer.chat_template"].contents()
    tokens = fields["tokenizer.ggml.tokens"]
    of = lambda name: tokens.contents(int(fields[f"tokenizer.ggml.{name}_token_id"].contents()))
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    return lambda messages: environment.from_string(text).render(
        messages=messages, add_generation_prompt=True, bos_token=of("bos"), eos_token=of("eos")
    )


def decode(model, tokens, past, wanted):
    """Logits after some of the tokens."""
    batch = model._lib.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for at, token in enumerate(tokens):
        batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.seq_id[at][0] = token, past + at, 1, 0
        batch.logits[at] = at in wanted
    assert model._lib.llama_decode(model._ctx, batch) == 0
    size = model.n_vocab
    rows = [model._lib.llama_get_logits_ith(model._ctx, at) for at in wanted]
    rows = [np.frombuffer(model._ffi.buffer(row, 4 * size), dtype=np.float32).copy() for row in rows]
    model._lib.llama_batch_free(batch)
    return rows


def logits(options):
    fixture = json.loads((Path(options.fixture) / "logits.json").read_text())
    model = load(options.file, 128)
    rows = decode(model, fixture["tokens"], 0, fixture["positions"])
    far = max(np.abs(row - np.array(wanted)).max() for row, wanted in zip(rows, fixture["logits"]))
    print(f"{options.file}: largest difference of a logit {far:.1e}")


def tokens(options):
    from tokenizers import Tokenizer

    model = Llama(options.file, n_ctx=64)
    tokenizer = Tokenizer.from_file(str(Path(options.model) / "tokenizer.json"))
    texts = questions(options.questions) + ODD
    same = 0
    for text in texts:
        ours = tokenizer.encode(text, add_special_tokens=False).ids
        theirs = model.tokenize(text, add_special=False, parse_special=True)
        same += ours == theirs
        if ours != theirs:
            print(f"differs: {text[:60]!r}\n  tokenizers: {ours[:20]}\n  llama.cpp:  {theirs[:20]}")
    print(f"{same} of {len(texts)} texts have the same tokens")


def answers(options):
    source = options.model or options.file
    command = [options.qstill, "--quiet", "answer", source, options.questions, "--limit", str(options.limit)]
    command += ["--max-tokens", str(options.tokens), "--device", "cpu"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    model, render = load(options.file, 1024, options.threads), template(options.file)
    same = 0
    for line in map(json.loads, lines):
        prompt = render([{"role": "user", "content": line["question"]}])
        past, now, text = 0, model.tokenize(prompt, add_special=False, parse_special=True), b""
        model._clear_context_state()
        for _ in range(line["tokens"]):
            row = decode(model, now, past, [len(now) - 1])[0]
            past += len(now)
            now = [int(row.argmax())]
            if model._lib.llama_vocab_is_eog(model._vocab, now[0]):
                break
            text += model._token_to_bytes(now[0])
        text = text.decode("utf-8", "replace")
        # qstill ends an answer after a line that starts with ####.
        agrees = text == line["prediction"] or (line["finished"] and text.startswith(line["prediction"]))
        same += agrees
        if not agrees:
            print(f"row {line['row']} differs:\n  llama.cpp: {text!r}\n  qstill:    {line['prediction']!r}", flush=True)
    print(f"{same} of {len(lines)} greedy answers are the same")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run, rest in [
        ("logits", logits, ["fixture"]), ("tokens", tokens, ["model", "questions"]), ("answers", answers, ["questions"]),
    ]:
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        for argument in ["file", *rest]:
            command.add_argument(argument)
        if name == "answers":
            command.add_argument("--limit", type=int, default=50)
            command.add_argument("--tokens", type=int, default=128)
            command.add_argument("--threads", type=int, default=2)
            command.add_argument("--model", default="")
            command.add_argument("--qstill", default="target/release/qstill")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
