/** What the page's address says: how each parameter is read and written, and what they mean together. */

import { INITIAL_CAMERA } from "../../heat/camera";
import type { Camera, HeatStyle } from "../../heat/types";
import { type Param, type Values, flag, list, number, oneOf, text } from "../../url";
import { type Follow, HOUR, type Range, ceilTo, floorTo, followed, isoHour, parseTime } from "./time";

export const PALETTES = ["inferno", "viridis", "cividis", "magma", "classic"] as const;
export const MAX_RADIUS = 6;

/** A whole hour as `2026-11-20T10:00Z`; null when absent or unreadable. */
const moment: Param<number | null> = {
  parse: parseTime,
  format: (value) => (value === null ? null : isoHour(value)),
};

const at: Param<Camera> = {
  parse: (said) => parseCamera(said) ?? INITIAL_CAMERA,
  format: (camera) => {
    const [written, usual] = [camera, INITIAL_CAMERA].map(({ x, y, zoom }) => [x, y, zoom].map(short).join(","));
    return written === usual ? null : (written as string);
  },
};

export const SPEC = {
  /** Empty: not chosen, so the busiest screen. */
  screen: text(),
  /** Empty: the default kind of the screen. */
  kind: list(),
  from: moment,
  to: moment,
  /** What the range follows when `from` and `to` do not fix it. */
  now: oneOf(["hour", "day", "week", "7d"], "7d"),
  palette: oneOf(PALETTES, "inferno"),
  scale: oneOf(["log", "linear"], "log"),
  radius: number(1.5, 0, MAX_RADIUS, 2),
  opacity: number(0.8, 0, 1, 2),
  contours: flag(),
  /** How far the background recedes, in [0, 1]. */
  dim: number(0.35, 0, 1, 2),
  at,
};

export type MapValues = Values<typeof SPEC>;
export type Patch = Partial<MapValues>;

/** A fixed range, or what it follows. */
export type When = Range | Follow;

export function whenOf({ from, to, now }: Pick<MapValues, "from" | "to" | "now">): When {
  if (from === null) return now;
  const start = floorTo("hour", from);
  if (to === null) return { from: start, to: start + HOUR };
  return to > from ? { from: start, to: ceilTo("hour", to) } : now;
}

/** What to write into the address for a range. */
export function patchOf(when: When): Pick<MapValues, "from" | "to" | "now"> {
  return typeof when === "string" ? { from: null, to: null, now: when } : { from: when.from, to: when.to, now: "7d" };
}

/** The range that is meant at the moment `now`. */
export function rangeOf(when: When, now: number): Range {
  return typeof when === "string" ? followed(when, now) : when;
}

/** Kinds in the address that could be kinds, each once, sorted. */
export function kindsOf({ kind }: Pick<MapValues, "kind">): readonly string[] {
  return [...new Set(kind.filter((each) => /^[a-z][a-z0-9_.$-]{0,63}$/.test(each)))].toSorted();
}

export function styleOf({ palette, scale, radius, opacity, contours }: MapValues): HeatStyle {
  return { palette, scale, radius, opacity, contours };
}

/** What people point with, the most telling first. */
const POINTING = ["mousemove", "touch", "click"];

/** Kinds of a screen that was not asked for any: what people point with there, else the commonest with a place. */
export function defaultKinds(counts: Readonly<Record<string, number>> | null): readonly string[] {
  if (counts === null) return ["mousemove"];
  const pointing = POINTING.find((kind) => (counts[kind] ?? 0) > 0);
  if (pointing !== undefined) return [pointing];
  const drawn = Object.entries(counts).filter(([kind]) => kind !== "pageview");
  const most = drawn.toSorted(([, a], [, b]) => b - a)[0];
  return [most ? most[0] : "mousemove"];
}

function parseCamera(said: string | null): Camera | null {
  const parts = said === null ? [] : said.split(",").map(Number);
  const [x, y, zoom] = parts;
  if (parts.length !== 3 || x === undefined || y === undefined || zoom === undefined) return null;
  if (!parts.every(Number.isFinite) || zoom <= 0 || x < 0 || x > 1 || y < 0 || y > 1) return null;
  return { x, y, zoom };
}

function short(value: number): string {
  return String(Math.round(value * 1e6) / 1e6);
}
