import { describe, expect, it } from "vitest";
import {
  bars,
  binFor,
  drawn,
  extent,
  firstView,
  limitsOf,
  moved,
  nearestWithEvents,
  nudged,
  panned,
  resized,
  revealing,
  snapUnit,
  ticks,
  timeAt,
  xAt,
  zoomed,
} from "../../src/pages/map/strip";
import { DAY, HOUR, WEEK, floorTo } from "../../src/pages/map/time";

const at = (text: string): number => Date.parse(text);
const NOON = at("2026-11-20T12:00:00Z");
const DAY0 = at("2026-11-20T00:00:00Z");
const LIMITS = { from: DAY0 - 10 * DAY, to: DAY0 + DAY };

describe("bars", () => {
  it("hold every event once, whatever their width", () => {
    const view = { from: DAY0 - 2 * DAY, to: DAY0 + DAY };
    const steps = Array.from({ length: 72 }, (_, hour) => ({ start: view.from + hour * HOUR, events: hour * 7 }));
    const all = steps.reduce((sum, step) => sum + step.events, 0);
    for (const bin of [HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY]) {
      const made = bars(steps, view, bin);
      expect(made.length).toBe((3 * DAY) / bin);
      expect(made.reduce((sum, bar) => sum + bar.events, 0)).toBe(all);
      expect(made.every((bar) => bar.to - bar.from === bin)).toBe(true);
    }
    expect(bars(steps, view, DAY)[1]?.events).toBe(steps.slice(24, 48).reduce((sum, step) => sum + step.events, 0));
  });

  it("keep gaps, and weeks start on Monday", () => {
    const view = { from: DAY0 - 3 * WEEK, to: DAY0 + DAY };
    const made = bars([{ start: floorTo("week", DAY0 - 2 * WEEK), events: 9 }], view, WEEK);
    expect(made.map((bar) => bar.events)).toEqual([0, 9, 0, 0]);
    expect(made.every((bar) => new Date(bar.from).getUTCDay() === 1)).toBe(true);
  });

  it("are as short as can be seen, and never shorter than the data", () => {
    expect(binFor({ from: 0, to: 2 * DAY }, 1000, HOUR)).toBe(HOUR);
    expect(binFor({ from: 0, to: 30 * DAY }, 1000, HOUR)).toBe(6 * HOUR);
    expect(binFor({ from: 0, to: 30 * DAY }, 290, HOUR)).toBe(DAY);
    expect(binFor({ from: 0, to: 2 * DAY }, 1000, DAY)).toBe(DAY);
    expect(binFor({ from: 0, to: 4000 * DAY }, 300, HOUR)).toBe(WEEK);
  });

  it("snap by what a hand can hit", () => {
    expect(snapUnit({ from: 0, to: 2 * DAY }, 1000)).toBe("hour");
    expect(snapUnit({ from: 0, to: 90 * DAY }, 1000)).toBe("day");
    expect(snapUnit({ from: 0, to: 1000 * DAY }, 1000)).toBe("week");
  });
});

