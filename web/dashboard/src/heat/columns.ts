import type { Cell, HeatMap } from "./types";

/** The answer of `GET /v1/heatmap?cells=columns`, as far as the map needs it. */
export interface Columns {
  readonly grid_w: number;
  readonly grid_h: number;
  /** Ascending indexes cell_y * grid_w + cell_x of the cells that have a count. */
  readonly cell: readonly number[];
  readonly count: readonly number[];
  readonly total: number;
  readonly max: number;
}

export interface RankedCell {
  readonly cell: Cell;
  readonly count: number;
}

/** Throws RangeError when the columns contradict themselves: a wrong map is worse than none. */
export function heatMapFromColumns(columns: Columns): HeatMap {
  const { grid_w: gridW, grid_h: gridH, cell, count } = columns;
  const size = gridW * gridH;
  if (!Number.isInteger(gridW) || !Number.isInteger(gridH) || gridW < 1 || gridH < 1)
    throw new RangeError(`a grid of ${gridW} x ${gridH} cells`);
  if (cell.length !== count.length) throw new RangeError(`${cell.length} cells, ${count.length} counts`);
  const counts = new Float64Array(size);
  let total = 0;
  let max = 0;
  let last = -1;
  for (let i = 0; i < cell.length; i += 1) {
    const index = cell[i] ?? -1;
    const value = count[i] ?? 0;
    if (!Number.isInteger(index) || index <= last || index >= size)
      throw new RangeError(`cell ${index} after cell ${last} in a grid of ${size}`);
    if (!Number.isInteger(value) || value < 1) throw new RangeError(`count ${value} in cell ${index}`);
    last = index;
    counts[index] = value;
    total += value;
    max = Math.max(max, value);
  }
  if (total !== columns.total || max !== columns.max)
    throw new RangeError(`total ${columns.total}, max ${columns.max}; the cells say ${total} and ${max}`);
  return { gridW, gridH, counts, total, max };
}

/** A map without counts. */
export function emptyMap(gridW: number, gridH: number): HeatMap {
  return { gridW, gridH, counts: new Float64Array(gridW * gridH), total: 0, max: 0 };
}

/** The sum of maps of one grid (the windows of a time-lapse). Throws RangeError when the grids differ or there is no map. */
export function sumMaps(maps: readonly HeatMap[]): HeatMap {
  const [first] = maps;
  if (first === undefined) throw new RangeError("no map to sum");
  const counts = new Float64Array(first.counts.length);
  let total = 0;
  for (const map of maps) {
    if (map.gridW !== first.gridW || map.gridH !== first.gridH) throw new RangeError("maps of different grids");
    total += map.total;
    for (let i = 0; i < counts.length; i += 1) counts[i] = (counts[i] ?? 0) + (map.counts[i] ?? 0);
  }
  return { gridW: first.gridW, gridH: first.gridH, counts, total, max: largest(counts) };
}

/** The n largest cells, largest first; equal counts by index. Cells without a count are left out. */
export function topCells(map: HeatMap, n: number): RankedCell[] {
  const indexes: number[] = [];
  for (let i = 0; i < map.counts.length; i += 1) if ((map.counts[i] ?? 0) > 0) indexes.push(i);
  const at = (index: number) => map.counts[index] ?? 0;
  indexes.sort((a, b) => at(b) - at(a) || a - b);
  return indexes.slice(0, n).map((index) => ({
    cell: { x: index % map.gridW, y: Math.floor(index / map.gridW) },
    count: at(index),
  }));
}

/** The count of one cell; 0 outside of the grid. */
export function countAt(map: HeatMap, cell: Cell): number {
  if (cell.x < 0 || cell.y < 0 || cell.x >= map.gridW || cell.y >= map.gridH) return 0;
  return map.counts[cell.y * map.gridW + cell.x] ?? 0;
}

function largest(values: Float64Array): number {
  let max = 0;
  for (const value of values) if (value > max) max = value;
  return max;
}
