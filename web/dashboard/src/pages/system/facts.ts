/** The state of the program in words for people: from what GET /v1/status says. */

import type { Status } from "../../api/types";
import { unreadable } from "../../api/verified";
import { ago, bytes, date, duration, exact, HOUR_MS, MINUTE_MS, ms, plural, SECOND_MS } from "../../format";
import type { Tone } from "../../ui";

/** One line of a list: what it is, how it is, and a word more. */
export interface Fact {
  readonly name: string;
  readonly value: string;
  readonly says: string;
  readonly tone: Tone;
}

const LEVELS = ["hour", "day", "week"] as const;
const LEVEL_WORDS = { hour: "Hours", day: "Days", week: "Weeks" } as const;

/** A sentence with a capital at its start and a full stop at its end. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const ended = /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}

/** An error that old was followed by work that went well. */
const RECENT_MS = 15 * MINUTE_MS;

/** What went wrong in a part in the last minutes, by the server's clock; null: nothing. */
function errorOf(part: object | null | undefined, now: number): string | null {
  const { last_error: error, last_error_at: at } = (part ?? {}) as { last_error?: string | null; last_error_at?: number | null };
  return typeof at === "number" && now - at < RECENT_MS && error ? sentence(error) : null;
}

function collector(status: Status): Fact {
  const { collector: found } = status;
  if (found === undefined) return { name: "Collector", value: "Elsewhere", says: "This process does not know it.", tone: "neutral" };
  if (found.refuses) return { name: "Collector", value: "Refuses events", says: sentence(found.refuses), tone: "bad" };
  return found.answers
    ? { name: "Collector", value: "Answers", says: "Takes events in, and answers when they are on disk.", tone: "ok" }
    : { name: "Collector", value: "Does not answer", says: "Browsers keep their events and send them later.", tone: "bad" };
}

function lander(status: Status, now: number): Fact {
  const { lander: found } = status;
  const name = "Lander";
  if (found === null) return { name, value: "Elsewhere", says: "Another process writes the lake.", tone: "neutral" };
  const error = errorOf(found, now);
  if (error !== null) return { name, value: "Met an error", says: error, tone: "warn" };
  if (found.lag === 0) return { name, value: "Up to date", says: "Everything on the log is in the lake.", tone: "ok" };
  const oldest = found.oldest_unlanded_ms;
  const waits = oldest >= SECOND_MS ? `The oldest waits for ${duration(oldest)}.` : "The oldest has just come.";
  return { name, value: `${plural(found.lag, "record")} behind`, says: waits, tone: oldest > 10 * MINUTE_MS ? "warn" : "ok" };
}

const waits = (buckets: number): string => `${plural(buckets, "bucket")} ${buckets === 1 ? "waits" : "wait"} to be counted again`;

function scheduler(status: Status, now: number): Fact {
  const { scheduler: found } = status;
  const name = "Scheduler";
  if (found === undefined) return { name, value: "Elsewhere", says: "Another process counts the maps.", tone: "neutral" };
  const error = errorOf(found, now);
  if (error !== null) return { name, value: "Met an error", says: error, tone: "warn" };
  const waiting = Object.values(status.dirty).reduce((sum, count) => sum + count, 0);
  return waiting === 0
    ? { name, value: "Up to date", says: "No bucket waits to be counted.", tone: "ok" }
    : { name, value: "Counting", says: `${waits(waiting)}; the running day and week always do.`, tone: "ok" };
}

const STREAM_WORDS = { starting: "Starting", standby: "Stands by", rebuilding: "Catching up", counting: "Counting" } as const;

function stream(status: Status, now: number): Fact | null {
  const found = status.stream;
  if (found === null) return null;
  const error = errorOf(found, now);
  if (error !== null) return { name: "Live windows", value: "Met an error", says: error, tone: "warn" };
  const says = `${plural(found.windows, "window")} ${found.windows === 1 ? "is" : "are"} alive.`;
  return { name: "Live windows", value: STREAM_WORDS[found.state], says, tone: found.state === "rebuilding" ? "warn" : "ok" };
}

/** What runs, and how it does. */
export function processes(status: Status): readonly Fact[] {
  const now = ms(status.now);
  const found = [collector(status), lander(status, now), scheduler(status, now), stream(status, now)];
  return found.filter((fact) => fact !== null);
}

