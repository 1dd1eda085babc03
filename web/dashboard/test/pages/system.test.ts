import { describe, expect, it } from "vitest";

import type { Status } from "../../src/api/types";
import { backupFact, deadFact, disks, freshness, ledgerFact, processes, rounds, sentence, stores, verdict, verificationFact } from "../../src/pages/system/facts";

const NOW = Date.UTC(2026, 10, 21, 12);
const HOUR = 3_600_000;
const plain = (text: string | undefined): string => (text ?? "").replaceAll("\u00a0", " ");

function status(of: Partial<Status> = {}): Status {
  const level = { buckets: 0, until: NOW, seconds: 0 };
  return {
    version: "1",
    now: new Date(NOW).toISOString(),
    idle: true,
    dirty: { hour: 0, day: 0, week: 0 },
    lake: {},
    tiles: { hour: 5, day: 1, week: 1 },
    intake: null,
    lander: { lag: 0, oldest_unlanded_ms: 0, last_error: null, last_error_at: null },
    scheduler: { last_error: null, last_error_at: null },
    stream: { engine: "builtin", state: "counting", lag: 0, windows: 3 },
    collector: { answers: true, refuses: null },
    problems: [],
    freshness: { hour: level, day: level, week: level },
    retention_days: { log: 7, raw: 730, hour: 90, day: 730, week: 1826 },
    rounds: {},
    ledger: { since: NOW - 8 * 24 * HOUR, dead: 0, differing: 0, examples: [] },
    verification: { findings: {}, last_at: null },
    stores: {},
    disks: [],
    measured_at: NOW,
    ...of,
  } as unknown as Status;
}

describe("the state of the program", () => {
  it("is well when there is no problem, and says each in a sentence when there is", () => {
    expect(verdict(status())).toMatchObject({ well: true, title: "All is well" });
    expect(verdict(status({ idle: false })).text).toContain("on their way");
    expect(verdict(status({ problems: ["a", "b"] }))).toMatchObject({ well: false, title: "2 things are not well" });
    expect(sentence("the collector does not answer")).toBe("The collector does not answer.");
  });

  it("says how each part does", () => {
    const tones = (of: Partial<Status>): readonly string[] => processes(status(of)).map((fact) => fact.tone);
    expect(tones({})).toEqual(["ok", "ok", "ok", "ok"]);
    expect(tones({ collector: { answers: false, refuses: null } })[0]).toBe("bad");
    expect(processes(status({ collector: { answers: true, refuses: "the log is full" } }))[0]).toMatchObject({
      value: "Refuses events",
      says: "The log is full.",
      tone: "bad",
    });
    expect(tones({ scheduler: { last_error: "disk full", last_error_at: NOW - 1000 } })[2]).toBe("warn");
    expect(tones({ scheduler: { last_error: "disk full", last_error_at: NOW - HOUR } })[2]).toBe("ok");
    expect(processes(status({ lander: null, stream: null })).map((fact) => fact.value)).toEqual(["Answers", "Elsewhere", "Up to date"]);
  });

  it("says how far behind a level is", () => {
    const late = { hour: { buckets: 3, until: NOW - HOUR, seconds: 3600 }, day: { buckets: 0, until: NOW, seconds: 0 }, week: { buckets: 1, until: NOW, seconds: 2 } };
    const said = freshness(status({ freshness: late }));
    expect(said.map((fact) => [plain(fact.value), fact.tone])).toEqual([["1 h behind", "warn"], ["Complete", "ok"], ["2 s behind", "ok"]]);
    expect(plain(said[0]?.says)).toBe("3 buckets wait to be counted again");
    expect(plain(said[2]?.says)).toBe("1 bucket waits to be counted again");
  });

  it("says whether sums close and maps are what was received", () => {
    expect(ledgerFact(status()).tone).toBe("ok");
    expect(ledgerFact(status({ ledger: null })).tone).toBe("neutral");
    const differs = ledgerFact(status({ ledger: { since: NOW, dead: 0, differing: 2, examples: ["received 3 is not 2"] } }));
    expect([plain(differs.value), differs.says, differs.tone]).toEqual(["2 hours differ", "Received 3 is not 2.", "bad"]);
    expect(verificationFact(status(), NOW).value).toBe("Not compared yet");
    const found = verificationFact(status({ verification: { findings: { same: 40, frozen: 2 }, last_at: NOW - 3 * HOUR } }), NOW);
    expect([found.tone, plain(found.says)]).toEqual(["ok", "42 buckets compared, the last 3 h ago: 40 the same, 2 raw gone by retention."]);
    const wrong = verificationFact(status({ verification: { findings: { same: 40, different: 1 }, last_at: NOW } }), NOW);
    expect([wrong.tone, plain(wrong.value)]).toEqual(["bad", "1 bucket differs"]);
    const missing = verificationFact(status({ verification: { findings: { same: 40, unreadable: 1 }, last_at: NOW } }), NOW);
    expect([missing.tone, plain(missing.value)]).toEqual(["bad", "Files of 1 bucket cannot be read"]);
    const at = new Date(NOW - HOUR).toISOString();
    const night = { verify: { ran_at: at, did_at: at, did: { unreadable: 3 } as never } };
    const met = verificationFact(status({ verification: { findings: { same: 40 }, last_at: NOW }, rounds: night }), NOW);
    expect([met.tone, plain(met.value)]).toEqual(["bad", "Files of 3 buckets cannot be read"]);
  });

  it("lists stores by size, with how long they are kept", () => {
    const held = { dead: { all: 0 }, lake: { parquet: 3000, jsonl: 1000 }, tiles: { all: 5000 }, log: { all: 10 } };
    const listed = stores(status({ stores: held }));
    expect(listed.map((store) => [store.name, store.bytes])).toEqual([["Maps", 5000], ["Lake", 4000], ["Event log", 10], ["Dead letters", 0]]);
    expect(plain(listed[1]?.says)).toBe("Parquet 3 kB, JSON lines 1 kB; kept for 2 years");
    expect(plain(listed[0]?.says)).toBe("hours kept for 90 days, days for 2 years, weeks for 1,826 days");
  });

  it("counts a disk once, and warns when it is nearly full", () => {
    const full = { free: 1, size: 100 };
    expect(disks(status({ disks: [{ store: "data", ...full }, { store: "log", ...full }] })).map((fact) => [fact.name, fact.tone])).toEqual([["Disk of data, log", "warn"]]);
  });

  it("tells what retention did last, and dead letters", () => {
    const done = { hours: 2, rows: 1200, bytes: 5000, clients: { shop: { rows: 1200 } } };
    const ran = new Date(NOW - 60_000).toISOString();
    const said = rounds(status({ rounds: { raw: { ran_at: ran, did_at: ran, did: done as never }, log: { ran_at: ran, did_at: null, did: {} } } }), NOW);
    expect(said.map((fact) => plain(fact.value))).toEqual(["Removed 2 hours, 1,200 rows, 5 kB", "Nothing was due"]);
    const others = { "clock.land": { ran_at: ran, did_at: ran, did: { by: NOW } as never }, backup: { ran_at: ran, did_at: ran, did: {} } };
    expect(rounds(status({ rounds: others }), NOW)).toEqual([]);
    expect(backupFact(status(), NOW).value).toBe("None yet");
    expect(plain(backupFact(status({ rounds: others }), NOW).value)).toBe("Taken 1 min ago");
    expect(deadFact(status({ stores: { dead: { log: 5000, folder: 0 } } })).value).toBe("None");
    expect(deadFact(status({ stores: { dead: { log: 5000, folder: 2000 } } })).tone).toBe("warn");
  });
});
