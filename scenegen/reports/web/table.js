// Tables of assets, scenes and objects: TanStack Table sorts and filters, TanStack Virtual keeps only visible rows in the page.
"use strict";

class RowTable {
  // at: prefix of the ids of its elements, those of filters may be missing; noun: what rows are;
  // columns: see drawCell; order: verdicts in the order of the buttons; address(row): its page, or null;
  // text(row): what the search looks through; group: [label, function] of the select;
  // memory: name under which sorting and filters are kept, or null; picked(row): is told what the reader points out.
  constructor({ at, noun, rows, columns, order = [], address, text, group = null, memory = null, picked = null }) {
    Object.assign(this, { at, noun, columns, order, address, group, memory, picked });
    this.statuses = new Set();
    this.lines = new Map();
    this.words = [];
    this.chosen = "";
    for (const row of rows) row.text = text(row).toLowerCase();
    const kept = (memory === null ? null : Page.recall(`${memory}table`)) ?? {};
    this.makeTable(rows, kept.sorting ?? []);
    this.makeHead();
    if (this.part("filters")) this.makeFilters(rows, kept);
    this.makeVirtual();
    // A few rows need no window of their own; many do, of a height that filtering leaves alone.
    this.part("scroll").classList.toggle("short", rows.length * this.rowHeight < 400);
    this.filter();
    this.part("table").addEventListener("keydown", (event) => this.move(event));
    if (memory !== null) addEventListener("pagehide", () => this.keep());
  }

  part(name) {
    return Page.byId(this.at + name);
  }

  makeTable(rows, sorting) {
    const { createTable, getCoreRowModel, getFilteredRowModel, getSortedRowModel } = TanStack;
    const columns = this.columns.map(({ id, value, words }) => ({
      id,
      accessorFn: (row) => value(row) ?? undefined,
      sortUndefined: "last",
      sortingFn: words ? "alphanumeric" : "basic",
      sortDescFirst: false,
    }));
    this.table = createTable({
      data: rows,
      columns,
      state: {},
      onStateChange: () => {},
      renderFallbackValue: null,
      globalFilterFn: (row) => this.keeps(row.original),
      getColumnCanGlobalFilter: (column) => column.id === this.columns[0].id,
      getCoreRowModel: getCoreRowModel(),
      getFilteredRowModel: getFilteredRowModel(),
      getSortedRowModel: getSortedRowModel(),
    });
    this.state = { ...this.table.initialState, sorting, globalFilter: 0 };
    this.apply();
  }

  apply() {
    this.table.setOptions((options) => ({
      ...options,
      state: this.state,
      onStateChange: (change) => {
        this.state = typeof change === "function" ? change(this.state) : change;
        this.apply();
        this.redraw();
      },
    }));
  }

  makeHead() {
    const row = Page.element("tr", {});
    for (const { id, label, kind } of this.columns) {
      const button = Page.element("button", { type: "button" }, label, Page.element("span", { class: "arrow", "aria-hidden": "true" }));
      button.addEventListener("click", () => this.table.getColumn(id).toggleSorting());
      row.append(Page.element("th", { scope: "col", class: kind ?? "figure", "data-column": id }, button));
    }
    this.part("table").tHead.append(row);
  }

  makeFilters(rows, kept) {
    this.part("filters").addEventListener("submit", (event) => event.preventDefault());
    if (this.group) {
      const [label, find] = this.group;
      const groups = [...new Set(rows.map(find))].sort();
      const select = this.part("group");
      this.part("group-label").textContent = label;
      select.append(Page.element("option", { value: "" }, "all"), ...groups.map((name) => Page.element("option", { value: `=${name}` }, name)));
      select.closest("label").hidden = groups.length < 2;
      select.value = kept.group ?? "";
      if (select.selectedIndex < 0) select.selectedIndex = 0;
      select.addEventListener("change", () => this.filter());
    }
    for (const status of this.order.filter((one) => rows.some((row) => row.status === one))) {
      const button = Page.element("button", { type: "button", class: "chip", "aria-pressed": "false" }, Page.badge(status),
        Page.number(rows.filter((row) => row.status === status).length));
      const press = () => {
        if (!this.statuses.delete(status)) this.statuses.add(status);
        button.setAttribute("aria-pressed", String(this.statuses.has(status)));
      };
      button.addEventListener("click", () => { press(); this.filter(); });
      if (kept.statuses?.includes(status)) press();
      this.part("statuses").append(button);
    }
    this.part("search").value = kept.search ?? "";
    this.part("search").addEventListener("input", () => this.filter());
  }

  // Whether a row passes all filters.
  keeps(row) {
    return (!this.statuses.size || this.statuses.has(row.status)) && (!this.chosen || this.chosen === `=${this.group[1](row)}`) &&
      this.words.every((word) => row.text.includes(word));
  }