/** How fresh the maps of each level are. */
export function freshness(status: Status): readonly Fact[] {
  return LEVELS.map((level) => {
    const name = LEVEL_WORDS[level];
    const published = status.tiles[level] ?? 0;
    const found = status.freshness[level];
    if (found === undefined || found.seconds === 0) return { name, value: "Complete", says: `${plural(published, "bucket")} published`, tone: "ok" };
    const lacks = duration(found.seconds * SECOND_MS);
    const late = found.seconds > { hour: 900, day: 7200, week: 21_600 }[level];
    return { name, value: `${lacks} behind`, says: waits(found.buckets), tone: late ? "warn" : "ok" };
  });
}

/** Whether the sums of the ledger close. */
export function ledgerFact(status: Status): Fact {
  const { ledger } = status;
  const name = "Ledger";
  if (ledger === null) return { name, value: "Not checked yet", says: "The first check follows some minutes after the start.", tone: "neutral" };
  const since = `Checked since ${date(ledger.since)}`;
  if (ledger.differing === 0) return { name, value: "Every sum closes", says: `${since}: every event received is accounted for.`, tone: "ok" };
  return { name, value: `${plural(ledger.differing, "hour")} ${ledger.differing === 1 ? "differs" : "differ"}`, says: ledger.examples.map(sentence).join(" "), tone: "bad" };
}

const FINDINGS: Readonly<Record<string, string>> = {
  same: "the same",
  dirty: "waited to be counted",
  frozen: "raw gone by retention",
  different: "different",
  unreadable: "with files that cannot be read",
};

/** What came of comparing maps with the raw events. */
export function verificationFact(status: Status, now: number): Fact {
  const found = status.verification;
  const name = "Maps against raw events";
  if (found === null || found.last_at === null) {
    return { name, value: "Not compared yet", says: "A sample is compared every night; isotherm verify compares all now.", tone: "neutral" };
  }
  const sorted = Object.entries(found.findings).filter(([, count]) => count > 0);
  const buckets = sorted.reduce((sum, [, count]) => sum + count, 0);
  const different = found.findings["different"] ?? 0;
  const missing = unreadable(status);
  const parts = sorted.map(([finding, count]) => `${exact(count)} ${FINDINGS[finding] ?? finding}`).join(", ");
  const says = `${plural(buckets, "bucket")} compared, the last ${ago(found.last_at, now)}: ${parts}.`;
  if (different > 0) {
    return { name, value: `${plural(different, "bucket")} ${different === 1 ? "differs" : "differ"}`, says, tone: "bad" };
  }
  return missing > 0
    ? { name, value: `Files of ${plural(missing, "bucket")} cannot be read`, says: `${says} isotherm verify names the files.`, tone: "bad" }
    : { name, value: "No difference", says, tone: "ok" };
}

/** Whether landing could not use anything: by the ledger's newest hours, and by what stands beside their log. */
export function deadFact(status: Status): Fact {
  const name = "Unusable records";
  const held = status.stores?.["dead"];
  if (held === undefined) return { name, value: "Not known", says: "Measured some minutes after the start.", tone: "neutral" };
  const size = held["folder"] ?? 0;
  const lost = status.ledger?.dead ?? 0;
  return size === 0 && lost === 0
    ? { name, value: "None", says: "Every record of the log became rows of the lake.", tone: "ok" }
    : { name, value: lost > 0 ? plural(lost, "event") : bytes(size), says: "Kept whole as dead letters: isotherm dead ls names them, isotherm dead replay tries again.", tone: "warn" };
}

const STORES: Readonly<Record<string, string>> = {
  log: "Event log",
  lake: "Lake",
  archive: "Archive",
  tiles: "Maps",
  database: "Database",
  dead: "Dead letters",
};
const PARTS: Readonly<Record<string, string>> = { parquet: "Parquet", jsonl: "JSON lines", log: "their log", folder: "a folder beside it" };

export interface Store {
  readonly name: string;
  readonly bytes: number;
  readonly says: string;
}

