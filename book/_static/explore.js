// "Explore the runs": controls, the chart that Vega draws, and an address that restores what is shown. Without scripts,
// or without Vega, the page keeps its static figure.
document.addEventListener("DOMContentLoaded", () => {
  const frame = document.querySelector(".explore"), data = document.getElementById("explore-data");
  if (!frame || !data || !window.vegaEmbed) return;
  const content = JSON.parse(data.textContent);
  if (content.studies.length) new Explorer(frame, content).start();
});

const SHOWN_AT_FIRST = 4; // arms of a study that has many

class Explorer {
  constructor(frame, content) {
    Object.assign(this, content);
    this.scales = [...new Set(this.studies.map(study => study.scale))];
    this.frame = frame;
    this.drawing = Promise.resolve();
  }

  start() {
    this.build();
    this.restore();
    window.addEventListener("hashchange", () => this.restore());
  }

  // What is chosen: {study, metric, arms, seed}; an address names it as #study=lrn&metric=train_error&arms=baseline,no_lrn.
  restore() {
    const asked = read(location.hash), missing = [];
    const find = (name, list, value) => {
      if (value !== undefined && !list.includes(value)) missing.push(`${name} ${value}`);
      return list.includes(value) ? value : undefined;
    };
    const scale = find("scale", this.scales, asked.scale) ?? this.scales[0];
    const studies = this.studies.filter(study => study.scale === scale);
    const name = find("study", studies.map(study => study.name), asked.study) ?? studies[0].name;
    this.choose(studies.find(study => study.name === name));
    this.metric = find("metric", this.offered(), asked.metric) ?? this.metric;
    if (asked.arms) {
      const names = this.study.arms.map(arm => arm.name);
      this.arms = asked.arms.filter(arm => find("arm", names, arm));
    }
    this.seed = find("seed", this.seeds().map(String), asked.seed) ?? "";
    this.show(missing.length ? `The address asks for what is not recorded here: ${missing.join(", ")}.` : "");
  }

  // Another study: all of its arms if they are few, the metric as before where it has it.
  choose(study) {
    this.study = study;
    const names = study.arms.map(arm => arm.name);
    this.arms = names.length > 2 * SHOWN_AT_FIRST ? names.slice(0, SHOWN_AT_FIRST) : names;
    const offered = this.offered();
    if (!offered.includes(this.metric)) this.metric = offered[0];
    if (!this.seeds().map(String).includes(this.seed)) this.seed = "";
  }

  offered() {
    const of = this.runsOf(this.study.arms);
    return Object.keys(this.metrics).filter(metric => of.some(run => this.values(run, metric).length));
  }

  seeds() {
    return [...new Set(this.runsOf(this.study.arms).map(run => run.seed))].sort((a, b) => a - b);
  }

  runsOf(arms) {
    return arms.flatMap(arm => arm.runs.map(key => this.runs[key]));
  }

  // Of one run, what the metric has: a value per measurement, or the one at the end.
  values(run, metric) {
    if (metric.startsWith("end.")) {
      const value = run.end[metric.slice(4)];
      return value === undefined ? [] : [{ seed: run.seed, value }];
    }
    const values = (run.during[metric] || []).map((value, i) => ({ seed: run.seed, epoch: run.epoch[i], value }));
    return values.filter(each => each.value !== null);
  }

  build() {
    const form = document.createElement("form");
    form.className = "explore-controls";
    form.setAttribute("aria-label", "Choose what the figure shows");
    this.select = {};
    for (const name of ["Scale", "Study", "Metric", "Seed"]) {
      const label = document.createElement("label"), select = document.createElement("select");
      label.append(`${name} `, select);
      label.hidden = name === "Scale" && this.scales.length < 2;
      form.append(label);
      this.select[name] = select;
    }
    this.boxes = document.createElement("fieldset");
    form.append(this.boxes);
    this.status = make("p", "explore-status");
    this.status.setAttribute("role", "status");
    // To assistive technology the chart is one picture; the table below says in numbers what its marks show.
    this.picture = make("div", "explore-picture");
    this.picture.setAttribute("role", "img");
    this.chart = make("div", "explore-chart");
    this.chart.setAttribute("aria-hidden", "true");
    this.picture.append(this.chart);
    this.note = make("p", "explore-note");
    this.table = make("div", "explore-table");
    form.addEventListener("submit", event => event.preventDefault());
    form.addEventListener("change", event => this.changed(event.target));
    const live = make("div", "explore-live");
    live.append(form, this.status, this.picture, this.note, this.table);
    this.frame.prepend(live);
    this.frame.classList.add("is-live");
    // The theme's columns move for a while after a screen has turned: what counts is the width in the end.
    new ResizeObserver(() => this.result?.view.signal("width", this.chart.clientWidth).runAsync()).observe(this.chart);
  }

