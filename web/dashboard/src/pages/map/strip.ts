/** The mathematics of the time strip: what part of time is seen, how it is cut into bars, and how a brush moves. */

import { DAY, HOUR, type Range, type Unit, WEEK, ceilTo, floorTo, length, roundTo, wholeHours } from "./time";

/** Events of one bar; `from` included, `to` excluded. */
export interface Bar extends Range {
  readonly events: number;
}

/** Steps as the activity API gives them. */
export interface Step {
  readonly start: number;
  readonly events: number;
}

/** Widths that bars may have. Each divides the next, and a day and a week start where a bar starts. */
const BINS: readonly number[] = [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, WEEK];

const MIN_BAR_PX = 5;
const MIN_SNAP_PX = 4;
const MIN_WINDOW = 6 * HOUR;

/** The shortest bar that is at least a few pixels wide when `view` is `width` pixels, and not shorter than `step`. */
export function binFor(view: Range, width: number, step: number): number {
  const perMs = width / length(view);
  return BINS.find((bin) => bin >= step && bin * perMs >= MIN_BAR_PX) ?? WEEK;
}

/** Steps summed into bars of `bin` ms; every bar of the view is there, also those without events. */
export function bars(steps: readonly Step[], view: Range, bin: number): Bar[] {
  const start = floorBin(view.from, bin);
  const count = Math.max(0, Math.ceil((view.to - start) / bin));
  const sums = Array.from<number>({ length: count }).fill(0);
  for (const step of steps) {
    const index = Math.floor((step.start - start) / bin);
    if (index >= 0 && index < count) sums[index] = (sums[index] ?? 0) + step.events;
  }
  return sums.map((events, index) => ({ from: start + index * bin, to: start + (index + 1) * bin, events }));
}

function floorBin(time: number, bin: number): number {
  return bin === WEEK ? floorTo("week", time) : Math.floor(time / bin) * bin;
}

/** The unit that a dragged edge snaps to: the shortest one that a hand can hit. */
export function snapUnit(view: Range, width: number): Unit {
  const perMs = width / length(view);
  if (HOUR * perMs >= MIN_SNAP_PX) return "hour";
  return DAY * perMs >= MIN_SNAP_PX ? "day" : "week";
}

export function timeAt(x: number, view: Range, width: number): number {
  return view.from + (x / Math.max(1, width)) * length(view);
}

export function xAt(time: number, view: Range, width: number): number {
  return ((time - view.from) / length(view)) * width;
}

/** The range drawn by a drag between two moments: whole units, never empty. */
export function drawn(a: number, b: number, unit: Unit): Range {
  const from = roundTo(unit, Math.min(a, b));
  const to = roundTo(unit, Math.max(a, b));
  if (to > from) return { from, to };
  const at = floorTo(unit, Math.min(a, b));
  return { from: at, to: ceilTo(unit, at + 1) };
}

/** The brush moved by `by` ms, its start on a unit, its length kept, inside `limits`. */
export function moved(brush: Range, by: number, unit: Unit, limits: Range): Range {
  // What is longer than the limits cannot be kept inside them.
  const from =
    length(brush) >= length(limits)
      ? limits.from
      : clamp(snapKeeping(brush.from, by, unit), limits.from, limits.to - length(brush));
  return { from, to: from + length(brush) };
}

/** A day-long step keeps the hour that the brush starts at: only the shift is snapped. */
function snapKeeping(from: number, by: number, unit: Unit): number {
  const size = unit === "hour" ? HOUR : unit === "day" ? DAY : WEEK;
  return from + Math.round(by / size) * size;
}

/** The brush with one edge at the unit nearest to `time`; the edges may not meet or cross. */
export function resized(brush: Range, edge: "from" | "to", time: number, unit: Unit, limits: Range): Range {
  const at = clamp(roundTo(unit, time), limits.from, limits.to);
  if (edge === "from") return { from: Math.min(at, brush.to - HOUR), to: brush.to };
  return { from: brush.from, to: Math.max(at, brush.from + HOUR) };
}

/** One press of an arrow key: the whole brush, or with shift its end, by one unit. */
export function nudged(brush: Range, direction: -1 | 1, resize: boolean, unit: Unit, limits: Range): Range {
  const size = unit === "hour" ? HOUR : unit === "day" ? DAY : WEEK;
  if (!resize) return moved(brush, direction * size, unit, limits);
  const to = clamp(brush.to + direction * size, brush.from + HOUR, limits.to);
  return { from: brush.from, to };
}

/** The view zoomed by `factor` (below 1: closer) so that `anchor` stays where it is; whole hours, inside `limits`. */
export function zoomed(view: Range, factor: number, anchor: number, limits: Range): Range {
  const wanted = clamp(length(view) * factor, MIN_WINDOW, Math.max(MIN_WINDOW, length(limits)));
  const share = (clamp(anchor, view.from, view.to) - view.from) / length(view);
  return shiftInto(wholeHours(anchor - wanted * share, anchor + wanted * (1 - share)), limits);
}

/** The view moved by `by` ms, inside `limits`. */
export function panned(view: Range, by: number, limits: Range): Range {
  const whole = Math.round(by / HOUR) * HOUR;
  return shiftInto({ from: view.from + whole, to: view.to + whole }, limits);
}

