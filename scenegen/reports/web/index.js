// The page of all objects: numbers, bars, two charts and a table.
"use strict";

const objects = REPORT.objects;
const BINS = 24;
const WIDEST = 2; // ratios beyond are counted in the last bin

document.title = REPORT.title;
byId("title").textContent = REPORT.title;
byId("versions").textContent = Object.entries(REPORT.versions).map(([name, version]) => `${name} ${version}`).join(" · ");

byId("verdicts").append(
  numberItem(objects.length, "objects"),
  ...Object.entries(REPORT.verdicts).map(([verdict, count]) => numberItem(count, verdict, verdict)),
);
for (const verdict of Object.keys(REPORT.verdicts)) byId("verdict").append(new Option(verdict, verdict));

function bars(list, rows) {
  const most = Math.max(1, ...rows.map((row) => row.count));
  for (const { label, count } of rows) {
    const item = element("li");
    const bar = element("span", null, "bar");
    bar.style.width = `${(100 * count) / most}%`;
    const track = element("span");
    track.append(bar);
    item.append(element("span", label, "label"), track, element("span", count, "count"));
    list.append(item);
  }
}

bars(byId("funnel"), REPORT.funnel.map(({ step, count }) => ({ label: step, count })));
bars(byId("reasons"), REPORT.reasons.slice(0, 12).map(({ reason, count }) => ({ label: reason, count })));
if (!REPORT.reasons.length) byId("reasons").append(element("li", "nothing was refused"));

// ---- charts -------------------------------------------------------------------------------------------------

let charts = [];

function axis(label) {
  return { label, stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") } };
}

function draw(place, options, data) {
  place.replaceChildren();
  return new uPlot({ width: place.clientWidth, height: 260, cursor: { drag: { x: false, y: false } }, legend: { show: false }, ...options }, data, place);
}

function drawSpread() {
  const id = byId("check").value;
  byId("check-meaning").textContent = `${MEANINGS[id] || ""} The line at 1 is the limit.`;
  const counts = new Array(BINS).fill(0);
  for (const object of objects) {
    const ratio = object.ratios[id];
    if (ratio !== undefined) counts[Math.min(BINS - 1, Math.floor((ratio / WIDEST) * BINS))] += 1;
  }
  const places = counts.map((_, number) => ((number + 0.5) * WIDEST) / BINS);
  const place = byId("spread");
  place.setAttribute("aria-label", `Histogram of ${id} over its limit: ${counts.join(", ")} objects in bins of ${(WIDEST / BINS).toFixed(3)}`);
  const limit = {
    hooks: {
      draw: (u) => {
        const x = u.valToPos(1, "x", true);
        u.ctx.save();
        u.ctx.strokeStyle = color("fail");
        u.ctx.lineWidth = 2 * devicePixelRatio;
        u.ctx.beginPath();
        u.ctx.moveTo(x, u.bbox.top);
        u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
        u.ctx.stroke();
        u.ctx.restore();
      },
    },
  };
  return draw(place, {
    scales: { x: { time: false, range: [0, WIDEST] }, y: { range: (u, low, high) => [0, Math.max(1, high * 1.05)] } },
    axes: [axis("value / limit, 2 and more last"), axis("objects")],
    series: [{}, { stroke: color("accent"), fill: color("bar"), paths: uPlot.paths.bars({ size: [0.95, 60] }), points: { show: false } }],
    plugins: [limit],
  }, [places, counts]);
}

function drawAgreement() {
  const quantity = byId("quantity").value;
  const scale = quantity === "depth_m" ? 1000 : 1;
  const [first, second] = ["mujoco", "pybullet"];
  const points = objects
    .map((object) => [object.engines[first]?.[quantity], object.engines[second]?.[quantity]])
    .filter(([x, y]) => x > 0 && y > 0)
    .map(([x, y]) => [x * scale, y * scale])
    .sort((a, b) => a[0] - b[0]);
  const place = byId("agree");
  place.setAttribute("aria-label", `${points.length} objects, ${quantity} in ${first} and ${second}`);
  if (!points.length) {
    place.replaceChildren(element("p", "no object was dropped in both engines", "quiet"));
    return null;
  }
  const all = points.flat();
  const range = [Math.min(...all) / 1.3, Math.max(...all) * 1.3];
  const diagonal = {
    hooks: {
      draw: (u) => {
        u.ctx.save();
        u.ctx.strokeStyle = color("quiet");
        u.ctx.setLineDash([4, 4]);
        u.ctx.beginPath();
        u.ctx.moveTo(u.valToPos(range[0], "x", true), u.valToPos(range[0], "y", true));
        u.ctx.lineTo(u.valToPos(range[1], "x", true), u.valToPos(range[1], "y", true));
        u.ctx.stroke();
        u.ctx.restore();
      },
    },
  };
  return draw(place, {
    scales: { x: { time: false, distr: 3, range }, y: { distr: 3, range } },
    axes: [axis(first), axis(second)],
    series: [{}, { stroke: color("accent"), paths: () => null, points: { show: true, size: 6, fill: color("bar"), stroke: color("accent") } }],
    plugins: [diagonal],
  }, [points.map((p) => p[0]), points.map((p) => p[1])]);
}

function drawCharts() {
  for (const chart of charts) chart?.destroy();
  charts = [drawSpread(), drawAgreement()];
}

const held = new Set(objects.flatMap((object) => Object.keys(object.ratios)));
for (const id of Object.keys(MEANINGS)) if (held.has(id)) byId("check").append(new Option(id, id));
if (held.has("H4")) byId("check").value = "H4";
byId("check").addEventListener("change", drawCharts);
byId("quantity").addEventListener("change", drawCharts);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCharts);
let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(drawCharts, 150);
});

