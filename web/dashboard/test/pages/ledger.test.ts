import { describe, expect, it } from "vitest";

import type { Ledger } from "../../src/api/types";
import { type Flow, flowOf, isEmpty, MOST_REASONS, reasonsOf, shareWords, verdictOf } from "../../src/pages/ledger/flow";
import { rowsOf } from "../../src/pages/ledger/hours";
import { across, BAR, type Branch, branchPath, down } from "../../src/pages/ledger/layout";
import { fixedOf, followed, neighbour, SPEC } from "../../src/pages/ledger/range";
import { readSearch, writeSearch } from "../../src/url";

const HOUR = 3_600_000;
const plain = (text: string): string => text.replaceAll("\u00a0", " ");

const DOOR = { received: 1000, accepted: 900, rejected: 40, duplicate: 60, sampled_out: 0 };
const MAPS = { accepted: 900, landed: 880, landing_duplicate: 15, dead: 5, no_position: 80, raw_only: 20, tiled: 770, pending: 10 };

function ledger(of: Partial<Ledger> = {}): Ledger {
  return {
    client_id: "shop",
    simulated: false,
    screens: null,
    screen_id: null,
    from: "2026-11-20T00:00:00.000Z",
    to: "2026-11-21T00:00:00.000Z",
    complete: false,
    late: 0,
    rejected: 40,
    pending: 10,
    in_flight: 0,
    differences: [],
    receipt: { totals: DOOR, reasons: { too_old: 30, bad_position: 10 }, sender_dropped: {}, lost: 25, hours: [] },
    events: { totals: MAPS, hours: [] },
    ...of,
  };
}

/** What a stage hands on and what leaves after it. */
function afterStage(flow: Flow, index: number): number {
  const leaves = flow.losses.filter((loss) => loss.after === index).reduce((sum, loss) => sum + loss.events, 0);
  return leaves + (flow.stages[index + 1]?.events ?? 0);
}

describe("the flow", () => {
  it("hands on at every stage what it does not lose by name", () => {
    const flow = flowOf(ledger());
    expect(flow.stages.map((stage) => stage.events)).toEqual([1025, 1000, 900, 880, 770]);
    const stages = flow.stages.slice(0, -1);
    expect(stages.map((_, index) => afterStage(flow, index))).toEqual(stages.map((stage) => stage.events));
  });

  it("names the reasons, and puts the rare ones of many together", () => {
    const reasons = { a: 9, b: 7, c: 5, d: 3, e: 1 };
    const many = ledger({ receipt: { totals: { ...DOOR, rejected: 25 }, reasons, sender_dropped: {}, lost: 0, hours: [] } });
    const rejected = flowOf(many).losses.filter((loss) => loss.label.startsWith("Rejected"));
    expect(rejected).toHaveLength(MOST_REASONS);
    expect(rejected.map((loss) => loss.events)).toEqual([9, 7, 9]);
    expect(rejected.at(-1)?.label).toBe("Rejected: 3 more reasons");
    expect(reasonsOf(many)).toHaveLength(5);
  });

  it("says what became of events whose maps are gone by retention", () => {
    const gone = ledger({ events: { totals: { ...MAPS, tiled: 0, pending: 0, no_position: 0, raw_only: 0 }, hours: [] } });
    expect(flowOf(gone).losses.find((loss) => loss.key === "gone")?.events).toBe(880);
  });

  it("starts with the accepted events of one screen", () => {
    const flow = flowOf(ledger({ screen_id: "/", receipt: { totals: { rejected: 3, duplicate: 4 }, reasons: {}, sender_dropped: {}, lost: null, hours: [] } }));
    expect(flow.stages.map((stage) => stage.key)).toEqual(["accepted", "landed", "tiled"]);
    expect([afterStage(flow, 0), afterStage(flow, 1)]).toEqual([900, 880]);
  });

  it("tells shares of what a part leaves, by the count that goes on", () => {
    const flow = flowOf(ledger({ events: { totals: { ...MAPS, accepted: 500, dead: 5 }, hours: [] } }));
    const share = (key: string): string => plain(shareWords(flow, [...flow.stages, ...flow.losses].find((part) => part.key === key) as never));
    expect(share("dead")).toBe("1 % of accepted");
    expect(share("duplicate")).toBe("6 % of received");
    expect(share("sent")).toBe("");
    expect(share("tiled")).toBe("75.1 % of sent");
  });

  it("says in a sentence whether the sums close", () => {
    expect(verdictOf(ledger({ pending: 0 })).text).toContain("dead letters");
    expect(verdictOf(ledger()).text).toContain("10 are in the lake and wait to be counted");
    expect(verdictOf(ledger({ in_flight: 12 })).text).toContain("12 more are on the way");
    const differs = verdictOf(ledger({ differences: ["received 3 is not 2", "landed 4 is not 5"] }));
    expect([differs.closes, differs.title]).toEqual([false, "The sums differ in 2 places"]);
  });

  it("knows when nothing was counted", () => {
    const none = { totals: {}, reasons: {}, sender_dropped: {}, lost: 0, hours: [] };
    expect(isEmpty(ledger({ receipt: none, events: { totals: {}, hours: [] } }))).toBe(true);
    expect(isEmpty(ledger({ receipt: { ...none, lost: 1 }, events: { totals: {}, hours: [] } }))).toBe(false);
    expect(isEmpty(ledger())).toBe(false);
  });
});

