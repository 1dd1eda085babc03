import { describe, expect, it } from "vitest";
import {
  fitWhole,
  fitWidth,
  INITIAL_CAMERA,
  panBy,
  place,
  reveal,
  settle,
  toScreen,
  toViewport,
  wholeZoom,
  zoomAt,
  zoomBounds,
} from "../../src/heat/camera";
import { randoms } from "./maps";

interface Case {
  readonly view: { w: number; h: number };
  readonly shape: { w: number; h: number };
  readonly camera: { x: number; y: number; zoom: number };
  readonly point: { x: number; y: number };
  readonly factor: number;
}

const random = randoms(42);
const between = (low: number, high: number): number => low + (high - low) * random();
const CASES: Case[] = Array.from({ length: 400 }, () => {
  const view = { w: between(200, 2000), h: between(200, 1500) };
  const shape = { w: between(300, 4000), h: between(200, 9000) };
  return {
    view,
    shape,
    camera: settle({ x: random(), y: random(), zoom: between(0.05, 12) }, view, shape),
    point: { x: random() * view.w, y: random() * view.h },
    factor: between(0.4, 2.5),
  };
});

describe("the camera", () => {
  it("keeps the point that is zoomed at, unless an edge is in the way", () => {
    let free = 0;
    for (const { view, shape, camera, point, factor } of CASES) {
      const after = zoomAt(camera, factor, point, view, shape);
      const page = place(after, view, shape);
      // What settle moved had to be moved: an axis at an edge or smaller than the viewport.
      const before = toScreen(point, place(camera, view, shape));
      const now = toScreen(point, page);
      const freeX = page.x < -1e-6 && page.x + page.w > view.w + 1e-6;
      const freeY = page.y < -1e-6 && page.y + page.h > view.h + 1e-6;
      if (freeX && freeY) free += 1;
      expect(freeX ? now.x - before.x : 0).toBeCloseTo(0, 9);
      expect(freeY ? now.y - before.y : 0).toBeCloseTo(0, 9);
    }
    expect(free).toBeGreaterThan(50);
  });

  it("goes from viewport to screen and back without a difference", () => {
    for (const { view, shape, camera, point } of CASES) {
      const page = place(camera, view, shape);
      const back = toViewport(toScreen(point, page), page);
      expect(back.x).toBeCloseTo(point.x, 8);
      expect(back.y).toBeCloseTo(point.y, 8);
    }
  });

  it("never shows beside the screen where the screen can fill the viewport, and centres it elsewhere", () => {
    for (const { view, shape, camera } of CASES)
      for (const [dx, dy] of [
        [1e9, 1e9],
        [-1e9, 300],
        [0, -1e9],
      ] as const) {
        const page = place(panBy(camera, dx, dy, view, shape), view, shape);
        for (const [start, length, room] of [
          [page.x, page.w, view.w],
          [page.y, page.h, view.h],
        ] as const) {
          const wanted = Math.min(Math.max(start, room - length), 0);
          expect(start).toBeCloseTo(length > room ? wanted : (room - length) / 2, 6);
        }
      }
  });

  it("stays between the smallest and the largest zoom, and settles once and for all", () => {
    for (const { view, shape, camera, point } of CASES) {
      const [least, most] = zoomBounds(view, shape);
      expect(zoomAt(camera, 1e9, point, view, shape).zoom).toBe(most);
      expect(zoomAt(camera, 1e-9, point, view, shape).zoom).toBe(least);
      expect(settle(camera, view, shape)).toEqual(camera);
    }
  });

  it("fits the whole screen and its width", () => {
    for (const { view, shape } of CASES) {
      const whole = place(fitWhole(view, shape), view, shape);
      expect(whole.w).toBeLessThanOrEqual(view.w + 1e-6);
      expect(whole.h).toBeLessThanOrEqual(view.h + 1e-6);
      expect(Math.min(Math.abs(whole.w - view.w), Math.abs(whole.h - view.h))).toBeLessThan(1e-6);
      const width = place(fitWidth(INITIAL_CAMERA, view, shape), view, shape);
      expect([width.x, width.w]).toEqual([expect.closeTo(0, 6), expect.closeTo(view.w, 6)]);
    }
  });

  it("opens at the top: a page at full width, a phone's near its true size", () => {
    const view = { w: 1000, h: 700 };
    const page = place(settle(INITIAL_CAMERA, view, { w: 1440, h: 3000 }), view, { w: 1440, h: 3000 });
    expect([page.x, page.y, page.w]).toEqual([0, expect.closeTo(0, 9), 1000]);
    const phone = settle(INITIAL_CAMERA, view, { w: 390, h: 4000 });
    expect(phone.zoom * view.w).toBeCloseTo(390 * 1.25);
    expect(place(phone, view, { w: 390, h: 4000 }).y).toBeCloseTo(0);
    expect(wholeZoom(view, { w: 390, h: 4000 })).toBeLessThan(phone.zoom);
  });

  it("reveals what is out of view and leaves alone what is in it", () => {
    const [view, shape] = [{ w: 800, h: 600 }, { w: 1000, h: 5000 }] as const;
    const top = settle(INITIAL_CAMERA, view, shape);
    const low = { x: 0.4, y: 0.7, w: 0.01, h: 0.005 };
    const moved = reveal(top, low, view, shape);
    const page = place(moved, view, shape);
    const y = page.y + low.y * page.h;
    expect(y).toBeGreaterThan(0);
    expect(y + low.h * page.h).toBeLessThan(view.h);
    expect(reveal(moved, low, view, shape).y).toBeCloseTo(moved.y, 9);
  });
});
