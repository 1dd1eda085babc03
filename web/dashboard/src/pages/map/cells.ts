/** Cells of a map in words: how many are hit, where they lie on the page, their share, and all of them as CSV. */

import { countAt, topCells } from "../../heat/columns";
import type { Cell, HeatMap, Shape } from "../../heat/types";

/** How many cells have events. */
export function cellsHit(map: HeatMap): number {
  let hit = 0;
  for (const count of map.counts) if (count > 0) hit++;
  return hit;
}

/** One cell; left, top, right and bottom are the page pixels that it covers, rounded to whole ones. */
export interface CellFacts {
  readonly cell: Cell;
  readonly count: number;
  /** Of all events of the map, in [0, 1]. */
  readonly share: number;
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

export function cellFacts(map: HeatMap, shape: Shape, cell: Cell): CellFacts {
  const count = countAt(map, cell);
  return {
    cell,
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
  if (percent > 0 && percent < 0.01) return "<\u00a00.01\u00a0%";
  const digits = percent === 0 || percent >= 99.95 ? 0 : percent >= 10 ? 1 : 2;
  return `${percent.toFixed(digits)}\u00a0%`;
}

/** All cells with events as CSV (RFC 4180), most events first, each with its place on the page in pixels. */
export function toCsv(map: HeatMap, shape: Shape): string {
  const lines = ["cell_x,cell_y,count,share,page_x,page_y,page_width,page_height"];
  for (const { cell } of topCells(map, map.counts.length)) {
    const { count, share, left, top, right, bottom } = cellFacts(map, shape, cell);
    lines.push([cell.x, cell.y, count, share.toPrecision(6), left, top, right - left, bottom - top].join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}
