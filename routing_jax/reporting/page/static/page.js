// Puts everything together when the page is open.

const CONFIG = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d"] };
const COMMON = {
  font: { family: 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif', size: 12, color: "#1a1a1a" },
  paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", hoverlabel: { align: "left", namelength: -1 },
};

function draw(element, { data, layout }) {
  const { title, height, width, ...rest } = layout;
  // The element has the size too, as Plotly fits a figure into it when the window changes.
  element.style.height = `${height}px`;
  element.style.maxWidth = width === undefined ? "" : `${width}px`;
  const sizes = { height, width: element.clientWidth };
  const headed = { ...title, x: 0, xref: "container", xanchor: "left", font: { size: 15 }, pad: { l: 6 } };
  return Plotly.react(element, data, { ...COMMON, ...rest, ...sizes, title: headed }, CONFIG);
}

// Rows of a legend below a figure, by the rough width of its names.
function legendRows(names, width) {
  let [rows, used] = [1, 0];
  for (const name of names) {
    const wide = 48 + 6.5 * name.length;
    if (used > 0 && used + wide > width) [rows, used] = [rows + 1, 0];
    used += wide;
  }
  return rows;
}

async function drawFigures(figures) {
  const [above, area, axis, row] = [44, 270, 62, 22];
  for (const element of document.querySelectorAll("[data-figure]")) {
    const { data, layout } = figures[Number(element.dataset.figure)];
    const names = data.filter((trace) => trace.showlegend !== false).map((trace) => trace.name);
    const below = axis + row * legendRows(names, element.clientWidth - 100);
    const sizes = { height: above + area + below, margin: { t: above, r: 20, b: below } };
    const legend = { orientation: "h", x: 0, y: -axis / area, yanchor: "top" };
    await draw(element, { data, layout: { ...sizes, legend, showlegend: true, ...layout } });
  }
}

// The controls of the routing section: a line, one of its seeds, and a snapshot.
function showRouting({ routes, colours }) {
  const [line, seed, slider, step] = ["line", "seed", "snapshot", "step"].map((id) => document.getElementById(id));
  let shown = null;

  const drawSnapshot = async () => {
    const number = Number(slider.value);
    const steps = shown.seed.steps;
    step.textContent = `${steps[number].toLocaleString("en")} of ${steps.at(-1).toLocaleString("en")}`;
    const snapshot = snapshotOf(shown.array, number);
    await draw(document.getElementById("map"), mapFigure(shown.entry, snapshot, steps[number]));
    const flow = flowFigure(shown.entry, snapshot, steps[number], colours);
    await draw(document.getElementById("flow"), flow);
    document.getElementById("flow-note").textContent = flow.note;
  };
  const chooseSeed = async () => {
    const entry = routes[Number(line.value)];
    const chosen = entry.seeds[Number(seed.value)];
    const { low, high } = chosen.probabilities;
    shown = { entry: { ...entry, low, high }, seed: chosen, array: await unpackedArray(chosen.probabilities) };
    slider.max = String(chosen.steps.length - 1);
    slider.value = slider.max;
    await drawSnapshot();
  };
  const chooseLine = async () => {
    const entry = routes[Number(line.value)];
    seed.replaceChildren(...entry.seeds.map((one, i) => new Option(String(one.seed), String(i))));
    document.getElementById("map-note").textContent =
      entry.seeds.length > 1 ? "One seed: blocks have no common order between seeds." : "";
    await chooseSeed();
    const alike = await unpackedArray(entry.similarity);
    await draw(document.getElementById("similarity"), similarityFigure(entry, alike));
    line.dataset.drawn = entry.label;
  };
  line.addEventListener("change", chooseLine);
  seed.addEventListener("change", chooseSeed);
  slider.addEventListener("input", drawSnapshot);
  return chooseLine();
}

async function start() {
  makeSortable();
  const data = JSON.parse(document.getElementById("data").textContent);
  await loadPlotly();
  await drawFigures(data.figures);
  if (data.routes.length) await showRouting(data);
  document.body.dataset.ready = "true";
}

start();
