// Figures that hold a line per seed: one seed at a time stands out. Without scripts all of them are shown.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("details.seeds").forEach((details, position) => {
    const lines = [...details.querySelectorAll("[data-seed]")];
    const seeds = [...new Set(lines.map(line => Number(line.dataset.seed)))].sort((a, b) => a - b);
    const choice = document.createElement("fieldset"), legend = document.createElement("legend");
    legend.textContent = "Seed";
    choice.append(legend);
    for (const seed of ["all", ...seeds]) {
      const label = document.createElement("label"), radio = document.createElement("input");
      radio.type = "radio";
      radio.name = `seeds-${position}`;
      radio.value = seed;
      radio.checked = seed === "all";
      label.append(radio, ` ${seed}`);
      choice.append(label);
    }
    choice.addEventListener("change", event => {
      const chosen = event.target.value;
      for (const line of lines) line.classList.toggle("faded", chosen !== "all" && line.dataset.seed !== chosen);
    });
    details.querySelector("summary").after(choice);
  });
});
