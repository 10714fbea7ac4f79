// The page of one asset: verdict, body, checks and drops; view.js draws the body.
"use strict";

const AssetPage = {
  async start() {
    const id = new URLSearchParams(location.search).get("id") ?? "";
    try {
      // The identifier becomes part of an address: nothing but our own names may pass.
      if (!/^[A-Za-z0-9_]{1,100}$/.test(id)) throw new Error("the address names no asset");
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
    AssetPage.neighbours(id);
    AssetPage.verdict(asset);
    AssetPage.body(asset);
    AssetPage.checks(asset);
    AssetPage.drops(asset);
    View.start(asset.scene);
  },

  // Neighbours in the order in which the table was left.
  neighbours(id) {
    const order = Page.recall("order") ?? [];
    const place = order.indexOf(id);
    for (const [name, other] of [["previous", order[place - 1]], ["next", order[place + 1]]]) {
      const link = Page.byId(name);
      if (place < 0 || !other) continue;
      link.hidden = false;
      link.href = Page.address(other);
    }
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
    for (const [name, value] of facts.filter(([, value]) => value)) {
      Page.byId("facts").append(Page.element("dt", {}, name), Page.element("dd", {}, value));
    }
    if (asset.files.length) {
      const links = asset.files.flatMap(({ label, path }) => [Page.element("a", { href: path }, label), " "]);
      Page.byId("files").append(Page.element("p", {}, "Files: ", ...links));
    }
    const missing = asset.missing.length ? [asset.missing.join(", ")] : [];
    for (const [title, lines] of [["Evidence missing", missing], ["Notes", asset.notes]]) {
      if (!lines.length) continue;
      Page.byId("remarks").append(Page.element("details", { open: title !== "Notes" },
        Page.element("summary", {}, title), Page.element("ul", {}, ...lines.map((line) => Page.element("li", {}, line)))));
    }
  },

  // Checks of one identifier share their meaning; what does not pass stands open.
  checks(asset) {
    Page.byId("checks").closest("section").hidden = !asset.checks.length;
    const groups = Map.groupBy ? Map.groupBy(asset.checks, (check) => check.id) : AssetPage.grouped(asset.checks);
    const worst = (checks) => Math.max(...checks.map((check) => AssetPage.severity.indexOf(check.verdict)));
    const sorted = [...groups].sort((a, b) => worst(b[1]) - worst(a[1]));
    for (const [id, checks] of sorted) {
      const level = AssetPage.severity[worst(checks)];
      const summary = Page.element("summary", {}, Page.badge(level), Page.element("b", {}, id), Page.element("span", {}, asset.meanings[id]));
      const body = Page.element("tbody", {}, ...checks.map((check) => AssetPage.checkRow(check, level === "PASS")));
      const hidden = Page.element("span", { class: "quiet" }, "Value against limit");
      const head = Page.element("tr", {}, ...["Measured", "Value", "Limit", hidden, "Verdict"].map((text, i) =>
        Page.element("th", { scope: "col", class: i === 1 || i === 2 ? "figure" : "" }, text)));
      const fix = checks.find((check) => check.verdict !== "PASS" && check.fix)?.fix;
      Page.byId("checks").append(Page.element("details", { class: "check", open: level !== "PASS", "data-verdict": level }, summary,
        fix ? Page.element("p", { class: "fix" }, Page.element("b", {}, "How to fix it: "), fix) : "",
        Page.element("div", { class: "wide" }, Page.element("table", {}, Page.element("thead", {}, head), body))));
    }
    const only = Page.byId("only-findings");
    const show = () => {
      for (const box of document.querySelectorAll("details.check")) box.hidden = only.checked && box.dataset.verdict === "PASS";
    };
    only.addEventListener("change", show);
    Page.byId("check-count").textContent = `${asset.checks.length} measurements in ${groups.size} checks`;
  },

  severity: ["PASS", "WARN", "UNDECIDED", "FAIL"],

  grouped(checks) {
    const groups = new Map();
    for (const check of checks) groups.set(check.id, [...(groups.get(check.id) ?? []), check]);
    return groups;
  },

  checkRow(check, advise) {
    const place = [check.body, check.engine && `in ${check.engine}`].filter(Boolean).join(" ");
    const limit = check.limit === null ? "for information" : `${check.sense === "<=" ? "≤" : "≥"} ${Page.quantity(check.limit, check.unit)}`;
    const warn = check.warn === null ? "" : Page.element("small", {}, `warns at ${Page.quantity(check.warn, check.unit)}`);
    const passes = advise && check.fix ? Page.element("small", {}, `If it failed: ${check.fix}`) : "";
    return Page.element("tr", {},
      Page.element("td", {}, check.name, Page.element("small", {}, [place, check.detail].filter(Boolean).join("; ")), passes),
      Page.element("td", { class: "figure", "data-label": "Value" }, Page.quantity(check.value, check.unit)),
      Page.element("td", { class: "figure", "data-label": "Limit" }, limit, warn),
      Page.element("td", {}, AssetPage.meter(check)),
      Page.element("td", {}, Page.badge(check.verdict)));
  },

  // The limit stands at four fifths of the bar; a share of it is filled.
  meter({ value, limit, sense, verdict }) {
    if (value === null || limit === null || limit <= 0 || value < 0) return "";
    const share = sense === "<=" ? value / limit : value === 0 ? Infinity : limit / value;
    const bar = Page.element("span", { class: `meter ${verdict}`, "aria-hidden": "true" });
    bar.style.setProperty("--share", Math.min(0.8 * share, 1));
    return bar;
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
