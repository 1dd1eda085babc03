import { describe, expect, it } from "vitest";

import { markOf } from "../../src/pages/map/Mark";

type Facts = Parameters<typeof markOf>[0];

function facts(of: Partial<Facts> = {}): Facts {
  return { complete: true, late: 0, rejected: 0, pending: 0, differences: [], events: { totals: {}, hours: [] }, ...of };
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
    const dead = { totals: { dead: 1 }, hours: [] };
    const said = (of: Partial<Facts>): string => markOf(facts({ complete: false, ...of })).short.replaceAll("\u00a0", " ");
    expect(said({ pending: 5, events: dead })).toBe("5 wait to be counted");
    expect(said({ pending: 1 })).toBe("1 waits to be counted");
    expect(said({ events: dead })).toBe("1 dead letter");
    expect(said({ pending: 5, differences: ["received 3 is not 2"], rejected: 2 })).toBe("Sums differ · 2 rejected");
    expect(markOf(facts({ complete: false, differences: ["x"] })).tone).toBe("bad");
  });
});
