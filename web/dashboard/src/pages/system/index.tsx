/** The state of the program for people: what is not well, what runs, how fresh, how true, and how much there is. */

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

import { useNow } from "../../api/now";
import { useStatus } from "../../api/queries";
import type { Status } from "../../api/types";
import { ago, bytes } from "../../format";
import { Dot, ErrorNote, Icon, Loading, Page, Skeleton } from "../../ui";
import { DeadLetters } from "./dead";
import { backupFact, deadFact, disks, type Fact, freshness, ledgerFact, processes, rounds, sentence, stores, verdict, verificationFact } from "./facts";
import "./system.css";

export function SystemPage() {
  const status = useStatus();
  const now = useNow(10_000);
  if (status.error !== undefined && status.data === undefined) {
    return (
      <Page title="System">
        <ErrorNote error={status.error} onRetry={status.refetch} />
      </Page>
    );
  }
  return (
    <Page title="System" lead="What runs here, how far the maps have come, and whether they are true.">
      {status.data === undefined ? <Waits /> : <Parts status={status.data} now={now} />}
    </Page>
  );
}

function Waits() {
  return (
    <div class="system" aria-hidden="true">
      <Loading what="the state of the program" />
      <div class="card system-verdict">
        <Skeleton width="30ch" height="1.5em" />
      </div>
    </div>
  );
}

function Parts({ status, now }: { readonly status: Status; readonly now: number }) {
  const kept = stores(status);
  const done = rounds(status, now);
  return (
    <div class="system">
      <Verdict status={status} />
      <div class="system-columns">
        <div class="system">
          <Card title="Running">
            <Facts facts={processes(status)} />
          </Card>
          <Card title="How true the maps are">
            <Facts facts={[ledgerFact(status), verificationFact(status, now), deadFact(status)]} />
          </Card>
        </div>
        <div class="system">
          <Card title="How fresh the maps are">
            <Facts facts={freshness(status)} />
          </Card>
          <Card title="Retention and backup">
            <Facts facts={[...done, backupFact(status, now)]} />
          </Card>
        </div>
      </div>
      <DeadLetters now={now} />
      <Card title="Stores" says={status.measured_at === null ? undefined : `Measured ${ago(status.measured_at, now)}`}>
        {kept.length === 0 ? (
          <p class="system-none">Not measured yet; this follows some minutes after the start.</p>
        ) : (
          <ul class="system-stores">
            {kept.map((store) => (
              <li key={store.name}>
                <span class="system-name">{store.name}</span>
                <span class="system-size" aria-hidden="true">
                  <i class={store.bytes > 0 ? "" : "system-empty"} style={{ width: `${(100 * store.bytes) / Math.max(1, kept[0]?.bytes ?? 1)}%` }} />
                </span>
                <strong class="tabular">{bytes(store.bytes)}</strong>
                <span class="system-says">{store.says}</span>
              </li>
            ))}
          </ul>
        )}
        {disks(status).length > 0 && <Facts facts={disks(status)} />}
      </Card>
      <p class="system-foot">
        The same in a terminal: <code>isotherm status</code>, or with <code>--json</code> for scripts. Version {status.version}.
      </p>
    </div>
  );
}

function Verdict({ status }: { readonly status: Status }) {
  const { title, text, well } = verdict(status);
  return (
    <section class={`card system-verdict${well ? "" : " system-unwell"}`} aria-label="Is all well?" role="status">
      <Icon name={well ? "check" : "warning"} size={22} />
      <div>
        <h2>{title}</h2>
        {text !== "" && <p>{text}</p>}
        {status.problems.length > 0 && (
          <ul>
            {status.problems.map((problem) => (
              <li key={problem}>{sentence(problem)}</li>
            ))}
          </ul>
        )}
      </div>
    </section>
  );
}

function Card({
  title,
  says,
  children,
}: {
  readonly title: string;
  readonly says?: string | undefined;
  readonly children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section class="card" aria-labelledby={id}>
      <header class="card-head">
        <h2 id={id}>{title}</h2>
        {says !== undefined && <span class="card-says">{says}</span>}
      </header>
      {children}
    </section>
  );
}

function Facts({ facts }: { readonly facts: readonly Fact[] }) {
  return (
    <dl class="system-facts">
      {facts.map(({ name, value, says, tone }) => (
        <div key={name} class="system-fact">
          <dt>{name}</dt>
          <dd>
            <span class="system-value tabular">
              {tone !== "neutral" && <Dot tone={tone} />} {value}
            </span>
            <span class="system-says">{says}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}
