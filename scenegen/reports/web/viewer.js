// The 3D view of one object: surface, hulls, centre of mass, inertia box, rest poses, a drop.
"use strict";

const HULL_COLORS = [0x4477aa, 0xee6677, 0x228833, 0xccbb44, 0x66ccee, 0xaa3377];

function unpack(packed) {
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const places = new Uint16Array(bytes(packed.places));
  const positions = new Float32Array(places.length);
  for (let k = 0; k < places.length; k += 1) positions[k] = packed.low[k % 3] + packed.step[k % 3] * places[k];
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(positions, 3));
  geometry.setIndex(new THREE.BufferAttribute(new Uint32Array(bytes(packed.faces)), 1));
  geometry.computeVertexNormals();
  return geometry;
}

function setPose(group, [x, y, z, w, i, j, k]) {
  group.position.set(x, y, z);
  group.quaternion.set(i, j, k, w);
}

class Viewer {
  constructor(canvas, shape) {
    this.canvas = canvas;
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true });
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(35, 1, 1e-4, 1e3);
    this.camera.up.set(0, 0, 1);
    this.controls = new THREE.OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.render());
    this.layers = { surface: new THREE.Group(), hulls: new THREE.Group(), com: new THREE.Group(), box: new THREE.Group() };
    this.body = new THREE.Group();
    this.body.add(...Object.values(this.layers));
    this.scene.add(this.body, new THREE.HemisphereLight(0xffffff, 0x8890a0, 2.2));
    const sun = new THREE.DirectionalLight(0xffffff, 1.8);
    sun.position.set(1, -2, 3);
    this.scene.add(sun);
    this.fill(shape);
    this.frame();
    this.recolor();
    new ResizeObserver(() => this.render()).observe(canvas);
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  fill(shape) {
    shape.surfaces.forEach((packed, number) => {
      const [r, g, b] = shape.colors[number];
      const material = new THREE.MeshStandardMaterial({ color: new THREE.Color(r, g, b), roughness: 0.7, flatShading: true, side: THREE.DoubleSide });
      this.layers.surface.add(new THREE.Mesh(unpack(packed), material));
    });
    shape.hulls.forEach((packed, number) => {
      const geometry = unpack(packed);
      const tint = HULL_COLORS[number % HULL_COLORS.length];
      const material = new THREE.MeshStandardMaterial({ color: tint, transparent: true, opacity: 0.55, flatShading: true });
      this.layers.hulls.add(new THREE.Mesh(geometry, material), new THREE.LineSegments(new THREE.EdgesGeometry(geometry, 12), new THREE.LineBasicMaterial({ color: tint })));
    });
    const points = [...shape.surfaces, ...shape.hulls];
    this.low = new THREE.Vector3(...[0, 1, 2].map((k) => Math.min(...points.map((p) => p.low[k]))));
    this.high = new THREE.Vector3(...[0, 1, 2].map((k) => Math.max(...points.map((p) => p.low[k] + 65535 * p.step[k]))));
    this.size = this.high.distanceTo(this.low);
    const dot = new THREE.Mesh(new THREE.SphereGeometry(0.018 * this.size), new THREE.MeshBasicMaterial({ color: 0xd03020, depthTest: false, transparent: true }));
    dot.renderOrder = 2;
    dot.position.set(...shape.com);
    this.layers.com.add(dot);
    const box = new THREE.LineSegments(new THREE.EdgesGeometry(new THREE.BoxGeometry(...shape.box.sides)), new THREE.LineBasicMaterial({ color: 0xd03020, depthTest: false, transparent: true }));
    setPose(box, shape.box.pose);
    box.renderOrder = 2;
    this.layers.box.add(box);
    this.ground = new THREE.GridHelper(4 * this.size, 24);
    this.ground.rotation.x = Math.PI / 2;
    this.scene.add(this.ground);
  }

  frame() {
    this.center = this.low.clone().add(this.high).multiplyScalar(0.5);
    this.controls.target.copy(this.center);
    this.camera.position.copy(this.center).add(new THREE.Vector3(0.9, -1.25, 0.75).multiplyScalar(this.size));
    this.camera.near = this.size / 200;
    this.camera.far = this.size * 60;
    this.controls.update();
  }

  recolor() {
    this.scene.background = new THREE.Color(color("paper"));
    const line = new THREE.Color(color("line"));
    this.ground.material.color = line;
    this.ground.material.vertexColors = false;
    this.ground.material.needsUpdate = true;
    this.render();
  }

  show(layer, visible) {
    this.layers[layer].visible = visible;
    this.render();
  }

  place(pose) {
    this.stop();
    setPose(this.body, pose);
    this.render();
  }

  play(drop) {
    this.stop();
    const begun = performance.now();
    const step = (now) => {
      // Shown at a speed at which every drop takes three seconds, whatever the size.
      const frame = Math.floor(((now - begun) / 3000) * drop.poses.length);
      setPose(this.body, drop.poses[Math.min(frame, drop.poses.length - 1)]);
      this.render();
      this.running = frame < drop.poses.length - 1 ? requestAnimationFrame(step) : undefined;
    };
    this.running = requestAnimationFrame(step);
  }

  stop() {
    if (this.running) cancelAnimationFrame(this.running);
    this.running = undefined;
  }

  key(event) {
    const offset = this.camera.position.clone().sub(this.controls.target);
    const turn = { ArrowLeft: -0.15, ArrowRight: 0.15 }[event.key];
    const lift = { ArrowUp: 0.12, ArrowDown: -0.12 }[event.key];
    const zoom = { "+": 0.9, "=": 0.9, "-": 1.1 }[event.key];
    if (turn) offset.applyAxisAngle(this.camera.up, turn);
    else if (lift) {
      const side = new THREE.Vector3().crossVectors(offset, this.camera.up).normalize();
      const lifted = offset.clone().applyAxisAngle(side, lift);
      if (Math.abs(lifted.z) < 0.98 * lifted.length()) offset.copy(lifted);
    } else if (zoom) offset.multiplyScalar(zoom);
    else return;
    event.preventDefault();
    this.camera.position.copy(this.controls.target).add(offset);
    this.controls.update();
    this.render();
  }

  render() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    this.camera.updateProjectionMatrix();
    this.renderer.render(this.scene, this.camera);
  }
}
