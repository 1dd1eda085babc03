import { describe, expect, it } from "vitest";
import {
  DAY,
  HOUR,
  WEEK,
  ceilTo,
  floorTo,
  followed,
  isoHour,
  lengthText,
  neighbour,
  parseTime,
  periodOf,
  rangeText,
  roundTo,
  unitAt,
  wholeHours,
} from "../../src/pages/map/time";

const at = (text: string): number => Date.parse(text);

describe("units", () => {
  it("start weeks on Monday, also before 1970 and across a year", () => {
    expect(floorTo("week", at("2026-11-21T10:30:00Z"))).toBe(at("2026-11-16T00:00:00Z"));
    expect(floorTo("week", at("2026-11-16T00:00:00Z"))).toBe(at("2026-11-16T00:00:00Z"));
    expect(floorTo("week", at("2027-01-01T05:00:00Z"))).toBe(at("2026-12-28T00:00:00Z"));
    expect(floorTo("week", at("1969-12-30T00:00:00Z"))).toBe(at("1969-12-29T00:00:00Z"));
  });

  it("round to the nearest edge and up only when needed", () => {
    expect(roundTo("hour", at("2026-11-21T10:29:59Z"))).toBe(at("2026-11-21T10:00:00Z"));
    expect(roundTo("hour", at("2026-11-21T10:30:00Z"))).toBe(at("2026-11-21T11:00:00Z"));
    expect(ceilTo("day", at("2026-11-21T00:00:00Z"))).toBe(at("2026-11-21T00:00:00Z"));
    expect(ceilTo("day", at("2026-11-21T00:00:01Z"))).toBe(at("2026-11-22T00:00:00Z"));
  });
});

describe("ranges", () => {
  it("are named by what they are", () => {
    expect(periodOf(unitAt("hour", at("2026-11-21T10:30:00Z")))).toBe("hour");
    expect(periodOf(unitAt("day", at("2026-11-21T10:30:00Z")))).toBe("day");
    expect(periodOf(unitAt("week", at("2026-11-21T10:30:00Z")))).toBe("week");
    const noWeek = { from: at("2026-11-17T00:00:00Z"), to: at("2026-11-24T00:00:00Z") };
    expect(periodOf(noWeek)).toBe("range");
  });

  it("step by their own length", () => {
    const week = unitAt("week", at("2026-11-21T10:30:00Z"));
    expect(neighbour(week, -1)).toEqual({ from: week.from - WEEK, to: week.from });
    const three = wholeHours(at("2026-11-21T10:10:00Z"), at("2026-11-21T12:50:00Z"));
    expect(neighbour(three, 1)).toEqual({ from: three.to, to: three.to + 3 * HOUR });
  });

  it("follow the clock", () => {
    const now = at("2026-11-21T23:59:59.999Z");
    expect(followed("hour", now)).toEqual({ from: at("2026-11-21T23:00:00Z"), to: at("2026-11-22T00:00:00Z") });
    expect(followed("hour", now + 1).from).toBe(at("2026-11-22T00:00:00Z"));
    expect(followed("7d", now)).toEqual({ from: at("2026-11-15T00:00:00Z"), to: at("2026-11-22T00:00:00Z") });
  });

  it("of any two moments are whole hours, in either order, and never empty", () => {
    expect(wholeHours(at("2026-11-21T12:50:00Z"), at("2026-11-21T10:10:00Z"))).toEqual({
      from: at("2026-11-21T10:00:00Z"),
      to: at("2026-11-21T13:00:00Z"),
    });
    const edge = at("2026-11-21T10:00:00Z");
    expect(wholeHours(edge, edge)).toEqual({ from: edge, to: edge + HOUR });
  });
});

describe("words and addresses", () => {
  it("say ranges shortly and without doubt", () => {
    expect(rangeText(unitAt("hour", at("2026-11-20T23:00:00Z")))).toBe("Fri 20 Nov, 23:00 to 24:00");
    expect(rangeText(unitAt("day", at("2026-11-20T23:00:00Z")))).toBe("Fri 20 Nov");
    expect(rangeText(unitAt("week", at("2026-11-20T23:00:00Z")))).toBe("Mon 16 Nov to Sun 22 Nov");
    expect(rangeText({ from: at("2026-11-20T10:00:00Z"), to: at("2026-11-21T12:00:00Z") })).toBe(
      "Fri 20 Nov, 10:00 to Sat 21 Nov, 12:00",
    );
    expect(lengthText({ from: 0, to: DAY + HOUR })).toBe("1 day 1 hour");
    expect(lengthText({ from: 0, to: 2 * WEEK })).toBe("2 weeks");
  });

  it("round-trip times of a URL and refuse what has no zone", () => {
    const time = at("2026-11-20T10:00:00Z");
    expect(parseTime(isoHour(time))).toBe(time);
    expect(parseTime(String(time))).toBe(time);
    expect(parseTime("2026-11-20T12:00+02:00")).toBe(time);
    expect(parseTime("2026-11-20T10:00")).toBeNull();
    expect(parseTime("yesterday")).toBeNull();
    expect(parseTime(null)).toBeNull();
  });
});
