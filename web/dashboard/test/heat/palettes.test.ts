import { describe, expect, it } from "vitest";
import { alphaAt, colourAt, cssGradient, lookupTable, PALETTE_NAMES, type Rgb } from "../../src/heat/palettes";
import type { PaletteName } from "../../src/heat/types";

const STEPS = Array.from({ length: 256 }, (_, i) => i / 255);
const UNIFORM: PaletteName[] = ["inferno", "viridis", "cividis", "magma"];

function linear([r, g, b]: Rgb): Rgb {
  return [decoded(r / 255), decoded(g / 255), decoded(b / 255)];
}

function decoded(value: number): number {
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/** CIE L*a*b* of linear sRGB, white point D65. */
function lab([r, g, b]: Rgb): Rgb {
  const x = rooted((0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047);
  const y = rooted(0.2126729 * r + 0.7151522 * g + 0.072175 * b);
  const z = rooted((0.0193339 * r + 0.119192 * g + 0.9503041 * b) / 1.08883);
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

function rooted(t: number): number {
  return t > 216 / 24389 ? Math.cbrt(t) : ((24389 / 27) * t + 16) / 116;
}

// Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
// severity 1.0, on linear RGB.
const PROTANOPIA = [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998];
const DEUTERANOPIA = [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881];

function seenAs([r, g, b]: Rgb, matrix: readonly number[]): Rgb {
  const row = (i: number): number => {
    const [x = 0, y = 0, z = 0] = matrix.slice(i * 3, i * 3 + 3);
    return Math.min(Math.max(x * r + y * g + z * b, 0), 1);
  };
  return [row(0), row(1), row(2)];
}

describe("palettes", () => {
  it.each(UNIFORM)("%s grows steadily in lightness", (name) => {
    const lightness = STEPS.map((t) => lab(linear(colourAt(name, t)))[0]);
    for (let i = 1; i < lightness.length; i += 1)
      expect((lightness[i] ?? 0) - (lightness[i - 1] ?? 0)).toBeGreaterThan(0);
    expect((lightness.at(-1) ?? 0) - (lightness[0] ?? 0)).toBeGreaterThan(70);
  });

  it.each(["viridis", "cividis"] as const)("%s keeps neighbours apart for colour-blind readers", (name) => {
    for (const matrix of [PROTANOPIA, DEUTERANOPIA])
      for (let step = 0; step < 16; step += 1) {
        const [from, to] = [step, step + 1].map((s) => lab(seenAs(linear(colourAt(name, s / 16)), matrix)));
        const difference = Math.hypot(...[0, 1, 2].map((i) => (from?.[i] ?? 0) - (to?.[i] ?? 0)));
        // A just noticeable difference is about 2.3.
        expect(difference).toBeGreaterThan(2.3);
      }
  });

  it.each(PALETTE_NAMES)("%s is transparent for nothing and covers more the hotter it is", (name) => {
    for (const raw of [true, false]) {
      const table = lookupTable(name, raw);
      expect(table.length).toBe(1024);
      expect(table[3]).toBe(0);
      const alphas = STEPS.map((_, i) => table[i * 4 + 3] ?? 0);
      for (let i = 1; i < alphas.length; i += 1)
        expect(alphas[i] ?? 0).toBeGreaterThanOrEqual(alphas[i - 1] ?? 0);
      expect(alphas.at(-1)).toBeGreaterThan(230);
    }
  });

  it("shows a raw cell of any count, and lets a smooth field rise from nothing", () => {
    expect(alphaAt(1 / 255, true)).toBeGreaterThan(0.4);
    expect(alphaAt(1 / 255, false)).toBeLessThan(0.02);
    expect(alphaAt(0, true)).toBe(0);
  });

  it("holds its ends beyond the scale, and makes CSS", () => {
    expect(colourAt("viridis", 2)).toEqual(colourAt("viridis", 1));
    expect(colourAt("viridis", -1)).toEqual([68, 1, 84]);
    expect(cssGradient("viridis")).toMatch(/^linear-gradient\(to right, rgb\(68 1 84\), .*, rgb\(253 231 37\)\)$/);
  });
});
