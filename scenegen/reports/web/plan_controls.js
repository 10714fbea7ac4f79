// What a reader can do with the plan: by mouse, fingers and keys; colours, height, and the legend.
"use strict";

const PlanControls = {
  start() {
    PlanControls.bindControls();
    PlanControls.bindKeys();
    PlanControls.bindPointer();
  },

  bindControls() {
    const colours = Page.byId("plan-colours");
    const choices = Plan.plan.components.length ? ["component", "family"] : ["family"];
    colours.append(...choices.map((name) => Page.element("option", { value: name }, `by ${name}`)));
    colours.addEventListener("change", Plan.paint);
    const height = Page.byId("plan-height");
    const cut = () => {
      // The whole range keeps everything, whatever rounding does to the highest object.
      Plan.limit = height.value === height.max ? Infinity : Plan.ground + Number(height.value) * (Plan.ceiling - Plan.ground);
      Page.byId("plan-height-said").textContent = Plan.limit === Infinity ? "any height" : Page.length(Plan.limit);
      Plan.draw();
    };
    height.addEventListener("input", cut);
    cut();
    Page.byId("plan-nearer").addEventListener("click", () => Plan.zoom(1.4));
    Page.byId("plan-farther").addEventListener("click", () => Plan.zoom(1 / 1.4));
    Page.byId("plan-reset").addEventListener("click", Plan.reset);
  },

  bindKeys() {
    const keys = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
    const zooms = { "+": 1.25, "=": 1.25, "-": 0.8 };
    Plan.canvas.addEventListener("keydown", (event) => {
      if (event.key === "Home") Plan.reset();
      else if (event.key in keys) Plan.shift(...keys[event.key]);
      else if (event.key in zooms) Plan.zoom(zooms[event.key]);
      else return;
      event.preventDefault();
    });
  },

  // One finger or the mouse moves, two fingers zoom; a press without a move points out what is there.
  bindPointer() {
    const held = new Map();
    let moved = 0;
    const spot = (event) => [event.offsetX, event.offsetY];
    Plan.canvas.addEventListener("pointerdown", (event) => {
      Plan.canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, spot(event));
      if (held.size === 1) moved = 0;
    });
    Plan.canvas.addEventListener("pointermove", (event) => {
      const before = held.get(event.pointerId);
      const now = spot(event);
      if (!before) return PlanControls.tip(event, now);
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const spread = (point) => Math.max(Math.hypot(point[0] - other[0], point[1] - other[1]), 1);
        Plan.zoom(spread(now) / spread(before), other[0], other[1]);
      } else Plan.shift(now[0] - before[0], now[1] - before[1]);
      moved += Math.abs(now[0] - before[0]) + Math.abs(now[1] - before[1]);
      held.set(event.pointerId, now);
    });
    const end = (event) => {
      if (!held.delete(event.pointerId)) return;
      if (event.type === "pointerup" && moved < 5 && !held.size) Plan.select(Plan.at(...spot(event)));
    };
    Plan.canvas.addEventListener("pointerup", end);
    Plan.canvas.addEventListener("pointercancel", end);
    Plan.canvas.addEventListener("pointerleave", () => { Page.byId("plan-tip").hidden = true; });
    Plan.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      Plan.zoom(Math.exp(-0.0015 * event.deltaY), ...spot(event));
    }, { passive: false });
  },

  tip(event, [column, row]) {
    const tip = Page.byId("plan-tip");
    const found = event.pointerType === "mouse" ? Plan.at(column, row) : -1;
    tip.hidden = found < 0;
    if (found < 0) return;
    const { name, family, component } = Plan.objects[found];
    tip.textContent = `${name}, ${family}${component ? `, in ${component}` : ""}`;
    tip.style.left = `${Math.min(column + 14, Plan.width - tip.offsetWidth - 6)}px`;
    tip.style.top = `${Math.max(row - tip.offsetHeight - 8, 6)}px`;
  },

  legend(byFamily, hues) {
    const entry = (colours, text) => {
      const swatches = colours.map((colour) => {
        const swatch = Page.element("span", { class: "swatch", "aria-hidden": "true" });
        swatch.style.background = colour;
        return swatch;
      });
      return Page.element("li", {}, ...swatches, text);
    };
    const lone = Plan.componentOf.reduce((sum, one) => sum + (one === Plan.alone), 0);
    const entries = byFamily
      ? Plan.families.slice(0, 24).map((name, number) => entry([hues[number]], name))
      : [entry([Plan.ink.muted], `stands alone (${Page.number(lone)})`),
        entry(hues.slice(0, 5), `in a component, each of a colour (${Page.number(Plan.componentOf.length - lone)} in ${Page.number(hues.length)})`)];
    if (byFamily && Plan.families.length > 24) entries.push(Page.element("li", {}, `and ${Plan.families.length - 24} more`));
    Page.byId("legend").replaceChildren(...entries);
  },
};
