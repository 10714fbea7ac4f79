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
    Page.bars(Page.byId("funnel"), report.funnel.map(({ step, count }) => ({ label: step, count })));
    Page.bars(Page.byId("reasons"), report.reasons.map(({ reason, count }) => ({ label: reason, count })), { most: 10, none: "nothing was refused" });
    Index.about(report);
    SceneTable.start(report.scenes);
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
    if (report.scenes.length) {
      const sound = report.scenes.filter((scene) => scene.accepted).length;
      const count = report.scenes.length;
      tiles.push(["scenes", sound === count ? count : `${sound} of ${count}`, sound === count ? "good" : "FAIL"]);
    }
    Page.byId("headline").append(...tiles.map(([label, value, kind]) => Page.tile(label, value, kind)));
  },

  about(report) {
    for (const [name, version] of Object.entries(report.versions)) {
      Page.byId("versions").append(Page.element("dt", {}, name), Page.element("dd", {}, String(version)));
    }
  },
};

document.addEventListener("DOMContentLoaded", Index.start);
