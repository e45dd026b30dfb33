#!/usr/bin/env python3
"""Writes tests/fixtures/families: for each family that qstill reads a small random model, saved by transformers in
bf16, and the logits that transformers computes of it in f32.

    python3 -m venv VENV && VENV/bin/pip install torch transformers safetensors
    VENV/bin/python tests/reference/families.py

With directories as arguments: loads each with transformers, whatever wrote it, and compares its logits with those of
the fixture of the same name.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

HERE = Path(__file__).resolve().parent.parent / "fixtures" / "families"
SIZES = dict(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    bos_token_id=None,
    eos_token_id=1,
    pad_token_id=None,
)
TOKENS = [(i * i * 7 + 3 * i) % 38 + 2 for i in range(96)]
# Positions whose logits are kept.
KEPT = [0, 1, 5, 18, 47, 95]


def rope(kind, **more):
    return {"rope_theta": 1000.0, "rope_type": kind, **more}


def configs():
    sizes = SIZES
    theta = rope("default")
    yield "llama", LlamaConfig(**sizes, tie_word_embeddings=True, rope_parameters=theta)
    biased = dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=False)
    yield "llama-biased", LlamaConfig(**sizes, **biased, rope_parameters=theta)
    three = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)
    yield "llama3", LlamaConfig(**sizes, rope_parameters=rope("llama3", **three))
    yield "llama-linear", LlamaConfig(**sizes, rope_parameters=rope("linear", factor=4.0))
    yield "llama-dynamic", LlamaConfig(**sizes, rope_parameters=rope("dynamic", factor=4.0))
    yarn = dict(factor=4.0, original_max_position_embeddings=32)
    yield "qwen2-yarn", Qwen2Config(**sizes, tie_word_embeddings=True, rope_parameters=rope("yarn", **yarn))
    window = dict(use_sliding_window=True, sliding_window=9, max_window_layers=1)
    yield "qwen2-window", Qwen2Config(**sizes, tie_word_embeddings=False, rope_parameters=theta, **window)
    yield "qwen3", Qwen3Config(**sizes, head_dim=6, tie_word_embeddings=True, rope_parameters=theta)
    yield "mistral", MistralConfig(**sizes, head_dim=6, sliding_window=7, rope_parameters=theta)
    deeper = {**sizes, "num_hidden_layers": 4}
    yield "smollm3", SmolLM3Config(**deeper, tie_word_embeddings=True, rope_parameters=theta)
    ropes = {"full_attention": rope("linear", factor=2.0), "sliding_attention": {"rope_theta": 100.0, "rope_type": "default"}}
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    local = dict(layer_types=kinds, sliding_window=11, query_pre_attn_scalar=10, head_dim=8)
    deeper = {**sizes, "num_hidden_layers": 3}
    yield "gemma3", Gemma3TextConfig(**deeper, **local, tie_word_embeddings=True, rope_parameters=ropes)


def logits(path):
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        return model(torch.tensor([TOKENS])).logits[0, KEPT]


def old_spelling(path):
    """Rewrites config.json with the keys of transformers 4."""
    config = json.loads(path.read_text())
    ropes = config.pop("rope_parameters")
    config["torch_dtype"] = config.pop("dtype")
    config["rope_theta"] = ropes.pop("rope_theta")
    config["rope_scaling"] = {"type": ropes["rope_type"], "factor": ropes["factor"]}
    path.write_text(json.dumps(config, indent=2) + "\n")


def write():
    for number, (name, config) in enumerate(configs()):
        torch.manual_seed(number)
        model = AutoModelForCausalLM.from_config(config)
        for key, weight in model.named_parameters():
            spread = {"norm": 0.3, "bias": 0.5}.get(next((k for k in ("norm", "bias") if k in key), ""), 0.35)
            centre = 1.0 if "norm" in key and name != "gemma3" else 0.0
            weight.data = centre + spread * torch.randn_like(weight)
        path = HERE / name
        shutil.rmtree(path, ignore_errors=True)
        model.to(torch.bfloat16).save_pretrained(path)
        if name == "llama-linear":
            old_spelling(path / "config.json")
        for other in path.iterdir():
            if other.name not in ("config.json", "model.safetensors"):
                other.unlink()
        rows = [[round(value, 6) for value in row] for row in logits(path).tolist()]
        fixture = {"tokens": TOKENS, "positions": KEPT, "logits": rows}
        (path / "logits.json").write_text(json.dumps(fixture) + "\n")
        print(name, sum(file.stat().st_size for file in path.iterdir()), "bytes")


def compare(paths):
    for path in map(Path, paths):
        wanted = json.loads((HERE / path.name / "logits.json").read_text())["logits"]
        print(f"{path.name}: largest difference {(logits(path) - torch.tensor(wanted)).abs().max().item():.1e}")


if __name__ == "__main__":
    compare(sys.argv[1:]) if len(sys.argv) > 1 else write()
