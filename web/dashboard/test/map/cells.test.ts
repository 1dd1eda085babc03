import { describe, expect, it } from "vitest";
import {
  addColumns,
  cellFacts,
  cellsHit,
  fromColumns,
  shareText,
  toCsv,
  topCells,
} from "../../src/pages/map/cells.ts";

const columns = { grid_w: 10, grid_h: 20, cell: [0, 13, 57, 199], count: [4, 10, 4, 2] };

describe("cells", () => {
  it("come from columns with their total, largest count and number", () => {
    const map = fromColumns(columns);
    expect([map.total, map.max, cellsHit(map)]).toEqual([20, 10, 4]);
    expect(map.counts[57]).toBe(4);
  });

  it("are summed without changing the first map", () => {
    const one = fromColumns(columns);
    const two = addColumns(one, { grid_w: 10, grid_h: 20, cell: [57], count: [9] });
    expect([two.counts[57], two.total, two.max]).toEqual([13, 29, 13]);
    expect(one.counts[57]).toBe(4);
    expect(() => addColumns(one, { grid_w: 5, grid_h: 5, cell: [], count: [] })).toThrow("different grids");
  });

  it("are ranked by count, then from the top left", () => {
    expect(topCells(fromColumns(columns), 3)).toEqual([
      { rank: 1, x: 3, y: 1, count: 10, share: 0.5 },
      { rank: 2, x: 0, y: 0, count: 4, share: 0.2 },
      { rank: 3, x: 7, y: 5, count: 4, share: 0.2 },
    ]);
    expect(topCells(fromColumns({ grid_w: 2, grid_h: 2, cell: [], count: [] }), 5)).toEqual([]);
  });

  it("know their place on the page", () => {
    const facts = cellFacts(fromColumns(columns), { w: 1440, h: 3000 }, { x: 3, y: 1 });
    expect(facts).toEqual({ x: 3, y: 1, count: 10, share: 0.5, left: 432, right: 576, top: 150, bottom: 300 });
  });

  it("say their share honestly", () => {
    expect(shareText(0)).toBe("0 %");
    expect(shareText(0.00001)).toBe("< 0.01 %");
    expect(shareText(0.0123)).toBe("1.23 %");
    expect(shareText(0.123)).toBe("12.3 %");
    expect(shareText(1)).toBe("100 %");
  });

  it("become CSV with every cell once", () => {
    const lines = toCsv(fromColumns(columns), { w: 100, h: 200 }).trimEnd().split("\r\n");
    expect(lines[0]).toBe("cell_x,cell_y,count,share,page_x,page_y,page_width,page_height");
    expect(lines[1]).toBe("3,1,10,0.500000,30,10,10,10");
    expect(lines.length).toBe(5);
    const sum = lines.slice(1).reduce((total, line) => total + Number(line.split(",")[2]), 0);
    expect(sum).toBe(20);
  });
});
