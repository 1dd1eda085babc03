const STEPS = 1e5;
const GRIDS = [100, 200];

/**
 * `offset / size` clamped to [0, 1] and rounded down to 5 decimals. Where rounding would move it to another cell of
 * the server's grid (`floor(x * 100)`, `floor(y * 200)`, in doubles), it is rounded up: the cell never changes.
 */
export function fraction(offset: number, size: number): number {
  const exact = Math.min(Math.max(offset / size, 0), 1) || 0;
  const steps = Math.floor(exact * STEPS);
  const down = steps / STEPS;
  return GRIDS.some((grid) => Math.floor(down * grid) < Math.floor(exact * grid)) ? (steps + 1) / STEPS : down;
}