  filter() {
    this.words = (this.part("search")?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    this.chosen = this.group ? this.part("group").value : "";
    // Any new value makes the table ask `keeps` again; 0 and "" would mean that nothing is filtered.
    this.state = { ...this.state, globalFilter: (this.state.globalFilter || 0) + 1 };
    this.apply();
    this.redraw();
    this.part("scroll").scrollTop = 0;
  }

  makeVirtual() {
    const { Virtualizer, elementScroll, observeElementOffset, observeElementRect } = TanStack;
    const scroll = this.part("scroll");
    const phone = matchMedia("(max-width: 640px)");
    this.rowHeight = phone.matches ? 92 : 60;
    this.virtualOptions = (count) => ({
      count,
      getScrollElement: () => scroll,
      estimateSize: () => this.rowHeight,
      overscan: 6,
      initialRect: { width: 0, height: 600 },
      scrollToFn: elementScroll,
      observeElementRect,
      observeElementOffset,
      onChange: () => this.draw(),
    });
    this.virtualizer = new Virtualizer(this.virtualOptions(0));
    this.virtualizer._didMount();
    phone.addEventListener("change", (query) => {
      this.rowHeight = query.matches ? 92 : 60;
      this.virtualizer.measure();
      this.draw();
    });
  }

  redraw() {
    const { table, virtualizer, state } = this;
    const rows = table.getRowModel().rows;
    this.rows = rows.map((row) => row.original);
    for (const head of this.part("table").querySelectorAll("th")) {
      const sorted = state.sorting.find((one) => one.id === head.dataset.column);
      head.setAttribute("aria-sort", sorted ? (sorted.desc ? "descending" : "ascending") : "none");
    }
    const all = table.getCoreRowModel().rows.length;
    const shown = rows.length === all ? Page.number(all) : `${Page.number(rows.length)} of ${Page.number(all)}`;
    if (this.part("shown")) this.part("shown").textContent = `${shown} ${this.noun}`;
    this.part("table").setAttribute("aria-rowcount", rows.length + 1);
    virtualizer.setOptions(this.virtualOptions(rows.length));
    virtualizer._willUpdate();
    this.draw();
  }

  // What a reader comes back to, and the order of neighbours on the pages of the rows.
  keep() {
    Page.remember(`${this.memory}order`, this.rows.map((row) => row.id));
    Page.remember(`${this.memory}table`, { sorting: this.state.sorting, search: this.part("search")?.value ?? "",
      group: this.group ? this.part("group").value : "", statuses: [...this.statuses] });
  }

  // Put the visible rows into the page, between two spacers. Rows once drawn are kept, with their pictures.
  draw() {
    const { virtualizer, rows } = this;
    const shown = virtualizer.getVirtualItems();
    const body = this.part("table").tBodies[0];
    const held = body.contains(document.activeElement) ? document.activeElement.closest("tr[data-id]")?.dataset.id : null;
    const space = (height) => Page.element("tr", { class: "space", "aria-hidden": "true", style: `height:${height}px` });
    const made = shown.map(({ index }) => {
      const row = rows[index];
      if (!this.lines.has(row.id)) this.lines.set(row.id, this.drawRow(row));
      const line = this.lines.get(row.id);
      line.setAttribute("aria-rowindex", index + 2);
      return line;
    });
    const before = shown.length ? shown[0].start : 0;
    const after = shown.length ? virtualizer.getTotalSize() - shown.at(-1).end : 0;
    body.replaceChildren(space(before), ...made, space(after));
    if (held) made.find((row) => row.dataset.id === held)?.querySelector(RowTable.grip).focus({ preventScroll: true });
  }

  drawRow(row) {
    const line = Page.element("tr", { "data-id": row.id });
    for (const column of this.columns) line.append(this.drawCell(row, column));
    line.addEventListener("click", (event) => {
      if (event.target.closest("a") || String(getSelection())) return;
      if (this.picked) line.querySelector(RowTable.grip).focus({ preventScroll: true });
      else if (this.address(row)) location.href = this.address(row);
    });
    if (this.picked) line.addEventListener("focusin", () => this.picked(row));
    return line;
  }

  // A column has a heading and a value to sort by; the first one also a picture and small print, others a way to say it.
  drawCell(row, { label, kind, value, text, picture, under }) {
    if (kind === "name") {
      const source = picture(row);
      const shown = source
        ? Page.element("img", { src: source, alt: "", width: "48", height: "48", decoding: "async" })
        : Page.element("span", { class: "no-picture", "aria-hidden": "true" });
      const address = this.address(row);
      const title = address ? Page.element("a", { href: address }, row.name) : Page.element("span", { tabindex: "0", class: "title" }, row.name);
      return Page.element("td", { class: kind }, Page.element("div", {}, shown, Page.element("span", { class: "words" }, title, Page.element("small", {}, under(row)))));
    }
    if (kind === "status") return Page.element("td", { class: kind }, Page.badge(row.status));
    const found = value(row);
    const said = found === null || found === undefined ? "–" : text ? text(found, row) : found;
    if (kind) return Page.element("td", { class: kind, "data-label": label }, Page.element("span", { title: said }, said));
    return Page.element("td", { class: "figure", "data-label": label }, said);
  }

  // Arrow keys, Page keys, Home and End move between rows, also to those that are not in the page yet.
  move(event) {
    const line = event.target.closest("tr[data-id]");
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity };
    if (!line || !(event.key in steps)) return;
    event.preventDefault();
    const from = this.rows.findIndex((row) => row.id === line.dataset.id);
    this.reach(Math.min(Math.max(from + steps[event.key], 0), this.rows.length - 1));
  }

  // Scroll to a row, and give it the focus once it is in the page.
  reach(place) {
    this.virtualizer.scrollToIndex(place);
    const focus = (tries) => {
      const held = this.part("table").querySelector(`tr[data-id="${CSS.escape(this.rows[place].id)}"]`)?.querySelector(RowTable.grip);
      if (held) held.focus({ preventScroll: true });
      else if (tries) requestAnimationFrame(() => focus(tries - 1));
    };
    focus(20);
  }
}

// What in a row takes the focus.
RowTable.grip = "a, [tabindex]";

// Verdicts of certificates, then what counts as one.
RowTable.verdicts = ["PASS", "WARN", "UNDECIDED", "FAIL", "unreadable", "rejected", "quarantined"];
