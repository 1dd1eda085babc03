import { describe, expect, it } from "vitest";
import { interpolate, taps } from "../../src/heat/canvas2d";
import { buildField, type Field, type FieldOptions, sigmas } from "../../src/heat/field";
import { fromScale, toScale } from "../../src/heat/scale";
import type { HeatMap } from "../../src/heat/types";
import { mapOf, noisyMap } from "./maps";

const PHONE = { w: 390, h: 4000 };
const LAPTOP = { w: 1440, h: 900 };
const BANNER = { w: 3000, h: 300 };

function options(map: HeatMap, more: Partial<FieldOptions> = {}): FieldOptions {
  return { scale: "log", radius: 2, max: map.max, shape: LAPTOP, ...more };
}

function at(field: Field, map: HeatMap, x: number, y: number): number {
  const [subX, subY] = [field.w / map.gridW, field.h / map.gridH];
  return field.values[(y * subY + (subY - 1) / 2) * field.w + x * subX + (subX - 1) / 2] ?? Number.NaN;
}

function brightest(field: Field): { value: number; x: number; y: number } {
  let best = 0;
  for (let i = 0; i < field.values.length; i += 1) if ((field.values[i] ?? 0) > (field.values[best] ?? 0)) best = i;
  return { value: field.values[best] ?? 0, x: best % field.w, y: Math.floor(best / field.w) };
}

/** The definition, cell by cell and node by node: no passes, no windows, no reuse. */
function byDefinition(map: HeatMap, field: Field, { radius, shape, max, scale }: FieldOptions): Float64Array {
  const pixels = radius * 0.8493218 * Math.sqrt((shape.w / map.gridW) * (shape.h / map.gridH));
  const sx = Math.max((pixels * map.gridW) / shape.w, 0.95);
  const sy = Math.max((pixels * map.gridH) / shape.h, 0.95);
  const top = toScale(map.max, max, scale);
  const sums = new Float64Array(field.w * field.h);
  const crowns = new Float64Array(field.w * field.h);
  for (let n = 0; n < sums.length; n += 1) {
    const x = (((n % field.w) + 0.5) / field.w) * map.gridW - 0.5;
    const y = ((Math.floor(n / field.w) + 0.5) / field.h) * map.gridH - 0.5;
    let sum = 0;
    for (let c = 0; c < map.counts.length; c += 1) {
      const dx = (x - (c % map.gridW)) / sx;
      const dy = (y - Math.floor(c / map.gridW)) / sy;
      const k = Math.exp(-(dx * dx + dy * dy) / 2);
      sum += (k * toScale(map.counts[c] ?? 0, max, scale)) ** 3;
      if (map.counts[c] === map.max) crowns[n] = Math.max(crowns[n] ?? 0, k);
    }
    sums[n] = Math.cbrt(sum);
  }
  const lower = (top * 0.98) / sums.reduce((a, b) => Math.max(a, b));
  return sums.map((sum, n) => {
    const value = sum * lower;
    const excess = Math.max(0, (top * (crowns[n] ?? 0) - value) / (top - value));
    return value + (top - value) * excess ** 2 * (2 - excess);
  });
}

describe("a raw field", () => {
  it("holds every cell's place on the scale and nothing else", () => {
    const map = noisyMap(7, 5, 40, 1);
    const field = buildField(map, options(map, { radius: 0 }));
    expect([field.w, field.h, field.raw]).toEqual([7, 5, true]);
    expect([...field.values]).toEqual([...map.counts].map((count) => Math.fround(toScale(count, map.max, "log"))));
  });
});

