#!/usr/bin/env python3
"""Draws the figures of the documentation as SVG, from the JSON files of runs. Standard library only.

    python3 docs/figures.py loop
    python3 docs/figures.py operations runs/demo/evaluation.json
    python3 docs/figures.py countdown runs/countdown4/round-1/bakeoff/plot.json

`loop` is a static drawing, `operations` shows the share solved by number of operations (rows[].by_difficulty of an
evaluation), `countdown` the share solved against the budget (rows with search, budget and share of a bakeoff). Each
writes docs/NAME.svg; --output FILE writes elsewhere.
"""

import argparse
import json
import math
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH = 700
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
INK, GREY, GRID, PAPER = "#222222", "#555555", "#dddddd", "#ffffff"
# Okabe and Ito's palette, without its yellow, which is too light for lines on white.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"]
DASHES = ["", "7 3", "2 3", "9 3 2 3", "", "7 3", "2 3"]


class Svg:
    """Elements of a drawing in their order."""

    def __init__(self, height, title):
        self.height = height
        self.parts = [f"<title>{escape(title)}</title>", f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>']

    def add(self, tag, text=None, **attributes):
        shown = "".join(f' {key.replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items() if value != "")
        self.parts.append(f"<{tag}{shown}/>" if text is None else f"<{tag}{shown}>{escape(text)}</{tag}>")

    def text(self, x, y, text, size=13, anchor="start", fill=INK, weight="", transform=""):
        self.add("text", text, x=f"{x:.1f}", y=f"{y:.1f}", font_size=size, text_anchor=anchor, fill=fill, font_weight=weight,
                 transform=transform)

    def line(self, x1, y1, x2, y2, stroke=GRID, width=1):
        self.add("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", stroke=stroke, stroke_width=width)

    def arrow(self, points, stroke=GREY):
        """A polyline with a head at its end."""
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.add("path", d=path, fill="none", stroke=stroke, stroke_width=1.6)
        (x1, y1), (x, y) = points[-2:]
        angle = math.atan2(y - y1, x - x1)
        corners = [(x - 9 * math.cos(angle + turn), y - 9 * math.sin(angle + turn)) for turn in (-0.4, 0.4)]
        self.add("polygon", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in [(x, y), *corners]), fill=stroke)

    def render(self):
        head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
                f'height="{self.height}" font-family="{FONT}" role="img">')
        return "\n".join([head, *self.parts, "</svg>"]) + "\n"


def loop():
    """Problems -> search -> verify -> curate -> train -> gate -> evaluate, and back to search."""
    svg = Svg(232, "The loop of qstill: an accepted student becomes the next round's policy")
    width, tall, blue, orange = 132, 62, COLOURS[0], COLOURS[1]

    def box(left, top, name, *lines, stroke=blue, fill="#eef5fb"):
        svg.add("rect", x=left, y=top, width=width, height=tall, rx=8, fill=fill, stroke=stroke, stroke_width=1.6)
        svg.text(left + width / 2, top + 21, name, 15, "middle", weight=600)
        for i, line in enumerate(lines):
            svg.text(left + width / 2, top + 38 + 15 * i, line, 12, "middle", GREY)

    columns = [20, 196, 372, 548]
    first, second = 16, 154
    middle = lambda top: top + tall / 2
    box(columns[0], first, "problems", "questions with", "known answers", stroke=GREY, fill="#f5f5f5")
    box(columns[1], first, "search", "a policy proposes,", "many paths each")
    box(columns[2], first, "verify", "exact judgement", "of every path")
    box(columns[3], first, "curate", "keep, or drop", "with a reason")
    box(columns[3], second, "train", "the student learns", "from what is kept")
    box(columns[2], second, "gate", "accept the student,", "or roll back")
    box(columns[0], second, "evaluate", "student and base", "on test problems", stroke=GREY, fill="#f5f5f5")
    for left, right in zip(columns, columns[1:]):
        svg.arrow([(left + width, middle(first)), (right - 3, middle(first))])
    svg.arrow([(columns[3] + width / 2, first + tall), (columns[3] + width / 2, second - 3)])
    svg.arrow([(columns[3], middle(second)), (columns[2] + width + 3, middle(second))])
    svg.arrow([(columns[2], middle(second)), (columns[0] + width + 3, middle(second))])
    policy, gate, half = columns[1] + width / 2, columns[2] + width / 2, (first + tall + second) / 2
    svg.arrow([(gate, second), (gate, half), (policy, half), (policy, first + tall + 3)], stroke=orange)
    svg.text((policy + gate) / 2, half - 8, "accepted student:", 12, "middle", orange, weight=600)
    svg.text((policy + gate) / 2, half + 18, "policy of the next round", 12, "middle", orange, weight=600)
    return svg


