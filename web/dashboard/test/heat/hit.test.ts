import { describe, expect, it } from "vitest";
import { cellAt, cellIndex, cellRect, sameCell } from "../../src/heat/hit";

const GRID = { gridW: 100, gridH: 200 };

describe("hit testing", () => {
  it("agrees with the tiles: floor(norm * size), the far edge in the last cell", () => {
    expect([0, 0.004, 0.0099, 0.01, 0.29, 0.999, 1].map((norm) => cellIndex(norm, 100))).toEqual([
      // 0.29 * 100 is 28.999999999999996 in IEEE doubles.
      0, 0, 0, 1, 28, 99, 99,
    ]);
  });

  it("finds every cell at its own middle, and nothing beside the screen", () => {
    const page = { x: -731.4, y: 13.25, w: 2222.2, h: 987.6 };
    for (let x = 0; x < 100; x += 1)
      for (let y = 0; y < 200; y += 7) {
        const box = cellRect({ x, y }, page, GRID);
        expect(cellAt({ x: box.x + box.w / 2, y: box.y + box.h / 2 }, page, GRID)).toEqual({ x, y });
      }
    expect(cellAt({ x: page.x - 1, y: 100 }, page, GRID)).toBeNull();
    expect(cellAt({ x: 100, y: page.y + page.h + 0.01 }, page, GRID)).toBeNull();
    expect(cellAt({ x: page.x + page.w, y: page.y }, page, GRID)).toEqual({ x: 99, y: 0 });
  });

  it("compares cells by place", () => {
    expect(sameCell({ x: 1, y: 2 }, { x: 1, y: 2 })).toBe(true);
    expect(sameCell({ x: 1, y: 2 }, { x: 2, y: 1 })).toBe(false);
    expect(sameCell(null, { x: 0, y: 0 })).toBe(false);
    expect(sameCell(null, null)).toBe(true);
  });
});
