import { describe, expect, it } from "vitest";
import { fromScale, legendTicks, toScale } from "../../src/heat/scale";
import type { Scale } from "../../src/heat/types";

const TOPS = [1, 2, 3, 7, 10, 12, 93, 100, 101, 999, 1000, 4321, 65_536, 1_000_000, 123_456_789];
const SCALES = ["linear", "log"] as const;

function counts(max: number, scale: Scale): number[] {
  return legendTicks(max, scale).map(({ count }) => count);
}

describe("scales", () => {
  it("grow from 0 to 1 and turn back into the count they came from", () => {
    for (const scale of SCALES)
      for (const max of TOPS) {
        expect(toScale(0, max, scale)).toBe(0);
        expect(toScale(max, max, scale)).toBe(1);
        expect(toScale(max * 2, max, scale)).toBe(1);
        let last = 0;
        for (const part of [0.01, 0.1, 0.3, 0.5, 0.9, 1]) {
          const place = toScale(part * max, max, scale);
          expect(place).toBeGreaterThan(last);
          expect(fromScale(place, max, scale)).toBeCloseTo(part * max, 5);
          last = place;
        }
      }
  });

  it("have no place for anything in an empty map", () => {
    for (const scale of SCALES) {
      expect(toScale(5, 0, scale)).toBe(0);
      expect(fromScale(0.5, 0, scale)).toBe(0);
      expect(legendTicks(0, scale)).toEqual([]);
    }
  });

  it("are marked at whole round counts that do not crowd, the maximum last", () => {
    for (const scale of SCALES)
      for (const max of TOPS)
        for (const wanted of [3, 5, 8]) {
          const ticks = legendTicks(max, scale, wanted);
          expect(ticks.at(-1)).toEqual({ count: max, at: 1 });
          expect(ticks.length).toBeLessThanOrEqual(2 * wanted + 1);
          for (const [i, { count, at }] of ticks.entries()) {
            expect(Number.isInteger(count)).toBe(true);
            expect(at).toBe(toScale(count, max, scale));
            expect(at - (ticks[i - 1]?.at ?? -1)).toBeGreaterThanOrEqual(0.5 / wanted);
          }
        }
  });

  it("have the marks a person would choose", () => {
    expect(counts(93, "linear")).toEqual([20, 40, 60, 80, 93]);
    expect(counts(3, "linear")).toEqual([1, 2, 3]);
    expect(counts(1, "log")).toEqual([1]);
    expect(counts(4321, "log")).toEqual([1, 10, 100, 1000, 4321]);
    expect(counts(30, "log")).toEqual([1, 2, 5, 10, 20, 30]);
  });
});
