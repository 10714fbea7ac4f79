// The page of one asset: verdict, body, checks and drops; view.js draws the body.
"use strict";

const AssetPage = {
  async start() {
    const id = Page.asked();
    try {
      if (id === null) throw new Error("the address names no asset");
      await Page.load(`data/${id}.js`);
    } catch (error) {
      Page.byId("verdict").append(Page.element("p", {}, `There is no such asset in this report (${error.message}).`));
      Page.byId("workbench").hidden = true;
      return;
    }
    const asset = Page.data;
    document.title = `${asset.name} – scenegen report`;
    Page.byId("title").textContent = asset.name;
    Page.byId("group").textContent = asset.group ? `/ ${asset.group}` : "";
    Page.neighbours(id, "order", Page.address);
    AssetPage.verdict(asset);
    AssetPage.body(asset);
    Checks.start(asset);
    AssetPage.drops(asset);
    View.start(asset.scene);
  },

  verdict(asset) {
    const box = Page.byId("verdict");
    const bad = asset.checks.filter((check) => check.verdict !== "PASS");
    const counts = asset.checks.length ? `${asset.checks.length - bad.length} of ${asset.checks.length} checks pass` : asset.status === "unreadable" ? "no checks were made" : "";
    box.append(Page.element("p", { class: "first" }, Page.badge(asset.status), " ", counts));
    // What was altered has a place of its own.
    if (asset.worst && asset.worst !== asset.altered.join("; ")) box.append(Page.element("p", { class: "worst" }, asset.worst));
    if (asset.rejection) {
      const { stage, value, limit, unit } = asset.rejection;
      const against = value === null ? "" : `: ${Page.quantity(value, unit)}${limit === null ? "" : `, limit ${Page.quantity(limit, unit)}`}`;
      box.append(Page.element("p", { class: "hint" }, `Stage ${stage} ended it${against}.`));
    }
    if (asset.altered.length) {
      const lines = asset.altered.map((line) => Page.element("li", {}, line.replace(/^altered: /, "")));
      box.append(Page.element("div", { class: "altered", role: "note" },
        Page.element("p", {}, "Altered: what was judged is not quite what was given."), Page.element("ul", {}, ...lines)));
    }
  },

  body(asset) {
    const mass = asset.scene?.mass;
    const part = (p) => `${p.name} (${p.material}, ${Page.number(p.full_faces)} faces)`;
    const facts = [
      ["Mass", mass && Page.mass(mass.mass_kg)],
      ["Centre of mass", mass && mass.com_m.map((v) => Page.length(v)).join(", ")],
      ["Principal moments", mass && `${mass.moments_kg_m2.map((v) => Page.number(v)).join(", ")} kg m²`],
      ["Largest extent", asset.scene && Page.length(asset.scene.size)],
      ["Parts", asset.scene && asset.scene.parts.map(part).join(", ")],
      ["Hulls", asset.scene && Page.number(asset.scene.hulls.length)],
      ["Engines", asset.versions.join(", ")],
      ["Content", asset.asset_id],
      ["Item", asset.id],
    ];
    Page.facts(Page.byId("facts"), facts);
    if (asset.files.length) {
      const links = asset.files.flatMap(({ label, path }) => [Page.element("a", { href: path }, label), " "]);
      Page.byId("files").append(Page.element("p", {}, "Files: ", ...links));
    }
    const missing = asset.missing.length ? [asset.missing.join(", ")] : [];
    Page.byId("remarks").append(Page.remarks("Evidence missing", missing, true), Page.remarks("Notes", asset.notes));
  },

  drops(asset) {
    Page.byId("drops-section").hidden = !asset.drops.length;
    const head = ["Engine", "Start", "Outcome", "Rests in", "Depth", "Centre of mass at", "Creep", "Steps"];
    const row = (drop) => [drop.engine, drop.start, drop.outcome, drop.settle_s === null ? "–" : `${Page.number(drop.settle_s)} s`,
      Page.length(drop.depth_m), Page.length(drop.height_m), Page.length(drop.creep_m), Page.number(drop.steps)];
    Page.byId("drops").append(Page.element("table", {},
      Page.element("thead", {}, Page.element("tr", {}, ...head.map((text, i) => Page.element("th", { scope: "col", class: i > 2 ? "figure" : "" }, text)))),
      Page.element("tbody", {}, ...asset.drops.map((drop) => Page.element("tr", {}, ...row(drop).map((text, i) =>
        Page.element("td", { class: i > 2 ? "figure" : "" }, text)))))));
  },
};

document.addEventListener("DOMContentLoaded", AssetPage.start);
