const STEPS = 1e5;
const FINEST_GRID = 200;

/**
 * `offset / size` clamped to [0, 1] and rounded down to 5 decimals. Where rounding would move it to another cell of
 * the server's grid (`floor(x * 100)`, `floor(y * 200)`, in doubles), it is rounded up: the cell never changes.
 */
export function fraction(offset: number, size: number): number {
  const exact = Math.min(Math.max(offset / size, 0), 1) || 0;
  const steps = Math.floor(exact * STEPS);
  const down = steps / STEPS;
  return Math.floor(down * FINEST_GRID) < Math.floor(exact * FINEST_GRID) ||
    Math.floor(down * 100) < Math.floor(exact * 100)
    ? (steps + 1) / STEPS
    : down;
}
