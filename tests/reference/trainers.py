"""The tables and exports of a run, read by TRL's own functions and by its trainers.

    VENV/bin/python tests/reference/trainers.py runs/demo [--qstill target/release/qstill]

Needs trl (1.16), datasets, transformers and torch. For each form: is it a conversation to TRL, and is what its
trainers make of a row, token by token, what the student's own chat template makes of question and answer?
"""
import argparse
import glob
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from datasets import load_dataset
from transformers import AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer
from trl.data_utils import apply_chat_template, is_conversational


def check(holds, what):
    print("ok  " if holds else "NOT ", what)
    if not holds:
        sys.exit(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--qstill", default="target/release/qstill")
    args = parser.parse_args()
    run = Path(args.run)
    last = max(run.glob("round-*/student"))
    tokenizer = AutoTokenizer.from_pretrained(last)
    scratch = Path(tempfile.mkdtemp())

    def exported(*arguments):
        file = scratch / ("-".join(("rows",) + arguments) + ".jsonl")
        with open(file, "w") as out:
            subprocess.run([args.qstill, "--quiet", "export", str(run), *arguments], stdout=out, check=True)
        return load_dataset("json", data_files=str(file), split="train")

    def table(name):
        files = sorted(glob.glob(str(last.parent / f"curate/shards/*-{name}-*.parquet")))
        return load_dataset("parquet", data_files=files, split="train")

    def rendered(question, answer):
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return tokenizer.apply_chat_template(turns, tokenize=False)

    def config(kind, **more):
        return kind(output_dir=str(scratch / "out"), report_to=[], use_cpu=True, max_steps=2,
                    per_device_train_batch_size=2, max_length=None, save_strategy="no", bf16=False, **more)

    for name, rows in [("table kept", table("kept")), ("export", exported())]:
        check(is_conversational(rows[0]), f"{name}: a conversation")
        check("prompt" not in rows.column_names and "completion" not in rows.column_names, f"{name}: one form")
        said = [turn["content"] for turn in rows[0]["messages"]]
        check(apply_chat_template(rows[0], tokenizer)["text"] == rendered(*said), f"{name}: the student's template")
        trainer = SFTTrainer(model=str(last), args=config(SFTConfig), train_dataset=rows.select(range(8)))
        ids = trainer.train_dataset[0]["input_ids"]
        expected = tokenizer(rendered(*said), add_special_tokens=False)["input_ids"]
        check(ids == expected, f"{name}: SFTTrainer learns the same {len(ids)} tokens")
        loss = trainer.train().training_loss
        check(0 < loss < 20, f"{name}: it trains, loss {loss:.2f}")

    rows = exported("--form", "prompt-completion")
    check(is_conversational(rows[0]), "prompt-completion: a conversation")
    question, answer = rows[0]["prompt"][0]["content"], rows[0]["completion"][0]["content"]
    made = apply_chat_template(rows[0], tokenizer)
    check(made["prompt"] + made["completion"] == rendered(question, answer), "prompt-completion: the same text")
    trainer = SFTTrainer(model=str(last), args=config(SFTConfig), train_dataset=rows.select(range(8)))
    batch = trainer.data_collator([trainer.train_dataset[0]])
    learned = [label for label in batch["labels"][0].tolist() if label != -100]
    check(tokenizer.decode(learned).startswith(answer), "prompt-completion: the answer alone is learned")

    pairs = table("preferences")
    check(is_conversational(pairs[0]), "preferences: a conversation")
    made = apply_chat_template(pairs[0], tokenizer)
    for side in ("chosen", "rejected"):
        text = rendered(pairs[0]["prompt"][0]["content"], pairs[0][side][0]["content"])
        check(made["prompt"] + made[side] == text, f"preferences: {side} as the student would write it")
    trainer = DPOTrainer(model=str(last), args=config(DPOConfig), train_dataset=pairs.select(range(4)))
    check(trainer.train().training_loss > 0, "preferences: DPOTrainer trains")

    labels = exported("--table", "step-labels")
    row = labels[0]
    check(isinstance(row["prompt"], str) and len(row["completions"]) == len(row["labels"]), "step labels: texts")
    print(json.dumps({"kept": len(table("kept")), "preferences": len(pairs), "step_labels": len(labels)}))


if __name__ == "__main__":
    main()