  changed(control) {
    const { Scale, Study, Metric, Seed } = this.select;
    if (control === Scale || control === Study) {
      const of = this.studies.filter(study => study.scale === (Scale.value || this.scales[0]));
      this.choose(of.find(study => study.name === Study.value) || of[0]);
    }
    if (control === Metric) this.metric = Metric.value;
    if (control === Seed) this.seed = Seed.value;
    if (control.type === "checkbox") {
      this.arms = [...this.boxes.querySelectorAll("input:checked")].map(box => box.value);
    }
    this.show("");
    const scale = this.study.scale === this.scales[0] ? {} : { scale: this.study.scale };
    const seed = this.seed === "" ? {} : { seed: this.seed };
    const chosen = { ...scale, study: this.study.name, metric: this.metric, arms: this.arms, ...seed };
    history.replaceState(null, "", write(chosen));
  }

  show(message) {
    this.status.textContent = message;
    this.fillControls();
    const chosen = this.study.arms.filter(arm => this.arms.includes(arm.name));
    const { label, during } = this.metrics[this.metric];
    const rows = chosen.flatMap(arm => {
      const order = this.study.arms.indexOf(arm);
      const named = { arm: arm.name, label: arm.label, ...this.look(arm), order };
      return this.runsOf([arm]).flatMap(run => this.values(run, this.metric).map(value => ({ ...named, ...value })));
    });
    this.fillTable(chosen, label, during);
    this.note.replaceChildren(...this.explain(during));
    this.picture.setAttribute("aria-label", `${this.study.title}: ${label}, a ${during ? "line" : "dot"} per seed; the table below has its numbers.`);
    this.draw(during, label, rows, chosen.length);
  }

  fillControls() {
    const { Scale, Study, Metric, Seed } = this.select;
    const { study } = this;
    fill(Scale, [["", this.scales.map(scale => [scale, scale])]], study.scale);
    const named = pilot => this.studies.filter(each => each.scale === study.scale && each.pilot === pilot)
      .map(each => [each.name, `${each.title} (${each.name})`]);
    fill(Study, [["Studies", named(false)], ["Pilots, which chose settings", named(true)]], study.name);
    const offered = during => this.offered().filter(name => this.metrics[name].during === during)
      .map(name => [name, this.metrics[name].label]);
    fill(Metric, [["During training", offered(true)], ["At the end of training", offered(false)]], this.metric);
    fill(Seed, [["", [["", "all alike"], ...this.seeds().map(seed => [String(seed), `seed ${seed} stands out`])]]], this.seed);
    if (this.boxes.study === study) return this.check(); // kept, so that the focus stays on the box just ticked
    this.boxes.study = study;
    const legend = document.createElement("legend");
    legend.textContent = "Arms";
    const labels = study.arms.map(arm => {
      const label = document.createElement("label"), box = document.createElement("input"), mark = make("span", "explore-color");
      Object.assign(box, { type: "checkbox", value: arm.name });
      const { color, dashed } = this.look(arm);
      mark.style.borderTop = `0.3rem ${dashed ? "dashed" : "solid"} ${color}`;
      label.append(box, mark, arm.label);
      return label;
    });
    this.boxes.replaceChildren(legend, ...labels);
    this.check();
  }

  check() {
    for (const box of this.boxes.querySelectorAll("input")) box.checked = this.arms.includes(box.value);
  }

  // An arm keeps its look whatever else is shown; after the last colour they come again, dashed.
  look(arm) {
    const position = this.study.arms.indexOf(arm), { colors } = this;
    return { color: colors[position % colors.length], dashed: position >= colors.length };
  }

