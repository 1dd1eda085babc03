/** What the ledger says of a map, in a few words: whether it holds all there is, and what is not on it. */

import { compact, plural } from "../format";
import { Dot, type Tone } from "../ui";
import "./mark.css";

export interface Said {
  readonly tone: Tone;
  readonly short: string;
  readonly long: string;
}

/** Events of a map, and whether the sums of its hours close. */
export interface MarkFacts {
  readonly complete: boolean;
  readonly late: number;
  readonly rejected: number;
  readonly pending: number;
  readonly dead: number;
  readonly differences: readonly string[];
}

const count = (events: number): string => plural(events, "event");

/** The most pressing first. */
export function markOf({ complete, late, rejected, pending, dead, differences }: MarkFacts): Said {
  const asides = [...(late > 0 ? [`${compact(late)} late`] : []), ...(rejected > 0 ? [`${compact(rejected)} rejected`] : [])];
  const more = [
    ...(late > 0 ? [`${count(late)} came late and ${late === 1 ? "is" : "are"} on it.`] : []),
    ...(rejected > 0 ? [`${count(rejected)} ${rejected === 1 ? "was" : "were"} rejected at the door.`] : []),
  ];
  const told = (tone: Tone, first: string, long: string): Said => ({
    tone,
    short: [first, ...asides].join(" · "),
    long: [long, ...more].join(" "),
  });
  if (differences.length > 0) return told("bad", "Sums differ", "The ledger's sums do not close in this range: see the ledger.");
  if (pending > 0) return told("accent", `${compact(pending)} ${pending === 1 ? "waits" : "wait"} to be counted`, `${count(pending)} in the lake wait to be counted.`);
  if (dead > 0) return told("warn", plural(dead, "dead letter"), `${count(dead)} could not be used and ${dead === 1 ? "is" : "are"} kept as dead letters.`);
  if (!complete) return told("neutral", "Not complete", "Not everything is on this map yet.");
  return told("ok", "Complete", "Everything accepted for this map is on it.");
}

/** On a small map in a list. */
export function SmallMark({ facts }: { readonly facts: MarkFacts }) {
  const { tone, short, long } = markOf(facts);
  return (
    <span class="small-mark tabular" title={long} data-mark={tone}>
      <Dot tone={tone} />
      <span>{short}</span>
    </span>
  );
}
