import { describe, expect, it } from "vitest";
import { countAt, emptyMap, heatMapFromColumns, sumMaps, topCells } from "../../src/heat/columns";

const GOOD = { grid_w: 4, grid_h: 3, cell: [1, 6, 11], count: [5, 2, 5], total: 12, max: 5 };

describe("columns", () => {
  it("become a map", () => {
    const map = heatMapFromColumns(GOOD);
    expect([...map.counts]).toEqual([0, 5, 0, 0, 0, 0, 2, 0, 0, 0, 0, 5]);
    expect([map.gridW, map.gridH, map.total, map.max]).toEqual([4, 3, 12, 5]);
    expect([countAt(map, { x: 1, y: 0 }), countAt(map, { x: 3, y: 2 }), countAt(map, { x: 4, y: 0 })]).toEqual([5, 5, 0]);
  });

  it.each([
    ["lengths that differ", { count: [5, 2] }],
    ["a cell beyond the grid", { cell: [1, 6, 12] }],
    ["a cell before the grid", { cell: [-1, 6, 11] }],
    ["cells that do not ascend", { cell: [1, 11, 6] }],
    ["a cell twice", { cell: [1, 6, 6] }],
    ["a count of zero", { count: [5, 2, 0] }],
    ["half a count", { count: [5, 2, 4.5] }],
    ["another total", { total: 13 }],
    ["another maximum", { max: 6 }],
    ["no grid", { grid_w: 0 }],
  ])("are refused with %s", (_, wrong) => {
    expect(() => heatMapFromColumns({ ...GOOD, ...wrong })).toThrow(RangeError);
  });

  it("of nothing are the empty map", () => {
    expect(heatMapFromColumns({ grid_w: 4, grid_h: 3, cell: [], count: [], total: 0, max: 0 })).toEqual(emptyMap(4, 3));
  });
});

describe("maps", () => {
  it("add up", () => {
    const map = heatMapFromColumns(GOOD);
    const sum = sumMaps([map, emptyMap(4, 3), map]);
    expect([...sum.counts]).toEqual([...map.counts].map((count) => count * 2));
    expect([sum.total, sum.max]).toEqual([24, 10]);
    expect(() => sumMaps([map, emptyMap(3, 4)])).toThrow(RangeError);
    expect(() => sumMaps([])).toThrow(RangeError);
  });

  it("name their largest cells, equal ones by index", () => {
    const map = heatMapFromColumns(GOOD);
    expect(topCells(map, 2)).toEqual([
      { cell: { x: 1, y: 0 }, count: 5 },
      { cell: { x: 3, y: 2 }, count: 5 },
    ]);
    expect(topCells(map, 99).map(({ count }) => count)).toEqual([5, 5, 2]);
  });
});