describe("a brush", () => {
  it("places times and finds them again", () => {
    expect(timeAt(xAt(NOON, LIMITS, 777), LIMITS, 777)).toBeCloseTo(NOON, 3);
  });

  it("is drawn in whole units in both directions and is never empty", () => {
    const a = at("2026-11-20T10:20:00Z");
    const b = at("2026-11-20T13:40:00Z");
    const hours = { from: at("2026-11-20T10:00:00Z"), to: at("2026-11-20T14:00:00Z") };
    expect(drawn(a, b, "hour")).toEqual(hours);
    expect(drawn(b, a, "hour")).toEqual(hours);
    expect(drawn(a, a + 1, "hour")).toEqual({ from: hours.from, to: hours.from + HOUR });
    expect(drawn(a, b, "day")).toEqual({ from: DAY0, to: DAY0 + DAY });
  });

  it("moves as a whole and stops at the limits", () => {
    const brush = { from: NOON, to: NOON + 3 * HOUR };
    expect(moved(brush, 1.6 * HOUR, "hour", LIMITS)).toEqual({ from: NOON + 2 * HOUR, to: NOON + 5 * HOUR });
    expect(moved(brush, DAY * 5, "hour", LIMITS)).toEqual({ from: LIMITS.to - 3 * HOUR, to: LIMITS.to });
    expect(moved(brush, -100 * DAY, "hour", LIMITS)).toEqual({ from: LIMITS.from, to: LIMITS.from + 3 * HOUR });
    expect(moved(brush, -DAY, "day", LIMITS)).toEqual({ from: NOON - DAY, to: NOON - DAY + 3 * HOUR });
  });

  it("is resized at either edge without turning over", () => {
    const brush = { from: NOON, to: NOON + 3 * HOUR };
    expect(resized(brush, "to", NOON + 5.4 * HOUR, "hour", LIMITS)).toEqual({ from: NOON, to: NOON + 5 * HOUR });
    expect(resized(brush, "from", NOON + 9 * HOUR, "hour", LIMITS)).toEqual({ from: NOON + 2 * HOUR, to: brush.to });
    expect(resized(brush, "to", 0, "hour", LIMITS)).toEqual({ from: NOON, to: NOON + HOUR });
  });

  it("obeys arrow keys", () => {
    const brush = { from: NOON, to: NOON + HOUR };
    expect(nudged(brush, 1, false, "hour", LIMITS)).toEqual({ from: NOON + HOUR, to: NOON + 2 * HOUR });
    expect(nudged(brush, 1, true, "hour", LIMITS)).toEqual({ from: NOON, to: NOON + 2 * HOUR });
    expect(nudged(brush, -1, true, "hour", LIMITS)).toEqual(brush);
    expect(nudged(brush, -1, false, "day", LIMITS)).toEqual({ from: NOON - DAY, to: NOON - DAY + HOUR });
  });
});

describe("the view", () => {
  it("zooms around its anchor and back out to the limits", () => {
    const close = zoomed(LIMITS, 0.5, NOON, LIMITS);
    expect(close.to - close.from).toBeLessThanOrEqual((LIMITS.to - LIMITS.from) / 2 + 2 * HOUR);
    expect(close.from).toBeLessThan(NOON);
    expect(close.to).toBeGreaterThan(NOON);
    expect(zoomed(close, 100, NOON, LIMITS)).toEqual(LIMITS);
    const closest = Array.from({ length: 30 }).reduce<typeof LIMITS>((view) => zoomed(view, 0.5, NOON, LIMITS), LIMITS);
    expect(closest.to - closest.from).toBeGreaterThanOrEqual(6 * HOUR);
    expect(closest.to - closest.from).toBeLessThanOrEqual(8 * HOUR);
  });

  it("pans inside the limits", () => {
    const view = { from: DAY0 - DAY, to: DAY0 };
    expect(panned(view, -3 * DAY, LIMITS)).toEqual({ from: DAY0 - 4 * DAY, to: DAY0 - 3 * DAY });
    expect(panned(view, 9 * DAY, LIMITS)).toEqual({ from: LIMITS.to - DAY, to: LIMITS.to });
  });

  it("moves only as far as it must to show a range", () => {
    const view = { from: DAY0 - 2 * DAY, to: DAY0 };
    expect(revealing(view, { from: DAY0 - DAY, to: DAY0 }, LIMITS)).toBe(view);
    expect(revealing(view, { from: DAY0, to: DAY0 + DAY }, LIMITS)).toEqual({ from: DAY0 - DAY, to: DAY0 + DAY });
    const wide = revealing(view, { from: DAY0 - 5 * DAY, to: DAY0 }, LIMITS);
    expect(wide.from).toBeLessThanOrEqual(DAY0 - 5 * DAY);
    expect(wide.to).toBeGreaterThanOrEqual(DAY0);
  });

  it("covers the data, the selection and today, and at first the last thirty days", () => {
    const data = { from: DAY0 - 100 * DAY, to: DAY0 };
    const chosen = { from: DAY0 - 7 * DAY, to: DAY0 + DAY };
    expect(limitsOf(data, chosen, NOON)).toEqual({ from: data.from, to: DAY0 + DAY });
    expect(firstView(data, chosen, NOON)).toEqual({ from: DAY0 - 29 * DAY, to: DAY0 + DAY });
    const old = { from: DAY0 - 90 * DAY, to: DAY0 - 89 * DAY };
    const view = firstView(data, old, NOON);
    expect(view.from).toBeLessThanOrEqual(old.from);
    expect(view.to).toBeGreaterThanOrEqual(old.to);
    expect(limitsOf(null, { from: NOON, to: NOON + HOUR }, NOON)).toEqual({ from: DAY0 - DAY, to: DAY0 + DAY });
  });

  it("has labels on round times, far enough apart", () => {
    for (const days of [0.5, 2, 9, 33, 200, 900, 3000]) {
      const view = { from: DAY0 - days * DAY, to: DAY0 };
      for (const width of [340, 1200]) {
        const made = ticks(view, width);
        expect(made.length).toBeGreaterThan(0);
        expect(made.length).toBeLessThanOrEqual(width / 60);
        expect(made.every((tick) => tick.time % HOUR === 0)).toBe(true);
      }
    }
    const hours = ticks({ from: DAY0, to: DAY0 + DAY }, 1000);
    expect(hours.filter((tick) => tick.major).map((tick) => tick.time)).toEqual([DAY0]);
  });
});

