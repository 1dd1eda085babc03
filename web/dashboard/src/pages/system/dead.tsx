/** What could not be accepted or landed and waits to be looked at: whose it is, why, and what to do about it. */

import { ProblemError } from "../../api/client";
import { useDeadCounts } from "../../api/queries";
import type { DeadCounts } from "../../api/types";
import { exact } from "../../format";
import { CodeBlock, type Column, ErrorNote, Loading, SimulatedBadge, Skeleton, Table } from "../../ui";
import { commandsFor, LISTED, type Row, rowsOf, saysOfLetters } from "./letters";

const COLUMNS: readonly Column<Row>[] = [
  {
    key: "client",
    head: "Client",
    cell: (row) => (
      <>
        {row.client ?? <span class="system-says">Nobody can tell</span>} {row.simulated && <SimulatedBadge />}
      </>
    ),
  },
  { key: "letters", head: "Letters", numeric: true, cell: (row) => row.letters },
  { key: "reason", head: "Reason", cell: (row) => <code>{row.reason}</code> },
  { key: "stage", head: "Stage", cell: (row) => row.stage },
  { key: "oldest", head: "Oldest", numeric: true, cell: (row) => row.oldest },
];

export function DeadLetters({ now }: { readonly now: number }) {
  const found = useDeadCounts();
  return (
    <section class="card" aria-labelledby="dead-letters">
      <header class="card-head">
        <h2 id="dead-letters">Dead letters</h2>
        {found.data !== undefined && <span class="card-says">{saysOfLetters(found.data, now)}</span>}
      </header>
      {found.data !== undefined ? <Found found={found.data} now={now} /> : <Missing error={found.error} onRetry={found.refetch} />}
    </section>
  );
}

function Missing({ error, onRetry }: { readonly error: Error | undefined; readonly onRetry: () => void }) {
  if (error === undefined) {
    return (
      <div class="system-none">
        <Loading what="dead letters" />
        <Skeleton width="24ch" />
      </div>
    );
  }
  if (error instanceof ProblemError && error.status === 501) {
    return <p class="system-none">Another process reads them: ask the app that runs the jobs, or isotherm dead ls.</p>;
  }
  return (
    <div class="system-none">
      <ErrorNote error={error} onRetry={onRetry} />
    </div>
  );
}

function Found({ found, now }: { readonly found: DeadCounts; readonly now: number }) {
  if (found.total === 0) {
    return <p class="system-none">None waits: everything that came could be used, or was refused with a reason that is the sender's.</p>;
  }
  const more = found.counts.length - LISTED;
  return (
    <div class="system-letters">
      <Table caption="Dead letters that wait" hideCaption columns={COLUMNS} rows={rowsOf(found, now)} rowKey={(row) => row.key} />
      {more > 0 && <p class="system-says">{exact(more)} more groups with fewer letters: isotherm dead ls lists all.</p>}
      <p class="system-says">
        They are kept whole. Look at one, and once its reason is gone send it again: it goes through the same door and cannot count twice.
      </p>
      <CodeBlock label="Terminal" code={commandsFor(found)} wrap />
    </div>
  );
}