describe("a smooth field", () => {
  it.each([
    ["log", 2, LAPTOP],
    ["linear", 1, PHONE],
    ["log", 3.5, BANNER],
  ] as const)("is what the definition says: %s, radius %d", (scale, radius, shape) => {
    const map = noisyMap(12, 16, 90, 3);
    const chosen = options(map, { scale, radius, shape });
    const field = buildField(map, chosen);
    const wanted = byDefinition(map, field, chosen);
    let worst = 0;
    for (let n = 0; n < wanted.length; n += 1)
      worst = Math.max(worst, Math.abs((field.values[n] ?? 0) - (wanted[n] ?? 0)));
    // Half of one of the 256 colours: bells are cut off where they are fainter than that.
    expect(worst).toBeLessThan(0.002);
  });

  it.each([0.5, 1, 2, 4, 8])("has its maximum at a hottest cell's centre and nowhere else: radius %d", (radius) => {
    for (const scale of ["linear", "log"] as const)
      for (const shape of [PHONE, LAPTOP, BANNER])
        for (const seed of [1, 2, 3]) {
          const map = noisyMap(20, 24, 30, seed);
          const field = buildField(map, options(map, { radius, scale, shape }));
          const best = brightest(field);
          const hottest = [Math.floor((best.x * 20) / field.w), Math.floor((best.y * 24) / field.h)] as const;
          expect(map.counts[hottest[1] * 20 + hottest[0]]).toBe(map.max);
          expect(best.value).toBeCloseTo(1, 6);
          expect(at(field, map, ...hottest)).toBeCloseTo(1, 6);
          const atMaximum = field.values.filter((value) => value > 1 - 1e-6).length;
          expect(atMaximum).toBe(map.counts.filter((count) => count === map.max).length);
        }
  });

  it("keeps one hot cell above a crowd that adds up to more", () => {
    const crowd = Array.from({ length: 25 }, (_, i) => [3 + (i % 5), 3 + Math.floor(i / 5), 9] as const);
    const map = mapOf(30, 30, [...crowd, [22, 22, 10]]);
    const field = buildField(map, options(map, { radius: 5, shape: { w: 1, h: 1 } }));
    const best = brightest(field);
    expect([Math.floor((best.x * 30) / field.w), Math.floor((best.y * 30) / field.h)]).toEqual([22, 22]);
  });

  it("never exceeds the maximum, also between the nodes", () => {
    const map = noisyMap(20, 24, 5, 9);
    const field = buildField(map, options(map, { radius: 1, shape: PHONE }));
    const fine = interpolate(
      field,
      taps(301, (i) => (i + 0.5) / 301, field.w),
      taps(407, (i) => (i + 0.5) / 407, field.h),
    );
    expect(Math.max(...fine)).toBeLessThanOrEqual(1);
    expect(Math.min(...fine)).toBeGreaterThanOrEqual(0);
  });

  it("gives a lone cell its own count at its centre and half of the way at the radius", () => {
    const map = mapOf(41, 41, [
      [20, 20, 6],
      [2, 2, 100],
    ]);
    const field = buildField(map, options(map, { radius: 3, shape: { w: 1, h: 1 } }));
    const own = toScale(6, 100, "log");
    expect(at(field, map, 20, 20)).toBeCloseTo(own * 0.98, 3);
    expect(at(field, map, 23, 20)).toBeCloseTo(own * 0.49, 3);
    expect(at(field, map, 20, 17)).toBeCloseTo(own * 0.49, 3);
    expect(fromScale(at(field, map, 2, 2), 100, "log")).toBeCloseTo(100, 3);
  });

  it("is round in pixels of the screen, whatever the cells' shape", () => {
    const [x, y] = sigmas(4, mapOf(100, 200, []), PHONE);
    expect((x * PHONE.w) / 100).toBeCloseTo((y * PHONE.h) / 200, 9);
  });

  it("takes a fixed top of the scale", () => {
    const map = mapOf(9, 9, [[4, 4, 10]]);
    const field = buildField(map, options(map, { max: 1000, scale: "linear" }));
    expect(brightest(field).value).toBeCloseTo(0.01, 6);
  });

  it("is empty for an empty map", () => {
    const map = mapOf(10, 20, []);
    for (const radius of [0, 3]) expect(brightest(buildField(map, options(map, { radius }))).value).toBe(0);
  });
});
