/** The way of events from browser to cell, by the ledger's sums: its stages, and what leaves it between them.
 *
 * At the door events are counted by the hour in which they came, from there on by the hour in which they happened: so
 * the two halves of a range need not meet in the same figure.
 */

import type { Ledger } from "../../api/types";
import { exact, share } from "../../format";

export type StageKey = "sent" | "received" | "accepted" | "landed" | "tiled";

export interface Stage {
  readonly key: StageKey;
  readonly label: string;
  readonly events: number;
  /** Of the accepted ones: those that happened in the range, which is what goes on. */
  readonly onward?: number;
  /** What the figure counts, in a sentence. */
  readonly says: string;
}

/** waiting: comes still; kept: on disk, and in no map; gone: not here. */
export type Fate = "waiting" | "kept" | "gone";

export interface Loss {
  readonly key: string;
  readonly label: string;
  readonly events: number;
  readonly says: string;
  readonly fate: Fate;
  /** Leaves after the stage of this index. */
  readonly after: number;
}

export interface Flow {
  readonly stages: readonly Stage[];
  /** All of them, in the order in which they leave; also those of no event. */
  readonly losses: readonly Loss[];
}

/** Reasons for which the collector refuses single events, where people say them otherwise. */
const REASONS: Readonly<Record<string, string>> = {
  not_an_event: "no event at all",
  bad_event_type: "unreadable kind",
  bad_time: "unreadable time",
  bad_position: "outside the screen",
  missing_position: "place is missing",
  too_far_ahead: "ahead of time",
};

/** "bad_position" as "outside the screen", "bad_number" as "bad number". */
export function reasonWords(reason: string): string {
  return REASONS[reason] ?? (reason === "" ? "no reason given" : reason.replaceAll("_", " "));
}

/** More reasons than these share branches: the table of reasons has them all. */
export const MOST_REASONS = 3;

/** Rejected events by reason in words, most first. */
export function reasonsOf(ledger: Ledger): readonly (readonly [string, number])[] {
  const byWords = new Map<string, number>();
  for (const [reason, events] of Object.entries(ledger.receipt.reasons)) {
    const words = reasonWords(reason);
    byWords.set(words, (byWords.get(words) ?? 0) + events);
  }
  return [...byWords].filter(([, events]) => events > 0).toSorted(([, a], [, b]) => b - a);
}

const REFUSED = "Refused one by one, with the reason in the answer; the rest of their batch went on.";

function rejections(ledger: Ledger): readonly Loss[] {
  const all = reasonsOf(ledger);
  const named = all.length > MOST_REASONS ? all.slice(0, MOST_REASONS - 1) : all;
  const losses = named.map(([words, events]) => loss(1, `rejected ${words}`, `Rejected: ${words}`, events, "gone", REFUSED));
  const rest = of(ledger.receipt.totals, "rejected") - named.reduce((sum, [, events]) => sum + events, 0);
  if (rest <= 0 && losses.length > 0) return losses;
  const label = losses.length === 0 ? "Rejected" : `Rejected: ${exact(all.length - named.length)} more reasons`;
  return [...losses, loss(1, "rejected", label, rest, "gone", REFUSED)];
}

function loss(after: number, key: string, label: string, events: number, fate: Fate, says: string): Loss {
  return { after, key, label, events, fate, says };
}

/** A figure of the answer; a measure that it does not have is none. */
export function of(totals: Readonly<Record<string, number>>, measure: string): number {
  return totals[measure] ?? 0;
}

/** The part that the door has seen. What senders did not number counts as sent when it was received. */
function atTheDoor(ledger: Ledger): Flow {
  const { totals, lost } = ledger.receipt;
  const [received, unknown] = [of(totals, "received"), lost ?? 0];
  return {
    stages: [
      {
        key: "sent",
        label: "Sent",
        events: received + unknown,
        says: "What page views sent, up to the highest number that came. What a view sent after its last batch that came, nobody knows.",
      },
      {
        key: "received",
        label: "Received",
        events: received,
        says: "Events in bodies that the collector answered with 202: on disk before the answer.",
      },
    ],
    losses: [
      loss(
        0,
        "unknown",
        "Did not arrive",
        unknown,
        "gone",
        "Page views numbered them and they have not come. A browser that was closed or offline sends what it kept within a day.",
      ),
      ...rejections(ledger),
      loss(1, "duplicate", "Sent again", of(totals, "duplicate"), "kept", "Batches whose id was known: a browser had no answer and tried again. They count once."),
      loss(1, "sampled_out", "Sampled out", of(totals, "sampled_out"), "gone", "Left out on purpose."),
    ],
  };
}