function shiftInto(view: Range, limits: Range): Range {
  if (length(view) >= length(limits)) return limits;
  const from = clamp(view.from, limits.from, limits.to - length(view));
  return { from, to: from + length(view) };
}

/** Smallest change of the view that shows all of `range`. */
export function revealing(view: Range, range: Range, limits: Range): Range {
  if (range.from >= view.from && range.to <= view.to) return view;
  if (length(range) >= length(view)) {
    return shiftInto(wholeHours(range.from - length(range) * 0.1, range.to + length(range) * 0.1), limits);
  }
  const from = range.from < view.from ? range.from : view.from + (range.to - view.to);
  return shiftInto({ from, to: from + length(view) }, limits);
}

/** All time the strip can show: the data and what is selected, to the end of today, with at least two days. */
export function limitsOf(data: Range | null, selected: Range, now: number): Range {
  const end = Math.max(ceilTo("day", now + 1), selected.to, data?.to ?? 0);
  const start = Math.min(data?.from ?? Infinity, selected.from, end - 2 * DAY);
  return { from: floorTo("day", start), to: ceilTo("day", end) };
}

/** What the strip shows at first: the data to the end of today, at most thirty days of it, and what is selected. */
export function firstView(data: Range | null, selected: Range, now: number): Range {
  const limits = limitsOf(data, selected, now);
  const from = Math.max(limits.from, limits.to - 30 * DAY);
  return revealing({ from, to: limits.to }, selected, limits);
}

/** Where the events are: from the first to the last step with some, or null. */
export function extent(steps: readonly Step[], step: number): Range | null {
  const first = steps.find((each) => each.events > 0);
  const last = steps.findLast((each) => each.events > 0);
  return first && last ? { from: first.start, to: last.start + step } : null;
}

export interface Tick {
  readonly time: number;
  readonly major: boolean;
}

const TICK_STEPS: readonly number[] = [HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, WEEK, 2 * WEEK];
const MONTHS: readonly number[] = [1, 2, 3, 6, 12, 24];

/** Where labels stand on the axis: at least `gap` pixels apart, on the round times people expect. */
export function ticks(view: Range, width: number, gap = 76): Tick[] {
  const perMs = width / length(view);
  const step = TICK_STEPS.find((each) => each * perMs >= gap);
  return step === undefined ? monthTicks(view, perMs, gap) : evenTicks(view, step);
}

function evenTicks(view: Range, step: number): Tick[] {
  const found: Tick[] = [];
  const origin = step >= WEEK ? floorTo("week", view.from) : floorTo("day", view.from);
  for (let time = origin; time < view.to; time += step) {
    if (time >= view.from) found.push({ time, major: step >= DAY || floorTo("day", time) === time });
  }
  return found;
}

function monthTicks(view: Range, perMs: number, gap: number): Tick[] {
  const every = MONTHS.find((months) => months * 30 * DAY * perMs >= gap) ?? 24;
  const found: Tick[] = [];
  const first = new Date(view.from);
  const january = first.getUTCFullYear() * 12;
  for (let month = january; ; month += every) {
    const time = Date.UTC(Math.floor(month / 12), month % 12);
    if (time >= view.to) return found;
    if (time >= view.from) found.push({ time, major: month % 12 === 0 });
  }
}

/** The nearest stretch with events outside `range`, as a range of the same kind of length; null without any. */
export function nearestWithEvents(steps: readonly Step[], step: number, range: Range): Range | null {
  let best: Step | null = null;
  let least = Infinity;
  for (const each of steps) {
    if (each.events === 0) continue;
    const away = Math.max(range.from - (each.start + step), each.start - range.to, 0);
    if (away <= least) {
      best = each;
      least = away;
    }
  }
  if (best === null) return null;
  const size = length(range) <= HOUR ? "hour" : length(range) <= DAY ? "day" : "week";
  const unit = step >= WEEK ? "week" : step >= DAY && size === "hour" ? "day" : size;
  return { from: floorTo(unit, best.start), to: ceilTo(unit, best.start + Math.min(step, HOUR)) };
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), Math.max(low, high));
}

const MAX_HOURS = 33 * DAY;

/** What to ask the server for to draw a view: more than is seen, so that a small pan needs no new question. */
export function fetchWindow(view: Range, limits: Range): Range {
  if (length(limits) <= MAX_HOURS) return limits;
  const air = length(view) <= MAX_HOURS - 2 * DAY ? Math.max(0, (MAX_HOURS - length(view)) / 2 - DAY) : length(view) / 8;
  // Coarse edges: while the view moves by less than this, the question stays the same.
  const unit: Unit = length(view) > MAX_HOURS ? "week" : "day";
  const every = Math.max(1, Math.floor(air / (unit === "week" ? WEEK : DAY)));
  const grid = every * (unit === "week" ? WEEK : DAY);
  const from = floorTo(unit, Math.floor((view.from - air / 2) / grid) * grid);
  const to = ceilTo(unit, Math.ceil((view.to + air / 2) / grid) * grid);
  return { from: Math.max(limits.from, from), to: Math.min(limits.to, to) };
}
