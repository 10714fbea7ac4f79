// The first page: headline, funnel and reasons; then the table; charts when they come into sight.
"use strict";

const Index = {
  start() {
    const report = Page.data;
    // Rows travel as arrays, and get their names back here.
    const rows = report.assets.map((values) => Object.fromEntries(report.columns.map((name, i) => [name, values[i]])));
    document.title = `${report.name} – scenegen report`;
    Page.byId("kind").textContent = `scenegen ${report.kind}`;
    Page.byId("title").textContent = report.name;
    if (report.kind === "verification") Page.byId("funnel-head").textContent = "From files to accepted";
    Index.headline(report, rows);
    Index.bars("funnel", report.funnel.map(({ step, count }) => ({ label: step, count })));
    Index.bars("reasons", report.reasons.map(({ reason, count }) => ({ label: reason, count })), 10);
    Index.about(report);
    AssetTable.start(rows, report.kind);
    Charts.start(report, rows);
  },

  headline(report, rows) {
    const accepted = rows.filter((row) => row.accepted).length;
    const wanted = report.kind === "run" ? report.funnel[0].count : rows.length;
    const tiles = [
      [report.kind === "run" ? "requested" : "files", wanted, ""],
      [report.kind === "run" ? "certified" : "accepted", accepted, "good"],
      ["share", wanted ? `${Math.round((1000 * accepted) / wanted) / 10} %` : "–", ""],
      ...Object.entries(report.totals).map(([status, count]) => [status, count, status]),
    ];
    Page.byId("headline").append(
      ...tiles.map(([label, value, kind]) =>
        Page.element("div", { class: `tile ${kind}` }, Page.element("dt", {}, label), Page.element("dd", {}, typeof value === "number" ? Page.number(value) : value)),
      ),
    );
  },

  // Bars with a number each; those beyond `most` wait behind a button.
  bars(id, entries, most = Infinity) {
    const list = Page.byId(id);
    const largest = Math.max(...entries.map((entry) => entry.count), 1);
    const made = entries.map(({ label, count }, number) => {
      const bar = Page.element("span", { class: "bar" });
      bar.style.setProperty("--share", count / largest);
      return Page.element("li", { hidden: number >= most },
        Page.element("span", { class: "label" }, label), Page.element("span", { class: "count" }, Page.number(count)), bar);
    });
    if (!made.length) made.push(Page.element("li", { class: "none" }, "nothing was refused"));
    list.append(...made);
    if (made.length > most) {
      const more = Page.element("button", { type: "button", class: "plain" }, `${made.length - most} more`);
      more.addEventListener("click", () => {
        for (const item of made) item.hidden = false;
        more.remove();
      });
      list.after(more);
    }
  },

  about(report) {
    if (report.scenes.length) {
      Page.byId("scenes").append(
        Page.element("p", {}, "Scenes: ", report.scenes.map(({ name, state }) => `${name} (${state})`).join(", ")),
      );
    }
    for (const [name, version] of Object.entries(report.versions)) {
      Page.byId("versions").append(Page.element("dt", {}, name), Page.element("dd", {}, String(version)));
    }
  },
};

document.addEventListener("DOMContentLoaded", Index.start);
