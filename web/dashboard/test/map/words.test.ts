import { describe, expect, it } from "vitest";
import { OfflineError, ProblemError } from "../../src/api/client";
import type { Freshness } from "../../src/api/types";
import { type Scene, isUnknown, offeredRange } from "../../src/pages/map/model";
import { objection } from "../../src/pages/map/upload";
import { canvasSaid, freshnessSaid, stretchSaid, wholenessSaid } from "../../src/pages/map/words";

const FRESH: Freshness = {
  client_id: "shop",
  simulated: false,
  now: "2026-11-21T10:43:00.000Z",
  received: 900,
  last_received_at: "2026-11-21T10:42:50.000Z",
  tiled_until: "2026-11-21T10:42:10.000Z",
  waiting: { lander: 300, tiles: 12 },
  version: 7,
};

const HOUR = 3_600_000;
const TEN = Date.parse("2026-11-21T10:00:00.000Z");
const PAST = { from: TEN - 5 * HOUR, to: TEN };
const RUNNING = { from: TEN - 5 * HOUR, to: TEN + HOUR };

const scene = (answer: { pending: number; stale: boolean; complete: boolean }, range = PAST): Scene =>
  ({ answer, range }) as Scene;

describe("freshness", () => {
  it("says how far the maps are and what is on its way", () => {
    expect(freshnessSaid(FRESH)).toEqual({ tone: "ok", text: "Tiled up to 10:42:10, 312 events on their way", moving: true });
    const one = { ...FRESH, waiting: { lander: 0, tiles: 1 } };
    expect(freshnessSaid(one)?.text).toBe("Tiled up to 10:42:10, 1 event on its way");
    const none = { ...FRESH, waiting: { lander: 0, tiles: 0 } };
    expect(freshnessSaid(none)).toEqual({ tone: "ok", text: "Tiled up to 10:42:10, nothing on its way", moving: false });
  });

  it("calls it a lag only after a minute", () => {
    expect(freshnessSaid({ ...FRESH, now: "2026-11-21T10:43:10.000Z" })?.tone).toBe("ok");
    expect(freshnessSaid({ ...FRESH, now: "2026-11-21T10:43:11.000Z" })?.tone).toBe("warn");
    expect(freshnessSaid({ ...FRESH, now: "2026-11-21T12:00:00.000Z", waiting: { lander: 0, tiles: 0 } })?.tone).toBe("ok");
    expect(freshnessSaid({ ...FRESH, tiled_until: null, last_received_at: "2026-11-21T10:41:00.000Z" })?.tone).toBe("warn");
  });

  it("does not name a time before anything was counted", () => {
    expect(freshnessSaid({ ...FRESH, tiled_until: null })?.text).toBe("312 events on their way");
    const silent = { ...FRESH, received: 0, tiled_until: null, waiting: { lander: 0, tiles: 0 } };
    expect(freshnessSaid(silent)?.text).toBe("No events received yet");
    expect(freshnessSaid(undefined)).toBeNull();
  });
});

describe("a map that is not whole", () => {
  it("says why", () => {
    expect(wholenessSaid(scene({ pending: 0, stale: false, complete: true }), FRESH)).toBeNull();
    expect(wholenessSaid(scene({ pending: 1, stale: false, complete: false }), FRESH)).toContain("1 hour of this range waits");
    expect(wholenessSaid(scene({ pending: 3, stale: false, complete: false }), FRESH)).toContain("3 hours of this range wait ");
    expect(wholenessSaid(scene({ pending: 0, stale: true, complete: false }), FRESH)).toContain("isotherm rollup");
    expect(wholenessSaid(scene({ pending: 0, stale: false, complete: false }), FRESH)).toContain("Not everything");
  });

  it("leaves the running hour to the freshness, unless it lags", () => {
    const waits = (pending: number) => scene({ pending, stale: false, complete: false }, RUNNING);
    const behind = { ...FRESH, now: "2026-11-21T10:44:00.000Z" };
    expect(wholenessSaid(waits(1), FRESH)).toBeNull();
    expect(wholenessSaid(waits(0), FRESH)).toBeNull();
    expect(wholenessSaid(waits(2), FRESH)).toContain("2 hours of this range wait");
    expect(wholenessSaid(waits(1), behind)).toContain("1 hour of this range waits");
    expect(wholenessSaid(scene({ pending: 1, stale: true, complete: false }, RUNNING), FRESH)).toMatch(/^Events came after/);
  });
});

describe("what is behind the heat", () => {
  const shape = { device: "desktop", w: 1440, h: 3000, source: "document" } as const;

  it("says what the blank canvas is the shape of", () => {
    expect(canvasSaid(shape, shape)).toBe("Blank canvas, 1440 × 3000 px (desktop)");
    expect(canvasSaid({ ...shape, source: "region" }, shape)).toContain("of the region, 1440 × 3000");
    expect(canvasSaid({ ...shape, source: "viewport" }, shape)).toContain("did not say its length");
    expect(canvasSaid(null, { w: 1440, h: 900 })).toBe("The size of this screen is unknown: 1440 × 900 px are assumed");
  });

  it("warns of a screenshot that must be stretched", () => {
    expect(stretchSaid({ w: 720, h: 1500 }, shape)).toBeNull();
    expect(stretchSaid({ w: 1440, h: 3080 }, shape)).toBeNull();
    expect(stretchSaid({ w: 1440, h: 900 }, shape)).toContain("70 % shorter");
    expect(stretchSaid({ w: 1440, h: 3600 }, shape)).toContain("20 % longer");
    expect(stretchSaid({ w: 1440, h: 900 }, null)).toBeNull();
  });
});

describe("an error", () => {
  const nearest = { from: "2026-11-01T00:00:00.000Z", to: "2026-11-02T00:00:00.000Z" };

  it("offers the range that the server names, and nothing it does not name", () => {
    const expired = new ProblemError(422, "expired", null, nearest);
    expect(offeredRange(expired)).toEqual({ from: Date.parse(nearest.from), to: Date.parse(nearest.to) });
    expect(offeredRange(new ProblemError(422, "expired", null, { from: nearest.from }))).toBeNull();
    expect(offeredRange(new ProblemError(400, "wrong", null, nearest))).toBeNull();
    expect(offeredRange(new OfflineError("gone"))).toBeNull();
  });

  it("tells the unknown from the broken", () => {
    expect(isUnknown(new ProblemError(404, "no such screen"))).toBe(true);
    expect(isUnknown(new ProblemError(503, "busy"))).toBe(false);
    expect(isUnknown(undefined)).toBe(false);
  });
});

describe("a file", () => {
  const file = { name: "page.png", type: "image/png", size: 4_000_000 };

  it("is sent when it may be a screenshot", () => {
    expect(objection(file)).toBeNull();
    expect(objection({ ...file, type: "image/webp", size: 12_000_000 })).toBeNull();
  });

  it("is refused with what to do instead", () => {
    expect(objection({ ...file, type: "image/svg+xml" })).toContain("no PNG, JPEG or WebP");
    expect(objection({ ...file, size: 12_000_001 })).toContain("at most 12 MB");
    expect(objection({ ...file, size: 0 })).toContain("empty");
  });
});
