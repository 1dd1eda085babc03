/** Everything that the page's address says: read, written and resolved. Nothing here touches the browser. */

import type { Camera, HeatStyle, PaletteName, Scale } from "../../heat/types.ts";
import { type Follow, HOUR, type Range, ceilTo, floorTo, followed, isoHour, parseTime } from "./time.ts";

export const PALETTES: readonly PaletteName[] = ["inferno", "viridis", "cividis", "magma", "classic"];
const FOLLOWS: readonly Follow[] = ["hour", "day", "week", "7d"];
const MAX_RADIUS = 6;

export interface MapState {
  /** null: not chosen, so the busiest screen. */
  readonly screen: string | null;
  /** null: the default kind of the screen. */
  readonly kinds: readonly string[] | null;
  /** A fixed range, or what it follows. */
  readonly when: Range | Follow;
  readonly style: HeatStyle;
  readonly contours: boolean;
  /** How much of the background is hidden by the page's colour, in [0, 1]. */
  readonly dim: number;
  /** null: the whole width, from the top. */
  readonly camera: Camera | null;
}

export const DEFAULTS: MapState = {
  screen: null,
  kinds: null,
  when: "7d",
  style: { palette: "inferno", scale: "log", radius: 1.5, opacity: 0.85 },
  contours: false,
  dim: 0.25,
  camera: null,
};

/** The state that a query names; what is missing or makes no sense is the default. */
export function parseState(query: URLSearchParams): MapState {
  const kinds = [...new Set((query.get("kind") ?? "").split(",").filter((kind) => /^[a-z][a-z0-9_.$-]{0,63}$/.test(kind)))];
  const base = DEFAULTS.style;
  return {
    screen: query.get("screen") || null,
    kinds: kinds.length > 0 ? kinds.toSorted() : null,
    when: parseWhen(query),
    style: {
      palette: oneOf(PALETTES, query.get("palette"), base.palette),
      scale: oneOf<Scale>(["linear", "log"], query.get("scale"), base.scale),
      radius: number(query.get("radius"), 0, MAX_RADIUS, base.radius),
      opacity: number(query.get("opacity"), 0, 1, base.opacity),
    },
    contours: query.get("contours") === "1",
    dim: number(query.get("dim"), 0, 1, DEFAULTS.dim),
    camera: parseCamera(query.get("at")),
  };
}

/** The shortest query that `parseState` reads as this state. */
export function formatState(state: MapState): URLSearchParams {
  const query = new URLSearchParams();
  const { style, when, camera } = state;
  if (state.screen !== null) query.set("screen", state.screen);
  if (typeof when !== "string") {
    query.set("from", isoHour(when.from));
    query.set("to", isoHour(when.to));
  } else if (when !== DEFAULTS.when) {
    query.set("now", when);
  }
  if (state.kinds !== null) query.set("kind", state.kinds.join(","));
  if (style.palette !== DEFAULTS.style.palette) query.set("palette", style.palette);
  if (style.scale !== DEFAULTS.style.scale) query.set("scale", style.scale);
  if (style.radius !== DEFAULTS.style.radius) query.set("radius", short(style.radius));
  if (style.opacity !== DEFAULTS.style.opacity) query.set("opacity", short(style.opacity));
  if (state.contours) query.set("contours", "1");
  if (state.dim !== DEFAULTS.dim) query.set("dim", short(state.dim));
  if (camera !== null) query.set("at", [camera.x, camera.y, camera.zoom].map(short).join(","));
  return query;
}

/** The range that the state means at the moment `now`. */
export function rangeOf(state: MapState, now: number): Range {
  return typeof state.when === "string" ? followed(state.when, now) : state.when;
}

/** Kinds of a screen that was not asked for any: mouse moves, else the commonest that is drawn on a map. */
export function defaultKinds(counts: Readonly<Record<string, number>> | null): readonly string[] {
  if (counts === null || (counts["mousemove"] ?? 0) > 0) return ["mousemove"];
  const drawn = Object.entries(counts).filter(([kind]) => kind !== "pageview");
  const most = drawn.toSorted(([, a], [, b]) => b - a)[0];
  return [most ? most[0] : "mousemove"];
}

function parseWhen(query: URLSearchParams): Range | Follow {
  const from = parseTime(query.get("from"));
  const to = parseTime(query.get("to"));
  if (from !== null && to !== null && from < to) {
    return { from: floorTo("hour", from), to: ceilTo("hour", to) };
  }
  if (from !== null && to === null) return { from: floorTo("hour", from), to: floorTo("hour", from) + HOUR };
  return oneOf(FOLLOWS, query.get("now"), DEFAULTS.when as Follow);
}

function parseCamera(text: string | null): Camera | null {
  const parts = (text ?? "").split(",").map(Number);
  const [x, y, zoom] = parts;
  if (parts.length !== 3 || x === undefined || y === undefined || zoom === undefined) return null;
  if (!parts.every(Number.isFinite) || zoom <= 0 || x < 0 || x > 1 || y < 0 || y > 1) return null;
  return { x, y, zoom };
}

function number(text: string | null, low: number, high: number, otherwise: number): number {
  const found = text === null || text.trim() === "" ? Number.NaN : Number(text);
  return Number.isFinite(found) ? Math.min(Math.max(found, low), high) : otherwise;
}

function oneOf<Value extends string>(known: readonly Value[], text: string | null, otherwise: Value): Value {
  return known.find((each) => each === text) ?? otherwise;
}

function short(value: number): string {
  return String(Math.round(value * 10_000) / 10_000);
}
