import { describe, expect, it } from "vitest";

import type { ScreenRow } from "../../src/api/types";
import { devicesOf, edgesOf, pictured, sheetOf, sorted } from "../../src/pages/screens/data";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

function row(id: string, events: number, last: string): ScreenRow {
  return { screen_id: id, events, last_event: last } as unknown as ScreenRow;
}

describe("screens", () => {
  it("are asked for in whole hours, and in whole days where these are fewer tiles", () => {
    const next = Date.UTC(2026, 1, 9, 11);
    expect(edgesOf("24h", next)).toEqual({ from: next - DAY, to: next });
    expect(edgesOf("7d", next)).toEqual({ from: Date.UTC(2026, 1, 2), to: next });
    expect(edgesOf("all", next)).toBeNull();
  });

  it("are sorted by events as the server does, by their last event, or by name", () => {
    const rows = [row("b", 9, "2026-01-01T00:00:00Z"), row("a", 5, "2026-01-03T00:00:00Z"), row("c", 1, "2026-01-02T00:00:00Z")];
    const ids = (sort: "events" | "latest" | "name"): string[] => sorted(rows, sort).map((each) => each.screen_id);
    expect([ids("events"), ids("latest"), ids("name")]).toEqual([
      ["b", "a", "c"],
      ["a", "c", "b"],
      ["a", "b", "c"],
    ]);
  });

  it("show their moves, else what is drawn most", () => {
    expect(pictured({ mousemove: 1, click: 50 })).toBe("mousemove");
    expect(pictured({ pageview: 900, scroll: 90, touch: 5, click: 2 })).toBe("touch");
    expect(pictured({ pageview: 3 })).toBe("mousemove");
  });

  it("keep their shape, and fold where their device does", () => {
    expect(sheetOf({ shape: { w: 1000, h: 4000, device: "desktop" } })).toEqual({ whole: 4, fold: 0.6 });
    expect(sheetOf({ shape: { w: 1000, h: 300, device: "desktop" } })).toEqual({ whole: 0.3, fold: 0.3 });
    expect(sheetOf({ shape: null })).toEqual({ whole: 2, fold: 0.6 });
  });

  it("name the devices that were there, most first", () => {
    const shapes = [
      { device: "phone", w: 1, h: 1, events: 3 },
      { device: "tablet", w: 1, h: 1, events: 0 },
      { device: "desktop", w: 1, h: 1, events: 7 },
    ] as const;
    expect(devicesOf({ shapes })).toEqual([
      { device: "desktop", events: 7 },
      { device: "phone", events: 3 },
    ]);
  });
});
