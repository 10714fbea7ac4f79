// Outlines of objects from above: of each the points that are outermost in some direction, which for boxes is exact.
"use strict";

const Outlines = {
  turns: Array.from({ length: 24 }, (_, d) => [Math.cos((2 * Math.PI * d) / 24), Math.sin((2 * Math.PI * d) / 24)]),
  half: 0.02, // of an object whose shape is not known [m]

  unpack(text, Type) {
    return new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  },

  // Return of each object the outline, how high it reaches, and how far from its origin [m].
  all({ positions, quaternions, assetOf, shapes }) {
    const count = assetOf.length;
    const found = { outlines: new Array(count), tops: new Float32Array(count), reach: new Float32Array(count) };
    for (let i = 0; i < count; i++) {
      const [px, py, pz] = positions.subarray(3 * i, 3 * i + 3);
      const shape = shapes[assetOf[i]];
      const across = shape.length ? Outlines.turned(shape, quaternions.subarray(4 * i, 4 * i + 4)) : Outlines.dot;
      found.outlines[i] = Float32Array.from(Outlines.outermost(across).flatMap((p) => [px + across[p], py + across[p + 1]]));
      let top = -Infinity;
      let reach = 0;
      for (let p = 0; p < across.length; p += 3) {
        top = Math.max(top, across[p + 2]);
        reach = Math.max(reach, Math.hypot(across[p], across[p + 1]));
      }
      found.tops[i] = pz + top;
      found.reach[i] = reach;
    }
    return found;
  },

  // Return where in a list of points those are that are outermost in some direction, counterclockwise.
  outermost(points) {
    const found = [];
    for (const [c, s] of Outlines.turns) {
      let best = 0;
      let most = -Infinity;
      for (let p = 0; p < points.length; p += 3) {
        const along = c * points[p] + s * points[p + 1];
        if (along > most) { most = along; best = p; }
      }
      if (best !== found.at(-1) && best !== found[0]) found.push(best);
    }
    return found;
  },

  // Return points turned by a quaternion (w, x, y, z) of any length.
  turned(points, quaternion) {
    const norm = Math.hypot(...quaternion) || 1;
    const [w, x, y, z] = Array.from(quaternion, (value) => value / norm);
    const r = [
      1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
      2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
      2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ];
    const out = new Float32Array(points.length);
    for (let p = 0; p < points.length; p += 3) {
      for (let k = 0; k < 3; k++) out[p + k] = r[3 * k] * points[p] + r[3 * k + 1] * points[p + 1] + r[3 * k + 2] * points[p + 2];
    }
    return out;
  },

  // Whether a place is inside an outline.
  holds(outline, x, y) {
    let odd = false;
    for (let p = 0, q = outline.length - 2; p < outline.length; q = p, p += 2) {
      const above = outline[p + 1] > y;
      if (above !== outline[q + 1] > y && x < ((outline[q] - outline[p]) * (y - outline[p + 1])) / (outline[q + 1] - outline[p + 1]) + outline[p]) odd = !odd;
    }
    return odd;
  },
};

Outlines.dot = Float32Array.of(Outlines.half, 0, 0, 0, Outlines.half, 0, -Outlines.half, 0, 0, 0, -Outlines.half, 0);
