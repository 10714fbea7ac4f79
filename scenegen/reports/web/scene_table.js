// The table of scenes.
"use strict";

const SceneTable = {
  start(scenes) {
    Page.byId("scenes").hidden = Page.byId("scenes-link").hidden = !scenes.length;
    if (!scenes.length) return;
    for (const scene of scenes) scene.id = scene.name;
    const whole = (n) => Page.number(n);
    SceneTable.table = new RowTable({
      at: "scene-", noun: "scenes", rows: scenes, memory: "scene-", address: (row) => Page.sceneAddress(row.id),
      text: (row) => `${row.name}\n${row.layout}`,
      columns: [
        { id: "name", label: "Scene", value: (row) => row.name, kind: "name", words: true,
          picture: (row) => (row.picture ? `pictures/scenes/${row.id}.webp` : null), under: (row) => row.layout },
        { id: "status", label: "Verdict", value: (row) => RowTable.verdicts.indexOf(row.status), kind: "status" },
        // Of the accepted, how near they came to a limit; of others, why they are not.
        { id: "closest", label: "Closest to its limit", value: SceneTable.share, kind: "worst", text: (_, row) => SceneTable.finding(row) },
        { id: "objects", label: "Objects", value: (row) => row.objects, text: whole },
        { id: "assets", label: "Assets", value: (row) => row.assets, text: whole },
        { id: "touching", label: "Touching", value: (row) => row.touching_share, text: Page.share },
        { id: "components", label: "Components", value: (row) => row.components, text: whole },
        { id: "largest", label: "Largest", value: (row) => row.largest_component, text: whole },
        { id: "replaced", label: "Replaced", value: (row) => row.replaced, text: whole },
        { id: "merged", label: "Merged", value: (row) => row.merged, text: whole },
      ],
    });
  },

  share({ closest }) {
    return closest ? (closest.share ?? Infinity) : Infinity;
  },

  finding({ worst, closest }) {
    return worst || (closest ? Page.closest(closest) : "no check has a limit");
  },
};
