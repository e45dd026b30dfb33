// A search tree drawn from left to right: each step has a column for its depth, and the first child of a node
// stands on its row, so that a path is read as a line. Only what is in view is in the document, so 50,000 nodes
// are no burden.

const ROW = 26;
const GAP = 44;
const MARGIN = 18;
const LETTER = 7.3;
const WIDEST = 34;

const WHY = {
  pruned: "pruned: its value is below the threshold",
  false: "false: its equation does not hold",
  dead: "dead: nothing can follow, or the path is as long as allowed",
  duplicate: "duplicate: the same state or solution was there already",
  wrong: "wrong: the path ends here and is not correct",
  undecided: "undecided: the path ends here and cannot be judged",
  open: "open: never expanded",
  solution: "solution: the path ends here and is correct",
  expanded: "expanded",
};

/** Columns of a tree as nodes with children; winning paths first, then by visits. */
class Tree {
  constructor(packed, texts) {
    const count = packed.parent.length;
    Object.assign(this, packed, { count, texts });
    this.children = Array.from({ length: count }, () => []);
    this.roots = [];
    this.depth = new Uint16Array(count);
    this.winning = new Uint8Array(count);
    this.below = new Uint32Array(count);
    for (let n = 0; n < count; n++) {
      const parent = this.parent[n];
      if (parent < 0) this.roots.push(n);
      else {
        this.children[parent].push(n);
        this.depth[n] = this.depth[parent] + 1;
      }
    }
    for (let n = count - 1; n >= 0; n--) {
      if (this.statusOf(n) === "solution") this.winning[n] = 1;
      if (this.parent[n] < 0) continue;
      this.winning[this.parent[n]] |= this.winning[n];
      this.below[this.parent[n]] += this.below[n] + 1;
    }
    const order = (a, b) =>
      this.winning[b] - this.winning[a] || this.visits[b] - this.visits[a] || this.below[b] - this.below[a] || a - b;
    for (const of of this.children) of.sort(order);
    this.steps = this.order ? 1 + this.order.reduce((most, x) => Math.max(most, x ?? -1), -1) : 0;
  }

  statusOf(n) {
    return this.texts[this.status[n]];
  }

  text(n) {
    return this.parent[n] < 0 ? "start" : this.texts[this.step[n]];
  }

  /** The expansion that made a node; 0 for roots, and where that is not known. */
  born(n) {
    const parent = this.parent[n];
    return parent < 0 ? 0 : (this.order?.[parent] ?? -1) + 1;
  }

  path(n) {
    const all = [];
    for (let at = n; at >= 0; at = this.parent[at]) all.unshift(at);
    return all;
  }

  /** The node at which a solution ends, if its steps are a path of the tree; else -1. */
  end(steps) {
    let ends = this.roots;
    for (const step of steps) {
      ends = ends.flatMap((n) => this.children[n].filter((child) => this.step[child] === step));
    }
    const whole = ends.map((n) => this.children[n].find((c) => this.texts[this.step[c]] === "") ?? n);
    return whole.find((n) => this.winning[n]) ?? whole[0] ?? -1;
  }

  figures(n) {
    const share = (column) => (column?.[n] ?? null) === null ? null : column[n].toFixed(3);
    return [
      ["value", share(this.value), "estimated when it was first seen"],
      ["Q", share(this.q), "backed up from below"],
      ["prior", share(this.prior), "the policy’s probability among siblings"],
      ["visits", thousands(this.visits[n]), ""],
      ["expanded", this.order?.[n] === undefined || this.order[n] === null ? null : "no. " + (this.order[n] + 1), ""],
      ["tokens", this.tokens?.[n] ?? null, ""],
      ["depth", this.depth[n], ""],
      ["nodes below", thousands(this.below[n]), ""],
    ].filter(([, figure]) => figure !== null);
  }
}

