import type { Scale } from "./types";

/** One mark of a legend: a true count and where it lies on the scale, 0 to 1. */
export interface Tick {
  readonly count: number;
  readonly at: number;
}

/** Where a count lies on the scale: 0 for none, 1 for `max` and above. Logarithmic means log(1 + count). */
export function toScale(count: number, max: number, scale: Scale): number {
  if (!(max > 0) || !(count > 0)) return 0;
  if (count >= max) return 1;
  return scale === "log" ? Math.log1p(count) / Math.log1p(max) : count / max;
}

/** The inverse of `toScale`; not rounded. */
export function fromScale(at: number, max: number, scale: Scale): number {
  if (!(max > 0) || !(at > 0)) return 0;
  if (at >= 1) return max;
  return scale === "log" ? Math.expm1(at * Math.log1p(max)) : at * max;
}

/**
 * Round whole counts for a legend, ascending, `max` always the last. About `wanted` of them, never closer to
 * each other than half of an even share.
 */
export function legendTicks(max: number, scale: Scale, wanted = 5): Tick[] {
  if (!(max > 0)) return [];
  const candidates = scale === "log" ? logCounts(max, wanted) : linearCounts(max, wanted);
  const gap = 0.5 / wanted;
  const ticks: Tick[] = [];
  for (const count of candidates) {
    const at = toScale(count, max, scale);
    const last = ticks.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
    if (count < max && at - last >= gap && 1 - at >= gap) ticks.push({ count, at });
  }
  return [...ticks, { count: max, at: 1 }];
}

/** Multiples of 1, 2 or 5 times a power of ten. */
function linearCounts(max: number, wanted: number): number[] {
  const rough = max / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((f) => f * power >= rough) ?? 10;
  const step = Math.max(1, Math.round(factor * power));
  return Array.from({ length: Math.floor(max / step) }, (_, i) => (i + 1) * step);
}

/** 1, 10, 100, ... and between them 3 or 2 and 5 where there is room. */
function logCounts(max: number, wanted: number): number[] {
  const decades = Math.log10(max) || 1;
  const mantissas = decades * 3 <= wanted ? [1, 2, 5] : decades * 2 <= wanted ? [1, 3] : [1];
  const stride = mantissas.length > 1 ? 1 : Math.max(1, Math.round(decades / wanted));
  const counts: number[] = [];
  for (let exponent = 0; 10 ** exponent < max; exponent += stride)
    counts.push(...mantissas.map((mantissa) => mantissa * 10 ** exponent));
  return counts;
}
