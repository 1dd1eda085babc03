/** Dead letters that wait, in words for people: from what GET /v1/dead/counts says. */

import type { DeadCounts } from "../../api/types";
import { ago, exact, ms, plural } from "../../format";

const STAGES: Readonly<Record<string, string>> = { collect: "At the door", land: "At landing", scan: "In a sink's file" };

/** Groups that are listed; the rest is one command away. */
export const LISTED = 12;

export interface Row {
  readonly key: string;
  /** null: nobody can tell whose they are. */
  readonly client: string | null;
  readonly simulated: boolean;
  readonly stage: string;
  readonly reason: string;
  readonly letters: string;
  readonly oldest: string;
}

/** The groups with the most letters. */
export function rowsOf(found: DeadCounts, now: number): readonly Row[] {
  return found.counts.slice(0, LISTED).map((group) => ({
    key: `${group.client_id ?? ""}|${group.stage}|${group.reason}`,
    client: group.client_id,
    simulated: group.simulated,
    stage: STAGES[group.stage] ?? group.stage,
    reason: group.reason,
    letters: exact(group.letters),
    oldest: ago(ms(group.oldest), now),
  }));
}

/** How many wait and since when; null where none does. */
export function saysOfLetters(found: DeadCounts, now: number): string | null {
  if (found.total === 0) return null;
  const oldest = Math.min(...found.counts.map((group) => ms(group.oldest)));
  return `${plural(found.total, "letter")} ${found.total === 1 ? "waits" : "wait"}, the oldest came ${ago(oldest, now)}`;
}

/** What to type to look at the largest group, and to send it again once its reason is gone. */
export function commandsFor(found: DeadCounts): string {
  const first = found.counts[0];
  const client = first === undefined || first.client_id === null ? "" : ` --client ${first.client_id}`;
  const which = first === undefined ? "" : `${client} --reason ${first.reason}`;
  return [`isotherm dead ls${which}`, "isotherm dead show PLACE", `isotherm dead replay${which}`].join("\n");
}