/** Draws a tree into a place that scrolls. `chosen(n)` is called when a node is. */
class TreeView {
  constructor(host, chosen) {
    this.host = host;
    this.chosen = chosen;
    this.sizer = element("div", { class: "sizer" });
    this.picture = shape("svg", { class: "window", "aria-hidden": "false", role: "presentation" });
    this.layer = shape("g", { role: "presentation" });
    this.picture.append(this.layer);
    host.replaceChildren(this.picture, this.sizer);
    host.onscroll = () => this.later();
    host.onkeydown = (event) => this.key(event);
    host.onclick = (event) => this.click(event);
    host.onpointerover = (event) => this.point(event);
    host.onpointerleave = hideTip;
    new ResizeObserver(() => this.later()).observe(host);
  }

  show(tree) {
    this.tree = tree;
    this.folded = new Uint8Array(tree.count);
    this.moment = Infinity;
    this.active = tree.roots[0] ?? -1;
    if (tree.count > 60) this.onlyWinning();
    else this.layout();
    this.host.scrollTo(0, 0);
    if (this.active >= 0) this.choose(this.active);
  }

  fold(all) {
    this.tree.children.forEach((children, n) => (this.folded[n] = all && children.length > 0 ? 1 : 0));
    if (all) {
      this.tree.roots.forEach((root) => (this.folded[root] = 0));
      this.active = this.visible(this.active);
    }
    this.layout();
  }

  /** Unfolds the paths to solutions, and the first level. */
  onlyWinning() {
    this.fold(true);
    for (let n = 0; n < this.tree.count; n++) if (this.tree.winning[n]) this.folded[n] = 0;
    this.layout();
  }

  /** The node, or the one above it that is not within a fold. */
  visible(n) {
    return this.tree.path(n).find((at) => this.folded[at]) ?? n;
  }

  /** Rows and columns of all nodes that are not within a fold. */
  layout() {
    const { tree, folded } = this;
    this.row = new Int32Array(tree.count).fill(-1);
    this.starts = [];
    const widths = [];
    const open = tree.roots.map((root) => [root, true]).reverse();
    let row = -1;
    while (open.length) {
      const [n, own] = open.pop();
      if (own) this.starts[++row] = n;
      this.row[n] = row;
      const letters = Math.min(WIDEST, Math.max(4, [...tree.text(n).slice(0, WIDEST)].length));
      const more = folded[n] ? 6 : 0;
      widths[tree.depth[n]] = Math.max(widths[tree.depth[n]] ?? 0, letters + more);
      if (folded[n]) continue;
      const children = tree.children[n];
      for (let at = children.length - 1; at >= 0; at--) open.push([children[at], at > 0]);
    }
    this.columns = [MARGIN];
    widths.forEach((letters, depth) => (this.columns[depth + 1] = this.columns[depth] + letters * LETTER + GAP));
    this.sizer.style.width = (this.columns[widths.length] ?? 0) + "px";
    this.sizer.style.height = this.starts.length * ROW + 16 + "px";
    this.draw();
  }

  later() {
    this.wanted ??= requestAnimationFrame(() => {
      this.wanted = undefined;
      this.draw();
    });
  }

  draw() {
    const { tree, host } = this;
    if (!tree) return;
    const [wide, high] = [host.clientWidth, host.clientHeight];
    const [left, top] = [host.scrollLeft, host.scrollTop];
    const first = Math.max(0, Math.floor(top / ROW) - 1);
    const last = Math.min(this.starts.length - 1, Math.ceil((top + high) / ROW) + 1);
    const y = (row) => row * ROW + ROW / 2 + 6;
    const edges = { plain: "", winning: "", faint: "" };
    const kind = (n) => (tree.born(n) > this.moment ? "faint" : tree.winning[n] ? "winning" : "plain");
    const nodes = [];
    const trunks = new Set();
    for (let row = first; row <= last; row++) {
      for (let at = tree.parent[this.starts[row]]; at >= 0 && !trunks.has(at); at = tree.parent[at]) trunks.add(at);
      for (let n = this.starts[row]; n !== undefined; n = this.folded[n] ? undefined : tree.children[n][0]) {
        const [x, parent] = [this.columns[tree.depth[n]], tree.parent[n]];
        if (x > left + wide) break;
        if (parent >= 0) {
          const start = this.row[parent] === row
            ? this.columns[tree.depth[parent]] + 16 + this.letters(parent) * LETTER
            : x - 24;
          edges[kind(n)] += `M${start} ${y(row)}H${x - 8}`;
        }
        if (this.columns[tree.depth[n] + 1] >= left) nodes.push([n, x, y(row)]);
        if (!this.folded[n]) trunks.add(n);
      }
    }
    for (const n of trunks) {
      const children = tree.children[n];
      const x = this.columns[tree.depth[n] + 1] - 24;
      for (const of of ["plain", "faint", "winning"]) {
        const ends = of === "winning" ? children.filter((c) => tree.winning[c]) : children;
        const end = ends.at(-1);
        if (end === undefined || (of === "faint") !== (kind(children.at(-1)) === "faint")) continue;
        const [from, to] = [Math.max(this.row[n], first - 1), Math.min(this.row[end], last + 1)];
        if (to > from) edges[of] += `M${x} ${y(from)}V${y(to)}`;
      }
    }
    this.picture.setAttribute("width", wide);
    this.picture.setAttribute("height", high);
    this.layer.setAttribute("transform", `translate(${-left} ${-top})`);
    this.layer.replaceChildren(
      ...Object.entries(edges).filter(([, d]) => d).map(([name, d]) => shape("path", { class: "edge " + name, d })),
      ...nodes.map((place) => this.node(...place)),
      ...this.pinned(Math.ceil(top / ROW), top));
  }

