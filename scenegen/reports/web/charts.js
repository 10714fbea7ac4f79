// Charts by Observable Plot: agreement of the engines and distributions with their limits, drawn when seen.
"use strict";

const Charts = {
  featured: 9,

  agreement: [
    { key: "settle_s", label: "time to rest [s]" },
    { key: "depth_m", label: "rest depth [m]" },
    { key: "height_m", label: "height of the centre of mass [m]" },
  ],

  start(report, rows) {
    for (const { key, label } of Charts.agreement) {
      const pairs = rows.map((row) => ({ row, x: row.engines[key][0], y: row.engines[key][1] }))
        .filter(({ x, y }) => x !== null && y !== null && x > 0 && y > 0);
      if (pairs.length) Charts.place("agreement-charts", label, `${Page.number(pairs.length)} assets`, (width) => Charts.scatter(pairs, label, width));
    }
    if (!Page.byId("agreement-charts").children.length) {
      Page.byId("agreement-charts").append(Page.element("p", { class: "none" }, "For no asset do both engines say where it rests."));
    }
    const spreads = Charts.ranked(report.distributions);
    const add = (some) => {
      for (const spread of some) {
        const where = [spread.id, spread.name, spread.engine && `in ${spread.engine}`].filter(Boolean).join(" ");
        const notes = [`${Page.number(spread.assets)} measured`, spread.refused && `${Page.number(spread.refused)} refused`,
          spread.below && `${Page.number(spread.below)} near zero, left of the axis`];
        Charts.place("spread-charts", where, notes.filter(Boolean).join(", "), (width) => Charts.histogram(spread, width));
      }
    };
    add(spreads.slice(0, Charts.featured));
    const more = Page.byId("more-spreads");
    more.hidden = spreads.length <= Charts.featured;
    more.textContent = `Show ${spreads.length - Charts.featured} more checks`;
    more.addEventListener("click", () => {
      add(spreads.slice(Charts.featured));
      more.hidden = true;
    });
  },

  // What refuses assets first, then what a reader looks for first, then the rest as it came.
  ranked(spreads) {
    const known = ["D3", "D4", "D12", "H2", "H4", "D5", "D6", "D7", "G7"];
    const rank = ({ id }) => (known.includes(id) ? known.indexOf(id) : known.length);
    return [...spreads].sort((a, b) => b.refused - a.refused || rank(a) - rank(b));
  },

  // A figure that draws itself when it comes into sight, and anew when its width changes.
  place(parent, title, note, draw) {
    const box = Page.element("div", { class: "plot" });
    const figure = Page.element("figure", {}, Page.element("figcaption", {}, title, Page.element("small", {}, note)), box);
    Page.byId(parent).append(figure);
    let width = 0;
    const render = async () => {
      await Charts.library();
      if (Math.abs(box.clientWidth - width) < 2) return;
      width = box.clientWidth;
      const chart = draw(Math.max(width, 220));
      chart.setAttribute("role", "img");
      chart.setAttribute("aria-label", `${title}, ${note}`);
      box.replaceChildren(chart);
    };
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      render();
      new ResizeObserver(render).observe(box);
    }, { rootMargin: "200px" }).observe(figure);
  },

  // The library is read when the first chart is near, after the page stands.
  library() {
    Charts.reading ??= Page.load("vendor/plot.min.js");
    return Charts.reading;
  },

  color(status) {
    return `var(--${status.toLowerCase()})`;
  },

  scatter(pairs, label, width) {
    const values = pairs.flatMap(({ x, y }) => [x, y]);
    const low = Math.min(...values) / 1.3;
    const high = Math.max(...values) * 1.3;
    const axis = { type: "log", domain: [low, high], grid: true, ticks: 4, tickFormat: (v) => Page.number(v, 2) };
    const chart = Plot.plot({
      width, height: Math.min(width, 340), marginLeft: 58, marginBottom: 40, style: { background: "transparent" },
      x: { ...axis, label: `MuJoCo, ${label}` },
      y: { ...axis, label: `PyBullet` },
      marks: [
        Plot.line([[low, low], [high, high]], { stroke: "var(--muted)", strokeDasharray: "4 3" }),
        Plot.dot(pairs, { x: "x", y: "y", r: 3, stroke: ({ row }) => Charts.color(row.status), strokeWidth: 1.4, strokeOpacity: 0.75 }),
        Plot.tip(pairs, Plot.pointer({ x: "x", y: "y", fill: "var(--card)",
          title: ({ row, x, y }) => `${row.name}\nMuJoCo ${Page.number(x)}\nPyBullet ${Page.number(y)}` })),
      ],
    });
    chart.addEventListener("click", () => { if (chart.value) location.href = Page.address(chart.value.row.id); });
    return chart;
  },

  histogram(spread, width) {
    const { edges, unit } = spread;
    const bars = spread.bins.map(({ bin, verdict, count }) => ({ low: edges[bin], high: edges[bin + 1], verdict, count }));
    const marks = [
      Plot.ruleY([0], { stroke: "var(--line)" }),
      Plot.rectY(bars, { x1: "low", x2: "high", y: "count", fill: ({ verdict }) => Charts.color(verdict), insetLeft: 0.5, insetRight: 0.5 }),
    ];
    const heights = edges.map((_, bin) => spread.bins.filter((one) => one.bin === bin).reduce((sum, { count }) => sum + count, 0));
    const inside = (value) => value !== null && value >= edges[0] && value <= edges.at(-1);
    if (inside(spread.warn)) marks.push(Plot.ruleX([spread.warn], { stroke: "var(--warn)", strokeDasharray: "4 3", strokeWidth: 1.5 }));
    if (inside(spread.limit)) {
      marks.push(Plot.ruleX([spread.limit], { stroke: "var(--fail)", strokeWidth: 1.75 }));
      const place = (value) => (spread.logarithmic ? Math.log(value) : value);
      const share = (place(spread.limit) - place(edges[0])) / (place(edges.at(-1)) - place(edges[0]));
      const anchor = share < 0.4 ? "start" : "end";
      const say = `${spread.sense === "<=" ? "at most" : "at least"} ${Page.number(spread.limit)}`;
      marks.push(Plot.text([spread.limit], { x: (d) => d, text: () => say, frameAnchor: "top", dy: -11, dx: anchor === "start" ? 4 : -4, textAnchor: anchor, fill: "var(--fail)" }));
    }
    const label = unit === "1" ? null : unit;
    return Plot.plot({
      width, height: 196, marginLeft: 40, marginTop: 34, marginBottom: 36, style: { background: "transparent" },
      x: { type: spread.logarithmic ? "log" : "linear", domain: [edges[0], edges.at(-1)], label, ticks: 4,
        tickFormat: (v) => Page.number(v, 2) },
      y: { label: "assets", ticks: Math.min(3, Math.max(...heights)), tickFormat: "d", grid: true },
      marks,
    });
  },
};
