// Shared by all pages: elements built from text, never from markup, and numbers for readers.
"use strict";

const Page = {
  data: null,

  // Return an element. Children are elements or texts; texts from files stay texts.
  element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === undefined || value === null || value === false) continue;
      if (name in made && typeof value !== "string") made[name] = value;
      else made.setAttribute(name, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
    return made;
  },

  byId(id) {
    return document.getElementById(id);
  },

  // Three digits, and no more zeros than a reader can take in.
  number(value, digits = 3) {
    if (value === null || value === undefined) return "–";
    if (Number.isInteger(value) && Math.abs(value) < 1e6) return value.toLocaleString("en");
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(digits - 1).replace(/\.?0*e\+?/, "e");
    return String(Number(value.toPrecision(digits)));
  },

  // A value with its unit; "1" is the unit of shares and counts, "L" the largest extent of the body.
  quantity(value, unit) {
    const text = Page.number(value);
    return value === null || value === undefined || unit === "1" || !unit ? text : `${text} ${unit}`;
  },

  length(metres) {
    if (metres === null || metres === undefined) return "–";
    const size = Math.abs(metres);
    if (size >= 1) return `${Page.number(metres)} m`;
    // Less than a nanometre is the noise of floating-point numbers.
    if (size < 1e-9) return "0 mm";
    return size >= 1e-3 ? `${Page.number(metres * 1e3)} mm` : `${Page.number(metres * 1e6)} µm`;
  },

  mass(kilograms) {
    if (kilograms === null || kilograms === undefined) return "–";
    return kilograms >= 1 ? `${Page.number(kilograms)} kg` : `${Page.number(kilograms * 1e3)} g`;
  },

  marks: { PASS: "✓", WARN: "!", UNDECIDED: "?", FAIL: "✕", unreadable: "⊘", rejected: "✕", quarantined: "⚠" },

  // A verdict is told by word and sign, not by colour alone.
  badge(status) {
    const sign = Page.element("span", { "aria-hidden": "true" }, Page.marks[status] ?? "·");
    return Page.element("span", { class: `badge ${status}` }, sign, status);
  },

  address(id) {
    return `asset.html?id=${encodeURIComponent(id)}`;
  },

  sceneAddress(id) {
    return `scene.html?id=${encodeURIComponent(id)}`;
  },

  share(part) {
    return part === null || part === undefined ? "–" : `${Page.number(100 * part)} %`;
  },

  // How near a scene came to a limit; a share of null is beyond a limit of nothing.
  closest({ id, name, engine, share }) {
    const used = share === null ? "beyond its limit" : `${Page.share(share)} of its limit`;
    return `${id} ${name}${engine ? ` in ${engine}` : ""}: ${used}`;
  },

  tile(label, value, kind = "") {
    const said = typeof value === "number" ? Page.number(value) : value;
    return Page.element("div", { class: `tile ${kind}` }, Page.element("dt", {}, label), Page.element("dd", {}, said));
  },

  // Bars with a number each; those beyond `most` wait behind a button.
  bars(list, entries, { most = Infinity, none = "nothing" } = {}) {
    const largest = Math.max(...entries.map((entry) => entry.count), 1);
    const made = entries.map(({ label, count }, number) => {
      const bar = Page.element("span", { class: "bar" });
      bar.style.setProperty("--share", count / largest);
      return Page.element("li", { hidden: number >= most },
        Page.element("span", { class: "label" }, label), Page.element("span", { class: "count" }, Page.number(count)), bar);
    });
    if (!made.length) made.push(Page.element("li", { class: "none" }, none));
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

  facts(list, pairs) {
    for (const [name, value] of pairs.filter(([, value]) => value)) {
      list.append(Page.element("dt", {}, name), Page.element("dd", {}, value));
    }
  },

  // Lines behind a heading that opens them; nothing where there are none.
  remarks(title, lines, open = false) {
    return lines.length
      ? Page.element("details", { open }, Page.element("summary", {}, title), Page.element("ul", {}, ...lines.map((line) => Page.element("li", {}, line))))
      : "";
  },

  // Neighbours in the order in which a table was left.
  neighbours(id, memory, address) {
    const order = Page.recall(memory) ?? [];
    const place = order.indexOf(id);
    for (const [name, other] of [["previous", order[place - 1]], ["next", order[place + 1]]]) {
      const link = Page.byId(name);
      if (place < 0 || !other) continue;
      link.hidden = false;
      link.href = address(other);
    }
  },

  // Identifier in the address: it becomes part of a file's name, so nothing but our own names may pass.
  asked() {
    const id = new URLSearchParams(location.search).get("id") ?? "";
    return /^[A-Za-z0-9_]{1,100}$/.test(id) ? id : null;
  },

  // Memory of the table between pages; a browser may forbid it for files, and the page does without.
  remember(key, value) {
    try {
      sessionStorage.setItem(`scenegen ${location.pathname.replace(/[^/]*$/, "")} ${key}`, JSON.stringify(value));
    } catch {}
  },

  recall(key) {
    try {
      return JSON.parse(sessionStorage.getItem(`scenegen ${location.pathname.replace(/[^/]*$/, "")} ${key}`));
    } catch {
      return null;
    }
  },

  load(source) {
    return new Promise((resolve, reject) => {
      const made = Page.element("script", { src: source });
      made.addEventListener("load", resolve);
      made.addEventListener("error", () => reject(new Error(`${source} cannot be read`)));
      document.head.append(made);
    });
  },
};

// The data files call these.
function scenegenReport(content) {
  Page.data = content;
}
function scenegenAsset(content) {
  Page.data = content;
}
function scenegenScene(content) {
  Page.data = content;
}