class Axes:
    """A plot area with a share from 0% to 100% upwards."""

    def __init__(self, svg, left=64, top=46, right=170, bottom=58):
        self.svg, self.left, self.top = svg, left, top
        self.right, self.bottom = WIDTH - right, svg.height - bottom

    def y(self, share):
        return self.bottom - share * (self.bottom - self.top)

    def frame(self, title, below, ticks):
        """Grid, labels and `ticks`, pairs of a place and a text."""
        self.svg.text(self.left, 24, title, 15, weight=600)
        for percent in range(0, 101, 20):
            y = self.y(percent / 100)
            self.svg.line(self.left, y, self.right, y)
            self.svg.text(self.left - 8, y + 4, f"{percent}%", 12, "end", GREY)
        self.svg.line(self.left, self.bottom, self.right, self.bottom, INK)
        for x, text in ticks:
            self.svg.line(x, self.bottom, x, self.bottom + 5, INK)
            self.svg.text(x, self.bottom + 20, text, 12, "middle", GREY)
        self.svg.text((self.left + self.right) / 2, self.bottom + 44, below, 13, "middle")
        middle = (self.top + self.bottom) / 2
        self.svg.text(16, middle, "problems solved (%)", 13, "middle", transform=f"rotate(-90 16 {middle:.1f})")

    def series(self, curves):
        """`curves` are pairs of a name and points (x, share). The legend at the right lists the highest curve first."""
        mean = lambda curve: sum(share for _, share in curve[1]) / len(curve[1])
        for i, (name, points) in enumerate(sorted(curves, key=mean, reverse=True)):
            at = [(x, self.y(share)) for x, share in points]
            self.curve(at, i)
            left, y = self.right + 16, self.top + 10 + 24 * i
            self.curve([(left, y), (left + 32, y)], i)
            self.svg.text(left + 42, y + 4.5, name)

    def curve(self, points, style):
        path = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        colour, dash = COLOURS[style % len(COLOURS)], DASHES[style % len(DASHES)]
        self.svg.add("path", d=path, fill="none", stroke=colour, stroke_width=2.2, stroke_dasharray=dash)
        for x, y in points:
            self.svg.add("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3.4, fill=colour)


def operations(report):
    """A line per round: the student's share solved by number of operations; beside it the last search*."""
    rows = [row for row in report["rows"] if row["by_difficulty"]]
    students = [(f"student, round {row['round']}", row) for row in rows if row["model"] == "student"]
    searches = [("search*", row) for row in rows if row["model"] == "teacher"][-1:]
    chosen = students + searches
    if not chosen:
        raise SystemExit("no row has shares by number of operations: the source of its problems does not know them")
    numbers = sorted({number for _, row in chosen for number, _, _ in row["by_difficulty"]})
    svg = Svg(420, "Share of problems solved by number of operations")
    axes = Axes(svg)
    step = (axes.right - axes.left - 60) / max(len(numbers) - 1, 1)
    place = {number: axes.left + 30 + i * step for i, number in enumerate(numbers)}
    counts = {number: of for number, _, of in chosen[0][1]["by_difficulty"]}
    ticks = [(place[number], f"{number} (n={counts.get(number, '?')})") for number in numbers]
    split, total = chosen[0][1]["split"], chosen[0][1]["problems"]
    axes.frame(f"Solved, of {total:,} {split} problems", "operations in the problem (n: number of problems)", ticks)
    axes.series([(name, [(place[number], solved / of) for number, solved, of in row["by_difficulty"]]) for name, row in chosen])
    if searches:
        svg.text(axes.right + 16, axes.bottom + 30, "* policy and search, with", 11, fill=GREY)
        svg.text(axes.right + 16, axes.bottom + 44, "the gold answer as goal", 11, fill=GREY)
    return svg


def countdown(plot):
    """A line per search: share solved against the budget, on a logarithmic scale."""
    searches = {}
    for row in plot["rows"]:
        searches.setdefault(row["search"], []).append((row["budget"], row["share"]))
    budgets = sorted({row["budget"] for row in plot["rows"]})
    if not budgets:
        raise SystemExit("the bakeoff has no rows")
    svg = Svg(420, "Share of problems solved by budget")
    axes = Axes(svg)
    low, high = math.log(budgets[0]), math.log(budgets[-1])
    scale = (axes.right - axes.left - 40) / ((high - low) or 1)
    place = lambda budget: axes.left + 20 + (math.log(budget) - low) * scale
    title = f"Solved within a budget, {plot['problems']:,} {plot['split']} problems"
    axes.frame(title, f"budget per problem ({plot['unit']}, logarithmic)", [(place(b), f"{b:,}") for b in budgets])
    axes.series([(name, [(place(budget), share) for budget, share in sorted(points)]) for name, points in searches.items()])
    return svg


FIGURES = {"loop": (loop, False), "operations": (operations, True), "countdown": (countdown, True)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=list(FIGURES))
    parser.add_argument("data", nargs="?", type=Path, help="evaluation.json or plot.json; none for loop")
    parser.add_argument("--output", type=Path, help="default: docs/FIGURE.svg")
    options = parser.parse_args()
    draw, needs_data = FIGURES[options.figure]
    if needs_data != (options.data is not None):
        parser.error(f"{options.figure} takes {'one JSON file' if needs_data else 'no file'}")
    drawing = draw(json.loads(options.data.read_text())) if needs_data else draw()
    target = options.output or Path(__file__).parent / f"{options.figure}.svg"
    target.write_text(drawing.render())
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
