// What every view of the Explorer is made of. Texts of the data only ever become text nodes.
const { data, texts } = JSON.parse(document.getElementById("explorer-data").textContent);
const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
const at = (id) => document.getElementById(`explorer-${id}`);
const FIRST_ROWS = 100;

// Elements

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
// Other people's text, of whichever direction.
const quoted = (text) => element("bdi", {}, text);
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const note = (text) => element("p", { class: "note" }, text);

function link(address, text) {
  const made = element("a", { href: address }, text);
  if (made.hash === location.hash) made.setAttribute("aria-current", "true");
  return made;
}

// Numbers, as the rest of the report writes them

const DASH = "–", MINUS = "−", GAP = "\u00a0";
const known = (write) => (value) => (value === null || value === undefined ? DASH : write(value));
const count = known((value) => value.toLocaleString("en-US"));
const decimal = known((value) => value.toFixed(2).replace(/^-/, MINUS));
const small = (value, digits) => value.toExponential(digits).replace(/(e[+-])(\d)$/, (_, sign, digit) => `${sign}0${digit}`);
const probability = known((value) =>
  value === 0 || value >= 0.001 ? value.toFixed(3) : small(value, 1));
const score = known((value) =>
  (value === 0 || Math.abs(value) >= 0.001 ? value.toFixed(4) : small(value, 1)).replace(/^-/, MINUS));
const share = known((value) => (100 * value).toFixed(1) + GAP + "%");
const percent = known((value) => {
  const size = Math.abs(100 * value), digits = size >= 1000 ? 0 : size >= 0.095 ? 1 : 2;
  const text = size.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (text === "0.00" ? "" : value < 0 ? MINUS : "+") + text + GAP + "%";
});

// Tables

// A column: head; value(row), which sorts; write(value, row), a text or an element; number: whether
// it is right-aligned; bar: its largest value, where the cell is drawn as a bar too.
function compared(column, sign) {
  const missing = (value) => value === null || value === undefined || value === "";
  return (a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    if (missing(x) || missing(y)) return missing(x) - missing(y);
    return sign * (typeof x === "number" ? x - y : collator.compare(x, y));
  };
}

function cellOf(column, row, first) {
  const value = column.value(row);
  const cell = first ? element("th", { scope: "row" }) : element("td");
  cell.append(column.write ? column.write(value, row) : quoted(value ?? DASH));
  if (column.number) cell.classList.add("number");
  if (column.bar && value !== null && value !== undefined) {
    cell.classList.add("bar");
    cell.style.setProperty("--part", Math.max(0, Math.min(1, value / column.bar)));
  }
  return cell;
}

let numberOfTables = 0;
function table(level, title, columns, rows, notes = []) {
  const id = `explorer-table-${++numberOfTables}`;
  const body = element("tbody");
  const more = element("button", { type: "button" });
  let shown = rows, all = false;
  const render = () => {
    const visible = all ? shown : shown.slice(0, FIRST_ROWS);
    body.replaceChildren(...visible.map((row) =>
      element("tr", {}, ...columns.map((column, i) => cellOf(column, row, i === 0)))));
    more.hidden = visible.length === shown.length;
    more.textContent = filled(texts.all, { n: count(shown.length) });
  };
  const heads = columns.map((column) => {
    const button = element("button", { type: "button" }, column.head);
    const head = element("th", { scope: "col", "aria-sort": "none" }, button);
    if (column.number) head.className = "number";
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      // Numbers are of most interest from above.
      const down = before === "none" ? Boolean(column.number) : before === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      rows = [...rows].sort(compared(column, down ? -1 : 1));
      show(keep);
    });
    return head;
  });
  let keep = () => true;
  const show = (test) => {
    keep = test;
    shown = rows.filter(keep);
    render();
    return shown.length;
  };
  more.addEventListener("click", () => {
    all = true;
    render();
    // The button is gone now: go on at the first new row, or at its link where it has one.
    const next = body.rows[FIRST_ROWS], target = next.querySelector("a") ?? next;
    if (target === next) next.tabIndex = -1;
    target.focus();
  });
  render();
  const box = element("div", { class: "scroll", role: "region", "aria-labelledby": id, tabindex: "0" },
    element("table", { "aria-labelledby": id },
      element("thead", {}, element("tr", {}, ...heads)), body));
  const part = element("div", {}, element(level, { id }, title), ...notes.map(note), box, more);
  return { part, show };
}
const drawn = (...given) => table("h4", ...given).part;