describe("where there are events", () => {
  const steps = [
    { start: DAY0, events: 0 },
    { start: DAY0 + HOUR, events: 5 },
    { start: DAY0 + 2 * HOUR, events: 0 },
    { start: DAY0 + 9 * HOUR, events: 2 },
    { start: DAY0 + 10 * HOUR, events: 0 },
  ];

  it("spans the first to the last", () => {
    expect(extent(steps, HOUR)).toEqual({ from: DAY0 + HOUR, to: DAY0 + 10 * HOUR });
    expect(extent([{ start: DAY0, events: 0 }], HOUR)).toBeNull();
  });

  it("finds the nearest, of the same kind of length", () => {
    const early = { from: DAY0 + 3 * HOUR, to: DAY0 + 4 * HOUR };
    expect(nearestWithEvents(steps, HOUR, early)).toEqual({ from: DAY0 + HOUR, to: DAY0 + 2 * HOUR });
    const late = { from: DAY0 + 7 * HOUR, to: DAY0 + 8 * HOUR };
    expect(nearestWithEvents(steps, HOUR, late)).toEqual({ from: DAY0 + 9 * HOUR, to: DAY0 + 10 * HOUR });
    const nextDay = { from: DAY0 + DAY, to: DAY0 + 2 * DAY };
    expect(nearestWithEvents(steps, HOUR, nextDay)).toEqual({ from: DAY0, to: DAY0 + DAY });
    const month = { from: DAY0 + 10 * DAY, to: DAY0 + 40 * DAY };
    const week = { from: floorTo("week", DAY0), to: floorTo("week", DAY0) + WEEK };
    expect(nearestWithEvents(steps, HOUR, month)).toEqual(week);
    expect(nearestWithEvents([{ start: DAY0, events: 0 }], HOUR, early)).toBeNull();
  });

  it("names a whole step when steps are longer than what was asked for", () => {
    const days = [{ start: DAY0 - 3 * DAY, events: 8 }];
    const hour = { from: NOON, to: NOON + HOUR };
    expect(nearestWithEvents(days, DAY, hour)).toEqual({ from: DAY0 - 3 * DAY, to: DAY0 - 2 * DAY });
  });
});
