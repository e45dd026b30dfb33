// Which plots the page has, from the facts.

/** Puts plots where the page has a place for them. */
function place(name, specs) {
  const host = document.querySelector(`[data-plots="${name}"]`);
  if (host) host.append(...specs.filter((spec) => spec.series.some((one) => one.points.length > 0)).map(plot));
}

const LOOKS = {
  student: { tone: "accent", dash: "" },
  "search*": { tone: "ink", dash: "7 4" },
  base: { tone: "mid", dash: "2 4" },
};
const share = { format: percent, mark: (x) => Math.round(100 * x) + "%", min: 0, max: 1 };
const point = (x, of) => ({ x, y: of.share, low: of.low, high: of.high, note: `${of.count} of ${of.of}` });

const models = Object.keys(LOOKS).filter((name) => facts.measured.some((row) => row.model === name));
const split = facts.measured[0]?.split ?? "test";
const last = (model) => facts.measured.filter((row) => row.model === model).at(-1);

place("results", [
  {
    title: `Solved ${split} problems, by round`,
    note: "One greedy answer of a model; any path of search*. Bars are 95% Wilson intervals.",
    x: { label: "round", whole: true },
    y: { label: "share solved", ...share },
    series: models.map((model, n) => ({
      name: model, ...LOOKS[model], shift: (n - 1) * 7,
      points: facts.measured.filter((row) => row.model === model).map((row) => point(row.round, row.solved)),
    })),
  },
  {
    title: "Solved, by difficulty",
    note: "The last round of each. Difficulty is the number of operations a problem was made of.",
    x: { label: "operations", whole: true },
    y: { label: "share solved", ...share },
    series: models.map((model, n) => ({
      name: model, ...LOOKS[model], shift: (n - 1) * 7,
      points: last(model).by_difficulty.map(([difficulty, of]) => point(difficulty, of)),
    })),
  },
  {
    title: "Tokens per solved problem",
    note: "All that was written, over the problems solved; dead ends of the search count. Logarithmic.",
    x: { label: "round", whole: true },
    y: { label: "tokens", log: true },
    series: models.map((model) => ({
      name: model, ...LOOKS[model],
      points: facts.measured.filter((row) => row.model === model && row.tokens_per_solved)
        .map((row) => ({ x: row.round, y: row.tokens_per_solved })),
    })),
  },
]);

if (facts.rounds.length > 1) {
  place("rounds", [
    {
      title: "Train problems solved by the search, by round",
      note: "With the known answer as its goal. Bars are 95% Wilson intervals.",
      x: { label: "round", whole: true },
      y: { label: "share solved", ...share },
      series: [{ name: "search*", ...LOOKS["search*"],
        points: facts.rounds.filter((round) => round.searched).map((round) => point(round.round, round.searched)) }],
    },
    {
      title: "Kept solutions, by round",
      x: { label: "round", whole: true },
      y: { label: "rows", min: 0, format: thousands },
      series: [{ name: "kept", tone: "accent", columns: true,
        points: facts.rounds.flatMap((round) => round.funnel.filter((count) => count.name === "kept")
          .map((count) => ({ x: round.round, y: count.count }))) }],
    },
  ]);
}

place("training", facts.losses.map((curve) => ({
  title: `Loss, round ${curve.round}`,
  note: "Mean over target tokens; neighbouring steps are averaged.",
  x: { label: "optimizer steps", min: 0 },
  y: { label: "nats", min: 0 },
  series: [
    { name: "training", tone: "mid", dash: "", dots: false, points: curve.loss.map(([x, y]) => ({ x, y })) },
    { name: "validation", tone: "accent", dash: "", points: curve.validation.map(([x, y]) => ({ x, y })) },
  ],
})));

place("distinct", [{
  title: "Distinct correct solutions of a problem",
  note: "Train problems by how many they have; duplicates are not counted.",
  x: { label: "distinct correct solutions", whole: true, mark: (x) => (x === 8 ? "8+" : x) },
  y: { label: "problems", min: 0, format: thousands },
  series: facts.distinct.map(([round, counts], n) => ({
    name: `round ${round}`, columns: true, tone: n === facts.distinct.length - 1 ? "accent" : TONES[1 + (n % 3)],
    points: most(counts, 8),
  })),
}]);

/** Counts by a number, from `limit` on together. */
function most(counts, limit) {
  const points = new Map();
  for (const [n, problems] of counts) {
    const x = Math.min(n, limit);
    points.set(x, (points.get(x) ?? 0) + problems);
  }
  return [...points].map(([x, y]) => ({ x, y, note: x === limit ? `${limit} or more` : "" }));
}

