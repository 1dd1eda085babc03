import type { HeatMap } from "../../src/heat/types";

/** A map from [x, y, count] triples. */
export function mapOf(gridW: number, gridH: number, cells: readonly (readonly [number, number, number])[]): HeatMap {
  const counts = new Float64Array(gridW * gridH);
  for (const [x, y, count] of cells) counts[y * gridW + x] = count;
  return finished(gridW, gridH, counts);
}

/** Every cell a count from 0 to `most`, most of them small; the same for the same seed. */
export function noisyMap(gridW: number, gridH: number, most: number, seed: number): HeatMap {
  const random = randoms(seed);
  return finished(
    gridW,
    gridH,
    Float64Array.from({ length: gridW * gridH }, () => Math.floor((most + 1) * random() ** 4)),
  );
}

function finished(gridW: number, gridH: number, counts: Float64Array): HeatMap {
  return { gridW, gridH, counts, total: counts.reduce((a, b) => a + b, 0), max: Math.max(...counts) };
}

/** Numbers in [0, 1) from a seed (a linear congruential generator: enough for made-up cases). */
export function randoms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
