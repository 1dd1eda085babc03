/** A time-lapse: how a range is cut into frames, and what is drawn for each. */

import { sumMaps } from "../../heat/columns";
import type { HeatMap } from "../../heat/types";
import { DAY, HOUR, type Range, UNIT_MS, type Unit, WEEK, floorTo, length, lengthText } from "./time";

export const MAX_FRAMES = 96;

export type Mode = "frame" | "cumulative";

export interface Plan {
  /** Length of a whole frame in ms; the first and the last frame may be shorter. */
  readonly size: number;
  readonly frames: readonly Range[];
}

const SIZES: readonly number[] = [
  ...[1, 2, 3, 4, 6, 8, 12].map((hours) => hours * HOUR),
  ...[1, 2].map((days) => days * DAY),
  ...[1, 2, 4, 13, 26].map((weeks) => weeks * WEEK),
];

/**
 * The range cut at round times into at most `MAX_FRAMES` frames that touch and together are the range.
 * `finest` is the finest unit whose tiles are kept for all of it.
 */
export function plan(range: Range, finest: Unit = "hour"): Plan {
  const enough = SIZES.filter((size) => size >= UNIT_MS[finest]);
  const size = enough.find((each) => cut(range, each).length <= MAX_FRAMES) ?? length(range);
  return { size, frames: cut(range, size) };
}

function cut(range: Range, size: number): Range[] {
  const frames: Range[] = [];
  const origin = size % WEEK === 0 ? floorTo("week", 0) : 0;
  for (let from = range.from; from < range.to; ) {
    const next = Math.floor((from - origin) / size + 1) * size + origin;
    const to = Math.min(range.to, next);
    frames.push({ from, to });
    from = to;
  }
  return frames;
}

/** How many frames to show: those at the end that lie ahead of the clock and are empty are no part of the story. */
export function shownFrames({ frames }: Plan, totals: readonly number[], now: number): number {
  const last = frames.findLastIndex((frame, index) => frame.from <= now || (totals[index] ?? 0) > 0);
  return Math.max(1, last + 1);
}

/** `one frame = 2 hours`, in words. */
export function frameLengthText(made: Plan): string {
  return lengthText({ from: 0, to: made.size });
}

/** Maps of all frames as they are drawn, and the one scale top that they share. */
export interface Film {
  readonly maps: readonly HeatMap[];
  readonly top: number;
}

/** The frames' maps in order, each alone or with everything before it. */
export function film(frames: readonly HeatMap[], mode: Mode): Film {
  const maps: HeatMap[] = [];
  for (const frame of frames) {
    const before = maps.at(-1);
    maps.push(mode === "cumulative" && before ? sumMaps([before, frame]) : frame);
  }
  return { maps, top: maps.reduce((top, map) => Math.max(top, map.max), 0) };
}

/** Frames per second. */
export const SPEEDS: readonly number[] = [2, 4, 8, 16];

/** The frame after `at`; null after the last, where a time-lapse ends. */
export function nextFrame(at: number, count: number): number | null {
  return at + 1 < count ? at + 1 : null;
}

/** Fetch all in order with at most `width` at a time; stops at the first failure and hands it on. */
export async function inParallel<In, Out>(
  items: readonly In[],
  width: number,
  fetch: (item: In) => Promise<Out>,
  done: (count: number) => void,
): Promise<Out[]> {
  const results: Out[] = [];
  let next = 0;
  let finished = 0;
  let failed = false;
  const work = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const index = next++;
      try {
        results[index] = await fetch(items[index] as In);
      } catch (error) {
        failed = true;
        throw error;
      }
      done(++finished);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, work));
  return results;
}