/** From the log on. */
function onTheMaps(ledger: Ledger, first: number): Flow {
  const { totals } = ledger.events;
  const [landed, tiled] = [of(totals, "landed"), of(totals, "tiled")];
  const known = tiled + of(totals, "no_position") + of(totals, "raw_only") + of(totals, "pending");
  return {
    stages: [
      { key: "landed", label: "Landed", events: landed, says: "Rows in the lake, where raw events are kept." },
      { key: "tiled", label: "On maps", events: tiled, says: "Events counted in a cell of a map." },
    ],
    losses: [
      loss(first, "landing_duplicate", "In the lake already", of(totals, "landing_duplicate"), "kept", "Imported or replayed events that the lake held already. They count once."),
      loss(first, "dead", "Dead letters", of(totals, "dead"), "kept", "They could not be used, and their bytes are kept: isotherm dead ls names them, isotherm dead replay tries again."),
      loss(first + 1, "no_position", "Without a place", of(totals, "no_position"), "kept", "Events such as page views carry no coordinates: counted, and in no cell."),
      loss(first + 1, "raw_only", "Too late for maps", of(totals, "raw_only"), "kept", "They came when their hour was closed for good: kept raw, on no map."),
      loss(first + 1, "pending", "Wait to be counted", of(totals, "pending"), "waiting", "In the lake; their maps are counted again by themselves."),
      loss(first + 1, "gone", "Maps expired", Math.max(0, landed - known), "kept", "The maps of these hours are gone by retention; days and weeks hold what they added up to."),
    ],
  };
}

/** The flow that the answer tells of; of one screen it starts where screens are told apart. */
export function flowOf(ledger: Ledger): Flow {
  const onward = of(ledger.events.totals, "accepted");
  const events = ledger.screen_id === null ? of(ledger.receipt.totals, "accepted") : onward;
  const accepted: Stage = { key: "accepted", label: "Accepted", events, onward, says: "Events that passed every check, each once, and were written to the log." };
  if (ledger.screen_id !== null) {
    const maps = onTheMaps(ledger, 0);
    return { stages: [accepted, ...maps.stages], losses: maps.losses };
  }
  const door = atTheDoor(ledger);
  const maps = onTheMaps(ledger, 2);
  return { stages: [...door.stages, accepted, ...maps.stages], losses: [...door.losses, ...maps.losses] };
}

/** Share of a figure in what it leaves or comes from: "0.3 % of accepted". */
export function shareWords(flow: Flow, part: Loss | Stage): string {
  const whole = flow.stages["after" in part ? part.after : 0];
  if (whole === undefined || whole.key === part.key) return "";
  const onward = "after" in part ? (whole.onward ?? whole.events) : whole.events;
  return `${share(part.events, onward)} of ${whole.label.toLowerCase()}`;
}

/** Whether nothing at all was counted. */
export function isEmpty(ledger: Ledger): boolean {
  const door = ledger.receipt.totals;
  const events = of(door, "received") + of(door, "rejected") + of(door, "duplicate") + (ledger.receipt.lost ?? 0);
  return events + of(ledger.events.totals, "accepted") + of(ledger.events.totals, "landed") === 0;
}

export interface Verdict {
  readonly closes: boolean;
  readonly title: string;
  readonly text: string;
}

/** Whether the sums close, in a sentence, and what is still to come. */
export function verdictOf(ledger: Ledger): Verdict {
  const count = ledger.differences.length;
  if (count > 0) {
    const title = count === 1 ? "The sums of one hour differ" : `The sums differ in ${exact(count)} places`;
    return { closes: false, title, text: "Events were lost or counted twice. isotherm ledger --check says it for all clients, isotherm verify compares the maps with the raw events." };
  }
  const said: string[] = [];
  const dead = of(ledger.events.totals, "dead");
  const onTheWay = ledger.in_flight ?? 0;
  if (onTheWay > 0) said.push(`${exact(onTheWay)} more are on the way to the lake, and enter these sums when they land.`);
  if (ledger.pending > 0) said.push(`${exact(ledger.pending)} are in the lake and wait to be counted.`);
  if (dead > 0) said.push(`${exact(dead)} could not be used and are kept as dead letters.`);
  if (said.length === 0) said.push("What was accepted is in the lake, and what has a place is on the maps.");
  if (ledger.late > 0) said.push(`${exact(ledger.late)} came late, after their hour was closed: it was counted again.`);
  return { closes: true, title: "Every event is accounted for", text: said.join(" ") };
}
