"""The rules of a 4x4 sudoku, as qstill asks for them (docs/rules.md).

A step writes a digit into the first empty cell where neither its row nor its column nor its box has it yet: `b1 2` is
column b, row 1. Some of these digits lead nowhere, which shows only later.
"""

import json
import sys

# The cells in the same row, column or box as each cell.
PLACES = [(cell // 4, cell % 4, cell // 8 * 2 + cell % 4 // 2) for cell in range(16)]
PEERS = [[q for q in range(16) if q != p and any(a == b for a, b in zip(PLACES[p], PLACES[q]))] for p in range(16)]
NAMES = ["abcd"[p % 4] + str(p // 4 + 1) for p in range(16)]


def told(grid, empty):
    """A state: the grid, and which cells were empty. Once it is full, the answer is what was written there."""
    full = {} if "." in grid else {"answer": " ".join(grid[cell] for cell in empty)}
    return {"state": [grid, empty], "left": grid.count("."), **full}


def moves(state):
    grid, empty = state
    cell = grid.find(".")
    return [
        {"step": f"{NAMES[cell]} {digit}", **told(grid[:cell] + digit + grid[cell + 1 :], empty)}
        for digit in "1234"
        if cell >= 0 and all(grid[other] != digit for other in PEERS[cell])
    ]


def start(problem):
    grid = problem["problem"].replace("/", "").replace(" ", "")
    return told(grid, [cell for cell in range(16) if grid[cell] == "."])


if __name__ == "__main__":
    for line in sys.stdin:
        ask = json.loads(line)
        if "start" in ask:
            answer = {"states": [start(problem) for problem in ask["start"]]}
        else:
            answer = {"moves": [moves(state) for state in ask["moves"]]}
        print(json.dumps({"id": ask["id"], **answer}))