// ---- table --------------------------------------------------------------------------------------------------

const RANK = ["PASS", "WARN", "UNDECIDED", "FAIL", "rejected", "unreadable"];

function picture(cell) {
  const src = cell.getValue();
  if (!src) return "";
  const image = element("img");
  image.src = src;
  image.alt = "";
  image.loading = "lazy";
  return image;
}

function link(cell) {
  const anchor = element("a", cell.getValue());
  anchor.href = `asset.html?id=${cell.getData().id}`;
  return anchor;
}

const text = (cell) => element("span", cell.getValue());
const verdict = (cell) => element("span", cell.getValue(), `verdict ${cell.getValue()}`);
const number = (cell) => element("span", spell(cell.getValue()));

const table = new Tabulator("#table", {
  data: objects,
  index: "id",
  height: "34rem",
  layout: "fitColumns",
  responsiveLayout: "hide",
  rowHeight: 54,
  columns: [
    { title: "", field: "thumb", formatter: picture, width: 62, headerSort: false, responsive: 0 },
    { title: "name", field: "name", formatter: link, minWidth: 130, responsive: 0 },
    { title: "verdict", field: "verdict", formatter: verdict, minWidth: 105, responsive: 0, sorter: (a, b) => RANK.indexOf(a) - RANK.indexOf(b) },
    { title: "category", field: "category", formatter: text, minWidth: 100, responsive: 2 },
    { title: "size [m]", field: "size_m", formatter: number, sorter: "number", minWidth: 90, responsive: 3 },
    { title: "mass [kg]", field: "mass_kg", formatter: number, sorter: "number", minWidth: 95, responsive: 3 },
    { title: "hulls", field: "hulls", formatter: number, sorter: "number", minWidth: 75, responsive: 4 },
    { title: "worst finding", field: "worst", formatter: text, minWidth: 220, widthGrow: 3, responsive: 1 },
  ],
});

const haystack = new Map(objects.map((object) => [object.id, `${object.name} ${object.category} ${object.worst} ${object.path}`.toLowerCase()]));

function filter() {
  const wanted = byId("search").value.trim().toLowerCase();
  const only = byId("verdict").value;
  table.setFilter((object) => (!only || object.verdict === only) && (!wanted || haystack.get(object.id).includes(wanted)));
}

table.on("dataFiltered", (filters, rows) => {
  byId("shown").textContent = `${rows.length} of ${objects.length}`;
});
table.on("tableBuilt", filter);
byId("search").addEventListener("input", filter);
byId("verdict").addEventListener("change", filter);
drawCharts();
