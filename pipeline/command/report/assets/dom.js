// Elements, the tip beside the pointer, and the theme.

const NAMESPACE = "http://www.w3.org/2000/svg";

/** An element of HTML with attributes and children; text becomes text, never markup. */
function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
function shape(name, attributes = {}, ...children) {
  return filled(document.createElementNS(NAMESPACE, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** What a block of data says. */
function data(id) {
  const block = document.getElementById(id);
  return block ? JSON.parse(block.textContent) : null;
}

const facts = data("facts");

const percent = (share) => (100 * share).toFixed(1) + "%";
const thousands = (number) => Math.round(number).toLocaleString("en");
const plain = (number) =>
  Math.abs(number) >= 1000 ? thousands(number) : String(Number(number.toPrecision(4)));

const tip = document.getElementById("tip");

/** Shows a text beside a point of the window. */
function showTip(text, x, y) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
  tip.style.top = (y + 18 + box.height < innerHeight ? y + 18 : Math.max(4, y - box.height - 12)) + "px";
}

function hideTip() {
  tip.hidden = true;
}

(function theme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const stored = () => {
    try { return localStorage.getItem("qstill-theme"); } catch { return null; }
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const say = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", `Use the ${dark() ? "light" : "dark"} theme`);
  };
  if (stored()) root.dataset.theme = stored();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("qstill-theme", root.dataset.theme); } catch { /* it holds for this view */ }
    say();
  });
  system.addEventListener("change", say);
  button.hidden = false;
  say();
})();
