import { type Point, type Rect, toScreen } from "./camera";
import type { Cell } from "./types";

/** How many cells there are. */
export interface Grid {
  readonly gridW: number;
  readonly gridH: number;
}

/** The cell of a fraction 0..1, as the tiles count it. */
export function cellIndex(norm: number, size: number): number {
  return Math.min(Math.floor(norm * size), size - 1);
}

/** The cell under a point of the viewport; null beside the screen. */
export function cellAt(point: Point, page: Rect, grid: Grid): Cell | null {
  const { x, y } = toScreen(point, page);
  if (!(x >= 0 && x <= 1 && y >= 0 && y <= 1)) return null;
  return { x: cellIndex(x, grid.gridW), y: cellIndex(y, grid.gridH) };
}

/** Where a cell lies in the viewport. */
export function cellRect(cell: Cell, page: Rect, grid: Grid): Rect {
  const w = page.w / grid.gridW;
  const h = page.h / grid.gridH;
  return { x: page.x + cell.x * w, y: page.y + cell.y * h, w, h };
}

export function sameCell(a: Cell | null, b: Cell | null): boolean {
  return a === b || (a !== null && b !== null && a.x === b.x && a.y === b.y);
}
