"""Makes train.jsonl and test.jsonl: 4x4 sudokus with one solution each, of grids that no other file has."""

import itertools
import json
import random

from rules import PEERS

RANDOM = random.Random(4)


def solutions(grid, most=2):
    if "." not in grid:
        return [grid]
    cell = grid.index(".")
    found = []
    for digit in "1234":
        if all(grid[q] != digit for q in PEERS[cell]):
            found += solutions(grid[:cell] + digit + grid[cell + 1 :], most - len(found))
        if len(found) >= most:
            break
    return found


def puzzle(full, empty):
    """Empties cells in a random order as long as one solution is left."""
    grid = full
    for cell in RANDOM.sample(range(16), 16):
        if grid.count(".") == empty:
            break
        less = grid[:cell] + "." + grid[cell + 1 :]
        if len(solutions(less)) == 1:
            grid = less
    return grid


def lines(grid):
    return " / ".join(" ".join(grid[at : at + 4]) for at in range(0, 16, 4))


grids = sorted(solutions("." * 16, 1000))
RANDOM.shuffle(grids)
test, train = grids[:48], grids[48:]
for name, some, count in [("train", train, 4000), ("test", test, 100)]:
    seen = set()
    with open(f"{name}.jsonl", "w") as file:
        for full in itertools.cycle(some):
            grid = puzzle(full, RANDOM.randint(2, 6))
            if grid in seen:
                continue
            seen.add(grid)
            answer = " ".join(full[cell] for cell in range(16) if grid[cell] == ".")
            print(json.dumps({"question": lines(grid), "answer": answer}), file=file)
            if len(seen) == count:
                break
