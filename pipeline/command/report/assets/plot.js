// Plots as SVG: lines, dots with intervals, and columns, with axes, units and a legend. Each is drawn for the
// width that it has, and again when that changes. The numbers are in a table below it.

const TONES = ["accent", "ink", "mid", "soft"];
const DASHES = ["", "7 4", "2 4", "9 3 2 3"];

/** Round values between two, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough * 0.999);
  const all = [];
  for (let x = Math.ceil(low / step - 1e-9) * step; x <= high + step * 1e-9; x += step) all.push(+x.toPrecision(12));
  return all;
}

function logTicks(low, high) {
  const all = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const n of [1, 2, 5]) {
      const x = n * 10 ** power;
      if (x >= low * 0.999 && x <= high * 1.001) all.push(x);
    }
  }
  return all;
}

/** From values of an axis to places: `{at, ticks}`. */
function scale(axis, values, from, to) {
  let low = axis.min ?? Math.min(...values);
  let high = axis.max ?? Math.max(...values);
  // Room above, so that the highest does not touch the edge.
  if (axis.min === 0 && axis.max === undefined) high *= 1.06;
  if (axis.log) [low, high] = [low / 1.3, high * 1.3];
  if (axis.whole) [low, high] = [low - 0.5, high + 0.5];
  if (!(high > low)) [low, high] = [low - 0.5, high + 0.5];
  const transformed = axis.log ? Math.log : (x) => x;
  const at = (x) =>
    from + ((transformed(x) - transformed(low)) / (transformed(high) - transformed(low))) * (to - from);
  const room = Math.abs(to - from);
  const most = Math.max(2, Math.floor(room / (axis.upright || axis.whole ? 34 : 64)));
  return { at, ticks: marks(axis, values, [low, high], most) };
}

/** At most so many values to write at an axis. */
function marks(axis, values, [low, high], most) {
  if (!axis.log && !axis.whole) {
    let count = most;
    let all = ticks(low, high, count);
    while (all.length > most && count > 1) all = ticks(low, high, --count);
    return all;
  }
  const all = axis.log ? logTicks(low, high) : [...new Set(values)].sort((a, b) => a - b);
  return all.filter((_, n) => n % Math.ceil(all.length / most) === 0);
}

/**
 * A plot: `{title, note, x, y, series}`. An axis is `{label, format, mark, min, max, log, whole}`; a series
 * `{name, points: [{x, y, low, high}], tone, dash, dots, columns}`.
 */
function plot(spec) {
  const series = spec.series.filter((one) => one.points.length > 0);
  series.forEach((one, n) => {
    one.tone ??= TONES[Math.min(n, TONES.length - 1)];
    one.dash ??= DASHES[n % DASHES.length];
    one.dots ??= one.points.length <= 40;
  });
  const figure = element("figure", {},
    element("figcaption", {}, spec.title, spec.note ? element("span", {}, spec.note) : null));
  figure.append(legend(series));
  const picture = shape("svg", {
    class: "plot", role: "group", tabindex: 0, "aria-label": `${spec.title}: a plot. Arrow keys go through its points.` });
  figure.append(picture, numbers(spec, series));
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.round(figure.clientWidth);
    if (now > 0 && now !== width) draw(picture, spec, series, (width = now));
  }).observe(figure);
  return figure;
}

function legend(series) {
  const entry = (one) => element("li", {},
    shape("svg", { viewBox: "0 0 28 10", class: "tone-" + one.tone, "aria-hidden": "true" },
      one.columns
        ? shape("rect", { class: "column", x: 8, y: 0, width: 12, height: 10 })
        : shape("line", { class: "line", x1: 1, x2: 27, y1: 5, y2: 5, "stroke-dasharray": one.dash })),
    one.name);
  return element("ul", { class: "legend" }, ...series.filter((one) => one.legend !== false).map(entry));
}

function describe(spec, one, point) {
  const [x, y] = [spec.x.format ?? plain, spec.y.format ?? plain];
  const interval = point.low === undefined ? "" : ` (${y(point.low)} to ${y(point.high)})`;
  return `${one.name}\n${spec.x.label} ${x(point.x)}: ${y(point.y)}${interval}` + (point.note ? `\n${point.note}` : "");
}