/** Bytes per store, the largest first. */
export function stores(status: Status): readonly Store[] {
  const kept: Readonly<Record<string, number | undefined>> = status.retention_days;
  const days: Readonly<Record<string, string>> = {
    log: keptFor(kept["log"]),
    lake: keptFor(kept["raw"]),
    tiles: `${keptFor(kept["hour"])}, days for ${dayWords(kept["day"])}, weeks for ${dayWords(kept["week"])}`,
  };
  return Object.entries(status.stores ?? {})
    .map(([store, parts]) => {
      const size = Object.values(parts).reduce((sum, count) => sum + count, 0);
      const split = Object.entries(parts).filter(([part]) => part !== "all");
      const formats = split.length > 1 ? split.map(([part, count]) => `${PARTS[part] ?? part} ${bytes(count)}`).join(", ") : "";
      const says = [formats, days[store] ?? ""].filter((each) => each !== "").join("; ");
      return { name: STORES[store] ?? store, bytes: size, says: store === "tiles" ? says.replace("kept", "hours kept") : says };
    })
    .toSorted((a, b) => b.bytes - a.bytes);
}

function dayWords(days: number | undefined): string {
  if (days === undefined) return "ever";
  return days >= 730 && days % 365 === 0 ? `${days / 365} years` : plural(days, "day");
}

const keptFor = (days: number | undefined): string => (days === undefined ? "" : `kept for ${dayWords(days)}`);

/** Free space of each disk; disks of one size and fill are one disk. */
export function disks(status: Status): readonly Fact[] {
  const seen = new Map<string, { free: number; size: number; of: string[] }>();
  for (const { store, free, size } of status.disks ?? []) {
    const key = `${size}`;
    const known = seen.get(key);
    if (known === undefined) seen.set(key, { free, size, of: [store] });
    else known.of.push(store);
  }
  return [...seen.values()].map(({ free, size, of }) => ({
    name: `Disk of ${of.join(", ")}`,
    value: `${bytes(free)} free`,
    says: `of ${bytes(size)}`,
    tone: free < size * 0.05 ? "warn" : "neutral",
  }));
}

const WORKS: Readonly<Record<string, string>> = {
  raw: "Raw events",
  tiles: "Maps",
  records: "Ledger and records",
  log: "Event log",
  archive: "Archive",
};

function did(done: Readonly<Record<string, unknown>>): string {
  const words: string[] = [];
  for (const [what, amount] of Object.entries(done)) {
    if (typeof amount === "number" && amount > 0) words.push(what === "bytes" ? bytes(amount) : `${exact(amount)} ${what}`);
  }
  return words.join(", ");
}

/** When everything was last copied elsewhere. */
export function backupFact(status: Status, now: number): Fact {
  const name = "Backup";
  const at = status.rounds["backup"]?.did_at ?? null;
  return at === null
    ? { name, value: "None yet", says: "isotherm backup copies everything to another place while it runs.", tone: "neutral" }
    : { name, value: `Taken ${ago(ms(at), now)}`, says: "isotherm restore --drill shows that it can be restored.", tone: "ok" };
}

/** What retention and archive did last. */
export function rounds(status: Status, now: number): readonly Fact[] {
  return Object.entries(WORKS).flatMap(([work, name]) => {
    const round = status.rounds[work];
    if (round === undefined) return [];
    const ran = ms(round.ran_at);
    const looked = `Looked ${ago(ran, now)}.`;
    const tone: Tone = now - ran > 26 * HOUR_MS ? "warn" : "ok";
    if (round.did_at === null) return [{ name, value: "Nothing was due", says: looked, tone }];
    const amount = did(round.did);
    return [{ name, value: `${work === "archive" ? "Moved" : "Removed"} ${amount === "" ? "some" : amount}`, says: `${ago(ms(round.did_at), now)}. ${looked}`, tone }];
  });
}

/** One sentence on all of it. */
export function verdict(status: Status): { readonly title: string; readonly text: string; readonly well: boolean } {
  const count = status.problems.length;
  if (count > 0) {
    return { title: count === 1 ? "One thing is not well" : `${exact(count)} things are not well`, text: "", well: false };
  }
  const text = status.idle ? "Nothing is on its way: every event received is in the lake and on the maps." : "Events are on their way to the maps.";
  return { title: "All is well", text, well: true };
}
