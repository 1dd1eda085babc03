import { describe, expect, it } from "vitest";
import { MAX_FRAMES, film, inParallel, nextFrame, plan, shownFrames } from "../../src/pages/map/playback";
import { heatMapFromColumns } from "../../src/heat/columns";
import { DAY, HOUR, WEEK } from "../../src/pages/map/time";

const DAY0 = Date.parse("2026-11-16T00:00:00Z");

const size = (long: number): number => plan({ from: DAY0, to: DAY0 + long }).size;

describe("a plan", () => {
  it("covers the range once, in order, with few enough frames, for any range", () => {
    const lengths = [1, 2, 23, 95, 96, 97, 168, 169, 721, 2000, 8760, 43_800].map((hours) => hours * HOUR);
    for (const finest of ["hour", "day", "week"] as const) {
      for (const long of lengths) {
        for (const offset of [0, 5 * HOUR, 3 * DAY]) {
          const range = { from: DAY0 + offset, to: DAY0 + offset + long };
          const { frames } = plan(range, finest);
          expect(frames.length).toBeLessThanOrEqual(MAX_FRAMES);
          expect(frames[0]?.from).toBe(range.from);
          expect(frames.at(-1)?.to).toBe(range.to);
          expect(frames.every((frame) => frame.to > frame.from)).toBe(true);
          expect(frames.slice(1).map((frame) => frame.from)).toEqual(frames.slice(0, -1).map((frame) => frame.to));
        }
      }
    }
  });

  it("takes hours for a day, two hours for a week, days for three months, weeks for years", () => {
    expect(size(DAY)).toBe(HOUR);
    expect(size(WEEK)).toBe(2 * HOUR);
    expect(size(90 * DAY)).toBe(DAY);
    expect(size(300 * DAY)).toBe(WEEK);
  });

  it("cuts at midnight and on Mondays, whatever the range starts at", () => {
    const days = plan({ from: DAY0 + 5 * HOUR, to: DAY0 + 5 * HOUR + 80 * DAY });
    expect(days.frames.slice(1).every((frame) => frame.from % DAY === 0)).toBe(true);
    const weeks = plan({ from: DAY0 + 3 * DAY, to: DAY0 + 400 * DAY }, "week");
    expect(weeks.frames.slice(1).every((frame) => new Date(frame.from).getUTCDay() === 1)).toBe(true);
  });
});

const frame = (cell: number[], count: number[], total: number, max: number) =>
  heatMapFromColumns({ grid_w: 2, grid_h: 2, cell, count, total, max });

describe("frames ahead of the clock", () => {
  const made = plan({ from: DAY0, to: DAY0 + 6 * HOUR });

  it("are left out at the end unless they hold events", () => {
    expect(shownFrames(made, [1, 0, 0, 0, 0, 0], DAY0 + 2.5 * HOUR)).toBe(3);
    expect(shownFrames(made, [1, 0, 0, 0, 9, 0], DAY0 + 2.5 * HOUR)).toBe(5);
    expect(shownFrames(made, [0, 0, 0, 0, 0, 0], DAY0 + 90 * HOUR)).toBe(6);
    expect(shownFrames(made, [0, 0, 0, 0, 0, 0], DAY0 - HOUR)).toBe(1);
  });
});

describe("a film", () => {
  const frames = [frame([0, 3], [5, 1], 6, 5), frame([], [], 0, 0), frame([0], [2], 2, 2)];

  it("shows each frame alone under the largest count of any", () => {
    const made = film(frames, "frame");
    expect(made.maps.map((map) => map.total)).toEqual([6, 0, 2]);
    expect(made.top).toBe(5);
  });

  it("or everything so far, and ends with the sum", () => {
    const made = film(frames, "cumulative");
    expect(made.maps.map((map) => map.total)).toEqual([6, 6, 8]);
    expect([...(made.maps.at(-1)?.counts ?? [])]).toEqual([7, 0, 0, 1]);
    expect(made.top).toBe(7);
  });

  it("ends after its last frame", () => {
    expect(nextFrame(0, 3)).toBe(1);
    expect(nextFrame(2, 3)).toBeNull();
  });
});

describe("fetching frames", () => {
  it("keeps the order and never has more than the given number on the way", async () => {
    let running = 0;
    let most = 0;
    const waiting: (() => void)[] = [];
    const counted: number[] = [];
    const all = inParallel(
      [0, 1, 2, 3, 4, 5, 6],
      3,
      async (item) => {
        most = Math.max(most, ++running);
        await new Promise<void>((resolve) => waiting.push(resolve));
        running--;
        return item * 10;
      },
      (count) => counted.push(count),
    );
    while (counted.length < 7) {
      waiting.pop()?.();
      await Promise.resolve();
    }
    expect(await all).toEqual([0, 10, 20, 30, 40, 50, 60]);
    expect(most).toBe(3);
    expect(counted).toEqual([1, 2, 3, 4, 5, 6, 7]);
  });

  it("starts nothing more after a failure", async () => {
    const started: number[] = [];
    const all = inParallel(
      [0, 1, 2, 3, 4, 5],
      2,
      async (item) => {
        started.push(item);
        await Promise.resolve();
        if (item === 1) throw new Error("no");
        return item;
      },
      () => undefined,
    );
    await expect(all).rejects.toThrow("no");
    expect(started.length).toBeLessThan(5);
  });
});
