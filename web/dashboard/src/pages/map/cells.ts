/** Cells of a map: from the API's columns to the renderer's array, ranked, placed on the page, and as CSV. */

import type { Cell, HeatMap, Shape } from "../../heat/types.ts";

/** The non-zero cells of a map as the API gives them: index cell_y * grid_w + cell_x, ascending, and counts. */
export interface Columns {
  readonly grid_w: number;
  readonly grid_h: number;
  readonly cell: readonly number[];
  readonly count: readonly number[];
}

export interface RankedCell extends Cell {
  readonly rank: number;
  readonly count: number;
  /** Of all events of the map, in [0, 1]. */
  readonly share: number;
}

export function emptyMap(grid: { readonly grid_w: number; readonly grid_h: number }): HeatMap {
  const counts = new Float64Array(grid.grid_w * grid.grid_h);
  return { gridW: grid.grid_w, gridH: grid.grid_h, counts, total: 0, max: 0 };
}

/** A new map: `map` and the counts of the columns, which must be of the same grid. */
export function addColumns(map: HeatMap, columns: Columns): HeatMap {
  if (map.gridW !== columns.grid_w || map.gridH !== columns.grid_h) throw new Error("maps of different grids");
  const counts = map.counts.slice();
  let total = map.total;
  for (let index = 0; index < columns.cell.length; index++) {
    const count = columns.count[index] ?? 0;
    const cell = columns.cell[index] ?? 0;
    counts[cell] = (counts[cell] ?? 0) + count;
    total += count;
  }
  let max = 0;
  for (const count of counts) if (count > max) max = count;
  return { ...map, counts, total, max };
}

export function fromColumns(columns: Columns): HeatMap {
  return addColumns(emptyMap(columns), columns);
}

/** How many cells have events. */
export function cellsHit(map: HeatMap): number {
  let hit = 0;
  for (const count of map.counts) if (count > 0) hit++;
  return hit;
}

/** The `limit` cells with most events; equal counts from the top left, row by row. */
export function topCells(map: HeatMap, limit: number): RankedCell[] {
  const found: number[] = [];
  map.counts.forEach((count, index) => {
    if (count > 0) found.push(index);
  });
  found.sort((a, b) => (map.counts[b] ?? 0) - (map.counts[a] ?? 0) || a - b);
  return found.slice(0, limit).map((index, at) => {
    const count = map.counts[index] ?? 0;
    return { rank: at + 1, x: index % map.gridW, y: Math.floor(index / map.gridW), count, share: count / map.total };
  });
}

export interface CellFacts extends Cell {
  readonly count: number;
  readonly share: number;
  /** Page pixels that the cell covers, when the screen's size is known. */
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** What there is to say of one cell; page pixels are rounded to whole ones. */
export function cellFacts(map: HeatMap, shape: Shape, cell: Cell): CellFacts {
  const count = map.counts[cell.y * map.gridW + cell.x] ?? 0;
  return {
    ...cell,
    count,
    share: map.total > 0 ? count / map.total : 0,
    left: Math.round((cell.x / map.gridW) * shape.w),
    top: Math.round((cell.y / map.gridH) * shape.h),
    right: Math.round(((cell.x + 1) / map.gridW) * shape.w),
    bottom: Math.round(((cell.y + 1) / map.gridH) * shape.h),
  };
}

/** `12.3 %`; what is there but rounds to nothing is `< 0.01 %`. */
export function shareText(share: number): string {
  const percent = share * 100;
  if (percent > 0 && percent < 0.01) return "< 0.01 %";
  const digits = percent === 0 || percent >= 99.95 ? 0 : percent >= 10 ? 1 : 2;
  return `${percent.toFixed(digits)} %`;
}

/** All cells with events as CSV (RFC 4180), most events first: one line each with its place on the page in pixels. */
export function toCsv(map: HeatMap, shape: Shape): string {
  const lines = ["cell_x,cell_y,count,share,page_x,page_y,page_width,page_height"];
  for (const cell of topCells(map, map.counts.length)) {
    const facts = cellFacts(map, shape, cell);
    const place = [facts.left, facts.top, facts.right - facts.left, facts.bottom - facts.top];
    lines.push([cell.x, cell.y, cell.count, cell.share.toPrecision(6), ...place].join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}
