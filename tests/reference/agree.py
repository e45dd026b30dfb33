#!/usr/bin/env python3
"""Whether qstill and transformers give the same greedy answers in f32, and the same log-probabilities.

    python3 -m venv VENV && VENV/bin/pip install torch transformers safetensors
    VENV/bin/python tests/reference/agree.py path/to/smollm2 path/to/gsm8k/test.jsonl --limit 50
"""

import argparse
import json
import subprocess

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("questions")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--device", default="cpu", help="of qstill: cpu or wgpu")
    parser.add_argument("--qstill", default="target/release/qstill")
    options = parser.parse_args()
    command = [options.qstill, "--quiet", "answer", options.model, options.questions, "--limit", str(options.limit)]
    command += ["--max-tokens", str(options.tokens), "--device", options.device]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    same, worst = 0, 0.0
    for line in map(json.loads, lines):
        prompt = tokenizer.apply_chat_template([{"role": "user", "content": line["question"]}], add_generation_prompt=True, return_tensors="pt")
        prompt = prompt if isinstance(prompt, torch.Tensor) else prompt["input_ids"]
        with torch.inference_mode():
            out = model.generate(
                prompt, attention_mask=torch.ones_like(prompt), do_sample=False, temperature=None, top_p=None, top_k=None,
                max_new_tokens=options.tokens, return_dict_in_generate=True, output_logits=True,
            )
        tokens = out.sequences[0, prompt.shape[1]:].tolist()
        # qstill ends an answer after a line that starts with ####.
        text = tokenizer.decode(tokens, skip_special_tokens=True)
        agrees = text == line["prediction"] or (line["finished"] and text.startswith(line["prediction"]))
        same += agrees
        if agrees:
            logprobs = [torch.log_softmax(l[0].double(), 0)[t].item() for l, t in zip(out.logits, tokens)][: line["tokens"]]
            worst = max(worst, abs(sum(logprobs) - line["logprob"]) / line["tokens"])
        else:
            print(f"row {line['row']} differs:\n  transformers: {text!r}\n  qstill:       {line['prediction']!r}", flush=True)
    print(f"{same} of {len(lines)} greedy answers are the same; largest difference of the mean log-probability {worst:.1e}")


if __name__ == "__main__":
    main()