if (facts.break_even?.questions) {
  const { search_tokens: search, student_tokens: student, searching, training, questions } = facts.break_even;
  const ends = [0, 2 * questions];
  place("cost", [{
    title: "Tokens spent, by questions answered",
    note: "The student’s line begins with what it took to make it.",
    x: { label: "questions", min: 0, format: thousands },
    y: { label: "tokens", min: 0, format: short },
    series: [
      { name: "student", ...LOOKS.student, points: ends.map((x) => ({ x, y: searching + training + student * x })) },
      { name: "search*", ...LOOKS["search*"], points: ends.map((x) => ({ x, y: search * x })) },
      { name: "break-even", tone: "mid", line: false, legend: false,
        points: [{ x: questions, y: search * questions, note: "both have cost the same" }] },
    ],
  }]);
}

place("cost", [
  {
    title: "Expansions per solved problem",
    note: "States that the search expanded, over the train problems it solved.",
    x: { label: "round", whole: true },
    y: { label: "expansions", min: 0 },
    series: [{ name: "search*", tone: "mid", columns: true, points: perSolved("expansions") }],
  },
  {
    title: "Model tokens per solved problem",
    note: "Tokens that a language model generated, over the train problems it solved.",
    x: { label: "round", whole: true },
    y: { label: "tokens", min: 0 },
    series: [{ name: "search*", tone: "mid", columns: true, points: perSolved("search_tokens") }],
  },
].filter((spec) => spec.series[0].points.some((p) => p.y > 0)));

function perSolved(key) {
  const solved = facts.rounds.filter((round) => round.searched?.count > 0);
  return solved.map((round) => ({ x: round.round, y: round[key] / round.searched.count }));
}

place("values", facts.calibrations.flatMap((of) => [
  {
    title: `What it says, and what comes: round ${of.round}, ${of.level}`,
    note: "Each dot is a fifteenth of the states, by value.",
    diagonal: true,
    x: { label: "mean value", min: 0, max: 1 },
    y: { label: "share that led to a correct answer", min: 0, max: 1 },
    series: [{ name: "states", tone: "accent", dash: "", points: of.bins.map(([x, y]) => ({ x, y })) }],
  },
  {
    title: "Good states above bad ones, by depth",
    note: "AUROC among states of one depth; 0.5 is chance.",
    x: { label: "steps taken", whole: true },
    y: { label: "AUROC", min: 0.5, max: 1 },
    series: [{ name: "AUROC", tone: "ink", dash: "", points: of.by_depth.map(([x, y]) => ({ x, y })) }],
  },
]));

/** Series by a name, the one with the largest sum of scores in the accent colour. */
function named(rows, name, point, best) {
  const names = [...new Set(rows.map((row) => row[name]))];
  const score = (of) => rows.filter((row) => row[name] === of).reduce((sum, row) => sum + best(row), 0);
  const first = [...names].sort((a, b) => score(b) - score(a))[0];
  return names.map((of, n) => ({
    name: of, tone: of === first ? "accent" : ["ink", "mid", "soft"][n % 3], dash: DASHES[n % DASHES.length],
    points: rows.filter((row) => row[name] === of).map(point).filter((p) => p.y !== null),
  }));
}

for (const of of facts.bakeoffs) {
  const budget = { label: `budget, ${of.unit} a problem`, log: true };
  const score = (row) => row.share;
  place("bakeoff", [
    {
      title: `Solved at a budget, round ${of.round}`,
      note: of.goal === "verified" ? "The search knows the answer and stops when it is reached."
        : "The search spends its budget; solved is whether any of its paths is right.",
      x: budget,
      y: { label: "share solved", ...share },
      series: named(of.rows, "search", (row) =>
        ({ x: row.budget, y: row.share, low: row.low, high: row.high, note: `${row.solved} of ${row.problems}` }), score),
    },
    {
      title: `Cost of a solved problem, round ${of.round}`,
      note: `In ${of.unit}, over the problems solved. Both axes are logarithmic.`,
      x: budget,
      y: { label: of.unit, log: true },
      series: named(of.rows, "search", (row) => ({ x: row.budget, y: row.cost_per_solved }), score),
    },
  ]);
}

for (const of of facts.selections) {
  place("bakeoff", [{
    title: `An answer chosen among N samples, round ${of.round}`,
    note: "Expected accuracy; bars are 95% bootstrap intervals over problems.",
    x: { label: "samples", log: true },
    y: { label: "share right", ...share },
    series: named(of.rows, "judge", (row) => ({ x: row.n, y: row.accuracy, low: row.low, high: row.high }),
      (row) => (row.judge === "oracle" ? 0 : row.accuracy)),
  }]);
}

/** A large number in few letters. */
function short(number) {
  const [letter, by] = [["G", 1e9], ["M", 1e6], ["k", 1e3], ["", 1]].find(([, by]) => Math.abs(number) >= by) ?? ["", 1];
  return Number((number / by).toPrecision(3)) + letter;
}
