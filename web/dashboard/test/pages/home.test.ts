import { describe, expect, it } from "vitest";

import type { Activity, ClientRow, Freshness, Status } from "../../src/api/types";
import { problemsOf } from "../../src/frame/problems";
import { freshnessWords } from "../../src/frame/words";
import { ceiling, whenOf } from "../../src/pages/home/chart";
import { barsOf, busiest, edgesOf, MOST_CLIENTS } from "../../src/pages/home/data";

const HOUR = 3_600_000;
const plain = (text: string): string => text.replaceAll("\u00a0", " ");

function client(id: string, events = 1): ClientRow {
  return { client_id: id, events, screens: 1, last_event: null, simulated: id.endsWith("-simulated") };
}

function activity(id: string, counts: readonly number[], step: "hour" | "day" = "hour"): Activity {
  const steps = counts.map((events, index) => ({ events, start: new Date(index * HOUR).toISOString() }));
  return { client_id: id, step, steps } as unknown as Activity;
}

describe("events over time", () => {
  it("adds the clients up, step by step, simulation apart", () => {
    const rows = [client("a"), client("b"), client("b-simulated")];
    const all = new Map(
      [activity("a", [1, 2]), activity("b", [10, 0]), activity("b-simulated", [0, 5])].map((each) => [each.client_id, each]),
    );
    expect(barsOf(all, rows)).toEqual([
      { start: 0, end: HOUR, real: 11, simulated: 0 },
      { start: HOUR, end: 2 * HOUR, real: 2, simulated: 5 },
    ]);
  });

  it("takes the busiest clients when there are many", () => {
    const many = Array.from({ length: 40 }, (_, index) => client(`c${index}`, index));
    const taken = busiest(many);
    expect(taken).toHaveLength(MOST_CLIENTS);
    expect(taken[0]?.client_id).toBe("c39");
  });

  it("reaches back whole hours or whole days", () => {
    const next = Date.UTC(2026, 1, 2, 11);
    expect(edgesOf("24h", next)).toEqual({ from: next - 24 * HOUR, to: next, step: "hour" });
    const month = edgesOf("30d", next);
    expect([month.from % (24 * HOUR), month.to]).toEqual([0, Date.UTC(2026, 1, 3)]);
  });

  it("has a round top that holds the highest bar", () => {
    expect([0, 3, 9, 10, 11, 2100, 99_999].map(ceiling)).toEqual([4, 4, 10, 10, 20, 3000, 100_000]);
  });

  it("says when a bar is, in UTC", () => {
    expect(plain(whenOf({ start: 10 * HOUR, end: 11 * HOUR, real: 0, simulated: 0 }))).toBe("Thu 1 Jan, 10:00 – 11:00 UTC");
    expect(plain(whenOf({ start: 0, end: 24 * HOUR, real: 0, simulated: 0 }))).toBe("Thu 1 Jan, UTC");
  });
});

const FRESH: Freshness = {
  client_id: "a",
  simulated: false,
  now: "2026-02-02T10:42:30.000Z",
  received: 10,
  last_received_at: "2026-02-02T10:42:20.000Z",
  tiled_until: "2026-02-02T10:42:10.000Z",
  waiting: { lander: 0, tiles: 0 },
  version: 3,
};

describe("freshness in words", () => {
  it("is calm when everything has arrived", () => {
    const words = freshnessWords(FRESH);
    expect(plain(words.long)).toBe("Everything received is in the maps. The last event came 10 s ago.");
    expect(words.tone).toBe("ok");
  });

  it("counts what is on its way", () => {
    const words = freshnessWords({ ...FRESH, waiting: { lander: 300, tiles: 12 } });
    expect(plain(words.short)).toBe("312 events on their way");
    expect(words.long).toContain("up to 10:42:10 UTC");
    expect(freshnessWords({ ...FRESH, waiting: { lander: null, tiles: 1 } }).short).toContain("its way");
    expect(words.tone).toBe("ok");
    const later = { ...FRESH, now: "2026-02-02T10:43:11.000Z", waiting: { lander: 300, tiles: 12 } };
    expect(freshnessWords(later).tone).toBe("warn");
  });

  it("knows a client that sent nothing", () => {
    expect(freshnessWords({ ...FRESH, received: 0 }).short).toBe("No events yet");
  });
});

describe("problems", () => {
  const now = "2026-02-02T10:00:00.000Z";
  const at = Date.parse(now);
  const status = (lander: unknown, scheduler: unknown): Status => ({ now, lander, scheduler }) as unknown as Status;
  const told = (more: object): readonly string[][] => {
    const found = problemsOf({ ...status(null, undefined), ...more });
    return found.map(({ title, text }) => [title, plain(text).slice(0, 18)]);
  };

  it("are shown while they are recent, with the words of the program", () => {
    const found = problemsOf(
      status(
        { last_error: "OSError: no space left on device", last_error_at: at - 5000 },
        { last_error: "hour: Boom", last_error_at: at - 5000 },
      ),
    );
    expect(found.map(({ title }) => title)).toEqual([
      "Events are kept, but do not reach the lake",
      "A map could not be counted",
    ]);
    expect(found[0]?.text).toContain("no space left on device");
  });

  it("name a collector that does not answer and a log that is nearly full", () => {
    const more = { collector: { answers: false, refuses: null }, log: { bytes: 95e9, max_bytes: 100e9 } };
    const found = problemsOf({ ...status(null, undefined), ...more });
    expect(found.map(({ title }) => title)).toEqual(["The collector does not answer", "The log is nearly full"]);
    expect(plain(found[1]?.text ?? "")).toContain("95 GB of 100 GB");
    expect(problemsOf({ ...status(null, undefined), collector: { answers: true, refuses: null } })).toEqual([]);
  });

  it("name raw files that cannot be read, which the last nights met", () => {
    const findings = { verification: { findings: { same: 4, unreadable: 1 }, last_at: at } };
    const night = (ago: number) => {
      const ran = new Date(at - ago).toISOString();
      return { rounds: { verify: { ran_at: ran, did_at: ran, did: { same: 4, unreadable: 3 } } } };
    };
    expect(told(findings)).toEqual([["Raw files are missing or damaged", "Those of 1 bucket,"]]);
    expect(told(night(3_600_000))).toEqual([["Raw files are missing or damaged", "Those of 3 buckets"]]);
    expect(told(night(3 * 24 * 3_600_000))).toEqual([]);
  });

  it("say why a collector refuses what comes", () => {
    const found = problemsOf({ ...status(null, undefined), collector: { answers: true, refuses: "the log is full" } });
    expect(found.map(({ title }) => title)).toEqual(["The collector refuses events"]);
    expect(found[0]?.text).toContain("the log is full. ");
  });

  it("are gone when the work went well for a minute, or nothing went wrong", () => {
    expect(problemsOf(status({ last_error: "x", last_error_at: at - 61_000 }, { last_error: null, last_error_at: null }))).toEqual([]);
    expect(problemsOf(undefined)).toEqual([]);
  });
});
