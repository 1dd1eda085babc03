/** Ranges of whole hours in UTC: units, periods and their words. Times are ms since the epoch; `to` is excluded. */

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;

/** The Monday after the epoch, which was a Thursday: weeks start on Mondays (ISO 8601). */
const FIRST_MONDAY = 4 * DAY;

export interface Range {
  readonly from: number;
  readonly to: number;
}

export type Unit = "hour" | "day" | "week";
export type Period = Unit | "range";

/** What a range follows when it is not fixed: the running hour, day or week, or the last seven days. */
export type Follow = Unit | "7d";

export const UNIT_MS: Readonly<Record<Unit, number>> = { hour: HOUR, day: DAY, week: WEEK };

/** The start of the unit that contains `time`. */
export function floorTo(unit: Unit, time: number): number {
  const size = UNIT_MS[unit];
  const origin = unit === "week" ? FIRST_MONDAY : 0;
  return Math.floor((time - origin) / size) * size + origin;
}

/** The first start of a unit that is not before `time`. */
export function ceilTo(unit: Unit, time: number): number {
  const start = floorTo(unit, time);
  return start === time ? start : start + UNIT_MS[unit];
}

/** The edge of a unit nearest to `time`; half way goes up. */
export function roundTo(unit: Unit, time: number): number {
  const start = floorTo(unit, time);
  return time - start < UNIT_MS[unit] / 2 ? start : start + UNIT_MS[unit];
}

/** The one unit that contains `time`. */
export function unitAt(unit: Unit, time: number): Range {
  const from = floorTo(unit, time);
  return { from, to: from + UNIT_MS[unit] };
}

export function contains(range: Range, time: number): boolean {
  return range.from <= time && time < range.to;
}

export function sameRange(a: Range, b: Range): boolean {
  return a.from === b.from && a.to === b.to;
}

export function length(range: Range): number {
  return range.to - range.from;
}

/** What a following range is at the moment `now`. */
export function followed(follow: Follow, now: number): Range {
  if (follow === "7d") {
    const today = unitAt("day", now);
    return { from: today.from - 6 * DAY, to: today.to };
  }
  return unitAt(follow, now);
}

/** Whether a range is one whole hour, day or week, or anything else. */
export function periodOf(range: Range): Period {
  for (const unit of ["hour", "day", "week"] as const) {
    if (length(range) === UNIT_MS[unit] && floorTo(unit, range.from) === range.from) return unit;
  }
  return "range";
}

/** The range before (-1) or after (1): one unit on, or its own length when it is no unit. */
export function neighbour(range: Range, direction: -1 | 1): Range {
  const by = length(range) * direction;
  return { from: range.from + by, to: range.to + by };
}

/** Any two moments as a range of whole hours that contains both; at least one hour. */
export function wholeHours(a: number, b: number): Range {
  const from = floorTo("hour", Math.min(a, b));
  const to = ceilTo("hour", Math.max(a, b));
  return { from, to: Math.max(to, from + HOUR) };
}

/** `2026-11-20T10:00Z`: how a time stands in a URL. */
export function isoHour(time: number): string {
  return `${new Date(time).toISOString().slice(0, 16)}Z`;
}

/** A time of a URL, RFC 3339 with a zone or integer milliseconds; null when it is neither. */
export function parseTime(text: string | null): number | null {
  if (text === null) return null;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/.test(text)) return null;
  const found = Date.parse(text);
  return Number.isFinite(found) ? found : null;
}

const day = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
const dayYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });
const clockSeconds = new Intl.DateTimeFormat("en-GB", {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZone: "UTC",
});

/** `10:42:10`, UTC. */
export function clockText(time: number): string {
  return clockSeconds.format(time);
}

/** `Fri 20 Nov, 10:00`, UTC. */
export function momentText(time: number): string {
  return `${dayText(time)}, ${clock.format(time)}`;
}

/** `Fri 20 Nov`, UTC. */
export function dayText(time: number): string {
  return day.format(time).replace(",", "");
}

/** A range in the fewest words that leave no doubt; UTC. */
export function rangeText(range: Range): string {
  const last = range.to - 1;
  const wholeDays = floorTo("day", range.from) === range.from && floorTo("day", range.to) === range.to;
  const sameDay = floorTo("day", range.from) === floorTo("day", last);
  if (wholeDays && sameDay) return dayText(range.from);
  if (wholeDays) {
    const long = length(range) > 300 * DAY;
    return long
      ? `${dayYear.format(range.from)} to ${dayYear.format(last)}`
      : `${dayText(range.from)} to ${dayText(last)}`;
  }
  if (sameDay) {
    const end = floorTo("day", range.to) === range.to ? "24:00" : clock.format(range.to);
    return `${dayText(range.from)}, ${clock.format(range.from)} to ${end}`;
  }
  return `${momentText(range.from)} to ${momentText(range.to)}`;
}

/** `3 hours`, `1 day`, `2 weeks`, `2 days 4 hours`. */
export function lengthText(range: Range): string {
  const hours = Math.round(length(range) / HOUR);
  if (hours % 168 === 0) return plural(hours / 168, "week");
  const days = Math.floor(hours / 24);
  if (days === 0) return plural(hours, "hour");
  const rest = hours % 24;
  return rest === 0 ? plural(days, "day") : `${plural(days, "day")} ${plural(rest, "hour")}`;
}

function plural(count: number, word: string): string {
  return `${count.toLocaleString("en-GB")} ${word}${count === 1 ? "" : "s"}`;
}
