// The table of assets.
"use strict";

const AssetTable = {
  larger(pair) {
    return pair.some((value) => value === null) ? undefined : Math.max(...pair);
  },

  start(rows, kind) {
    AssetTable.table = new RowTable({
      at: "", noun: "assets", rows, order: RowTable.verdicts, memory: "", group: [kind === "run" ? "Family" : "Folder", (row) => row.group],
      address: (row) => Page.address(row.id),
      text: (row) => `${row.name}\n${row.group}\n${row.worst}\n${row.status}`,
      columns: [
        { id: "name", label: "Asset", value: (row) => row.name, kind: "name", words: true,
          picture: (row) => (row.picture ? `pictures/${row.id}.webp` : null), under: (row) => row.group },
        { id: "status", label: "Verdict", value: (row) => RowTable.verdicts.indexOf(row.status), kind: "status" },
        { id: "worst", label: "Worst finding", value: (row) => row.worst, kind: "worst", words: true },
        { id: "mass_kg", label: "Mass", value: (row) => row.mass_kg, text: Page.mass },
        { id: "size_m", label: "Size", value: (row) => row.size_m, text: Page.length },
        { id: "hulls", label: "Hulls", value: (row) => row.hulls, text: (n) => Page.number(n) },
        { id: "settle", label: "Rests in", value: (row) => AssetTable.larger(row.engines.settle_s), text: (s) => `${Page.number(s)} s` },
        { id: "depth", label: "Depth", value: (row) => AssetTable.larger(row.engines.depth_m), text: Page.length },
      ],
    });
  },
};
