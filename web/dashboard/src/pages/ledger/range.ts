/** The range of the ledger page: a period that follows the clock, or what the address fixes. */

import { DAY_MS, HOUR_MS } from "../../format";
import { oneOf, type Param, text } from "../../url";

export type Period = "24h" | "7d" | "30d" | "365d";

const LENGTHS: Readonly<Record<Period, number>> = { "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS, "365d": 365 * DAY_MS };

export interface Range {
  readonly from: number;
  readonly to: number;
}

/** A whole hour as `2026-11-20T10:00Z`; null when absent or unreadable. Integer milliseconds are read, too. */
const hour: Param<number | null> = {
  parse: (said) => {
    const value = said === null ? Number.NaN : /^\d{1,15}$/.test(said) ? Number(said) : Date.parse(said);
    return Number.isFinite(value) ? Math.floor(value / HOUR_MS) * HOUR_MS : null;
  },
  format: (value) => (value === null ? null : isoHour(value)),
};

/** How an hour stands in an address. */
export function isoHour(at: number): string {
  return `${new Date(at).toISOString().slice(0, 16)}Z`;
}

export const SPEC = {
  period: oneOf(["24h", "7d", "30d", "365d"], "7d"),
  /** Both, or neither counts. */
  from: hour,
  to: hour,
  /** Empty: all screens. */
  screen: text(),
};

/** The range that the address fixes; null when it follows the clock. */
export function fixedOf({ from, to }: { readonly from: number | null; readonly to: number | null }): Range | null {
  return from !== null && to !== null && from < to ? { from, to } : null;
}

/** What a period is when `nextHour` is the end of the running hour; longer ones start with a day. */
export function followed(period: Period, nextHour: number): Range {
  const from = nextHour - LENGTHS[period];
  return { from: period === "24h" ? from : Math.floor(from / DAY_MS) * DAY_MS, to: nextHour };
}

/** The range of the same length before (-1) or after (1). */
export function neighbour({ from, to }: Range, direction: -1 | 1): Range {
  const by = (to - from) * direction;
  return { from: from + by, to: to + by };
}
