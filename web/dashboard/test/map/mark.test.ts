import { describe, expect, it } from "vitest";

import { joined, partsOf } from "../../src/api/marks";
import { markOf } from "../../src/frame/mark";

type Facts = Parameters<typeof markOf>[0];

function facts(of: Partial<Facts> = {}): Facts {
  return { complete: true, late: 0, rejected: 0, pending: 0, dead: 0, differences: [], ...of };
}

describe("the mark of a map", () => {
  it("says complete when all there is stands on it", () => {
    expect(markOf(facts())).toMatchObject({ tone: "ok", short: "Complete" });
  });

  it("names what came late and what was rejected beside it", () => {
    const said = markOf(facts({ late: 12, rejected: 3 }));
    expect(said.short).toBe("Complete · 12 late · 3 rejected");
    expect(said.long).toContain("came late");
  });

  it("puts the most pressing first", () => {
    const said = (of: Partial<Facts>): string => markOf(facts({ complete: false, ...of })).short.replaceAll("\u00a0", " ");
    expect(said({ pending: 5, dead: 1 })).toBe("5 wait to be counted");
    expect(said({ pending: 1 })).toBe("1 waits to be counted");
    expect(said({ dead: 1 })).toBe("1 dead letter");
    expect(said({ pending: 5, differences: ["received 3 is not 2"], rejected: 2 })).toBe("Sums differ · 2 rejected");
    expect(markOf(facts({ complete: false, differences: ["x"] })).tone).toBe("bad");
  });
});

const HOUR = 3_600_000;

describe("marks of many maps", () => {
  it("are asked for in as few parts as the server answers, and each screen and hour once", () => {
    const screens = Array.from({ length: 60 }, (_, at) => `/${at}`);
    const parts = partsOf({ client: "shop", screens, from: 0, to: 25_000 * HOUR });
    expect(parts).toHaveLength(6);
    for (const screen of screens) {
      const mine = parts.filter((part) => part.screens.includes(screen));
      expect(mine.map(({ from, to }) => [from / HOUR, to / HOUR])).toEqual([
        [0, 10_000],
        [10_000, 20_000],
        [20_000, 25_000],
      ]);
    }
    expect(partsOf({ client: "shop", screens: ["/"], from: 0, to: HOUR })).toHaveLength(1);
  });

  it("are joined: complete only when every part is", () => {
    const mark = { screen_id: "/", complete: true, late: 1, rejected: 2, pending: 0, dead: 0 };
    const found = joined([
      { marks: [mark, { ...mark, screen_id: "/b" }], differences: [] },
      { marks: [{ ...mark, complete: false, pending: 4 }], differences: ["x"] },
    ]);
    expect(found.get("/")).toEqual({ ...mark, complete: false, late: 2, rejected: 4, pending: 4, differences: ["x"] });
    expect(found.get("/b")).toEqual({ ...mark, screen_id: "/b", differences: [] });
  });
});
