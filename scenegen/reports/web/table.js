// The table of assets: TanStack Table sorts and filters, TanStack Virtual keeps only visible rows in the page.
"use strict";

const AssetTable = {
  table: null,
  virtualizer: null,
  state: null,
  statuses: new Set(),
  lines: new Map(),
  rowHeight: 60,

  // Column: key, heading, how a value is drawn, class.
  columns: [
    { id: "name", label: "Asset", value: (row) => row.name, kind: "name" },
    { id: "status", label: "Verdict", value: (row) => AssetTable.order.indexOf(row.status), kind: "status" },
    { id: "worst", label: "Worst finding", value: (row) => row.worst, kind: "worst" },
    { id: "mass_kg", label: "Mass", value: (row) => row.mass_kg, text: Page.mass },
    { id: "size_m", label: "Size", value: (row) => row.size_m, text: Page.length },
    { id: "hulls", label: "Hulls", value: (row) => row.hulls, text: Page.number },
    { id: "settle", label: "Rests in", value: (row) => AssetTable.larger(row.engines.settle_s), text: (s) => `${Page.number(s)} s` },
    { id: "depth", label: "Depth", value: (row) => AssetTable.larger(row.engines.depth_m), text: Page.length },
  ],

  order: ["PASS", "WARN", "UNDECIDED", "FAIL", "unreadable", "rejected", "quarantined"],

  larger(pair) {
    return pair.some((value) => value === null) ? undefined : Math.max(...pair);
  },

  start(rows, kind) {
    for (const row of rows) row.text = `${row.name}\n${row.group}\n${row.worst}\n${row.status}`.toLowerCase();
    const kept = Page.recall("table") ?? {};
    AssetTable.makeTable(rows, kept.sorting ?? []);
    AssetTable.makeHead();
    AssetTable.makeFilters(rows, kind, kept);
    AssetTable.makeVirtual();
    AssetTable.filter();
    Page.byId("table").addEventListener("keydown", AssetTable.move);
    addEventListener("pagehide", AssetTable.keep);
  },

  makeTable(rows, sorting) {
    const { createTable, getCoreRowModel, getFilteredRowModel, getSortedRowModel } = TanStack;
    const columns = AssetTable.columns.map(({ id, value, kind }) => ({
      id,
      accessorFn: (row) => value(row) ?? undefined,
      sortUndefined: "last",
      sortingFn: kind === "name" || kind === "worst" ? "alphanumeric" : "basic",
      sortDescFirst: false,
    }));
    AssetTable.table = createTable({
      data: rows,
      columns,
      state: {},
      onStateChange: () => {},
      renderFallbackValue: null,
      globalFilterFn: (row) => AssetTable.keeps(row.original),
      getColumnCanGlobalFilter: (column) => column.id === "name",
      getCoreRowModel: getCoreRowModel(),
      getFilteredRowModel: getFilteredRowModel(),
      getSortedRowModel: getSortedRowModel(),
    });
    AssetTable.state = { ...AssetTable.table.initialState, sorting, globalFilter: 0 };
    AssetTable.apply();
  },

  apply() {
    AssetTable.table.setOptions((options) => ({
      ...options,
      state: AssetTable.state,
      onStateChange: (change) => {
        AssetTable.state = typeof change === "function" ? change(AssetTable.state) : change;
        AssetTable.apply();
        AssetTable.redraw();
      },
    }));
  },

  makeHead() {
    const row = Page.element("tr", {});
    for (const { id, label, kind } of AssetTable.columns) {
      const button = Page.element("button", { type: "button" }, label, Page.element("span", { class: "arrow", "aria-hidden": "true" }));
      button.addEventListener("click", () => AssetTable.table.getColumn(id).toggleSorting());
      row.append(Page.element("th", { scope: "col", class: kind ?? "figure", "data-column": id }, button));
    }
    Page.byId("table").tHead.append(row);
  },

  makeFilters(rows, kind, kept) {
    Page.byId("filters").addEventListener("submit", (event) => event.preventDefault());
    Page.byId("group-label").textContent = kind === "run" ? "Family" : "Folder";
    const groups = [...new Set(rows.map((row) => row.group))].sort();
    Page.byId("group").append(Page.element("option", { value: "" }, "all"), ...groups.map((name) => Page.element("option", { value: `=${name}` }, name)));
    Page.byId("group").closest("label").hidden = groups.length < 2;
    for (const status of AssetTable.order.filter((one) => rows.some((row) => row.status === one))) {
      const button = Page.element("button", { type: "button", class: "chip", "aria-pressed": "false" }, Page.badge(status),
        Page.number(rows.filter((row) => row.status === status).length));
      const press = () => {
        if (!AssetTable.statuses.delete(status)) AssetTable.statuses.add(status);
        button.setAttribute("aria-pressed", String(AssetTable.statuses.has(status)));
      };
      button.addEventListener("click", () => { press(); AssetTable.filter(); });
      if (kept.statuses?.includes(status)) press();
      Page.byId("statuses").append(button);
    }
    Page.byId("search").value = kept.search ?? "";
    Page.byId("group").value = kept.group ?? "";
    if (Page.byId("group").selectedIndex < 0) Page.byId("group").selectedIndex = 0;
    Page.byId("search").addEventListener("input", AssetTable.filter);
    Page.byId("group").addEventListener("change", AssetTable.filter);
  },

  // Whether a row passes all filters.
  keeps(row) {
    const { words, group } = AssetTable;
    return (!AssetTable.statuses.size || AssetTable.statuses.has(row.status)) && (!group || group === `=${row.group}`) &&
      words.every((word) => row.text.includes(word));
  },

  filter() {
    AssetTable.words = Page.byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    AssetTable.group = Page.byId("group").value;
    // Any new value makes the table ask `keeps` again; 0 and "" would mean that nothing is filtered.
    AssetTable.state = { ...AssetTable.state, globalFilter: (AssetTable.state.globalFilter || 0) + 1 };
    AssetTable.apply();
    AssetTable.redraw();
    Page.byId("scroll").scrollTop = 0;
  },

  makeVirtual() {
    const { Virtualizer, elementScroll, observeElementOffset, observeElementRect } = TanStack;
    const scroll = Page.byId("scroll");
    AssetTable.rowHeight = matchMedia("(max-width: 640px)").matches ? 92 : 60;
    AssetTable.virtualOptions = (count) => ({
      count,
      getScrollElement: () => scroll,
      estimateSize: () => AssetTable.rowHeight,
      overscan: 6,
      initialRect: { width: 0, height: 600 },
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      onChange: AssetTable.draw,
    });
    AssetTable.virtualizer = new Virtualizer(AssetTable.virtualOptions(0));
    AssetTable.virtualizer._didMount();
    matchMedia("(max-width: 640px)").addEventListener("change", (query) => {
      AssetTable.rowHeight = query.matches ? 92 : 60;
      AssetTable.virtualizer.measure();
      AssetTable.draw();
    });
  },

  redraw() {
    const { table, virtualizer, state } = AssetTable;
    const rows = table.getRowModel().rows;
    AssetTable.rows = rows.map((row) => row.original);
    for (const head of document.querySelectorAll("#table th")) {
      const sorted = state.sorting.find((one) => one.id === head.dataset.column);
      head.setAttribute("aria-sort", sorted ? (sorted.desc ? "descending" : "ascending") : "none");
    }
    const all = table.getCoreRowModel().rows.length;
    Page.byId("shown").textContent = rows.length === all ? `${Page.number(all)} assets` : `${Page.number(rows.length)} of ${Page.number(all)} assets`;
    Page.byId("table").setAttribute("aria-rowcount", rows.length + 1);
    virtualizer.setOptions(AssetTable.virtualOptions(rows.length));
    virtualizer._willUpdate();
    AssetTable.draw();
  },

  // What a reader comes back to, and the order of neighbours on the pages of assets.
  keep() {
    Page.remember("order", AssetTable.rows.map((row) => row.id));
    Page.remember("table", { sorting: AssetTable.state.sorting, search: Page.byId("search").value,
      group: Page.byId("group").value, statuses: [...AssetTable.statuses] });
  },

  // Put the visible rows into the page, between two spacers. Rows once drawn are kept, with their pictures.
  draw() {
    const { virtualizer, rows } = AssetTable;
    const shown = virtualizer.getVirtualItems();
    const body = Page.byId("table").tBodies[0];
    const held = document.activeElement?.closest?.("tr[data-id]")?.dataset.id;
    const space = (height) => Page.element("tr", { class: "space", "aria-hidden": "true", style: `height:${height}px` });
    const made = shown.map(({ index }) => {
      const row = rows[index];
      if (!AssetTable.lines.has(row.id)) AssetTable.lines.set(row.id, AssetTable.drawRow(row));
      const line = AssetTable.lines.get(row.id);
      line.setAttribute("aria-rowindex", index + 2);
      return line;
    });
    const before = shown.length ? shown[0].start : 0;
    const after = shown.length ? virtualizer.getTotalSize() - shown.at(-1).end : 0;
    body.replaceChildren(space(before), ...made, space(after));
    if (held) made.find((row) => row.dataset.id === held)?.querySelector("a").focus({ preventScroll: true });
  },

  drawRow(row) {
    const line = Page.element("tr", { "data-id": row.id });
    for (const column of AssetTable.columns) line.append(AssetTable.drawCell(row, column));
    line.addEventListener("click", (event) => {
      if (!event.target.closest("a") && !String(getSelection())) location.href = Page.address(row.id);
    });
    return line;
  },

  drawCell(row, { id, label, kind, value, text }) {
    if (kind === "name") {
      const picture = row.picture
        ? Page.element("img", { src: `pictures/${row.id}.webp`, alt: "", width: "48", height: "48", decoding: "async" })
        : Page.element("span", { class: "no-picture", "aria-hidden": "true" });
      const words = Page.element("span", { class: "words" }, Page.element("a", { href: Page.address(row.id) }, row.name),
        Page.element("small", {}, row.group));
      return Page.element("td", { class: kind }, Page.element("div", {}, picture, words));
    }
    if (kind === "status") return Page.element("td", { class: kind }, Page.badge(row.status));
    if (kind === "worst") return Page.element("td", { class: kind }, Page.element("span", { title: row.worst }, row.worst));
    const found = value(row);
    return Page.element("td", { class: "figure", "data-label": label }, found === null || found === undefined ? "–" : text(found));
  },

  // Arrow keys, Page keys, Home and End move between rows, also to those that are not in the page yet.
  move(event) {
    const line = event.target.closest("tr[data-id]");
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
    if (!line || !(event.key in steps)) return;
    event.preventDefault();
    const last = AssetTable.rows.length - 1;
    const from = AssetTable.rows.findIndex((row) => row.id === line.dataset.id);
    const to = Math.min(Math.max(from + steps[event.key], 0), last);
    AssetTable.virtualizer.scrollToIndex(to);
    const focus = (tries) => {
      const link = document.querySelector(`tr[data-id="${CSS.escape(AssetTable.rows[to].id)}"] a`);
      if (link) link.focus({ preventScroll: true });
      else if (tries) requestAnimationFrame(() => focus(tries - 1));
    };
    focus(20);
  },
};
