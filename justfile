# Recipes are thin: all behaviour is in the binary, see `qstill --help`.
#
# There is one profile, --release, and one form of each cargo command: no `-p` and no feature flags. A selection
# of packages changes which features cargo unifies, and with them burn and its kernels are compiled anew, which
# takes about 15 minutes on 2 cores.

# Arguments reach the shell as "$@", so that spaces and quotes in them survive.
set positional-arguments
# A command that fails has said why; its exit code is handed on as it is.
set no-exit-message

qstill := quote(env('CARGO_TARGET_DIR', 'target') / 'release/qstill')

[private]
default:
    @{{ just_executable() }} --justfile {{ quote(justfile()) }} --list --unsorted

[private]
build:
    @cargo build --release --locked

# Two rounds of self-play on generated word problems: no download, no GPU, no server
[group('start')]
demo *ARGS: build
    @{{ qstill }} run --preset demo --run runs/demo "$@"

# GSM8K and a real model: DATA=folder MODEL=folder [ENDPOINT=url] [PRESET=gsm8k-base] [RUN=folder] [search.samples=4 ...]
[group('start')]
gsm8k *ARGS:
    #!/bin/sh
    set -eu
    data='' model='' endpoint='' preset='gsm8k' run='' previous=''
    # A TOML string of any text, so that a folder called 2024 stays a string.
    quoted() { printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"; }
    for word do
        shift
        case "$word" in
            DATA=*) data=${word#*=} ;;
            MODEL=*) model=${word#*=} ;;
            ENDPOINT=*) endpoint=${word#*=} ;;
            PRESET=*) preset=${word#*=} ;;
            RUN=*) run=${word#*=} ;;
            [a-z]*.*=*) [ "$previous" = --set ] || set -- "$@" --set; set -- "$@" "$word" ;;
            *) set -- "$@" "$word" ;;
        esac
        previous=$word
    done
    if [ -z "$data" ] || [ -z "$model" ]; then
        echo 'usage: just gsm8k DATA=folder-with-train.jsonl-and-test.jsonl MODEL=hugging-face-folder [ENDPOINT=http://host:port/v1] [PRESET=gsm8k-base] [RUN=runs/gsm8k]' >&2
        exit 64
    fi
    if [ -n "$endpoint" ]; then
        preset="$preset-endpoint"
        set -- --set "endpoint.url=$(quoted "$endpoint")" "$@"
    fi
    cargo build --release --locked
    exec {{ qstill }} run --preset "$preset" --run "${run:-runs/$preset}" \
        --set "problems.train_files=[$(quoted "$data/train.jsonl")]" \
        --set "problems.test_files=[$(quoted "$data/test.jsonl")]" \
        --set "model.path=$(quoted "$model")" "$@"

# Start a run from a configuration file, or do what is outstanding of it
[group('run')]
run CONFIG *ARGS: build
    @{{ qstill }} run --config "$@"

# Go on with a run that was interrupted
[group('run')]
resume RUN *ARGS: build
    @{{ qstill }} resume "$@"

# What is done, what is outstanding, and why
[group('run')]
status RUN *ARGS: build
    @{{ qstill }} status "$@"

# Show the rows of a run, a stage or a Parquet file
[group('run')]
inspect PATH *ARGS: build
    @{{ qstill }} inspect "$@"

# Show one problem through all tables: its search trees, solutions, verdicts, answers
[group('run')]
show RUN PROBLEM *ARGS: build
    @{{ qstill }} show "$@"

# Compare two runs, or two rounds of one: settings, rows, and which problems each solves
[group('run')]
diff RUN *ARGS: build
    @{{ qstill }} diff "$@"

# Write a run as one page of HTML (--open shows it in a browser)
[group('run')]
report RUN *ARGS: build
    @{{ qstill }} report "$@"

# Compare searches at equal budgets, or ways to choose an answer among samples (--select 4,8,16)
[group('run')]
bakeoff RUN *ARGS: build
    @{{ qstill }} bakeoff "$@"

