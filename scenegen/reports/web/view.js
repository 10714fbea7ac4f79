// The 3D view by three.js: surface, hulls, centre of mass, inertia box, rest poses, and drops that were replayed.
"use strict";

const View = {
  // Hulls take turns in these colours; each keeps its own over all poses.
  hues: [205, 28, 140, 275, 350, 95, 180, 50, 315, 240],

  start(scene) {
    const canvas = Page.byId("canvas");
    if (!scene) return View.refuse("No surface was kept: the file bounds no solid with a mass, or was refused before there was one.");
    let renderer;
    try {
      renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    } catch {
      return View.refuse("This browser has no WebGL, which the view needs.");
    }
    Object.assign(View, { scene, canvas, renderer, size: scene.size || 1, playing: false });
    View.world = new THREE.Scene();
    View.body = new THREE.Group();
    View.world.add(View.body);
    View.addLights();
    View.addSurface();
    View.addHulls();
    View.addMass();
    View.addGround();
    View.camera = new THREE.PerspectiveCamera(32, 1, View.size / 200, View.size * 200);
    View.camera.up.set(0, 0, 1);
    View.controls = new THREE.OrbitControls(View.camera, canvas);
    View.controls.addEventListener("change", View.draw);
    View.bindControls();
    View.bindPoses();
    View.bindDrop();
    View.showPose(Page.byId("pose").value);
    View.resetCamera();
    new ResizeObserver(View.resize).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", View.paintGround);
  },

  refuse(text) {
    Page.byId("view-note").hidden = false;
    Page.byId("view-note").textContent = text;
    Page.byId("canvas").hidden = true;
    Page.byId("canvas").parentElement.classList.add("empty");
    for (const box of document.querySelectorAll(".view .controls")) box.hidden = true;
  },

  // ---- what is drawn ---------------------------------------------------------------------------

  bytes(text) {
    return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  },

  // Positions are whole steps from the lower corner of the bounding box.
  geometry({ positions, faces, index_bytes }) {
    const { low, step } = View.scene;
    const whole = new Uint16Array(View.bytes(positions));
    const points = Float32Array.from(whole, (value, i) => low[i % 3] + step * value);
    const made = new THREE.BufferGeometry();
    made.setAttribute("position", new THREE.BufferAttribute(points, 3));
    const buffer = View.bytes(faces);
    made.setIndex(new THREE.BufferAttribute(index_bytes === 2 ? new Uint16Array(buffer) : new Uint32Array(buffer), 1));
    return made;
  },

  addLights() {
    View.world.add(new THREE.HemisphereLight(0xffffff, 0x8a8f98, 1.6));
    for (const [x, y, z, strength] of [[-2, -3, 4, 1.7], [3, 1, 2, 0.7]]) {
      const light = new THREE.DirectionalLight(0xffffff, strength);
      light.position.set(x, y, z);
      View.world.add(light);
    }
  },

  addSurface() {
    View.surface = new THREE.Group();
    for (const part of View.scene.parts) {
      const color = new THREE.Color().setRGB(...part.color, "srgb");
      // Without an environment to mirror, metal would look black.
      const material = new THREE.MeshStandardMaterial({ color, roughness: Math.max(part.roughness, 0.35), metalness: 0.35 * part.metallic, side: THREE.DoubleSide });
      View.surface.add(new THREE.Mesh(THREE.toCreasedNormals(View.geometry(part), Math.PI / 6), material));
    }
    View.surfaceMaterials = View.surface.children.map((mesh) => mesh.material);
    View.body.add(View.surface);
  },

  addHulls() {
    View.hulls = new THREE.Group();
    View.scene.hulls.forEach((hull, number) => {
      const geometry = View.geometry(hull);
      const color = new THREE.Color().setHSL(View.hues[number % View.hues.length] / 360, 0.55, 0.55);
      const mesh = new THREE.Mesh(geometry, new THREE.MeshStandardMaterial({ color, roughness: 0.7, flatShading: true }));
      mesh.add(new THREE.LineSegments(new THREE.EdgesGeometry(geometry, 8), new THREE.LineBasicMaterial({ color: 0x000000, transparent: true, opacity: 0.35 })));
      geometry.computeBoundingSphere();
      mesh.userData.centre = geometry.boundingSphere.center.clone();
      View.hulls.add(mesh);
    });
    View.hulls.visible = false;
    View.body.add(View.hulls);
    Page.byId("hull-count").textContent = `(${View.scene.hulls.length})`;
  },

  addMass() {
    View.com = new THREE.Group();
    View.box = new THREE.Group();
    const mass = View.scene.mass;
    for (const id of ["show-com", "show-box"]) Page.byId(id).disabled = !mass;
    if (!mass) return;
    const through = { depthTest: false, transparent: true };
    const ball = new THREE.Mesh(new THREE.SphereGeometry(View.size * 0.018, 20, 14), new THREE.MeshBasicMaterial({ color: 0xe5484d, ...through }));
    ball.renderOrder = 2;
    View.com.add(ball);
    View.com.position.set(...mass.com_m);
    // The box of uniform density with the same mass and inertia: the inertia to be looked at.
    const edges = new THREE.EdgesGeometry(new THREE.BoxGeometry(...mass.box_m));
    View.box.add(new THREE.LineSegments(edges, new THREE.LineBasicMaterial({ color: 0xe5484d, ...through })));
    View.box.position.set(...mass.com_m);
    View.box.quaternion.copy(View.quaternion(mass.box_quaternion));
    View.box.visible = false;
    View.body.add(View.com, View.box);
  },

  addGround() {
    // A grid whose cells are a round number of metres.
    const cell = 10 ** Math.floor(Math.log10(View.size / 2));
    View.cell = cell;
    View.ground = new THREE.Group();
    View.world.add(View.ground);
    View.paintGround();
  },

  paintGround() {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const count = Math.max(10, 2 * Math.ceil((2 * View.size) / View.cell));
    const grid = new THREE.GridHelper(count * View.cell, count, dark ? 0x59616c : 0xa8adb5, dark ? 0x353b44 : 0xd5d8dc);
    grid.rotation.x = Math.PI / 2;
    View.ground.clear();
    View.ground.add(grid);
    View.draw();
  },

  // ---- camera ----------------------------------------------------------------------------------

  resize() {
    const { clientWidth, clientHeight } = View.canvas.parentElement;
    if (!clientWidth || !clientHeight) return;
    View.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    View.renderer.setSize(clientWidth, clientHeight, false);
    View.camera.aspect = clientWidth / clientHeight;
    View.camera.updateProjectionMatrix();
    View.draw();
  },

  // One picture for any number of changes before the next frame.
  draw() {
    if (View.asked || !View.camera) return;
    View.asked = true;
    requestAnimationFrame(() => {
      View.asked = false;
      View.renderer.render(View.world, View.camera);
    });
  },

  resetCamera() {
    const { low, step } = View.scene;
    const middle = new THREE.Vector3(low[0], low[1], low[2]).addScalar(0);
    const high = View.highest();
    middle.add(high).multiplyScalar(0.5).applyQuaternion(View.body.quaternion).add(View.body.position);
    View.controls.target.copy(middle);
    View.camera.position.copy(middle).add(new THREE.Vector3(1, -1.5, 0.8).normalize().multiplyScalar(View.size * 3.4));
    View.controls.update();
    View.draw();
  },

  highest() {
    const top = new THREE.Vector3(-Infinity, -Infinity, -Infinity);
    for (const mesh of View.surface.children) {
      mesh.geometry.computeBoundingBox();
      top.max(mesh.geometry.boundingBox.max);
    }
    return top;
  },

  turn(right, up, nearer) {
    const { camera, controls } = View;
    const offset = camera.position.clone().sub(controls.target);
    // Spherical coordinates of three.js have y up.
    const around = new THREE.Spherical().setFromCartesianCoords(offset.x, offset.z, -offset.y);
    around.theta += right;
    around.phi = Math.min(Math.max(around.phi + up, 0.05), Math.PI - 0.05);
    around.radius *= nearer;
    const moved = new THREE.Vector3().setFromSpherical(around);
    camera.position.set(moved.x, -moved.z, moved.y).add(controls.target);
    controls.update();
    View.draw();
  },

  bindControls() {
    const keys = { ArrowLeft: [-0.12, 0, 1], ArrowRight: [0.12, 0, 1], ArrowUp: [0, -0.12, 1], ArrowDown: [0, 0.12, 1],
      "+": [0, 0, 0.88], "=": [0, 0, 0.88], "-": [0, 0, 1.14] };
    View.canvas.addEventListener("keydown", (event) => {
      if (event.key === "Home") View.resetCamera();
      else if (event.key in keys) View.turn(...keys[event.key]);
      else return;
      event.preventDefault();
    });
    Page.byId("reset-view").addEventListener("click", View.resetCamera);
    for (const [id, group] of [["show-com", View.com], ["show-box", View.box]]) {
      Page.byId(id).addEventListener("change", (event) => { group.visible = event.target.checked; View.draw(); });
    }
    const layers = () => {
      const [surface, hulls] = [Page.byId("show-surface").checked, Page.byId("show-hulls").checked];
      View.surface.visible = surface;
      View.hulls.visible = hulls;
      // With both shown the surface becomes glass, so that the hulls inside can be seen.
      for (const material of View.surfaceMaterials) {
        Object.assign(material, { transparent: hulls, opacity: hulls ? 0.35 : 1, depthWrite: !hulls, needsUpdate: true });
      }
      View.draw();
    };
    Page.byId("show-surface").addEventListener("change", layers);
    Page.byId("show-hulls").addEventListener("change", layers);
    Page.byId("apart").addEventListener("input", (event) => {
      if (!Page.byId("show-hulls").checked) { Page.byId("show-hulls").checked = true; layers(); }
      const middle = new THREE.Vector3();
      for (const mesh of View.hulls.children) middle.addScaledVector(mesh.userData.centre, 1 / View.hulls.children.length);
      for (const mesh of View.hulls.children) mesh.position.copy(mesh.userData.centre).sub(middle).multiplyScalar(1.5 * event.target.value);
      View.draw();
    });
  },

  // ---- poses and drops -------------------------------------------------------------------------

  // Ours are (w, x, y, z), those of three.js (x, y, z, w).
  quaternion([w, x, y, z]) {
    return new THREE.Quaternion(x, y, z, w);
  },

  put(position, quaternion) {
    View.body.position.set(...position);
    View.body.quaternion.copy(View.quaternion(quaternion));
    View.draw();
  },

  bindPoses() {
    const select = Page.byId("pose");
    select.append(Page.element("option", { value: "" }, "as modelled"));
    View.scene.rest_poses.forEach((pose, number) => {
      const words = [`rest ${number + 1}`, `${Page.number(100 * (pose.probability ?? 0), 2)} %`, pose.upright && "upright", pose.rolls && "rolls",
        `in ${pose.engines.join(" and ")}`];
      select.append(Page.element("option", { value: String(number) }, words.filter(Boolean).join(", ")));
    });
    // Upright where it stands so, else as it rests most often.
    const { rest_poses } = View.scene;
    select.value = rest_poses.length ? String(Math.max(rest_poses.findIndex((pose) => pose.upright), 0)) : "";
    select.addEventListener("change", () => { View.pause(); View.showPose(select.value); View.resetCamera(); });
  },

  showPose(value) {
    Page.byId("pose").value = value;
    const pose = value === "" ? null : View.scene.rest_poses[Number(value)];
    View.put(pose ? pose.position : [0, 0, 0], pose ? pose.quaternion : [1, 0, 0, 0]);
  },

  bindDrop() {
    const { replays } = View.scene;
    Page.byId("drop-controls").hidden = !replays.length;
    if (!replays.length) return;
    const select = Page.byId("drop");
    replays.forEach((replay, number) => select.append(Page.element("option", { value: String(number) }, replay.start)));
    const choose = () => {
      View.replay = replays[Number(select.value)];
      Page.byId("time").max = View.replay.times.length - 1;
      const { engine, outcome, rest_gap_m } = View.replay;
      const start = outcome ? "the recorded start" : "a start drawn as the drop test drew it";
      const ended = outcome ? ` The recorded drop ${outcome === "rested" ? "came to rest" : `ended: ${outcome}`}.` : "";
      const gap = rest_gap_m === null ? "" : ` The replay ends ${Page.length(rest_gap_m)} from the recorded rest.`;
      Page.byId("drop-note").textContent = `${engine}, replayed from ${start}, ${Page.number(View.replay.times.at(-1), 2)} s.${ended}${gap}`;
      Page.byId("clock").textContent = "0.00 s";
      Page.byId("time").value = 0;
    };
    select.addEventListener("change", () => { choose(); View.showTime(0); });
    Page.byId("time").addEventListener("input", (event) => { View.pause(); View.showTime(View.replay.times[Number(event.target.value)]); });
    Page.byId("play").addEventListener("click", () => (View.playing ? View.pause() : View.play()));
    choose();
  },

  play() {
    const { times } = View.replay;
    let begun = null;
    const from = Number(Page.byId("time").value) >= times.length - 1 ? 0 : times[Number(Page.byId("time").value)];
    View.playing = true;
    Page.byId("play").textContent = "Pause";
    Page.byId("play").setAttribute("aria-pressed", "true");
    const tick = (now) => {
      if (!View.playing) return;
      begun ??= now;
      const time = from + (now - begun) / 1000;
      View.showTime(Math.min(time, times.at(-1)));
      if (time < times.at(-1)) requestAnimationFrame(tick);
      else View.pause();
    };
    requestAnimationFrame(tick);
  },

  pause() {
    View.playing = false;
    Page.byId("play").textContent = "Play";
    Page.byId("play").setAttribute("aria-pressed", "false");
  },

  // Between two recorded poses the shortest way is taken.
  showTime(time) {
    const { times, poses } = View.replay;
    let next = times.findIndex((one) => one > time);
    if (next < 0) next = times.length - 1;
    const before = Math.max(next - 1, 0);
    const share = next === before ? 0 : Math.min((time - times[before]) / (times[next] - times[before]), 1);
    const mix = (i) => poses[before][i] + share * (poses[next][i] - poses[before][i]);
    View.body.position.set(mix(0), mix(1), mix(2));
    View.body.quaternion.slerpQuaternions(View.quaternion(poses[before].slice(3)), View.quaternion(poses[next].slice(3)), share);
    Page.byId("time").value = share > 0.999 ? next : before;
    Page.byId("clock").textContent = `${time.toFixed(2)} s`;
    View.draw();
  },
};
