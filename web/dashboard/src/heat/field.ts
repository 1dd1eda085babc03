import type { Viewport } from "./camera";
import { toScale } from "./scale";
import type { HeatMap, Scale } from "./types";

/**
 * What is drawn: places on the scale, 0..1, on a lattice of `subX` x `subY` nodes per cell (odd, so that every cell
 * has a node at its centre). Raw fields have one node per cell and are drawn as rectangles, others are interpolated.
 */
export interface Field {
  readonly w: number;
  readonly h: number;
  readonly raw: boolean;
  readonly values: Float32Array;
}

export interface FieldOptions {
  readonly scale: Scale;
  /** Blur in cells; 0 is raw. */
  readonly radius: number;
  /** Top of the scale. */
  readonly max: number;
  /** Only the ratio counts: cells are as wide and high as the screen's shape makes them. */
  readonly shape: Viewport;
}

/** A Gaussian of this sigma has fallen to half at 1. */
const SIGMA_OF_HALF = 1 / Math.sqrt(2 * Math.LN2);
/** In cells, per axis: narrower bells would leave ripples between neighbours. */
const NARROWEST = 0.95;
/** Lattice nodes per sigma that a cubic needs to be smooth. */
const NODES_PER_SIGMA = 2;
const LARGEST_LATTICE = 2048;
/** Bells end where they have fallen below a colour step. */
const REACH = 3.4;
/** What is not in a hottest cell stays this far below the map's maximum, so that the hottest place is theirs alone. */
const BELOW_MAXIMUM = 0.98;

/** Sigma in cells per axis, the same in pixels of the screen except where cells are coarser than the bell. */
export function sigmas(radius: number, map: HeatMap, shape: Viewport): readonly [number, number] {
  const cellW = shape.w / map.gridW;
  const cellH = shape.h / map.gridH;
  const pixels = radius * SIGMA_OF_HALF * Math.sqrt(cellW * cellH);
  return [Math.max(pixels / cellW, NARROWEST), Math.max(pixels / cellH, NARROWEST)];
}

/**
 * Counts to a field. With s(c) the place of a count on the scale and k a Gaussian with k(0) = 1, the value at p is
 *
 *     (sum (k s)^3)^(1/3)          over all cells, k at the distance of p to the cell's centre
 *
 * A lone cell has its own colour at its centre and fades to half of it at `radius`, as it would with the largest k s;
 * neighbours add to each other, but less than in a plain sum, in which a crowd of single events would outshine a hot
 * spot. Where they add to more than the map's highest place, the whole field is lowered to it. Then the field is raised
 * to the bells of the hottest cells: at their centres, and only there, it is the maximum of the map.
 */
export function buildField(map: HeatMap, options: FieldOptions): Field {
  const places = map.counts.map((count) => toScale(count, options.max, options.scale));
  const top = toScale(map.max, options.max, options.scale);
  if (options.radius <= 0 || map.max <= 0)
    return { w: map.gridW, h: map.gridH, raw: options.radius <= 0, values: Float32Array.from(places) };
  const [sigmaX, sigmaY] = sigmas(options.radius, map, options.shape);
  const across = bells(map.gridW, sigmaX);
  const down = bells(map.gridH, sigmaY);
  const values = spread(places, across, down, 3);
  let highest = 0;
  for (let i = 0; i < values.length; i += 1) {
    const value = Math.cbrt(values[i] as number);
    values[i] = value;
    if (value > highest) highest = value;
  }
  const lower = (top * BELOW_MAXIMUM) / highest;
  for (let i = 0; i < values.length; i += 1) values[i] = (values[i] as number) * lower;
  const hottest = map.counts.map((count) => (count === map.max ? 1 : 0));
  crown(values, spread(hottest, across, down, 1, largest), top);
  return { w: across.nodes, h: down.nodes, raw: false, values };
}

/** A Gaussian along one axis, for every distance of a node from a cell's centre that it reaches. */
interface Bells {
  readonly cells: number;
  readonly sub: number;
  readonly nodes: number;
  /** Nodes to either side of a centre. */
  readonly reach: number;
  readonly bell: Float32Array;
}

function bells(cells: number, sigma: number): Bells {
  let sub = 1;
  while (sub < NODES_PER_SIGMA / sigma || sub < 3) sub += 2;
  while (sub > 1 && sub * cells > LARGEST_LATTICE) sub -= 2;
  const reach = Math.ceil(REACH * sigma * sub);
  const bell = Float32Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / sub / sigma) ** 2));
  return { cells, sub, nodes: cells * sub, reach, bell };
}

/** Sum of (k s)^power at every node, or the largest: two passes, since a power of a Gaussian is one. */
function spread(places: Float64Array, across: Bells, down: Bells, power: number, join = add): Float32Array {
  const bellX = across.bell.map((k) => k ** power);
  const bellY = down.bell.map((k) => k ** power);
  const out = new Float32Array(across.nodes * down.nodes);
  const line = new Float32Array(across.nodes);
  for (let y = 0; y < down.cells; y += 1) {
    const row = places.subarray(y * across.cells, (y + 1) * across.cells);
    if (row.every((place) => place === 0)) continue;
    line.fill(0);
    for (let x = 0; x < row.length; x += 1) {
      const place = row[x] as number;
      if (place === 0) continue;
      const [first, last] = reached(centre(x, across), across);
      join(line, first, bellX, first - centre(x, across) + across.reach, last - first + 1, place ** power);
    }
    const [first, last] = reached(centre(y, down), down);
    for (let i = first; i <= last; i += 1)
      join(out, i * line.length, line, 0, line.length, bellY[i - centre(y, down) + down.reach] as number);
  }
  return out;
}

/** Joins n values of `from`, multiplied, to those in `to`. */
type Join = (to: Float32Array, at: number, from: Float32Array, start: number, n: number, by: number) => void;

const add: Join = (to, at, from, start, n, by) => {
  for (let i = 0; i < n; i += 1) to[at + i] = (to[at + i] as number) + by * (from[start + i] as number);
};

const largest: Join = (to, at, from, start, n, by) => {
  for (let i = 0; i < n; i += 1) {
    const value = by * (from[start + i] as number);
    if (value > (to[at + i] as number)) to[at + i] = value;
  }
};

/** The node at the centre of a cell. */
function centre(cell: number, axis: Bells): number {
  return cell * axis.sub + (axis.sub - 1) / 2;
}

/** First and last node that a bell at a node reaches. */
function reached(at: number, axis: Bells): readonly [number, number] {
  return [Math.max(0, at - axis.reach), Math.min(axis.nodes - 1, at + axis.reach)];
}

/**
 * Raises the field to the bells of the hottest cells where it is below them: exactly `top` at their centres, less
 * everywhere else, without a crease where bell and field meet.
 */
function crown(values: Float32Array, bell: Float32Array, top: number): void {
  for (let i = 0; i < values.length; i += 1) {
    const value = values[i] as number;
    const excess = (top * (bell[i] as number) - value) / (top - value);
    if (excess > 0) values[i] = value + (top - value) * excess * excess * (2 - excess);
  }
}
