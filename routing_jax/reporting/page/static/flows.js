// Tasks flowing through blocks, depth by depth.

const LEAST_FLOW = 0.02;
const LEAST_SHOWN = 0.6; // of the flow of all tasks, when flows below the least are left out
const MOST_LINKS = 500;

// Links [{ depth, from, to, task, value }]: from a task to its blocks at the first depth, then
// from block to block. A task is one unit of flow, shared at each depth as it shares its blocks,
// and independently of the depth before.
function taskFlows({ tasks, depths, actions, at }) {
  const links = [];
  for (let task = 0; task < tasks; task += 1) {
    let before = [[task, 1]];
    for (let depth = 0; depth < depths; depth += 1) {
      const row = Array.from({ length: actions }, (_, action) => Math.max(0, at(task, depth, action)));
      const sum = row.reduce((total, number) => total + number, 0) || 1;
      const here = row.map((number, action) => [action, number / sum]).filter(([, share]) => share > 0);
      for (const [from, first] of before) {
        for (const [to, second] of here) links.push({ depth, from, to, task, value: first * second });
      }
      before = here;
    }
  }
  return links;
}

const totalFlow = (links) => links.reduce((total, { value }) => total + value, 0);
const withoutFaint = (links) => links.filter(({ value }) => value >= LEAST_FLOW);

// The links to draw: of each task by itself, or of all together behind the first depth where those
// would be too many or too faint to be seen.
function linksToDraw(links) {
  const single = withoutFaint(links);
  if (single.length <= MOST_LINKS && totalFlow(single) >= LEAST_SHOWN * totalFlow(links)) return single;
  return withoutFaint(summedOverTasks(links));
}

// At the first depth a link is of one task in any case.
function summedOverTasks(links) {
  const sums = new Map();
  for (const link of links.filter(({ depth }) => depth > 0)) {
    const key = `${link.depth} ${link.from} ${link.to}`;
    const sum = sums.get(key) ?? { ...link, task: null, value: 0 };
    sum.value += link.value;
    sums.set(key, sum);
  }
  return [...links.filter(({ depth }) => depth === 0), ...sums.values()];
}

function faint(colour) {
  const parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
  return `rgba(${parts.join(",")},0.4)`;
}

// Where switches are on a task takes their mean: only those count, not their probabilities.
function sharesOf(entry, snapshot) {
  if (entry.kind.marks !== "switches") return snapshot;
  return { ...snapshot, at: (...place) => (snapshot.at(...place) >= 0.5 ? 1 : 0) };
}

function flowFigure(entry, snapshot, step, colours) {
  const links = linksToDraw(taskFlows(sharesOf(entry, snapshot)));
  const together = links.some(({ task }) => task === null);
  const names = actionNames(entry, snapshot.actions);
  const places = new Map();
  const labels = [];
  const place = (depth, number) => {
    const key = `${depth} ${number}`;
    if (!places.has(key)) {
      places.set(key, labels.length);
      labels.push(depth < 0 ? entry.tasks[number] : names[number]);
    }
    return places.get(key);
  };
  for (let task = 0; task < snapshot.tasks; task += 1) place(-1, task);
  const colour = (task) => (task === null ? "#888888" : colours[task % colours.length]);
  const about = ({ depth, from, to, task, value }) => {
    const who = task === null ? "all tasks" : entry.tasks[task];
    const origin = depth === 0 ? "" : `depth ${depth}, ${entry.action} ${names[from]} → `;
    return `${who}: ${origin}depth ${depth + 1}, ${entry.action} ${names[to]}: ${value.toFixed(2)}`;
  };
  const link = {
    source: links.map(({ depth, from }) => place(depth - 1, from)),
    target: links.map(({ depth, to }) => place(depth, to)),
    value: links.map(({ value }) => value),
    color: links.map(({ task }) => faint(colour(task))),
    customdata: links.map(about),
    hovertemplate: "%{customdata}<extra></extra>",
  };
  const node = {
    label: labels, pad: 10, thickness: 14, line: { width: 0 },
    color: labels.map((_, i) => (i < snapshot.tasks ? colour(i) : "#666666")),
    hovertemplate: "%{label}: %{value:.2f} tasks<extra></extra>",
  };
  const heads = ["task", ...Array.from({ length: snapshot.depths }, (_, depth) => `depth ${depth + 1}`)];
  const layout = {
    title: { text: `Tasks through ${entry.action}s after ${step.toLocaleString("en")} steps` },
    height: Math.max(320, 30 * Math.max(snapshot.tasks, snapshot.actions) + 130),
    margin: { l: 20, r: 40, t: 80, b: 20 },
    annotations: heads.map((text, i) => ({
      text, x: i / snapshot.depths, y: 1.02, yanchor: "bottom", xref: "paper", yref: "paper", showarrow: false,
      xanchor: i === 0 ? "left" : i === snapshot.depths ? "right" : "center",
    })),
  };
  const note = together
    ? "Behind depth 1 all tasks are drawn together: one by one their flows are too many or too faint."
    : `One colour for each task; they come again after ${colours.length}.`;
  return { data: [{ type: "sankey", link, node }], layout, note: `${note} Flows below ${LEAST_FLOW} of a task are left out.` };
}
