// The scorecard: sorted by its columns, filtered by verdict and by evidence. Without scripts it is the plain table.
document.addEventListener("DOMContentLoaded", () => {
  for (const frame of document.querySelectorAll(".scorecard")) {
    const table = frame.querySelector("table");
    if (table) new Scorecard(frame, table);
  }
});

const SORTED_AS = { "§": "text", Claim: "text", Evidence: "text", Verdict: "text", Seeds: "number" };

class Scorecard {
  constructor(frame, table) {
    this.body = table.tBodies[0];
    this.rows = [...this.body.rows];
    this.heads = [...table.tHead.rows[0].cells];
    const column = Object.fromEntries(this.heads.map((head, i) => [head.textContent.trim(), i]));
    [this.title, this.evidence, this.verdict] = [column.Claim, column.Evidence, column.Verdict];
    this.rows.forEach((row, i) => {
      row.position = i;
      // Only a claim's first row names it: the others repeat its name once they may stand elsewhere.
      for (const each of [column["§"], this.title]) {
        if (row.cells[each].textContent.trim() || !i) continue;
        const repeated = this.rows[i - 1].cells[each].cloneNode(true);
        repeated.classList.add("repeated");
        row.cells[each].replaceWith(repeated);
      }
    });
    this.filters = { verdict: this.filter("Verdict", this.verdict), evidence: this.filter("Evidence", this.evidence) };
    this.count = document.createElement("output");
    const bar = document.createElement("form");
    bar.className = "scorecard-filters";
    bar.setAttribute("aria-label", "Filter the scorecard");
    bar.append(this.filters.verdict, this.filters.evidence, this.count);
    bar.addEventListener("submit", event => event.preventDefault());
    bar.addEventListener("change", () => this.show());
    (table.closest(".pst-scrollable-table-container") || table).before(bar);
    for (const [name, kind] of Object.entries(SORTED_AS)) this.makeSortable(column[name], kind);
    this.show();
  }

  text(row, column) {
    const text = row.cells[column].textContent.trim();
    return column === this.evidence ? text.split(",")[0] : text.replace(/^[\u25CF\u25CB]\s*/, "");
  }

  filter(name, column) {
    const label = document.createElement("label"), select = document.createElement("select");
    const values = [...new Set(this.rows.map(row => this.text(row, column)))].sort();
    select.add(new Option("all", ""));
    for (const value of values) select.add(new Option(value));
    label.append(`${name} `, select);
    return label;
  }

  makeSortable(column, kind) {
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
      this.sort(column, kind, order);
    });
  }

  sort(column, kind, order) {
    const direction = order === "descending" ? -1 : 1;
    const compare = (a, b) => {
      const [x, y] = [this.text(a, column), this.text(b, column)];
      if (kind === "text") return x.localeCompare(y, "en", { numeric: true });
      // A dash, where no seeds are asked for, comes before "0 of 5".
      const [m, n] = [x, y].map(each => each === "–" ? -1 : parseFloat(each));
      return m - n;
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
      row.hidden = (verdict && this.text(row, this.verdict) !== verdict) || (evidence && this.text(row, this.evidence) !== evidence);
      if (row.hidden) continue;
      shown += 1;
      const title = this.text(row, this.title);
      row.classList.toggle("same-claim", title === above);
      above = title;
    }
    this.count.textContent = `${shown} of ${this.rows.length} rows`;
  }
}