  /** Steps above the first row in view, at the top of the window: which path it belongs to. */
  pinned(first, top) {
    const start = this.starts[Math.min(first, this.starts.length - 1)];
    const above = start === undefined ? [] : this.tree.path(start).slice(0, -1).filter((n) => this.row[n] < first);
    if (!above.length) return [];
    const strip = { class: "strip", x: this.host.scrollLeft, y: top, width: this.host.clientWidth, height: ROW };
    return [shape("rect", strip), ...above.map((n) => this.node(n, this.columns[this.tree.depth[n]], top + ROW / 2))];
  }

  /** Letters of a node's label, as it is drawn. */
  letters(n) {
    const length = [...this.tree.text(n).slice(0, WIDEST)].length;
    return length + (this.folded[n] && this.tree.below[n] ? String(this.tree.below[n]).length + 3 : 0);
  }

  node(n, x, y) {
    const { tree } = this;
    const [status, text] = [tree.statusOf(n), tree.text(n) || "end"];
    const brief = text.replace(/\s+/g, " ");
    const label = brief.length > WIDEST ? brief.slice(0, WIDEST - 1) + "…" : brief;
    const classes = ["node", "st-" + status];
    if (tree.winning[n]) classes.push("winning");
    if (tree.born(n) > this.moment) classes.push("faint");
    if (n === this.active) classes.push("active");
    if (this.moment !== Infinity && this.now >= 0 && n === this.visible(this.now)) classes.push("now");
    const folds = tree.children[n].length > 0;
    return shape("g",
      {
        class: classes.join(" "), id: "node-" + n, "data-n": n, role: "treeitem", transform: `translate(${x} ${y})`,
        "aria-level": tree.depth[n] + 1, "aria-expanded": folds ? String(!this.folded[n]) : undefined,
        "aria-selected": String(n === this.active), "aria-label": `${text}, ${status}`,
      },
      shape("rect", { class: "hit", x: -9, y: -ROW / 2, width: 26 + this.letters(n) * LETTER, height: ROW, rx: 3 }),
      mark(status, folds && this.folded[n]),
      shape("text", { x: 11, y: 4 }, label),
      this.folded[n] && tree.below[n]
        ? shape("text", { class: "more", x: 17 + label.length * LETTER, y: 4 }, "+" + thousands(tree.below[n]))
        : null);
  }

  toggle(n) {
    if (!this.tree.children[n].length) return;
    this.folded[n] = this.folded[n] ? 0 : 1;
    this.layout();
  }

  choose(n, reveal = true) {
    this.active = n;
    for (let at = this.tree.parent[n]; at >= 0; at = this.tree.parent[at]) this.folded[at] = 0;
    if (this.row[n] < 0) this.layout();
    if (reveal) this.reveal(n);
    this.host.setAttribute("aria-activedescendant", "node-" + n);
    this.draw();
    this.chosen(n);
  }

