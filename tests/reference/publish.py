"""A directory that `qstill export RUN DIR` wrote, taken as those take it who find it on the Hub.

    VENV/bin/python tests/reference/publish.py hub/demo

Needs datasets, trl, transformers and torch. Every config is loaded by `load_dataset`, with the columns and rows that
the card promises; the student is loaded and asked; and the trainers for solutions, pairs and steps do two steps each.
TRL has had none for steps since 1.14: with 1.13 that part runs, too.
"""
import argparse
import os
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp()

import datasets
import torch
import transformers
import trl
from datasets import get_dataset_config_names, load_dataset, load_dataset_builder
from huggingface_hub import DatasetCard, ModelCard
from transformers import (AutoModelForCausalLM, AutoModelForSequenceClassification,
                          AutoModelForTokenClassification, AutoTokenizer)
from trainers import check
from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer

try:
    from trl.experimental.prm import PRMConfig, PRMTrainer
except ImportError:
    PRMTrainer = None

ROWS = 16


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    directory = parser.parse_args().directory
    for package in (datasets, transformers, trl, torch):
        print(package.__name__, package.__version__)

    card = DatasetCard.load(Path(directory) / "README.md").data
    named = [config["config_name"] for config in card.to_dict()["configs"]]
    check(get_dataset_config_names(directory) == named, f"the card's configs: {', '.join(named)}")
    promised = {info["config_name"]: info for info in card.to_dict()["dataset_info"]}
    tables = {}
    for name in named:
        table = tables[name] = load_dataset(directory, name)
        rows = {split: len(rows) for split, rows in table.items()}
        expected = {split["name"]: split["num_examples"] for split in promised[name]["splits"]}
        read = load_dataset_builder(directory, name).info.splits or {}
        card_says = {split: read[split].num_examples for split in read}
        columns = [column["name"] for column in promised[name]["features"]]
        fits = rows == expected == card_says and all(part.column_names == columns for part in table.values())
        check(fits, f"load_dataset(.., '{name}'): {rows}, {len(columns)} columns")

    student = str(Path(directory) / "student")
    ModelCard.load(Path(student) / "README.md")
    tokenizer = AutoTokenizer.from_pretrained(student)
    model = AutoModelForCausalLM.from_pretrained(student)
    asked = tables["kept"]["train"][0]["messages"][:1]
    inputs = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = model.generate(**inputs, max_new_tokens=64)
    said = tokenizer.decode(said[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
    check(said != "", f"transformers: the student says {said!r}")

    def config(kind, **more):
        return kind(output_dir=tempfile.mkdtemp(), report_to=[], use_cpu=True, max_steps=2, bf16=False,
                    per_device_train_batch_size=2, save_strategy="no", disable_tqdm=True, **more)

    def trains(kind, trainer):
        loss = trainer.train().training_loss
        check(0 < loss < 20, f"{kind}: two steps, loss {loss:.3f}")

    def few(name):
        return tables[name]["train"].select(range(ROWS))

    trains("SFTTrainer on kept", SFTTrainer(student, config(SFTConfig, max_length=None), train_dataset=few("kept")))
    trains("DPOTrainer on preferences",
           DPOTrainer(student, args=config(DPOConfig, max_length=None), train_dataset=few("preferences")))
    scorer = AutoModelForSequenceClassification.from_pretrained(student, num_labels=1)
    trains("RewardTrainer on preferences",
           RewardTrainer(scorer, args=config(RewardConfig, max_length=None), train_dataset=few("preferences"),
                         processing_class=tokenizer))
    if PRMTrainer is None:
        print("--   this TRL has no trainer for steps")
        return
    judge = AutoModelForTokenClassification.from_pretrained(student, num_labels=2)
    trains("PRMTrainer on step_labels",
           PRMTrainer(judge, args=config(PRMConfig, max_length=None), train_dataset=few("step_labels"),
                      processing_class=tokenizer))


if __name__ == "__main__":
    main()
