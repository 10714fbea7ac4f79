// Checks of an asset or a scene: those of one identifier share their meaning; what does not pass stands open.
"use strict";

const Checks = {
  severity: ["PASS", "WARN", "UNDECIDED", "FAIL"],

  start({ checks, meanings }) {
    Page.byId("checks").closest("section").hidden = !checks.length;
    const groups = Checks.grouped(checks);
    const worst = (some) => Math.max(...some.map((check) => Checks.severity.indexOf(check.verdict)));
    for (const [id, some] of [...groups].sort((a, b) => worst(b[1]) - worst(a[1]))) {
      Page.byId("checks").append(Checks.group(id, some, Checks.severity[worst(some)], meanings[id]));
    }
    const only = Page.byId("only-findings");
    only.addEventListener("change", () => {
      for (const box of document.querySelectorAll("details.check")) box.hidden = only.checked && box.dataset.verdict === "PASS";
    });
    Page.byId("check-count").textContent = `${checks.length} measurements in ${groups.size} checks`;
  },

  grouped(checks) {
    const groups = new Map();
    for (const check of checks) groups.set(check.id, [...(groups.get(check.id) ?? []), check]);
    return groups;
  },

  group(id, checks, level, meaning) {
    const summary = Page.element("summary", {}, Page.badge(level), Page.element("b", {}, id), Page.element("span", {}, meaning));
    const body = Page.element("tbody", {}, ...checks.map((check) => Checks.row(check, level === "PASS")));
    const hidden = Page.element("span", { class: "quiet" }, "Value against limit");
    const head = Page.element("tr", {}, ...["Measured", "Value", "Limit", hidden, "Verdict"].map((text, i) =>
      Page.element("th", { scope: "col", class: i === 1 || i === 2 ? "figure" : "" }, text)));
    const fix = checks.find((check) => check.verdict !== "PASS" && check.fix)?.fix;
    return Page.element("details", { class: "check", open: level !== "PASS", "data-verdict": level }, summary,
      fix ? Page.element("p", { class: "fix" }, Page.element("b", {}, "How to fix it: "), fix) : "",
      Page.element("div", { class: "wide" }, Page.element("table", {}, Page.element("thead", {}, head), body)));
  },

  row(check, advise) {
    const place = [check.body, check.engine && `in ${check.engine}`].filter(Boolean).join(" ");
    const limit = check.limit === null ? "for information" : `${check.sense === "<=" ? "≤" : "≥"} ${Page.quantity(check.limit, check.unit)}`;
    const warn = check.warn === null ? "" : Page.element("small", {}, `warns at ${Page.quantity(check.warn, check.unit)}`);
    const passes = advise && check.fix ? Page.element("small", {}, `If it failed: ${check.fix}`) : "";
    return Page.element("tr", {},
      Page.element("td", {}, check.name, Page.element("small", {}, [place, check.detail].filter(Boolean).join("; ")), passes),
      Page.element("td", { class: "figure", "data-label": "Value" }, Page.quantity(check.value, check.unit)),
      Page.element("td", { class: "figure", "data-label": "Limit" }, limit, warn),
      Page.element("td", {}, Checks.meter(check)),
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
};