  reveal(n) {
    const { host } = this;
    const [x, y] = [this.columns[this.tree.depth[n]], this.row[n] * ROW];
    if (y < host.scrollTop + ROW || y + 2 * ROW > host.scrollTop + host.clientHeight) {
      host.scrollTop = Math.max(0, y - host.clientHeight / 2);
    }
    const right = x + 40 + this.letters(n) * LETTER;
    if (x - GAP < host.scrollLeft || right > host.scrollLeft + host.clientWidth) {
      host.scrollLeft = Math.max(0, Math.min(x - GAP, right - host.clientWidth + GAP));
    }
  }

  /** Shows the tree as it was after so many expansions; Infinity for all. */
  at(moment) {
    this.moment = moment;
    this.now = moment === Infinity || !this.tree.order ? -1 : this.tree.order.indexOf(moment - 1);
    if (this.now >= 0) this.reveal(this.visible(this.now));
    this.draw();
  }

  hit(event) {
    const found = event.target.closest?.("[data-n]");
    return found ? Number(found.dataset.n) : -1;
  }

  click(event) {
    const n = this.hit(event);
    if (n < 0) return;
    if (n === this.active || event.target.closest(".mark, .more")) this.toggle(n);
    this.choose(n, false);
  }

  point(event) {
    const n = this.hit(event);
    if (n < 0) return hideTip();
    const { tree } = this;
    const figures = tree.figures(n).slice(0, -2).map(([name, figure]) => `${name} ${figure}`).join(" · ");
    showTip([tree.text(n) || "end of the path", WHY[tree.statusOf(n)] ?? tree.statusOf(n), figures].join("\n"),
      event.clientX, event.clientY);
  }

  key(event) {
    const { tree, active } = this;
    if (!tree || active < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const children = tree.children[active];
    const siblings = tree.parent[active] < 0 ? tree.roots : tree.children[tree.parent[active]];
    const lines = (by) => {
      // The node nearest to this depth, some rows away.
      const row = Math.max(0, Math.min(this.starts.length - 1, this.row[active] + by));
      let n = this.starts[row];
      while (tree.depth[n] < tree.depth[active] && !this.folded[n] && tree.children[n].length) n = tree.children[n][0];
      return n;
    };
    const moves = {
      ArrowRight: () => (this.folded[active] ? (this.toggle(active), active) : children[0]),
      ArrowLeft: () => (children.length && !this.folded[active] && event.shiftKey
        ? (this.toggle(active), active) : tree.parent[active]),
      ArrowDown: () => siblings[siblings.indexOf(active) + 1] ?? lines(1),
      ArrowUp: () => siblings[siblings.indexOf(active) - 1] ?? lines(-1),
      PageDown: () => lines(12),
      PageUp: () => lines(-12),
      Home: () => tree.roots[0],
      End: () => this.starts.at(-1),
      Enter: () => (this.toggle(active), active),
      " ": () => (this.toggle(active), active),
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const to = move();
    if (to !== undefined && to >= 0) this.choose(to);
  }
}

/** The mark of a status: its form says what it is, with or without colour. */
function mark(status, folded) {
  const forms = {
    solution: () => [shape("circle", { r: 6, class: "ring" }), shape("circle", { r: 3.2, class: "fill" })],
    wrong: () => [shape("path", { d: "M-4 -4L4 4M4 -4L-4 4", class: "cross" })],
    false: () => [shape("path", { d: "M-4 -4L4 4M4 -4L-4 4", class: "cross" })],
    undecided: () => [shape("text", { x: -3.5, y: 4 }, "?")],
    pruned: () => [shape("path", { d: "M-5 0H5M-5 -4V4", class: "cross" })],
    dead: () => [shape("path", { d: "M-4 0H4", class: "cross" })],
    duplicate: () => [shape("path", { d: "M-4 -2.5H4M-4 2.5H4", class: "cross" })],
    open: () => [shape("circle", { r: 3.6, class: "ring" })],
  };
  const made = forms[status]?.() ?? [shape("circle", { r: folded ? 5 : 3.6, class: "fill" })];
  return shape("g", { class: "mark" }, shape("rect", { class: "grip", x: -10, y: -11, width: 20, height: 22 }), ...made);
}
