import { describe, expect, it } from "vitest";

import { ago, bytes, clockSeconds, compact, duration, exact, instant, kinds, plural, range, rate, screenParts, screenWords, share } from "../src/format";

const plain = (text: string): string => text.replaceAll("\u00a0", " ");
const AT = Date.UTC(2026, 1, 2, 10, 42, 7);
const DAY = 86_400_000;

describe("numbers", () => {
  it.each([
    [0, "0"],
    [1204, "1,204"],
    [9999, "9,999"],
    [12_345, "12.3 k"],
    [999_940, "999.9 k"],
    [999_960, "1 M"],
    [1_234_567, "1.2 M"],
    [5_000_000_000, "5 B"],
  ])("%d is short as %s", (count, said) => {
    expect(plain(compact(count))).toBe(said);
  });

  it("has every digit when asked", () => {
    expect(exact(1_234_567)).toBe("1,234,567");
  });

  it("counts one and many", () => {
    expect(plain(plural(1, "event"))).toBe("1 event");
    expect(plain(plural(0, "event"))).toBe("0 events");
    expect(plain(kinds("touch", 2))).toBe("2 touches");
    expect(plain(kinds("signup", 2))).toBe("2 × signup");
  });

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1500, "1.5 kB"],
    [999_999, "1 MB"],
    [611_656, "612 kB"],
    [3_200_000_000, "3.2 GB"],
  ])("%d bytes are %s", (size, said) => {
    expect(plain(bytes(size))).toBe(said);
  });

  it("never rounds a share to none or all", () => {
    expect(plain(share(1, 100_000))).toBe("< 0.1 %");
    expect(plain(share(99_999, 100_000))).toBe("> 99.9 %");
    expect(plain(share(1, 3))).toBe("33.3 %");
    expect(plain(share(3, 3))).toBe("100 %");
    expect(share(0, 0)).toBe("–");
  });

  it("says rates", () => {
    expect(rate(0)).toBe("0");
    expect(plain(rate(0.04))).toBe("< 0.1");
    expect(rate(3.14)).toBe("3.1");
    expect(plain(rate(409_000))).toBe("409 k");
  });
});

describe("times", () => {
  it("are in UTC", () => {
    expect(plain(instant(AT))).toBe("2 Feb 2026, 10:42:07 UTC");
    expect(clockSeconds(AT)).toBe("10:42:07");
  });

  it.each([
    [500, "now"],
    [12_000, "12 s ago"],
    [59 * 60_000, "59 min ago"],
    [47 * 3_600_000, "47 h ago"],
    [3 * DAY, "3 days ago"],
    [40 * DAY, "24 Dec 2025"],
  ])("%d ms before is %s", (passed, said) => {
    expect(plain(ago(AT - passed, AT))).toBe(said);
  });

  it("has lengths in their largest unit", () => {
    expect(plain(duration(800))).toBe("800 ms");
    expect(plain(duration(61_000))).toBe("1 min");
  });

  it("says ranges in as few words as it takes", () => {
    const day = Date.UTC(2026, 1, 2);
    expect(plain(range(day, day + DAY))).toBe("2 Feb 2026 UTC");
    expect(plain(range(day, day + 7 * DAY))).toBe("2 Feb – 8 Feb 2026 UTC");
    expect(plain(range(Date.UTC(2025, 11, 30), day))).toBe("30 Dec 2025 – 1 Feb 2026 UTC");
    expect(plain(range(day + 36_000_000, day + 39_600_000))).toBe("2 Feb 2026, 10:00 – 11:00 UTC");
    expect(plain(range(day + 36_000_000, day + DAY + 3_600_000))).toBe("2 Feb, 10:00 – 3 Feb 2026, 01:00 UTC");
  });
});

describe("screens", () => {
  it("tells the name from the layout", () => {
    expect(screenParts("/demo/@under-700")).toEqual({ name: "/demo/", under: 700 });
    expect(screenParts("/demo/")).toEqual({ name: "/demo/", under: null });
    expect(screenParts("/a@under-1@under-1200")).toEqual({ name: "/a@under-1", under: 1200 });
    for (const id of ["@under-700", "/a@under-", "/a@under-7px"]) expect(screenParts(id)).toEqual({ name: id, under: null });
  });

  it("says the layout in words", () => {
    expect(plain(screenWords("/demo/@under-700"))).toBe("/demo/ (under 700 px)");
    expect(screenWords("/demo/")).toBe("/demo/");
  });
});
