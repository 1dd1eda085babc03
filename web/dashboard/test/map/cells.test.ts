import { describe, expect, it } from "vitest";
import { heatMapFromColumns } from "../../src/heat/columns";
import { cellFacts, cellsHit, shareText, toCsv } from "../../src/pages/map/cells";

const map = heatMapFromColumns({
  grid_w: 10,
  grid_h: 20,
  cell: [0, 13, 57, 199],
  count: [4, 10, 4, 2],
  total: 20,
  max: 10,
});

describe("cells", () => {
  it("are counted once each", () => {
    expect(cellsHit(map)).toBe(4);
  });

  it("know their place on the page, and say nothing of what lies outside", () => {
    const facts = cellFacts(map, { w: 1440, h: 3000 }, { x: 3, y: 1 });
    expect(facts).toEqual({
      cell: { x: 3, y: 1 },
      count: 10,
      share: 0.5,
      left: 432,
      right: 576,
      top: 150,
      bottom: 300,
    });
    expect(cellFacts(map, { w: 10, h: 20 }, { x: 1, y: 1 }).count).toBe(0);
  });

  it("say their share honestly", () => {
    const said = [0, 0.00001, 0.0123, 0.123, 1].map((share) => shareText(share).replaceAll("\u00a0", " "));
    expect(said).toEqual(["0 %", "< 0.01 %", "1.23 %", "12.3 %", "100 %"]);
  });

  it("become CSV with every cell once, most events first", () => {
    const lines = toCsv(map, { w: 100, h: 200 }).trimEnd().split("\r\n");
    expect(lines[0]).toBe("cell_x,cell_y,count,share,page_x,page_y,page_width,page_height");
    expect(lines.slice(1)).toEqual([
      "3,1,10,0.500000,30,10,10,10",
      "0,0,4,0.200000,0,0,10,10",
      "7,5,4,0.200000,70,50,10,10",
      "9,19,2,0.100000,90,190,10,10",
    ]);
  });
});
