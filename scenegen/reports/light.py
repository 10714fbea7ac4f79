"""Light of a photo studio and how a surface answers it: Lambert and GGX, an analytic environment, tone mapping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class LightConfig:
    """A studio: one soft key light, a bright dome with soft boxes, a floor that gives light back."""

    sun_direction: tuple[float, float, float] = (-0.42, -0.50, 0.76)
    """From the scene towards the key light [1]."""
    sun_color: tuple[float, float, float] = (2.15, 2.03, 1.86)
    """Irradiance of the key light over pi, linear RGB [1]."""
    sun_radius: float = 0.11
    """Tangent of the angular radius of the key light: softness of shadows [1]."""
    sky_color: tuple[float, float, float] = (0.92, 0.98, 1.08)
    """Radiance overhead [1]."""
    horizon_color: tuple[float, float, float] = (0.74, 0.77, 0.82)
    """Radiance at the horizon [1]."""
    floor_color: tuple[float, float, float] = (0.40, 0.385, 0.37)
    """Radiance from below: what the floor gives back [1]."""
    box_directions: tuple[tuple[float, float, float], ...] = (
        (0.85, -0.15, 0.50),
        (-0.75, -0.45, 0.55),
        (0.0, 0.75, 0.66),
    )
    """Directions of the soft boxes that metals and glazes mirror [1]."""
    box_colors: tuple[tuple[float, float, float], ...] = ((2.4, 2.5, 2.65), (3.6, 3.45, 3.2), (1.7, 1.8, 1.95))
    """Radiance of the soft boxes [1]."""
    box_sharpness: float = 14.0
    """How narrow a soft box is, as exponent of exp(k (cos - 1)) [1]."""
    ambient: float = 0.62
    """Share of the dome's light that reaches a diffuse surface [1]."""


def environment(
    direction: Float32[np.ndarray, "N 3"], roughness: Float32[np.ndarray, "N"], light: LightConfig
) -> Float32[np.ndarray, "N 3"]:
    """Return the radiance from a direction, blurred as a surface of that roughness would."""
    z = direction[:, 2:3]
    blur = (0.06 + 0.9 * roughness**1.5)[:, None]
    below = _smooth(-z / (2 * blur) + 0.5)
    above = np.clip(z, 0, 1) ** 0.7
    dome = _color(light.horizon_color) * (1 - above) + _color(light.sky_color) * above
    radiance = dome * (1 - below) + _color(light.floor_color) * below
    alpha = roughness**2
    sharpness = light.box_sharpness / (1 + 6 * light.box_sharpness * alpha**2)
    weight = sharpness / light.box_sharpness  # a wider lobe of equal energy is dimmer
    for box, color in zip(light.box_directions, light.box_colors, strict=True):
        axis = _unit(box)
        lobe = np.exp(sharpness * (direction @ axis - 1)) * weight
        radiance = radiance + lobe[:, None] * _color(color)
    return radiance