const sumOf = (of: readonly Branch[]): number => of.reduce((sum, branch) => sum + branch.far - branch.near, 0);

/** Made-up answers whose sums close, from nothing but waiting to nothing but losses. */
function anyLedger(seed: number): Ledger {
  let state = seed * 2_654_435_761;
  const draw = (most: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % 3 === 0 ? 0 : state % (most + 1);
  };
  const parts = { landing_duplicate: draw(900), dead: draw(3), no_position: draw(50), raw_only: draw(9), tiled: draw(100_000), pending: draw(5000) };
  const landed = parts.no_position + parts.raw_only + parts.tiled + parts.pending;
  const accepted = landed + parts.landing_duplicate + parts.dead;
  const [rejected, duplicate] = [draw(40), draw(100_000)];
  const door = { received: accepted + rejected + duplicate, accepted, rejected, duplicate, sampled_out: 0 };
  const receipt = { totals: door, reasons: { too_old: rejected }, sender_dropped: {}, lost: draw(70), hours: [] };
  return ledger({ receipt, events: { totals: { accepted, landed, ...parts }, hours: [] } });
}

describe("the picture", () => {
  const flows = Array.from({ length: 60 }, (_, seed) => flowOf(anyLedger(seed)));

  it("is as wide at each stage as what leaves there and what goes on", () => {
    for (const flow of flows) {
      for (const { nodes, branches } of [across(flow, { length: 1000, widest: 80 }), down(flow, 56)]) {
        for (const [index, node] of nodes.entries()) {
          const own = branches.filter((branch) => branch.loss.after === index);
          expect(node.onward).toBeCloseTo(sumOf(own) + (nodes[index + 1]?.thick ?? node.onward - sumOf(own)), 6);
        }
      }
    }
  });

  it("is in proportion to events, and shows the smallest part", () => {
    const { branches, nodes } = across(flowOf(ledger()), { length: 1000, widest: 100 });
    const width = (key: string): number => sumOf(branches.filter((branch) => branch.loss.key === key));
    expect(width("duplicate") / width("unknown")).toBeCloseTo(60 / 25, 6);
    expect(width("dead")).toBe(2);
    expect(nodes[4]?.thick).toBeCloseTo((770 / 1025) * 100, 6);
  });

  it("crosses no branch with another, and leaves room between labels", () => {
    for (const flow of flows) {
      const { branches, nodes, depth } = across(flow, { length: 1000, widest: 80 });
      for (const [index, branch] of branches.entries()) {
        const next = branches[index + 1];
        expect(branch.turn).toBeGreaterThan(branch.from);
        expect(branch.turn + branch.thin).toBeLessThan((nodes[branch.loss.after + 1]?.along ?? 0) - BAR);
        expect(branch.end).toBeGreaterThan(branch.far);
        expect(branch.end).toBeLessThanOrEqual(depth);
        if (next === undefined || next.loss.after !== branch.loss.after) continue;
        // The next one leaves further in, so it turns later and ends higher.
        expect(next.far).toBeCloseTo(branch.near, 6);
        expect(next.turn).toBeGreaterThanOrEqual(branch.turn + branch.thin);
        expect(next.end).toBeLessThanOrEqual(branch.end - 40);
      }
    }
  });

  it("gives every stage and every loss a row of its own on a phone", () => {
    for (const flow of flows) {
      const { branches, nodes } = down(flow, 56);
      // Where the labels begin; each is 42 pixels high.
      const tops = [...nodes.map((node) => node.along - 6), ...branches.map((branch) => branch.turn + branch.thin / 2 - 22)];
      const sorted = tops.toSorted((a, b) => a - b);
      const least = Math.min(...sorted.slice(1).map((top, index) => top - (sorted[index] ?? 0)));
      expect(least).toBeGreaterThan(41.9);
    }
  });

  it("draws closed outlines of finite numbers", () => {
    for (const flow of flows) {
      for (const branch of across(flow, { length: 760, widest: 80 }).branches) {
        expect(branchPath(branch, "across")).toMatch(/^M[-\d. LQ]+Z$/);
        expect(branchPath(branch, "down")).toMatch(/^M[-\d. LQ]+Z$/);
      }
    }
  });

  it("shows two widths where the hours of receipt and of the events hold other sums", () => {
    const apart = flowOf(ledger({ events: { totals: { ...MAPS, accepted: 450, landed: 430, tiled: 320 }, hours: [] } }));
    const node = across(apart, { length: 1000, widest: 100 }).nodes[2];
    expect(node?.thick).toBeCloseTo((900 / 1025) * 100, 6);
    expect(node?.onward).toBeLessThan(50);
  });
});

