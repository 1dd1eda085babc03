import { describe, expect, it } from "vitest";
import { pngLayout } from "../../src/heat/png";

describe("the picture's size", () => {
  it.each([
    [1440, 3200],
    [390, 4000],
    [390, 40_000],
    [5000, 300],
    [8000, 8000],
    [1, 1],
  ])("of a screen of %d x %d is within what browsers hold, in the screen's proportions", (w, h) => {
    const layout = pngLayout({ w, h });
    expect(layout.w).toBeLessThanOrEqual(8192);
    expect(layout.h).toBeLessThanOrEqual(8192);
    expect(layout.w * layout.h).toBeLessThanOrEqual(32e6);
    expect(layout.h).toBeGreaterThan(layout.mapH);
    expect(Math.abs(layout.w / w - layout.mapH / h)).toBeLessThanOrEqual(1 / Math.min(w, h));
  });

  it("is twice the screen's where there is room, and what is asked for below that", () => {
    expect(pngLayout({ w: 1000, h: 2000 })).toMatchObject({ w: 2000, mapH: 4000 });
    expect(pngLayout({ w: 1000, h: 2000 }, 1)).toMatchObject({ w: 1000, mapH: 2000 });
    expect(pngLayout({ w: 1000, h: 2000 }, 9)).toMatchObject({ w: 2000, mapH: 4000 });
  });
});