function draw(picture, spec, series, width) {
  const height = Math.round(Math.min(300, Math.max(230, width * 0.56)));
  const box = { left: 52, right: width - 14, top: 30, bottom: height - 44 };
  const points = series.flatMap((one) => one.points);
  const x = scale(spec.x, points.map((p) => p.x), box.left, box.right);
  const heights = points.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]);
  const y = scale({ ...spec.y, upright: true }, heights, box.bottom, box.top);
  const [sayX, sayY] = [spec.x, spec.y].map((axis) => axis.mark ?? axis.format ?? plain);
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.replaceChildren();
  for (const mark of y.ticks) {
    picture.append(
      shape("line", { class: "axis", x1: box.left, x2: box.right, y1: y.at(mark), y2: y.at(mark) }),
      shape("text", { x: box.left - 8, y: y.at(mark) + 4, "text-anchor": "end" }, sayY(mark)));
  }
  for (const mark of x.ticks) {
    picture.append(
      shape("line", { class: "base", x1: x.at(mark), x2: x.at(mark), y1: box.bottom, y2: box.bottom + 4 }),
      shape("text", { x: x.at(mark), y: box.bottom + 18, "text-anchor": "middle" }, sayX(mark)));
  }
  picture.append(
    shape("line", { class: "base", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }),
    shape("text", { class: "label", x: box.right, y: height - 6, "text-anchor": "end" }, spec.x.label),
    shape("text", { class: "label", x: 0, y: 12 }, spec.y.label));
  if (spec.diagonal) {
    const ends = [x.at(0), y.at(0), x.at(1), y.at(1)];
    picture.append(shape("path", { class: "rod", d: `M${ends[0]} ${ends[1]}L${ends[2]} ${ends[3]}` }));
  }
  const columns = series.filter((one) => one.columns);
  const step = (box.right - box.left) / Math.max(1, new Set(points.map((p) => p.x)).size);
  const places = [];
  series.forEach((one) => {
    const group = shape("g", { class: "tone-" + one.tone });
    picture.append(group);
    const wide = Math.max(2, Math.min(40, (step * 0.72) / Math.max(1, columns.length)));
    const shift = one.columns ? (columns.indexOf(one) - columns.length / 2) * wide : one.shift ?? 0;
    const place = (p) => [x.at(p.x) + shift, y.at(p.y)];
    if (!one.columns && one.line !== false) {
      const path = one.points.map((p, n) => (n ? "L" : "M") + place(p).map((c) => c.toFixed(1)).join(" "));
      group.append(shape("path", { class: "line", d: path.join(""), "stroke-dasharray": one.dash }));
    }
    for (const p of one.points) {
      const [px, py] = place(p);
      if (one.columns) {
        const bar = { class: "column", x: px + 1, width: wide - 2, y: py, height: Math.max(0, box.bottom - py) };
        const made = shape("rect", bar);
        group.append(made);
        places.push({ px: px + wide / 2, py, made, text: () => describe(spec, one, p) });
        continue;
      }
      if (p.low !== undefined) {
        const [low, high] = [y.at(p.low), y.at(p.high)];
        const d = `M${px} ${low}V${high}M${px - 4} ${low}h8M${px - 4} ${high}h8`;
        group.append(shape("path", { class: "whisker", d }));
      }
      const made = one.dots ? shape("circle", { class: "dot", cx: px, cy: py, r: 4 }) : null;
      if (made) group.append(made);
      places.push({ px, py, made, text: () => describe(spec, one, p) });
    }
  });
  pointing(picture, places);
}

/** Says what is nearest to the pointer, or next by the arrow keys. */
function pointing(picture, places) {
  let current = -1;
  const near = (at, x, y) => {
    places.forEach((place, n) => place.made?.classList.toggle("near", n === at));
    if (at < 0) hideTip();
    else showTip(places[at].text(), x, y);
  };
  picture.onpointermove = (event) => {
    const frame = picture.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let [best, least] = [-1, 900];
    places.forEach((place, n) => {
      const within = place.made?.tagName === "rect" && Math.abs(place.px - x) < 20 && y > place.py;
      const apart = within ? (place.px - x) ** 2 : (place.px - x) ** 2 + (place.py - y) ** 2;
      if (apart < least) [best, least] = [n, apart];
    });
    near(best, event.clientX, event.clientY);
  };
  picture.onpointerleave = () => near(-1);
  picture.onblur = () => near((current = -1));
  picture.onkeydown = (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || !places.length) return;
    event.preventDefault();
    current = Math.max(0, Math.min(places.length - 1, current + by));
    const frame = picture.getBoundingClientRect();
    near(current, frame.left + places[current].px, frame.top + places[current].py);
  };
}

/** The figures of a plot as a table, for those who would rather read or copy them. */
function numbers(spec, series) {
  const [x, y] = [spec.x.format ?? plain, spec.y.format ?? plain];
  const head = ["series", spec.x.label, spec.y.label].map((name) => element("th", { scope: "col" }, name));
  const details = element("details", {}, element("summary", {}, "Numbers"));
  // Built when it is opened: a page has many.
  details.addEventListener("toggle", () => {
    if (details.querySelector("table")) return;
    const rows = series.flatMap((one) => one.points.map((p) => {
      const interval = p.low === undefined ? "" : ` (${y(p.low)} to ${y(p.high)})`;
      return element("tr", {}, ...[one.name, x(p.x), y(p.y) + interval].map((text) => element("td", {}, text)));
    }));
    details.append(element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)));
  }, { once: false });
  return details;
}
