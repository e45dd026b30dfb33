// The explorer of search trees: a list of problems with filters, the tree of the chosen one, the order of its
// expansions, and its solutions.

(function explorer() {
  const section = document.getElementById("trees");
  const { explorer: known } = facts;
  if (!section || !known.problems.length) return;
  const find = (name) => section.querySelector(`[data-part="${name}"]`);
  const parts = Object.fromEntries(["search", "filter", "count", "list", "question", "answer", "round", "tree", "facts",
    "player", "play", "moment", "said", "view", "node", "solutions", "key"].map((name) => [name, find(name)]));
  const view = new TreeView(parts.view, describeNode);
  let [problem, trees, shown] = [null, [], []];

  // The list.
  const kinds = [...new Set(known.problems.flatMap((one) => one.kinds))].sort();
  const filters = [["", "All problems"], ["solved", "Solved"], ["unsolved", "Not solved"]]
    .concat(kinds.map((kind) => [kind, kind === "kept" ? "Kept" : `Dropped: ${kind}`]));
  parts.filter.append(...filters.map(([value, name]) => element("option", { value }, name)));

  function matches(one) {
    const [words, filter] = [parts.search.value.trim().toLowerCase(), parts.filter.value];
    const wanted = { "": true, solved: one.solved, unsolved: !one.solved }[filter] ?? one.kinds.includes(filter);
    return wanted && words.split(/\s+/).every((word) => (one.question + " " + one.id).toLowerCase().includes(word));
  }

  function list() {
    shown = known.problems.filter(matches);
    const row = (one) => {
      const note = [one.difficulty ? `difficulty ${one.difficulty}` : null, `${thousands(one.expansions)} expansions`,
        one.solved ? null : "not solved"].filter(Boolean).join(" · ");
      const button = element("button", { type: "button", "aria-current": String(one.id === problem) },
        element("span", { class: "ask" }, one.question), element("span", { class: "note" }, note));
      button.addEventListener("click", () => open(one.id));
      return element("li", {}, button);
    };
    parts.list.replaceChildren(...shown.map(row));
    parts.count.textContent = shown.length === known.problems.length
      ? `${shown.length} problems` : `${shown.length} of ${known.problems.length} problems`;
  }

  parts.list.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...parts.list.querySelectorAll("button")];
    const to = by && buttons[buttons.indexOf(document.activeElement) + by];
    if (!to) return;
    event.preventDefault();
    to.focus();
  });
  parts.search.addEventListener("input", list);
  parts.filter.addEventListener("change", list);

  // The chosen problem.
  function open(id) {
    const block = data("tree-" + id);
    if (!block) return;
    problem = id;
    const entry = known.problems.find((one) => one.id === id);
    parts.question.textContent = block.question;
    parts.answer.replaceChildren("known answer ", element("code", {}, block.answer),
      ` · problem ${id} · ${thousands(entry.expansions)} expansions, ${thousands(entry.tokens)} tokens of a model`);
    trees = block.rounds.flatMap((round) => round.trees.map((tree) => ({ round, tree, texts: block.texts })));
    const option = ({ round, tree }, n) =>
      element("option", { value: n }, `Round ${round.round}: ${tree.name}, ${thousands(tree.total)} nodes`);
    parts.tree.replaceChildren(...trees.map(option));
    const largest = trees.reduce((best, one, n) => (one.tree.total > trees[best].tree.total ? n : best), 0);
    parts.tree.value = String(largest);
    tree();
    for (const button of parts.list.querySelectorAll("button")) button.setAttribute("aria-current", "false");
    const at = shown.findIndex((one) => one.id === id);
    parts.list.children[at]?.firstChild.setAttribute("aria-current", "true");
    parts.list.children[at]?.scrollIntoView({ block: "nearest" });
  }

  function tree() {
    stop();
    const { round, tree: packed, texts } = trees[Number(parts.tree.value)];
    const made = new Tree(packed, texts);
    const left = packed.total - made.count;
    parts.facts.textContent = `${thousands(made.count)} nodes` +
      (left > 0 ? `; ${thousands(left)} more are not in this page` : "");
    parts.player.hidden = made.steps < 2;
    parts.moment.max = String(made.steps);
    parts.moment.value = String(made.steps);
    said(made.steps, made.steps);
    view.show(made);
    solutions(round, texts);
  }
  parts.tree.addEventListener("change", tree);
  for (const [name, act] of Object.entries({
    fold: () => view.fold(true), unfold: () => view.fold(false), winning: () => view.onlyWinning(),
  })) find(name).addEventListener("click", act);

  // A node.
  function describeNode(n) {
    const { tree: of } = view;
    const status = of.statusOf(n);
    const path = of.path(n).slice(1).map((at) => of.text(at)).filter(Boolean);
    const figure = ([name, value, about]) => [element("dt", { title: about }, name), element("dd", {}, String(value))];
    parts.node.replaceChildren(
      element("p", { class: "status" }, WHY[status] ?? status),
      element("pre", {}, of.text(n) || "(end of the path)"),
      element("dl", {}, ...of.figures(n).flatMap(figure)),
      path.length > 1 ? element("details", {}, element("summary", {}, `Path of ${path.length} steps`),
        element("ol", {}, ...path.map((text) => element("li", {}, element("code", {}, text))))) : null ?? "");
  }

  // Solutions.
  function solutions(round, texts) {
    const item = (solution) => {
      const fate = texts[solution.fate] || "not curated";
      const steps = solution.steps.map((step) => texts[step]);
      const button = element("button", { type: "button", class: fate === "kept" ? "kept" : "" },
        element("span", { class: "fate" }, fate),
        element("code", {}, steps.join("  →  ") || "(no step)"),
        element("span", { class: "note" },
          [`answers ${texts[solution.answer] || "nothing"}`, texts[solution.found_by],
            ...solution.why.map((why) => texts[why])].join(" · ")));
      button.addEventListener("click", () => {
        const here = trees.findIndex((one, n) =>
          one.round === round && (n === Number(parts.tree.value) ? view.tree : new Tree(one.tree, texts)).end(solution.steps) >= 0);
        if (here < 0) return;
        if (here !== Number(parts.tree.value)) {
          parts.tree.value = String(here);
          tree();
        }
        view.choose(view.tree.end(solution.steps));
        parts.view.focus();
      });
      return element("li", {}, button);
    };
    const rank = (solution) => (texts[solution.fate] === "kept" ? 0 : 1);
    const sorted = [...round.solutions].sort((a, b) => rank(a) - rank(b));
    parts.solutions.replaceChildren(...sorted.map(item));
    if (!sorted.length) parts.solutions.append(element("li", { class: "empty" }, "No complete path was found."));
  }

  // The order of expansions.
  let timer = 0;
  function said(moment, all) {
    const text = moment >= all ? `all ${thousands(all)} expansions` : `${thousands(moment)} of ${thousands(all)} expansions`;
    parts.said.textContent = text;
    parts.moment.setAttribute("aria-valuetext", text);
  }
  function go(moment) {
    const all = view.tree.steps;
    parts.moment.value = String(moment);
    said(moment, all);
    view.at(moment >= all ? Infinity : moment);
  }
  function stop() {
    clearInterval(timer);
    timer = 0;
    parts.play.textContent = "Play";
  }
  parts.moment.addEventListener("input", () => {
    stop();
    go(Number(parts.moment.value));
  });
  parts.play.addEventListener("click", () => {
    if (timer) return stop();
    const all = view.tree.steps;
    let moment = Number(parts.moment.value);
    if (moment >= all) moment = 0;
    // Some twelve seconds, and no more than twenty steps a second.
    const each = Math.max(50, Math.min(600, 12000 / all));
    const stride = Math.max(1, Math.ceil((all * each) / 12000));
    parts.play.textContent = "Pause";
    go(moment);
    timer = setInterval(() => {
      moment = Math.min(all, moment + stride);
      go(moment);
      if (moment >= all) stop();
    }, each);
  });

  // What the marks mean.
  const named = ["expanded", "open", "solution", "wrong", "pruned", "dead", "duplicate", "undecided"];
  parts.key.append(...named.map((status) => element("li", {},
    shape("svg", { viewBox: "-9 -9 18 18", class: "node st-" + status + (status === "solution" ? " winning" : ""), "aria-hidden": "true" },
      mark(status, false)), status === "wrong" ? "wrong or false" : status)));

  const linked = () => {
    const id = location.hash.replace("#tree-", "");
    if (!known.problems.some((one) => one.id === id)) return false;
    open(id);
    section.scrollIntoView();
    return true;
  };
  addEventListener("hashchange", linked);
  list();
  if (!linked()) {
    const first = known.problems.find((one) => one.solved && one.kinds.length > 1) ?? known.problems[0];
    open(first.id);
  }
})();
