#!/usr/bin/env python3
"""Whether PEFT loads an adapter, and transformers the student that it is merged into, with the same logits.

    python3 -m venv VENV && VENV/bin/pip install torch transformers peft
    VENV/bin/python tests/reference/lora.py path/to/base runs/NAME/round-1/adapter runs/NAME/round-1/student
"""

import argparse

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("adapter")
    parser.add_argument("student")
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.student)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "A pen costs 3 dollars. What do 4 pens cost?"}], add_generation_prompt=True, tokenize=False
    )
    tokens = tokenizer(text + "3*4=12\n#### 12", add_special_tokens=False, return_tensors="pt")["input_ids"]

    def logits(model):
        with torch.inference_mode():
            return model.eval()(tokens).logits[0].double()

    base = AutoModelForCausalLM.from_pretrained(options.base, dtype=torch.float32)
    plain = logits(base)
    adapted = logits(PeftModel.from_pretrained(base, options.adapter))
    del base
    student = logits(AutoModelForCausalLM.from_pretrained(options.student, dtype=torch.float32))
    far = lambda a, b: (a - b).abs().max().item()
    print(f"largest difference of a logit: student and adapter {far(student, adapted):.1e}, student and base {far(student, plain):.1e}")


if __name__ == "__main__":
    main()