def shade(
    normal: Float32[np.ndarray, "N 3"],
    view: Float32[np.ndarray, "N 3"],
    base: Float32[np.ndarray, "N 3"],
    metallic: Float32[np.ndarray, "N"],
    roughness: Float32[np.ndarray, "N"],
    light: LightConfig,
) -> tuple[Float32[np.ndarray, "N 3"], Float32[np.ndarray, "N 3"]]:
    """Return the light of the sun and of the environment that a surface sends to the viewer, both unshadowed.

    Args:
        normal: Unit normals.
        view: Unit directions towards the viewer.
        base: Linear base colour.
        metallic: 0 for dielectrics, 1 for metals.
        roughness: Perceptual roughness.
        light: The studio.

    References:
        Walter et al., "Microfacet models for refraction", EGSR 2007 (GGX); Karis, "Real shading in Unreal Engine 4",
        2013 (Schlick-Smith visibility), and its analytic fit of the environment BRDF, "Physically based shading on
        mobile", 2014.
    """
    sun = _unit(light.sun_direction)
    rough = np.clip(roughness, 0.06, 1.0)
    n_v = np.clip(_dot(normal, view), 1e-3, 1.0)
    n_l = np.clip(normal @ sun, 0.0, 1.0)
    half = view + sun
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    n_h = np.clip(_dot(normal, half), 0.0, 1.0)
    v_h = np.clip(_dot(view, half), 0.0, 1.0)
    f0 = 0.04 + (base - 0.04) * metallic[:, None]
    diffuse = base * (1 - metallic)[:, None]
    # The key light is a disc, not a point: its radius widens the highlight.
    alpha2 = np.clip(rough**2 + light.sun_radius / 2, 0.0, 1.0) ** 2
    ndf = alpha2 / (np.pi * (n_h**2 * (alpha2 - 1) + 1) ** 2)
    k = (rough + 1) ** 2 / 8
    visibility = 1 / (4 * (n_v * (1 - k) + k) * (n_l * (1 - k) + k))
    fresnel = f0 + (1 - f0) * ((1 - v_h) ** 5)[:, None]
    from_sun = (diffuse + np.pi * fresnel * (ndf * visibility)[:, None]) * n_l[:, None] * _color(light.sun_color)
    mirror = 2 * _dot(normal, view)[:, None] * normal - view
    scale, bias = _environment_brdf(rough, n_v)
    around = environment(mirror, rough, light) * (f0 * scale[:, None] + bias[:, None])
    around = around + diffuse * environment(normal, np.ones_like(rough), light) * np.float32(light.ambient)
    return from_sun, around


def backdrop(height: Float32[np.ndarray, "N"]) -> Float32[np.ndarray, "N 3"]:
    """Return the colour of a seamless paper background; `height` is 0 at the lower edge of the picture, 1 above."""
    low, high = np.array([0.66, 0.67, 0.685], np.float32), np.array([0.50, 0.525, 0.56], np.float32)
    t = _smooth(height)[:, None]
    return low * (1 - t) + high * t


def tone_map(radiance: Float32[np.ndarray, "... 3"]) -> np.ndarray:
    """Return 8-bit sRGB: base colours keep their hue, highlights roll off to white.

    References:
        Khronos, "PBR Neutral tone mapper" (specification of 2024).
    """
    start, desaturation = 0.8 - 0.04, 0.15
    low = radiance.min(axis=-1, keepdims=True)
    offset = np.where(low < 0.08, low - 6.25 * low * low, 0.04)
    color = radiance - offset
    peak = color.max(axis=-1, keepdims=True)
    over = np.maximum(peak - start, 0.0)
    d = 1.0 - start
    rolled = 1.0 - d * d / (over + d)
    bright = color * (rolled / np.maximum(peak, 1e-6))
    toward_white = 1.0 - 1.0 / (desaturation * (peak - rolled) + 1.0)
    bright = bright * (1 - toward_white) + rolled * toward_white
    linear = np.clip(np.where(peak < start, color, bright), 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.floor(encoded * 255 + 0.5).astype(np.uint8)


def _environment_brdf(rough: np.ndarray, n_v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r0, r1, r2, r3 = rough * -1 + 1, rough * -0.0275 + 0.0425, rough * -0.572 + 1.04, rough * 0.022 - 0.04
    a004 = np.minimum(r0 * r0, np.exp2(-9.28 * n_v)) * r0 + r1
    return -1.04 * a004 + r2, np.maximum(1.04 * a004 + r3, 0.0)


def _smooth(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _color(color: tuple[float, float, float]) -> Float32[np.ndarray, "3"]:
    return np.array(color, np.float32)


def _unit(vector: tuple[float, float, float]) -> Float32[np.ndarray, "3"]:
    return (np.array(vector) / np.linalg.norm(vector)).astype(np.float32)


def _dot(a: np.ndarray, b: np.ndarray) -> Float32[np.ndarray, "N"]:
    return np.einsum("ni,ni->n", a, b)