# Train students in several ways on what a run has found, and compare them
[group('run')]
ablate RUN *ARGS: build
    @{{ qstill }} ablate "$@"

# How many solutions are right for the right reason (generated word problems)
[group('run')]
audit RUN *ARGS: build
    @{{ qstill }} audit "$@"

# What all rounds kept as JSON lines: just export runs/mine > rows.jsonl; for the Hub: just export runs/mine DIR
[group('run')]
export RUN *ARGS: build
    @{{ qstill }} export "$@"

# Judge stored solutions anew without sampling, and show what changes
[group('run')]
regrade RUN *ARGS: build
    @{{ qstill }} regrade "$@"

# Check whether a verifier tells right from wrong: just check-verifier --config run.toml
[group('run')]
check-verifier *ARGS: build
    @{{ qstill }} check-verifier "$@"

# Judge predicted answers against gold answers in a JSON lines or Parquet file
[group('run')]
grade FILE *ARGS: build
    @{{ qstill }} grade "$@"

# Generate or read the problems and fix their splits
[group('stages')]
problems RUN *ARGS: build
    @{{ qstill }} stage problems "$@"

# Search for solutions with the round's policy
[group('stages')]
search RUN *ARGS: build
    @{{ qstill }} stage search "$@"

# Judge every solution exactly
[group('stages')]
verify RUN *ARGS: build
    @{{ qstill }} stage verify "$@"

# Choose the training rows; the others are dropped with a reason (--explain SOLUTION_ID tells one's story)
[group('stages')]
curate RUN *ARGS: build
    @{{ qstill }} curate "$@"

# Learn step values from the search trees (value.model)
[group('stages')]
value RUN *ARGS: build
    @{{ qstill }} stage value "$@"

# Fine-tune the student on what was kept
[group('stages')]
train RUN *ARGS: build
    @{{ qstill }} stage train "$@"

# Measure base, student and teacher on the held-out problems
[group('stages')]
evaluate RUN *ARGS: build
    @{{ qstill }} stage evaluate "$@"

# All tests; arguments go to cargo nextest, or to cargo test where that is not installed
[group('development')]
test *ARGS:
    #!/bin/sh
    set -eu
    if command -v cargo-nextest >/dev/null; then
        exec cargo nextest run --release --locked "$@"
    fi
    exec cargo test --release --locked "$@"

# Formatting, clippy without warnings, licences and sources of the dependencies
[group('development')]
lint: style deny

# Measure speed: `just bench train`, `generate`, `search`, `verify` (the grader) or `curate`
[group('development')]
bench *ARGS: build
    @{{ qstill }} bench "$@"

# Kill, starve, cut and flip a tiny run at every place: slice (minutes) or full (hours), and which parts. Needs strace
[group('development')]
torture HOW='slice' *PARTS:
    #!/bin/sh
    set -eu
    how=${1:-slice}
    [ "$#" -eq 0 ] || shift
    parts=$(echo "$*" | tr ' ' ',')
    [ -z "$parts" ] || export QSTILL_TORTURE_ONLY="$parts"
    QSTILL_TORTURE="$how" exec cargo test --release --locked --test torture

# What must pass before a change lands: lint, a slice of the torture, test
[group('development')]
ci: style deny-if-installed torture test

[private]
style:
    cargo fmt --all --check
    cargo clippy --release --all-targets --locked -- -D warnings

[private]
deny:
    @command -v cargo-deny >/dev/null || { echo 'lint needs cargo-deny: cargo install --locked cargo-deny' >&2; exit 1; }
    cargo deny --locked --log-level error check licenses bans sources

[private]
deny-if-installed:
    #!/bin/sh
    set -eu
    if ! command -v cargo-deny >/dev/null; then
        echo 'cargo-deny is not installed: licences and sources of the dependencies were not checked' >&2
        exit 0
    fi
    exec {{ just_executable() }} --justfile {{ quote(justfile()) }} deny
