// The page of one object: its data is a script named after it.
"use strict";

const ORDER = ["FAIL", "UNDECIDED", "WARN", "PASS"];

function describe(object) {
  document.title = object.name;
  byId("title").textContent = object.name;
  byId("where").textContent = object.path;
  byId("numbers").append(
    numberItem(object.verdict, object.category, `verdict ${object.verdict}`),
    ...[["size_m", "m, largest extent"], ["mass_kg", "kg"], ["volume_m3", "m³"], ["hulls", "collision hulls"], ["faces", "faces"]]
      .filter(([name]) => object[name] !== null)
      .map(([name, label]) => numberItem(spell(object[name]), label)),
  );
  const said = byId("said");
  if (object.reason) said.append(element("p", object.reason));
  for (const [title, lines] of [["Altered", object.altered], ["Missing evidence", object.missing], ["Notes", object.notes]]) {
    if (!lines.length) continue;
    const list = element("ul", null, "quiet");
    list.append(...lines.map((line) => element("li", line)));
    said.append(element("p", title, "quiet"), list);
  }
}

function listChecks(checks) {
  const rows = byId("checks").tBodies[0];
  const sorted = [...checks].sort((a, b) => ORDER.indexOf(a.verdict) - ORDER.indexOf(b.verdict));
  const explained = new Set();
  for (const check of sorted) {
    const row = element("tr", null, check.verdict === "PASS" ? "minor" : "");
    const words = element("td");
    if (!explained.has(check.id)) words.append(element("p", MEANINGS[check.id] || ""));
    explained.add(check.id);
    if (check.detail) words.append(element("p", check.detail, "quiet"));
    if (check.verdict !== "PASS" && check.fix) words.append(element("p", `To do: ${check.fix}`));
    const unit = check.unit === "1" ? "" : ` ${check.unit}`;
    row.append(
      element("td", check.verdict, `verdict ${check.verdict}`),
      element("td", `${check.id} ${check.name}`),
      element("td", check.value === null ? "not measured" : spell(check.value) + unit, "number"),
      element("td", check.limit === null ? "" : spell(check.limit) + unit, "number"),
      element("td", check.engine),
      words,
    );
    rows.append(row);
  }
  if (!checks.length) byId("checks").replaceWith(element("p", "It did not come to any check."));
}

function showShape(object) {
  const shape = object.shape;
  if (!shape || !(shape.surfaces.length || shape.hulls.length)) {
    byId("shape").replaceChildren(element("h2", "Shape"), element("p", "There is no solid to be shown."));
    return;
  }
  let viewer;
  try {
    viewer = new Viewer(byId("view"), shape);
  } catch (error) {
    byId("view").replaceWith(element("p", `This browser shows no 3D: ${error.message}`));
    byId("controls").remove();
    return;
  }
  window.viewer = viewer;
  for (const layer of ["surface", "hulls", "com", "box"]) {
    const box = byId(`show-${layer}`);
    viewer.show(layer, box.checked);
    box.addEventListener("change", () => viewer.show(layer, box.checked));
  }
  const poses = byId("pose");
  poses.append(new Option("as in the file", ""));
  shape.rest_poses.forEach((rest, number) => {
    const share = `${(100 * rest.probability).toFixed(0)} %`;
    poses.append(new Option(`rests ${rest.upright ? "upright" : `pose ${number + 1}`}, ${share}, ${rest.engines.join(" and ")}`, number));
  });
  poses.addEventListener("change", () => viewer.place(poses.value === "" ? [0, 0, 0, 1, 0, 0, 0] : shape.rest_poses[poses.value].pose));
  const play = byId("play");
  if (shape.drop) play.addEventListener("click", () => viewer.play(shape.drop));
  else play.remove();
  if (shape.left_out) byId("shape").append(element("p", `${shape.left_out} large surfaces are not shown.`, "quiet"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => viewer.recolor());
}

const id = new URLSearchParams(location.search).get("id") || "";
if (/^[0-9]{5,}$/.test(id)) {
  const script = document.createElement("script");
  script.src = `data/${id}.js`;
  script.onload = () => {
    describe(OBJECT);
    listChecks(OBJECT.checks);
    showShape(OBJECT);
  };
  script.onerror = () => { byId("title").textContent = "There is no such object in this report"; };
  document.head.append(script);
} else byId("title").textContent = "Choose an object on the page of all objects";
