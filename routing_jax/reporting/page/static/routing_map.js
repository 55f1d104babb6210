// The routing of one network at one snapshot: a heat map for each depth, or for each task where
// tasks are fewer than depths, with a mark on the cells that decide.

const SMALL = { size: 12 };
const MARKS = { color: "#ffffff", size: 7, line: { color: "#000000", width: 1.2 } };

// Numbers [T, D, A] of a snapshot.
function snapshotOf({ shape, numbers }, snapshot) {
  const [, tasks, depths, actions] = shape;
  const start = snapshot * tasks * depths * actions;
  const at = (task, depth, action) => numbers[start + (task * depths + depth) * actions + action];
  return { tasks, depths, actions, at };
}

// The actions of a row that get a mark: those that are on, or the one with the largest number.
function marked(row, marks) {
  if (marks === "switches") return row.flatMap((number, action) => (number >= 0.5 ? [action] : []));
  return [row.indexOf(Math.max(...row))];
}

function actionNames(entry, actions) {
  const names = Array.from({ length: actions }, (_, action) => String(action));
  if (entry.pass) names[actions - 1] = "PASS";
  return names;
}

function mapPanels(entry, snapshot) {
  const { tasks, depths, actions, at } = snapshot;
  const range = (count) => Array.from({ length: count }, (_, i) => i);
  const row = (task, depth) => range(actions).map((action) => at(task, depth, action));
  const depthNames = range(depths).map((depth) => `depth ${depth + 1}`);
  if (depths > tasks) {
    const rows = (task) => range(depths).map((depth) => row(task, depth));
    return { titles: entry.tasks, names: depthNames.map((name) => name.slice(6)), axis: "depth", z: range(tasks).map(rows) };
  }
  const rows = (depth) => range(tasks).map((task) => row(task, depth));
  return { titles: depthNames, names: entry.tasks, axis: "task", z: range(depths).map(rows) };
}

function panelTraces(entry, z, names, suffix, isFirst) {
  const { value, mark, marks } = entry.kind;
  const points = z.flatMap((row, y) => marked(row, marks).map((x) => [x, y]));
  const axes = { xaxis: `x${suffix}`, yaxis: `y${suffix}` };
  const heat = {
    ...axes, type: "heatmap", z, colorscale: "Cividis", zmin: Math.min(0, entry.low), zmax: Math.max(1, entry.high),
    showscale: isFirst, colorbar: { title: { text: value, side: "right", font: SMALL }, thickness: 14 },
    customdata: z.map((row, y) => row.map(() => names[y])),
    hovertemplate: `%{customdata}<br>${entry.action} %{x}<br>${value} %{z:.2f}<extra></extra>`,
  };
  const dots = {
    ...axes, type: "scatter", mode: "markers", marker: MARKS, x: points.map(([x]) => x), y: points.map(([, y]) => y),
    name: mark, showlegend: isFirst, hoverinfo: "skip",
  };
  return [heat, dots];
}

function mapFigure(entry, snapshot, step) {
  const { titles, names, axis, z } = mapPanels(entry, snapshot);
  const actions = actionNames(entry, snapshot.actions);
  const columns = Math.max(1, Math.min(4, titles.length, Math.floor(60 / actions.length)));
  const lines = Math.ceil(titles.length / columns);
  const every = columns * actions.length > 48 ? 2 : 1; // names that would run into each other
  const last = actions.length - 1;
  const ticks = [...actions.keys()].filter((i) => (last - i) % every === 0);
  const panel = Math.max(140, 19 * names.length);
  const layout = {
    title: { text: `${entry.kind.title} after ${step.toLocaleString("en")} steps` },
    height: lines * (panel + 75) + 90,
    annotations: [], showlegend: true,
    legend: { orientation: "h", x: 1, xanchor: "right", y: 1, yanchor: "top", yref: "container" },
    margin: { t: 70, b: 50 },
  };
  const gap = 0.02;
  const data = titles.flatMap((title, i) => {
    const suffix = i === 0 ? "" : String(i + 1);
    const [column, line] = [i % columns, Math.floor(i / columns)];
    const left = column / columns + (column ? gap : 0);
    const top = 1 - line / lines - (line ? 0.5 * 75 / layout.height : 0);
    const bottom = 1 - (line + 1) / lines + (line + 1 < lines ? 0.5 * 75 / layout.height : 0);
    layout[`xaxis${suffix}`] = {
      domain: [left, (column + 1) / columns], anchor: `y${suffix}`, title: { text: entry.action, standoff: 4, font: SMALL },
      tickvals: ticks, ticktext: ticks.map((action) => actions[action]), tickangle: 0, tickfont: { size: 10 }, zeroline: false, showgrid: false,
    };
    layout[`yaxis${suffix}`] = {
      domain: [bottom, top], anchor: `x${suffix}`, autorange: "reversed", automargin: true, zeroline: false, showgrid: false,
      tickvals: names.map((_, y) => y), ticktext: names, showticklabels: column === 0, tickfont: { size: 10 },
      title: { text: column === 0 ? axis : "", standoff: 8, font: SMALL },
    };
    layout.annotations.push({
      text: title, xref: `x${suffix} domain`, yref: `y${suffix} domain`, x: 0.5, y: 1, yanchor: "bottom", showarrow: false,
    });
    return panelTraces(entry, z[i], names, suffix, i === 0);
  });
  return { data, layout };
}

function similarityFigure(entry, { shape, numbers }) {
  const names = entry.order.map((task) => entry.tasks[task]);
  const z = entry.order.map((row) => entry.order.map((column) => numbers[row * shape[1] + column]));
  const ticks = { tickvals: names.map((_, i) => i), ticktext: names, automargin: true, showgrid: false, zeroline: false, tickfont: { size: 10 } };
  const side = Math.max(220, Math.min(560, 34 * names.length));
  return {
    data: [{
      type: "heatmap", z, colorscale: "Cividis", zmin: 0, zmax: 1, xgap: 1, ygap: 1,
      colorbar: { title: { text: entry.kind.similarity, side: "right", font: SMALL }, thickness: 14 },
      texttemplate: names.length <= 12 ? "%{z:.2f}" : "",
      customdata: z.map((row, i) => row.map((_, j) => `${names[i]} and ${names[j]}`)),
      hovertemplate: "%{customdata}: %{z:.2f}<extra></extra>",
    }],
    layout: {
      title: { text: "Similarity of tasks" }, height: side + 170, width: side + 330, margin: { t: 50 },
      xaxis: { ...ticks, tickangle: -45, title: { text: "task", standoff: 8, font: SMALL } },
      yaxis: { ...ticks, autorange: "reversed", title: { text: "task", standoff: 8, font: SMALL } },
    },
  };
}