describe("the range", () => {
  it("is what the address fixes, else it follows the clock", () => {
    const next = Date.UTC(2026, 10, 21, 22);
    const search = "?from=2026-11-20T10:00Z&to=2026-11-20T12:00Z&screen=/a";
    const values = readSearch(SPEC, search);
    expect(fixedOf(values)).toEqual({ from: Date.UTC(2026, 10, 20, 10), to: Date.UTC(2026, 10, 20, 12) });
    expect(writeSearch(SPEC, "", values)).toBe(search);
    for (const half of ["?from=2026-11-20T10:00Z", "?from=x&to=y", "?from=2026-11-20T10:00Z&to=2026-11-20T10:00Z"]) {
      expect(fixedOf(readSearch(SPEC, half))).toBeNull();
    }
    expect(followed("24h", next)).toEqual({ from: next - 24 * HOUR, to: next });
    expect(followed("7d", next)).toEqual({ from: Date.UTC(2026, 10, 14), to: next });
  });

  it("moves by its own length", () => {
    expect(neighbour({ from: 10, to: 30 }, 1)).toEqual({ from: 30, to: 50 });
    expect(neighbour({ from: 10, to: 30 }, -1)).toEqual({ from: -10, to: 10 });
  });
});

describe("hours", () => {
  it("stand once each, the newest first, whatever is known of them", () => {
    const [early, late] = ["2026-11-20T09:00:00.000Z", "2026-11-20T10:00:00.000Z"];
    const rows = rowsOf(
      ledger({
        receipt: { totals: DOOR, reasons: {}, sender_dropped: {}, lost: 0, hours: [{ hour: late, received: 5 }] },
        events: { totals: MAPS, hours: [{ hour: early, state: "tiled", tiled: 3 }, { hour: late, state: "waiting", tiled: 1 }] },
      }),
    );
    expect(rows.map((row) => [new Date(row.hour).toISOString(), row.came?.["received"], row.happened?.["tiled"]])).toEqual([
      [late, 5, 1],
      [early, undefined, 3],
    ]);
  });
});
