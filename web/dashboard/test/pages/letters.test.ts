import { describe, expect, it } from "vitest";

import type { DeadCounts } from "../../src/api/types";
import { commandsFor, LISTED, rowsOf, saysOfLetters } from "../../src/pages/system/letters";

const NOW = Date.UTC(2026, 10, 21, 12);
const plain = (text: string | null): string => (text ?? "").replaceAll("\u00a0", " ");

function group(letters: number, hours: number, client: string | null = "shop", reason = "bad_time", stage = "collect"): DeadCounts["counts"][number] {
  return { client_id: client, simulated: false, stage, reason, letters, oldest: new Date(NOW - hours * 3_600_000).toISOString() };
}

describe("dead letters that wait", () => {
  it("are counted, with the oldest of all", () => {
    expect(saysOfLetters({ total: 0, counts: [] }, NOW)).toBeNull();
    expect(plain(saysOfLetters({ total: 1, counts: [group(1, 2)] }, NOW))).toBe("1 letter waits, the oldest came 2 h ago");
    expect(plain(saysOfLetters({ total: 1207, counts: [group(1200, 2), group(7, 5)] }, NOW))).toContain("1,207 letters wait, the oldest came 5 h");
  });

  it("are listed by whose they are and why", () => {
    const [first, second] = rowsOf({ total: 1207, counts: [group(1200, 2), group(7, 5, null, "unusable", "scan")] }, NOW);
    expect(first).toMatchObject({ client: "shop", reason: "bad_time", stage: "At the door", letters: "1,200" });
    expect(second).toMatchObject({ client: null, stage: "In a sink's file", letters: "7" });
    const many = Array.from({ length: LISTED + 3 }, (_, at) => group(1, 1, `c${at}`));
    expect(rowsOf({ total: many.length, counts: many }, NOW)).toHaveLength(LISTED);
  });

  it("come with the commands for the largest group", () => {
    const found = { total: 3, counts: [group(2, 1), group(1, 1, null)] };
    expect(commandsFor(found).split("\n")).toEqual([
      "isotherm dead ls --client shop --reason bad_time",
      "isotherm dead show PLACE",
      "isotherm dead replay --client shop --reason bad_time",
    ]);
    expect(commandsFor({ total: 1, counts: [group(1, 1, null, "unreadable")] })).toContain("isotherm dead ls --reason unreadable\n");
  });
});
