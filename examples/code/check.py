"""A verifier for Python functions: runs the gold answer, a list of `assert` lines, on the code of a solution.

qstill starts it (`verify.command`), gives it a line of JSON for each solution, and reads a line for each.
Each solution runs in a process of its own, without the user's environment, with limits of time and memory.
It is no sandbox: see docs/verifiers.md.
"""

import json
import resource
import signal
import subprocess
import sys

SECONDS = 3
MEGABYTES = 512
# How a process ends that used up its time.
SLOW = (-signal.SIGXCPU, -signal.SIGKILL)

# Counts the tests that pass. What the solution prints is not shown, so it cannot speak for the tests; and
# a solution that ends the process early has passed none.
HARNESS = """
import json, sys
said, sys.stdout = sys.stdout, None
code, tests = json.load(sys.stdin)
space = {"__name__": "solution"}
exec(code, space)
passed = 0
for test in tests:
    try:
        exec(test, dict(space))
        passed += 1
    except Exception:
        pass
print(json.dumps({"passed": passed}), file=said)
"""


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (MEGABYTES << 20, MEGABYTES << 20))


def code_of(answer):
    """The code between fences, or the text as it is."""
    lines = answer.strip().splitlines()
    return "\n".join(lines[1:-1]) if len(lines) > 1 and lines[0].startswith("```") else answer


def judge(ask):
    code, tests = code_of(ask["solution"]["final_answer"]), ask["gold"].splitlines()
    if not code.strip():
        return {"verdict": "wrong", "reason": "no_code", "score": 0}
    try:
        run = subprocess.run(
            [sys.executable, "-I", "-c", HARNESS],
            input=json.dumps([code, tests]),
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
            env={},
            preexec_fn=limit,
        )
        if run.returncode in SLOW:
            return {"verdict": "wrong", "reason": "too_slow", "score": 0}
        passed = json.loads(run.stdout)["passed"]
    except subprocess.TimeoutExpired:
        return {"verdict": "wrong", "reason": "too_slow", "score": 0}
    except (ValueError, KeyError, TypeError):
        return {"verdict": "wrong", "reason": "crashed", "score": 0}
    if passed == len(tests):
        return {"verdict": "correct", "reason": "passed", "score": 1}
    return {"verdict": "wrong", "reason": "tests_failed", "score": passed / len(tests)}


for line in sys.stdin:
    ask = json.loads(line)
    print(json.dumps({"id": ask["id"], **judge(ask)}), flush=True)
