"""`qstill sql` and DuckDB answer the same questions to a run.

    python3 -m venv /tmp/duck && /tmp/duck/bin/pip install duckdb
    /tmp/duck/bin/python tests/reference/sql.py target/release/qstill runs/demo

The run needs two rounds with `gate` and `evaluate`, as the demo has. DuckDB reads the Parquet files through the
views of `qstill sql --views duckdb`. A question is asked in the same words where both dialects have them; rows
are compared in order, texts and whole numbers exactly, other numbers to seven digits.
"""

import json
import math
import subprocess
import sys

import duckdb

SAME = None
QUESTIONS = [
    # Counts, groups, rounds.
    ("SELECT split, count(*) n, avg(difficulty) d FROM problems GROUP BY 1 ORDER BY 1", SAME),
    ("SELECT round, algorithm, policy, count(*) n, sum(tokens) t FROM solutions GROUP BY 1, 2, 3 ORDER BY 1, 2, 3", SAME),
    ("SELECT round, status, count(*) n, max(depth) d, avg(q) q FROM nodes GROUP BY 1, 2 ORDER BY 1, 2", SAME),
    ("SELECT round, verdict, reason, count(*) n FROM verdicts GROUP BY 1, 2, 3 ORDER BY 1, 2, 3", SAME),
    ("SELECT round, reason, count(*) n, count(DISTINCT problem_id) p FROM dropped GROUP BY 1, 2 ORDER BY 1, 2", SAME),
    ("SELECT round, origin, count(*) n, avg(weight) w, avg(pass_rate) r FROM kept GROUP BY 1, 2 ORDER BY 1, 2", SAME),
    ("SELECT round, min(loss) low, max(step) steps, sum(grad_norm) g FROM losses GROUP BY 1 ORDER BY 1", SAME),
    ("SELECT round, reason, count(*) n, sum(margin) m FROM preferences GROUP BY 1, 2 ORDER BY 1, 2", SAME),
    # Conditions that are left to the files.
    ("SELECT count(*) n FROM nodes WHERE round = 2 AND visits > 1", SAME),
    ("SELECT problem_id, question FROM problems WHERE split = 'test' AND difficulty = 4 ORDER BY 1 LIMIT 7", SAME),
    # Joins.
    ("""SELECT s.round, v.verdict, count(*) n, avg(s.search_tokens) t FROM solutions s JOIN verdicts v
        ON v.solution_id = s.solution_id AND v.round = s.round GROUP BY 1, 2 ORDER BY 1, 2""", SAME),
    ("""SELECT p.difficulty, count(*) n, count(k.solution_id) k FROM problems p LEFT JOIN kept k
        ON k.problem_id = p.problem_id AND k.round = 1 WHERE p.split = 'train' GROUP BY 1 ORDER BY 1""", SAME),
    ("""SELECT n.round, n.status, p.status above, count(*) n FROM nodes n JOIN nodes p
        ON p.round = n.round AND p.problem_id = n.problem_id AND p.tree_id = n.tree_id AND p.node_id = n.parent_id
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""", SAME),
    ("""SELECT count(*) n FROM problems p WHERE split = 'train'
        AND NOT EXISTS (SELECT 1 FROM kept k WHERE k.problem_id = p.problem_id)""", SAME),
    ("""SELECT s.problem_id FROM evaluation s JOIN evaluation b ON b.problem_id = s.problem_id AND b.sample = s.sample
        WHERE s.stage = 'evaluate' AND b.stage = 'evaluate' AND s.model = 'student' AND s.round = 2
        AND b.model = 'base' AND s.sample = 0 AND s.correct AND NOT b.correct ORDER BY 1""", SAME),
    # Windows and subqueries.
    ("""SELECT round, count(*) n FROM (SELECT round, row_number() OVER
        (PARTITION BY round, problem_id ORDER BY solution_id) nth FROM solutions) t WHERE nth > 3 GROUP BY 1 ORDER BY 1""", SAME),
    ("""SELECT stage, round, model, sum(tokens) t, sum(CASE WHEN correct THEN 1 ELSE 0 END) solved FROM evaluation
        WHERE sample = 0 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""", SAME),
    # Nested columns.
    ("SELECT e.value->>'text' step, count(*) n FROM solutions, json_each(steps) e GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20",
     "SELECT e.s.text step, count(*) n FROM (SELECT unnest(steps) s FROM solutions) e GROUP BY 1 ORDER BY n DESC, 1 LIMIT 20"),
    ("""SELECT f.value->>'kind' kind, count(*) n, max(f.value->>'step') last FROM verdicts, json_each(faults) f
        GROUP BY 1 ORDER BY 1""",
     "SELECT e.f.kind kind, count(*) n, max(e.f.step) \"last\" FROM (SELECT unnest(faults) f FROM verdicts) e GROUP BY 1 ORDER BY 1"),
    ("""SELECT v.first_wrong + 1 nth, count(*) n, min(s.steps->v.first_wrong->>'text') least FROM verdicts v
        JOIN solutions s USING (solution_id) WHERE v.first_wrong IS NOT NULL GROUP BY 1 ORDER BY 1""",
     """SELECT v.first_wrong + 1 nth, count(*) n, min(s.steps[v.first_wrong + 1].text) least FROM verdicts v
        JOIN solutions s USING (solution_id) WHERE v.first_wrong IS NOT NULL GROUP BY 1 ORDER BY 1"""),
    ("SELECT problem_id, json_array_length(labels) n, labels, completions FROM step_labels ORDER BY solution_id, round LIMIT 50",
     "SELECT problem_id, len(labels) n, labels, completions FROM step_labels ORDER BY solution_id, round LIMIT 50"),
    ("SELECT sum(json_array_length(checks)) n, count(*) rows FROM verdicts",
     "SELECT sum(len(checks)) n, count(*) \"rows\" FROM verdicts"),
]


def same(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a == b
    if isinstance(a, float) or isinstance(b, float):
        return a is not None and b is not None and math.isclose(float(a), float(b), rel_tol=1e-7, abs_tol=1e-12)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, str) != isinstance(b, str) and a is not None and b is not None:
        return str(a) == str(b)
    return a == b


def main():
    program, run = sys.argv[1:3]
    views = subprocess.run([program, "sql", run, "--views", "duckdb"], check=True, capture_output=True, text=True).stdout
    duck = duckdb.connect()
    duck.execute(views)
    wrong = 0
    for ours, theirs in QUESTIONS:
        said = subprocess.run([program, "sql", run, ours, "--format", "json"], capture_output=True, text=True)
        if said.returncode:
            print(f"FAILED {' '.join(ours.split())}\n  {said.stderr.strip()}")
            wrong += 1
            continue
        mine = [list(row.values()) for row in json.loads(said.stdout)]
        other = [list(row) for row in duck.execute(theirs or ours).fetchall()]
        ok = len(mine) == len(other) and all(map(same, mine, other))
        wrong += not ok
        print(f"{'same' if ok else 'DIFFERENT'}  {len(mine):4} rows  {' '.join(ours.split())[:100]}")
        if not ok:
            pairs = [(a, b) for a, b in zip(mine, other) if not same(a, b)]
            print(f"  {len(mine)} and {len(other)} rows; first difference: {pairs[:1]}")
    print(f"{len(QUESTIONS) - wrong} of {len(QUESTIONS)} the same")
    sys.exit(wrong > 0)


main()