  explain(during) {
    const parts = [during
      ? "Thin lines are runs, one per seed. A thick line is the mean over the seeds of an arm, its band one standard deviation to each side; both end where the arm's first run ends. "
      : "Dots are runs, one per seed; the diamond is their mean, the bar one standard deviation to each side. ",
      `Point at a ${during ? "line" : "dot"}, or tap it, for its seed and value. `];
    if (this.study.page) {
      const link = document.createElement("a");
      link.href = this.study.page;
      link.textContent = "What the book concludes from this study";
      parts.push(link, ".");
    }
    return parts;
  }

  fillTable(chosen, label, during) {
    const table = document.createElement("table");
    table.className = "table";
    table.createCaption().textContent = during ? `${label}: the last measurement of each run` : label;
    const head = table.createTHead().insertRow();
    for (const name of ["Arm", "Runs", "Mean \u00B1 SD", "Range"]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = name;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const arm of chosen) {
      const runs = this.runsOf([arm]), row = body.insertRow();
      const diverged = runs.filter(run => run.status === "diverged").length;
      const last = runs.flatMap(run => this.values(run, this.metric).slice(-1).map(each => each.value));
      const cells = [arm.label, diverged ? `${runs.length} (${diverged} diverged)` : `${runs.length}`, ...summary(last)];
      for (const text of cells) row.insertCell().textContent = text;
    }
    this.table.replaceChildren(table);
  }

  // One drawing after another: the last one asked for is the one that stays.
  draw(during, label, rows, arms) {
    const asked = this.asked = {};
    this.drawing = this.drawing.then(async () => {
      if (asked !== this.asked) return;
      const spec = structuredClone(this.charts[during ? "during" : "end"]);
      spec.datasets = { rows };
      if (!during) spec.height = 44 * Math.max(arms, 1);
      for (const param of spec.params) {
        if (param.name === "metric") param.value = label;
        if (param.name === "picked") param.value = this.seed === "" ? null : Number(this.seed);
      }
      if (this.result) this.result.finalize();
      this.result = await vegaEmbed(this.chart, spec, { actions: false, renderer: "svg", logLevel: vega.Error });
    });
  }
}

function make(tag, className) {
  const made = document.createElement(tag);
  made.className = className;
  return made;
}

// Options that stay the same are left alone: who chooses by typing has not finished.
function fill(select, groups, value) {
  const content = JSON.stringify(groups);
  if (select.dataset.content !== content) select.replaceChildren(...options(groups));
  select.dataset.content = content;
  if (select.value !== value) select.value = value;
}

function options(groups) {
  const filled = groups.filter(([, options]) => options.length).map(([title, options]) => {
    const made = options.map(([name, text]) => new Option(text, name));
    if (!title) return made;
    const group = document.createElement("optgroup");
    group.label = title;
    group.append(...made);
    return group;
  });
  return filled.flat();
}

// Mean with standard deviation, and range; a dash for what so few values do not have.
function summary(values) {
  if (!values.length) return ["\u2013", "\u2013"];
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const sd = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
  const digits = sd > 1e-9 && sd < 0.05 ? 3 : 2;
  const written = value => value.toFixed(digits).replace("-", "\u2212");
  const range = `${written(Math.min(...values))} to ${written(Math.max(...values))}`;
  return values.length > 1 ? [`${written(mean)} \u00B1 ${written(sd)}`, range] : [written(mean), "\u2013"];
}

// Names may hold commas: each arm is encoded by itself.
function read(hash) {
  const asked = {};
  for (const part of hash.replace(/^#/, "").split("&")) {
    const [name, value] = part.split("=");
    if (value === undefined) continue;
    try {
      asked[name] = name === "arms" ? value.split(",").filter(Boolean).map(decodeURIComponent) : decodeURIComponent(value);
    } catch {} // a percent sign that encodes nothing
  }
  return asked;
}

function write(chosen) {
  const encoded = value => [value].flat().map(encodeURIComponent).join(",");
  return `#${Object.entries(chosen).map(([name, value]) => `${name}=${encoded(value)}`).join("&")}`;
}
