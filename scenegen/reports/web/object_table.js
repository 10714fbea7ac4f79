// The list of all objects of a scene, each with the page of its asset where the report has one.
"use strict";

const ObjectTable = {
  start(objects, byComponents) {
    const place = (axis) => ({ id: axis, label: axis, value: (row) => row[axis], text: (metres) => metres.toFixed(3) });
    const component = { id: "component", label: "Component", value: (row) => row.component || undefined, kind: "component", words: true };
    ObjectTable.table = new RowTable({
      at: "object-", noun: "objects", rows: objects, group: ["Family", (row) => row.family],
      address: (row) => (row.page === null ? null : Page.address(row.page)),
      text: (row) => `${row.name}\n${row.family}\n${row.component}`,
      picked: (row) => Plan.select(Number(row.id)),
      columns: [
        { id: "name", label: "Object", value: (row) => row.name, kind: "name", words: true,
          picture: (row) => (row.page === null ? null : `pictures/${row.page}.webp`), under: (row) => row.family },
        ...(byComponents ? [component] : []), place("x"), place("y"), place("z"),
      ],
    });
  },

  // Show one object in the list, whatever was searched for before.
  find(object) {
    const { table } = ObjectTable;
    table.part("search").value = object.name;
    table.part("group").value = "";
    table.filter();
    const row = table.rows.findIndex((one) => one.id === object.id);
    if (row >= 0) table.reach(row);
  },
};
