/** Numbers, sizes, times and shares as words. Buckets are in UTC, and everything here says so. */

export const SECOND_MS = 1000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;

const LOCALE = "en-GB";
const whole = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 1 });

/** 1,204; every digit. */
export function exact(count: number): string {
  return whole.format(count);
}

/** A screen's id in two parts: its name, and the width below which it is a layout of its own (null: the widest). */
export function screenParts(id: string): { readonly name: string; readonly under: number | null } {
  const found = /^(.+)@under-(\d+)$/.exec(id);
  return found ? { name: found[1] ?? id, under: Number(found[2]) } : { name: id, under: null };
}

/** The same in words: "/pricing (under 700 px)". */
export function screenWords(id: string): string {
  const { name, under } = screenParts(id);
  return under === null ? name : `${name} (under ${under}\u00a0px)`;
}

const UNITS = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "k"],
] as const;

/** 9,999 as it is, then 12.3 k, 1.2 M: give `exact` as the title beside it. */
export function compact(count: number): string {
  if (Math.abs(count) < 10_000) return whole.format(count);
  for (const [size, letter] of UNITS) {
    // 999,950 would round to 1,000 k.
    if (Math.abs(count) >= size * 0.99995) return `${oneDigit.format(count / size)}\u00a0${letter}`;
  }
  return whole.format(count);
}

/** "1 event", "2 events". */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${compact(count)}\u00a0${count === 1 ? one : many}`;
}

const KINDS: Readonly<Record<string, readonly [string, string]>> = {
  mousemove: ["move", "moves"],
  click: ["click", "clicks"],
  touch: ["touch", "touches"],
  scroll: ["scroll", "scrolls"],
  pageview: ["page view", "page views"],
};

/** "26.9 k moves", "1 click"; a custom kind keeps its name: "3 × signup". */
export function kinds(type: string, count: number): string {
  const words = KINDS[type];
  return words === undefined ? `${compact(count)}\u00a0×\u00a0${type}` : plural(count, ...words);
}

/** A rate: two digits below ten, whole above. */
export function rate(perSecond: number): string {
  if (perSecond > 0 && perSecond < 0.1) return "<\u00a00.1";
  return perSecond < 10 ? oneDigit.format(perSecond) : compact(perSecond);
}

/** 512 B, 1.5 kB, 3.2 MB: powers of 1,000. */
export function bytes(size: number): string {
  if (size < 1000) return `${whole.format(size)}\u00a0B`;
  const units = ["kB", "MB", "GB", "TB", "PB"];
  let value = size;
  let unit = "B";
  for (const next of units) {
    if (value < 999.95) break;
    value /= 1000;
    unit = next;
  }
  return `${value < 100 ? oneDigit.format(value) : whole.format(value)}\u00a0${unit}`;
}

/** A part of a whole: 12.3 %, "<0.1 %" rather than a nought that is none; "–" of nothing. */
export function share(part: number, of: number): string {
  if (of <= 0) return "–";
  const percent = (100 * part) / of;
  if (percent > 0 && percent < 0.1) return "<\u00a00.1\u00a0%";
  if (percent < 100 && percent > 99.9) return ">\u00a099.9\u00a0%";
  return `${oneDigit.format(percent)}\u00a0%`;
}

/** Milliseconds since the epoch of an RFC 3339 time. */
export function ms(time: string): number {
  return Date.parse(time);
}

/** How long ago: "now", "12 s ago", "3 min ago", "5 h ago", "2 days ago", then the date. */
export function ago(then: number, now: number): string {
  const passed = now - then;
  if (passed < 2 * SECOND_MS) return "now";
  if (passed < 30 * DAY_MS) return `${duration(passed)} ago`;
  return date(then);
}

/** A length of time in its largest unit: "800 ms", "12 s", "3 min", "5 h", "2 days". */
export function duration(length: number): string {
  if (length < SECOND_MS) return `${whole.format(length)}\u00a0ms`;
  if (length < MINUTE_MS) return `${Math.floor(length / SECOND_MS)}\u00a0s`;
  if (length < HOUR_MS) return `${Math.floor(length / MINUTE_MS)}\u00a0min`;
  if (length < 2 * DAY_MS) return `${Math.floor(length / HOUR_MS)}\u00a0h`;
  return `${whole.format(Math.floor(length / DAY_MS))}\u00a0days`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const two = (value: number): string => String(value).padStart(2, "0");

/** 2 Feb 2026 (UTC). */
export function date(at: number): string {
  const day = new Date(at);
  return `${dayMonth(at)} ${day.getUTCFullYear()}`;
}

/** 2 Feb (UTC). */
export function dayMonth(at: number): string {
  const day = new Date(at);
  return `${day.getUTCDate()}\u00a0${MONTHS[day.getUTCMonth()] ?? ""}`;
}

/** Mon 2 Feb (UTC). */
export function weekday(at: number): string {
  return `${DAYS[new Date(at).getUTCDay()] ?? ""} ${dayMonth(at)}`;
}

/** 10:42 (UTC). */
export function clock(at: number): string {
  const day = new Date(at);
  return `${two(day.getUTCHours())}:${two(day.getUTCMinutes())}`;
}

/** 10:42:07 (UTC). */
export function clockSeconds(at: number): string {
  return `${clock(at)}:${two(new Date(at).getUTCSeconds())}`;
}

/** 2 Feb 2026, 10:42:07 UTC. */
export function instant(at: number): string {
  return `${date(at)}, ${clockSeconds(at)} UTC`;
}

/** A range of whole hours in as few words as it takes; the end is excluded, so whole days end on the day before. */
export function range(from: number, to: number): string {
  if (from % DAY_MS === 0 && to % DAY_MS === 0) {
    const last = to - DAY_MS;
    if (last <= from) return `${date(from)} UTC`;
    const sameYear = new Date(from).getUTCFullYear() === new Date(last).getUTCFullYear();
    return `${sameYear ? dayMonth(from) : date(from)} – ${date(last)} UTC`;
  }
  const sameDay = Math.floor(from / DAY_MS) === Math.floor((to - 1) / DAY_MS);
  if (sameDay) return `${date(from)}, ${clock(from)} – ${clock(to)} UTC`;
  return `${dayMonth(from)}, ${clock(from)} – ${date(to)}, ${clock(to)} UTC`;
}
