/** A client's screens: the question that the page asks, and how the rows are arranged. */

import { fetchScreens } from "../../api/queries";
import { type Query, useQuery } from "../../api/query";
import type { Device, ScreenRow, ScreenShape } from "../../api/types";
import { DAY_MS } from "../../format";

export type Period = "24h" | "7d" | "30d" | "all";
export type Sort = "events" | "latest" | "name";

const LENGTHS: Readonly<Record<Exclude<Period, "all">, number>> = { "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS };

export interface Edges {
  readonly from: number;
  readonly to: number;
}

/** Whole hours up to the end of the current one; null for everything. */
export function edgesOf(period: Period, nextHour: number): Edges | null {
  if (period === "all") return null;
  const length = LENGTHS[period];
  // Longer ranges start with a day, so that they are answered from days.
  const from = nextHour - length;
  return { from: length > DAY_MS ? Math.floor(from / DAY_MS) * DAY_MS : from, to: nextHour };
}

/** Rows of one page of the gallery. */
export const PAGE = 24;
/** So many screens are sorted in another order than the server's. */
export const MOST_SORTED = 1000;

export interface Listed {
  readonly rows: readonly ScreenRow[];
  /** There are more on the server. */
  readonly more: boolean;
  /** What the server took the range to be; null when the client has no data. */
  readonly edges: Edges | null;
}

export interface Question {
  readonly client: string;
  readonly q: string;
  readonly edges: Edges | null;
  readonly sort: Sort;
  /** How many pages are open. */
  readonly pages: number;
}

async function ask({ client, q, edges, sort, pages }: Question, abort: AbortSignal): Promise<Listed> {
  const limit = sort === "events" ? PAGE : MOST_SORTED;
  const rows: ScreenRow[] = [];
  let cursor: string | null = null;
  let range: Edges | null = null;
  for (let page = 0; page < (sort === "events" ? pages : 1); page += 1) {
    const answer = await fetchScreens({ client, q, limit, cursor, ...edges }, abort);
    rows.push(...answer.screens);
    cursor = answer.next_cursor;
    if (answer.from !== null && answer.to !== null) range = { from: Date.parse(answer.from), to: Date.parse(answer.to) };
    if (cursor === null) break;
  }
  return { rows, more: cursor !== null, edges: range };
}

/** The screens, in the order asked for. */
export function useScreens(question: Question, enabled = true): Query<Listed> {
  const options = { every: 30_000, keep: true, enabled };
  return useQuery(`screens ${JSON.stringify(question)}`, (abort) => ask(question, abort), options);
}

/** Rows in the order asked for; the server's own is by events. */
export function sorted(rows: readonly ScreenRow[], sort: Sort): readonly ScreenRow[] {
  if (sort === "latest") return rows.toSorted((a, b) => Date.parse(b.last_event) - Date.parse(a.last_event));
  if (sort === "name") return rows.toSorted((a, b) => a.screen_id.localeCompare(b.screen_id));
  return rows;
}

/** The kinds that a screen's picture shows: moves, else what is drawn most. */
export function pictured(types: Readonly<Record<string, number>>): string {
  if ((types["mousemove"] ?? 0) > 0) return "mousemove";
  const drawn = Object.entries(types).filter(([kind]) => kind !== "pageview" && kind !== "scroll");
  return drawn.toSorted(([, a], [, b]) => b - a)[0]?.[0] ?? "mousemove";
}

/** Height of a first view by its width, where the screen itself does not say. */
const FOLDS: Readonly<Record<Device, number>> = { desktop: 0.6, tablet: 1.33, phone: 2.05 };

export interface Sheet {
  /** Height of the whole screen by its width. */
  readonly whole: number;
  /** Height of what is seen without scrolling, by its width. */
  readonly fold: number;
}

/** A screen's proportions; one whose shape is unknown is drawn as the grid, which is twice as high as wide. */
export function sheetOf({ shape }: { readonly shape: Pick<ScreenShape, "w" | "h" | "device"> | null }): Sheet {
  if (shape === null || shape.w <= 0 || shape.h <= 0) return { whole: 2, fold: FOLDS.desktop };
  const whole = shape.h / shape.w;
  return { whole, fold: Math.min(whole, FOLDS[shape.device]) };
}

interface Seen {
  readonly device: Device;
  readonly events: number;
}

/** What share of a screen's events came from each class of device, most first; empty when unknown. */
export function devicesOf({ shapes }: { readonly shapes: readonly Seen[] }): readonly Seen[] {
  return shapes
    .filter(({ events }) => events > 0)
    .map(({ device, events }) => ({ device, events }))
    .toSorted((a, b) => b.events - a.events);
}
