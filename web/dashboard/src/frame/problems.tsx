/** Calm lines about what is wrong with the program itself, and what to do. */

import { useLocation } from "preact-iso";

import { offline } from "../api/client";
import { useStatus } from "../api/queries";
import type { Status } from "../api/types";
import { unreadable } from "../api/verified";
import { bytes, plural } from "../format";
import { Note } from "../ui";
import { href } from "../url";

/** An error that old was followed by work that went well. */
const RECENT_MS = 60_000;
/** The part of the log's size from which on it is worth a word. */
const FULL = 0.9;

interface Part {
  readonly last_error: string | null;
  readonly last_error_at: number | null;
}

function failing(part: Part | null | undefined, now: number): string | null {
  if (!part || part.last_error === null || part.last_error_at === null) return null;
  return now - part.last_error_at < RECENT_MS ? part.last_error : null;
}

/** What is wrong: its title and what to do about it. */
export function problemsOf(status: Status | undefined): readonly { title: string; text: string }[] {
  if (status === undefined) return [];
  const now = Date.parse(status.now);
  const lander = failing(status.lander, now);
  const scheduler = failing(status.scheduler, now);
  const found: { title: string; text: string }[] = [];
  if (status.collector?.answers === false) {
    found.push({
      title: "The collector does not answer",
      text: "No events come in; browsers keep theirs and send them later. isotherm up starts it again by itself, and isotherm logs says why it stopped.",
    });
  }
  if (status.collector?.refuses) {
    found.push({
      title: "The collector refuses events",
      text: `${status.collector.refuses}. Browsers keep theirs and send them later.`,
    });
  }
  if (status.log !== undefined && status.log.bytes > FULL * status.log.max_bytes) {
    found.push({
      title: "The log is nearly full",
      text: `${bytes(status.log.bytes)} of ${bytes(status.log.max_bytes)} wait for the lake. When it is full the collector asks senders to wait; free disk space, or raise log_max_bytes.`,
    });
  }
  if (lander !== null) {
    found.push({
      title: "Events are kept, but do not reach the lake",
      text: `${lander}. Isotherm tries again by itself and nothing is lost; free disk space and isotherm logs are the places to look.`,
    });
  }
  if (scheduler !== null) {
    found.push({
      title: "A map could not be counted",
      text: `${scheduler}. It is tried again by itself; the maps stay as they were until then. isotherm logs says more.`,
    });
  }
  if (status.ledger && status.ledger.differing > 0) {
    found.push({
      title: "The ledger's sums do not close",
      text: `${plural(status.ledger.differing, "hour")}: events were lost or counted twice. The System page names them, and isotherm ledger --check all of them.`,
    });
  }
  const different = status.verification?.findings["different"] ?? 0;
  if (different > 0) {
    found.push({
      title: "Maps differ from the raw events",
      text: `${plural(different, "bucket")}: see isotherm verify; isotherm rollup counts them again.`,
    });
  }
  const missing = unreadable(status);
  if (missing > 0) {
    found.push({
      title: "Raw files are missing or damaged",
      text: `Those of ${plural(missing, "bucket")}, whose maps cannot be compared or made again: isotherm verify names them; restore them from a backup.`,
    });
  }
  return found;
}

export function Problems() {
  const { data } = useStatus();
  const { path } = useLocation();
  // The System page says all of it itself.
  const found = offline.value || path === href.system() ? [] : problemsOf(data);
  if (found.length === 0 && !offline.value) return null;
  return (
    <div class="problems">
      {offline.value && (
        <Note tone="bad" title="Isotherm does not answer">
          What you see is the last state it told. This page connects again by itself; if it stays so, start it with{" "}
          <code>isotherm up</code>.
        </Note>
      )}
      {found.map(({ title, text }) => (
        <Note key={title} title={title}>
          {text}
        </Note>
      ))}
    </div>
  );
}
