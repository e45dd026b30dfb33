"""Makes train.jsonl and test.jsonl: questions of multiple choice about words and what they are.

A row has a question, four options as a list, and the place of the right one from 0, as MMLU has it.
"""

import json
import random

KINDS = {
    "an animal": "horse otter heron beetle salmon badger lizard goose mole crab",
    "a fruit": "apple pear banana raspberry grape lemon apricot fig melon quince",
    "a tool": "hammer saw chisel wrench drill rake shovel file axe pliers",
    "a colour": "red blue green yellow purple black brown grey pink white",
    "a piece of clothing": "coat scarf glove sock shirt hat belt apron skirt vest",
    "weather": "rain snow hail fog frost thunder wind drizzle sleet mist",
    "a piece of furniture": "chair table bed shelf desk sofa stool bench wardrobe cradle",
    "an instrument of music": "flute violin drum harp trumpet cello oboe lute tuba piano",
    "a part of the body": "elbow knee chin ankle thumb wrist heel shoulder ear hip",
    "a vehicle": "lorry bicycle tram ferry sledge barge taxi wagon canoe van",
}
WORDS = {kind: words.split() for kind, words in KINDS.items()}


def row(rng):
    kind = rng.choice(sorted(WORDS))
    options = [rng.choice(WORDS[kind])]
    for other in rng.sample(sorted(set(WORDS) - {kind}), 3):
        options.append(rng.choice(WORDS[other]))
    rng.shuffle(options)
    answer = next(at for at, option in enumerate(options) if option in WORDS[kind])
    return {"question": f"Which of these is {kind}?", "options": options, "answer": answer}


def write(split, count, seen):
    rng, rows = random.Random(split), []
    while len(rows) < count:
        made = row(rng)
        name = (made["question"], *sorted(made["options"]))
        if name not in seen:
            seen.add(name)
            rows.append(made)
    with open(f"{split}.jsonl", "w") as file:
        file.writelines(json.dumps(made) + "\n" for made in rows)


seen = set()
write("train", 240, seen)
write("test", 40, seen)
