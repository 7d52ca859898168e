// The scorecard: sorted by its columns, filtered by verdict and by evidence. Without scripts it is the plain table.
document.addEventListener("DOMContentLoaded", () => {
  for (const frame of document.querySelectorAll(".scorecard")) {
    const table = frame.querySelector("table");
    if (table) new Scorecard(frame, table);
  }
});

const TITLE = 1, EVIDENCE = 2, VERDICT = 5;
const SORTABLE = new Map([[0, "text"], [TITLE, "text"], [EVIDENCE, "text"], [VERDICT, "text"], [6, "number"]]);

class Scorecard {
  constructor(frame, table) {
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.heads = [...table.tHead.rows[0].cells];
    this.rows.forEach((row, i) => {
      row.position = i;
      // Only a claim's first row names it: the others repeat its name once they may stand elsewhere.
      for (const column of [0, TITLE]) {
        if (row.cells[column].textContent.trim() || !i) continue;
        const repeated = this.rows[i - 1].cells[column].cloneNode(true);
        repeated.classList.add("repeated");
        row.cells[column].replaceWith(repeated);
      }
    });
    this.filters = { verdict: this.filter("Verdict", VERDICT), evidence: this.filter("Evidence", EVIDENCE) };
    this.count = document.createElement("output");
    const bar = document.createElement("form");
    bar.className = "scorecard-filters";
    bar.setAttribute("aria-label", "Filter the scorecard");
    bar.append(this.filters.verdict, this.filters.evidence, this.count);
    bar.addEventListener("submit", event => event.preventDefault());
    bar.addEventListener("change", () => this.show());
    (table.closest(".pst-scrollable-table-container") || table).before(bar);
    for (const column of SORTABLE.keys()) this.makeSortable(column);
    this.show();
  }

  text(row, column) {
    const text = row.cells[column].textContent.trim();
    return column === EVIDENCE ? text.split(",")[0] : text.replace(/^[\u25CF\u25CB]\s*/, "");
  }

  filter(name, column) {
    const label = document.createElement("label"), select = document.createElement("select");
    const values = [...new Set(this.rows.map(row => this.text(row, column)))].sort();
    select.add(new Option("all", ""));
    for (const value of values) select.add(new Option(value));
    label.append(`${name} `, select);
    return label;
  }

  makeSortable(column) {
    const head = this.heads[column], button = document.createElement("button");
    button.type = "button";
    button.append(...(head.querySelector("p") || head).childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // A third click gives the paper's order back.
      const next = { none: "ascending", ascending: "descending", descending: "none" };
      const order = next[head.getAttribute("aria-sort") || "none"];
      for (const other of this.heads) other.removeAttribute("aria-sort");
      if (order !== "none") head.setAttribute("aria-sort", order);
      this.sort(column, order);
    });
  }

  sort(column, order) {
    const direction = order === "descending" ? -1 : 1;
    const numeric = SORTABLE.get(column) === "number";
    const compare = (a, b) => {
      const [x, y] = [this.text(a, column), this.text(b, column)];
      if (!numeric) return x.localeCompare(y, "en", { numeric: true });
      return (parseFloat(x) || 0) - (parseFloat(y) || 0);
    };
    this.rows.sort((a, b) => (order === "none" ? 0 : direction * compare(a, b)) || a.position - b.position);
    this.body.append(...this.rows);
    this.show();
  }

  show() {
    const wanted = name => this.filters[name].querySelector("select").value;
    const [verdict, evidence] = [wanted("verdict"), wanted("evidence")];
    let shown = 0, above = "";
    for (const row of this.rows) {
      row.hidden = (verdict && this.text(row, VERDICT) !== verdict) || (evidence && this.text(row, EVIDENCE) !== evidence);
      if (row.hidden) continue;
      shown += 1;
      const title = this.text(row, TITLE);
      row.classList.toggle("same-claim", title === above);
      above = title;
    }
    this.count.textContent = `${shown} of ${this.rows.length} rows`;
  }
}
