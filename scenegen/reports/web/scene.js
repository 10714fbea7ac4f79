// The page of one scene: verdict, numbers, pictures, contents and checks; plan.js draws the plan, object_table.js the list.
"use strict";

const ScenePage = {
  async start() {
    const id = Page.asked();
    try {
      if (id === null) throw new Error("the address names no scene");
      await Page.load(`data/scenes/${id}.js`);
    } catch (error) {
      Page.byId("verdict").append(Page.element("p", {}, `There is no such scene in this report (${error.message}).`));
      Page.byId("content").hidden = true;
      return;
    }
    const scene = Page.data;
    document.title = `${scene.name} – scenegen report`;
    Page.byId("title").textContent = scene.name;
    Page.byId("layout").textContent = scene.layout ? `/ ${scene.layout}` : "";
    Page.neighbours(id, "scene-order", Page.sceneAddress);
    ScenePage.verdict(scene);
    Page.byId("content").hidden = !scene.plan;
    if (!scene.plan) return;
    ScenePage.headline(scene);
    ScenePage.pictures(scene);
    ScenePage.facts(scene);
    ScenePage.contents(scene);
    Checks.start(scene);
    const objects = Plan.start(scene.plan);
    ObjectTable.start(objects, scene.plan.components.length > 0);
  },

  verdict(scene) {
    const bad = scene.checks.filter((check) => check.verdict !== "PASS").length;
    const counts = scene.checks.length ? `${scene.checks.length - bad} of ${scene.checks.length} checks pass` : "";
    const box = Page.byId("verdict");
    box.append(Page.element("p", { class: "first" }, Page.badge(scene.status), " ", counts));
    if (scene.worst) box.append(Page.element("p", { class: "worst" }, scene.worst));
    if (scene.closest) box.append(Page.element("p", { class: "hint" }, `Closest to its limit: ${Page.closest(scene.closest)}.`));
    if (!scene.plan && scene.asked) box.append(Page.element("p", { class: "hint" }, `${Page.number(scene.asked)} objects were asked for.`));
  },

  // What is not known of a scene has no tile.
  headline(scene) {
    const tiles = [
      ["objects", scene.objects], ["assets", scene.assets],
      ["touching", scene.touching_share === null ? null : Page.share(scene.touching_share)],
      ["alone", scene.alone], ["components", scene.components], ["largest", scene.largest_component],
      ["geoms", scene.geoms], ["replaced", scene.replaced.length], ["merged", scene.components === null ? null : scene.merged.length],
      ["mass", scene.mass_kg === null ? null : Page.mass(scene.mass_kg)],
    ];
    Page.byId("headline").append(...tiles.filter(([, value]) => value !== null).map(([label, value]) => Page.tile(label, value)));
  },

  pictures({ name, pictures }) {
    Page.byId("pictures-section").hidden = !pictures.length;
    Page.byId("pictures").append(...pictures.map(({ label, path, full }) =>
      Page.element("figure", {},
        Page.element("a", { href: full }, Page.element("img", { src: path, alt: `${name}, ${label}`, decoding: "async" })),
        Page.element("figcaption", {}, label))));
  },

  facts(scene) {
    const one = scene.components === null;
    Page.facts(Page.byId("facts"), [
      ["Verified", one ? "as one model" : "by components, then as a whole"],
      ["Engines", scene.engines.join(", ")],
      ["Judged together", one ? null : `${Page.number(scene.in_components)} objects in components, ${Page.number(scene.alone)} alone`],
      ["On the spot", scene.sampled === null ? null : `${Page.number(scene.sampled)} objects and stacks verified where they stand too`],
      ["Stances", scene.stances === null ? null : `${Page.number(scene.stances)} verified rest poses and stacks on their support`],
      ["Furniture", `${Page.number(scene.furniture)} ${scene.furniture === 1 ? "piece" : "pieces"}`],
      ["Floor", scene.ground],
      ["Asked for", scene.asked === null ? null : `${Page.number(scene.asked)} objects`],
      ["Seed", String(scene.seed)],
    ]);
    const lines = scene.loading.flatMap(({ label, code }) => [Page.element("dt", {}, label), Page.element("dd", {}, Page.element("code", {}, code))]);
    Page.byId("loading").append(...lines);
    const links = scene.files.flatMap(({ label, path }) => [Page.element("a", { href: path }, label), " "]);
    Page.byId("files").append(Page.element("p", { class: "hint" }, "Paths are relative to the output folder."), Page.element("p", {}, "Files: ", ...links));
    Page.byId("remarks").append(
      Page.remarks(`Replaced (${Page.number(scene.replaced.length)})`, scene.replaced),
      Page.remarks(`Merged (${Page.number(scene.merged.length)})`, scene.merged),
      Page.remarks("What an engine cannot represent", scene.notes));
  },

  contents(scene) {
    Page.byId("sizes-section").hidden = !scene.component_sizes.length;
    Page.bars(Page.byId("sizes"), ScenePage.sizes(scene.component_sizes));
    const bars = (counts) => Object.entries(counts).map(([label, count]) => ({ label, count })).sort((a, b) => b.count - a.count);
    Page.bars(Page.byId("families"), bars(scene.families), { most: 10 });
    Page.bars(Page.byId("materials"), bars(scene.materials), { most: 10, none: "not known: no asset of it is in this report" });
    if (scene.unlisted && scene.unlisted < scene.objects) {
      Page.byId("materials-note").textContent = `${Page.number(scene.unlisted)} more, of assets that are not in this report.`;
    } else if (bars(scene.materials).length) {
      Page.byId("materials-note").textContent = "An object of several materials counts in each.";
    }
  },

  // Sizes in steps that double: alone, 2, 3 to 4, 5 to 8 and so on.
  sizes(sizes) {
    const bins = new Map();
    for (const { size, count } of sizes) {
      const step = Math.ceil(Math.log2(size));
      bins.set(step, (bins.get(step) ?? 0) + count);
    }
    const said = (step) => (step === 0 ? "1, alone" : step === 1 ? "2" : `${2 ** (step - 1) + 1} to ${2 ** step}`);
    return [...bins].sort((a, b) => a[0] - b[0]).map(([step, count]) => ({ label: said(step), count }));
  },
};

document.addEventListener("DOMContentLoaded", ScenePage.start);
