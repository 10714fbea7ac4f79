// The plan: every object of a scene from above on one canvas, quick with ten thousand; it moves, zooms and tells names.
"use strict";

const Plan = {
  alone: 65535, // stands for no component
  margin: 1.06,

  // Return the objects for the list, in their order.
  start(plan) {
    const { unpack } = Outlines;
    const canvas = Page.byId("plan");
    Object.assign(Plan, {
      plan, canvas, brush: canvas.getContext("2d"), selected: -1,
      assetOf: unpack(plan.asset_of, Uint16Array),
      componentOf: unpack(plan.component_of, Uint16Array),
      positions: unpack(plan.positions, Float32Array),
      quaternions: unpack(plan.quaternions, Int16Array),
      furniture: unpack(plan.furniture, Float32Array),
      shapes: plan.assets.map(({ points, scale }) => Float32Array.from(unpack(points, Int16Array), (value) => value * scale)),
    });
    Plan.families = [...new Set(plan.assets.map((asset) => asset.family))].sort();
    Plan.familyOf = plan.assets.map((asset) => Plan.families.indexOf(asset.family));
    Object.assign(Plan, Outlines.all(Plan));
    Plan.order = Array.from(Plan.tops.keys()).sort((a, b) => Plan.tops[a] - Plan.tops[b]);
    Plan.measure();
    PlanControls.start();
    Plan.paint();
    new ResizeObserver(Plan.resize).observe(Page.byId("plan-stage"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", Plan.paint);
    Plan.objects = plan.names.map((name, i) => {
      const { family, page } = plan.assets[Plan.assetOf[i]];
      const component = Plan.componentOf[i] === Plan.alone ? "" : plan.components[Plan.componentOf[i]];
      const [x, y, z] = Plan.positions.subarray(3 * i, 3 * i + 3);
      return { id: String(i), name, family, page, component, x, y, z };
    });
    return Plan.objects;
  },

  measure() {
    const low = [Infinity, Infinity];
    const high = [-Infinity, -Infinity];
    const take = (flat) => {
      for (let p = 0; p < flat.length; p++) {
        low[p % 2] = Math.min(low[p % 2], flat[p]);
        high[p % 2] = Math.max(high[p % 2], flat[p]);
      }
    };
    take(Plan.furniture);
    for (const outline of Plan.outlines) take(outline);
    Plan.box = { low, high };
    Plan.ceiling = Plan.tops.reduce((a, b) => Math.max(a, b), -Infinity);
    Plan.ground = Plan.tops.reduce((a, b) => Math.min(a, b), Infinity);
  },

  // ---- view ------------------------------------------------------------------------------------

  resize() {
    const { clientWidth, clientHeight } = Page.byId("plan-stage");
    if (!clientWidth || !clientHeight) return;
    const dense = Math.min(devicePixelRatio, 2);
    const first = !Plan.width;
    Object.assign(Plan, { width: clientWidth, height: clientHeight, dense });
    Object.assign(Plan.canvas, { width: Math.round(clientWidth * dense), height: Math.round(clientHeight * dense) });
    if (first) Plan.reset();
    Plan.draw();
  },

  reset() {
    const { low, high } = Plan.box;
    const [across, up] = [Math.max(high[0] - low[0], 0.05), Math.max(high[1] - low[1], 0.05)];
    Plan.scale = Math.min(Plan.width / across, (Plan.height - 40) / up) / Plan.margin; // pixels a metre, room for the bar
    Plan.least = Plan.scale / 2;
    Plan.middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2 - 14 / Plan.scale];
    Plan.draw();
  },

  // Zoom so that the place under a pixel stays there.
  zoom(factor, column = Plan.width / 2, row = Plan.height / 2) {
    const [x, y] = Plan.place(column, row);
    Plan.scale = Math.min(Math.max(Plan.scale * factor, Plan.least), 4000);
    const [after, below] = Plan.place(column, row);
    Plan.middle = [Plan.middle[0] + x - after, Plan.middle[1] + y - below];
    Plan.draw();
  },

  shift(columns, rows) {
    Plan.middle = [Plan.middle[0] - columns / Plan.scale, Plan.middle[1] + rows / Plan.scale];
    Plan.draw();
  },

  // Place in the world that a pixel shows [m].
  place(column, row) {
    return [Plan.middle[0] + (column - Plan.width / 2) / Plan.scale, Plan.middle[1] - (row - Plan.height / 2) / Plan.scale];
  },

  // Topmost object at a pixel, or -1; small ones may be missed by three pixels.
  at(column, row) {
    const [x, y] = Plan.place(column, row);
    const slack = 3 / Plan.scale;
    let near = -1;
    for (let k = Plan.order.length - 1; k >= 0; k--) {
      const i = Plan.order[k];
      const away = Math.hypot(x - Plan.positions[3 * i], y - Plan.positions[3 * i + 1]);
      if (Plan.tops[i] > Plan.limit || away > Plan.reach[i] + slack) continue;
      if (Outlines.holds(Plan.outlines[i], x, y)) return i;
      if (near < 0 && Plan.reach[i] * Plan.scale < 6) near = i;
    }
    return near;
  },

  // ---- drawing ---------------------------------------------------------------------------------

  // Neighbours in a list get hues far from each other: turns by the golden angle.
  hue(number) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    return `hsl(${(number * 137.508 + 210) % 360} ${dark ? "58% 62%" : "60% 46%"})`;
  },

  // Take the colours of the page, which follow light and dark.
  paint() {
    const style = getComputedStyle(document.documentElement);
    const named = (name) => style.getPropertyValue(`--${name}`).trim();
    Plan.ink = { card: named("card"), ink: named("ink"), muted: named("muted"), line: named("line"), soft: named("soft"), accent: named("accent") };
    const byFamily = Page.byId("plan-colours").value === "family";
    const alone = Plan.ink.muted;
    const hues = (byFamily ? Plan.families : Plan.plan.components).map((_, number) => Plan.hue(number));
    Plan.fill = (i) => (byFamily ? hues[Plan.familyOf[Plan.assetOf[i]]] : Plan.componentOf[i] === Plan.alone ? alone : hues[Plan.componentOf[i]]);
    PlanControls.legend(byFamily, hues);
    Plan.draw();
  },

  // One picture for any number of changes before the next frame.
  draw() {
    if (Plan.asked || !Plan.scale) return;
    Plan.asked = true;
    requestAnimationFrame(() => {
      Plan.asked = false;
      Plan.drawNow();
    });
  },

  drawNow() {
    const { brush, scale, width, height, dense, middle } = Plan;
    brush.setTransform(dense, 0, 0, dense, 0, 0);
    brush.clearRect(0, 0, width, height);
    const column = (x) => (x - middle[0]) * scale + width / 2;
    const row = (y) => height / 2 - (y - middle[1]) * scale;
    Plan.drawFurniture(column, row);
    const [left, top] = Plan.place(0, 0);
    const [right, bottom] = Plan.place(width, height);
    brush.lineWidth = 1;
    brush.strokeStyle = Plan.ink.card;
    for (const i of Plan.order) {
      const [x, y, reach] = [Plan.positions[3 * i], Plan.positions[3 * i + 1], Plan.reach[i]];
      if (Plan.tops[i] > Plan.limit || x + reach < left || x - reach > right || y + reach < bottom || y - reach > top) continue;
      brush.fillStyle = Plan.fill(i);
      const size = reach * scale;
      if (size < 1.6) { // no outline can be seen
        const side = Math.max(2 * size, 1.5);
        brush.fillRect(column(x) - side / 2, row(y) - side / 2, side, side);
        continue;
      }
      Plan.trace(Plan.outlines[i], column, row);
      brush.fill();
      if (size > 5) brush.stroke();
    }
    Plan.drawSelected(column, row);
    Plan.drawBar();
  },

  trace(outline, column, row) {
    Plan.brush.beginPath();
    for (let p = 0; p < outline.length; p += 2) Plan.brush.lineTo(column(outline[p]), row(outline[p + 1]));
    Plan.brush.closePath();
  },

  drawFurniture(column, row) {
    const { brush, furniture, scale } = Plan;
    brush.lineWidth = 1;
    brush.strokeStyle = Plan.ink.line;
    brush.fillStyle = Plan.ink.soft;
    for (let p = 0; p < furniture.length; p += 4) {
      const box = [column(furniture[p]), row(furniture[p + 3]), (furniture[p + 2] - furniture[p]) * scale, (furniture[p + 3] - furniture[p + 1]) * scale];
      brush.fillRect(...box);
      brush.strokeRect(...box);
    }
  },

  // The object pointed out, with a ring where it is small, and the rest of its component.
  drawSelected(column, row) {
    const { brush, selected } = Plan;
    if (selected < 0) return;
    const component = Plan.componentOf[selected];
    brush.strokeStyle = Plan.ink.ink;
    brush.lineWidth = 1.2;
    for (const i of component === Plan.alone ? [] : Plan.order) {
      if (Plan.componentOf[i] !== component || i === selected) continue;
      Plan.trace(Plan.outlines[i], column, row);
      brush.stroke();
    }
    brush.strokeStyle = Plan.ink.accent;
    brush.lineWidth = 2.5;
    Plan.trace(Plan.outlines[selected], column, row);
    brush.stroke();
    if (Plan.reach[selected] * Plan.scale > 14) return;
    brush.beginPath();
    brush.arc(column(Plan.positions[3 * selected]), row(Plan.positions[3 * selected + 1]), 14, 0, 2 * Math.PI);
    brush.stroke();
  },

  // A round length that takes about a fifth of the width.
  drawBar() {
    const { brush, scale, width, height } = Plan;
    const wanted = width / 5 / scale;
    const decade = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].map((n) => n * decade).find((one) => one <= wanted);
    const [x, y] = [14, height - 14];
    brush.strokeStyle = brush.fillStyle = Plan.ink.ink;
    brush.lineWidth = 1.5;
    brush.beginPath();
    brush.moveTo(x, y - 5);
    brush.lineTo(x, y);
    brush.lineTo(x + length * scale, y);
    brush.lineTo(x + length * scale, y - 5);
    brush.stroke();
    brush.font = "12px system-ui, sans-serif";
    brush.fillText(Page.length(length), x + 6, y - 5);
  },

  // ---- what is pointed out ----------------------------------------------------------------------

  // Point out an object, or none; say what it is, and where it is in the list.
  select(number) {
    Plan.selected = number;
    Plan.draw();
    const said = Page.byId("picked");
    if (number < 0) return said.replaceChildren();
    const object = Plan.objects[number];
    const { name, family, component, page, x, y, z } = object;
    const find = Page.element("button", { type: "button", class: "plain" }, "Find it in the list");
    find.addEventListener("click", () => ObjectTable.find(object));
    const asset = page === null ? family : Page.element("a", { href: Page.address(page) }, family);
    const rest = `${Plan.plan.components.length ? (component ? `, in component ${component}` : ", alone") : ""}, at ${[x, y, z].map((v) => v.toFixed(3)).join(", ")} m. `;
    said.replaceChildren(Page.element("b", {}, name), ", ", asset, rest, find);
  },
};
