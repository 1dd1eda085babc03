/** From nothing to the first event in three steps. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";

import { fetchSdk, useClients } from "../../api/queries";
import { useQuery } from "../../api/query";
import type { Sdk } from "../../api/types";
import { bytes } from "../../format";
import { CodeBlock, ErrorNote, Page, Segmented, Skeleton, Switch, TextField } from "../../ui";
import { number, text, useSearch } from "../../url";
import { Live } from "./live";
import {
  type Choices,
  clientIdProblem,
  curlFor,
  moduleFor,
  policyFor,
  regionProblem,
  screenIdProblem,
  tagFor,
} from "./snippets";
import "./setup.css";

const USUAL = 700;
const SPEC = {
  client: text(),
  screen: text(),
  region: text(),
  /** 0: one layout for all widths. */
  breakpoint: number(USUAL, 0, 10_000),
};

function Step({ at, title, children }: { readonly at: number; readonly title: string; readonly children: ComponentChildren }) {
  return (
    <li class="step">
      <span class="step-number tabular" aria-hidden="true">
        {at}
      </span>
      <div class="step-body">
        <h2>
          <span class="sr-only">Step {at}: </span>
          {title}
        </h2>
        {children}
      </div>
    </li>
  );
}

const BOUNDS = [1, 10_000] as const;

function Width({ value, onChange }: { readonly value: number; readonly onChange: (value: number) => void }) {
  const [typed, setTyped] = useState(String(value));
  const [least, most] = BOUNDS;
  const good = /^\d+$/.test(typed.trim()) && Number(typed) >= least && Number(typed) <= most;
  return (
    <TextField
      label="Phone layout below (CSS px)"
      value={typed}
      error={good ? undefined : `A whole number from ${least} to ${most}.`}
      onInput={(next) => {
        setTyped(next);
        const width = Number(next);
        if (/^\d+$/.test(next.trim()) && width >= least && width <= most) onChange(width);
      }}
    />
  );
}

function Breakpoint({ value, onChange }: { readonly value: number; readonly onChange: (value: number) => void }) {
  return (
    <div class="option">
      <Switch
        label="The page looks different on a phone"
        checked={value > 0}
        onChange={(on) => onChange(on ? USUAL : 0)}
      />
      <p class="field-hint">
        Narrow windows then get screens of their own, such as <code>/pricing@under-{value || USUAL}</code>, so that two
        layouts never mix in one map.
      </p>
      {value > 0 && <Width value={value} onChange={onChange} />}
    </div>
  );
}

type Way = "tag" | "module" | "curl";
const WAYS = [
  { value: "tag", label: "Script tag" },
  { value: "module", label: "Module" },
  { value: "curl", label: "curl" },
] as const;

function Paste({ sdk, choices }: { readonly sdk: Sdk; readonly choices: Choices }) {
  const [way, setWay] = useState<Way>("tag");
  return (
    <>
      <Segmented<Way> label="How" value={way} options={WAYS} onChange={setWay} />
      {way === "tag" && (
        <>
          <p class="step-says">
            Before <code>&lt;/head&gt;</code> of every page. {bytes(sdk.gzip_bytes)} over the wire; it waits for nothing and
            blocks nothing.
          </p>
          <CodeBlock label="HTML" code={tagFor(sdk, choices)} wrap />
        </>
      )}
      {way === "module" && (
        <>
          <p class="step-says">
            For a site with a bundler: the package lies in <code>web/sdk</code> of Isotherm’s source.
          </p>
          <CodeBlock label="JavaScript" code={moduleFor(sdk, choices)} />
        </>
      )}
      {way === "curl" && (
        <>
          <p class="step-says">One click in the upper middle of a screen, to see that the way is open.</p>
          <CodeBlock label="Terminal" code={curlFor(sdk.collector_url, choices.client, choices.screen || "/")} />
        </>
      )}
      {way !== "curl" && (
        <details class="policy">
          <summary>My site has a Content-Security-Policy</summary>
          <p class="step-says">Add these sources to its lines:</p>
          <CodeBlock label="Content-Security-Policy" code={policyFor(sdk)} />
        </details>
      )}
    </>
  );
}

export function SetupPage() {
  const [search, setSearch] = useSearch(SPEC);
  const { client, screen, region, breakpoint } = search;
  const sdk = useQuery("sdk", fetchSdk);
  const clients = useClients();
  const wrong = clientIdProblem(client);
  const ready = client !== "" && wrong === undefined;
  const problems = { screen: screenIdProblem(screen), region: regionProblem(region) };
  const choices: Choices = {
    client: ready ? client : "YOUR-CLIENT",
    screen: problems.screen === undefined ? screen : "",
    region: problems.region === undefined ? region : "",
    breakpoint: breakpoint > 0 ? breakpoint : null,
  };
  const used = clients.data?.clients.some((row) => row.client_id === client) === true;
  return (
    <Page title="Set up" heading="Set up a site" lead="Three steps to the first event. Nothing leaves your own machines.">
      <div class="setup">
        <ol class="steps">
          <Step at={1} title="Name the client">
            <p class="step-says">One name for each site or app; its data is kept apart from all others.</p>
            <TextField
              label="Client id"
              mono
              value={client}
              placeholder="my-site"
              error={wrong}
              hint={used ? "This client sends already: the snippet adds to it." : "Letters, digits, dot, hyphen, underscore; up to 64."}
              onInput={(next) => setSearch({ client: next.trim() })}
            />
          </Step>
          <Step at={2} title="Choose what a screen is">
            <Breakpoint value={breakpoint} onChange={(next) => setSearch({ breakpoint: next })} />
            <details class="policy" open={screen !== "" || region !== ""}>
              <summary>More choices</summary>
              <div class="fields">
                <TextField
                  label="Screen name"
                  mono
                  value={screen}
                  placeholder="the page’s path"
                  error={problems.screen}
                  hint="Leave it empty: every path is a screen, and numbers and ids in it are put together."
                  onInput={(next) => setSearch({ screen: next })}
                />
                <TextField
                  label="Region"
                  mono
                  value={region}
                  placeholder="the whole document"
                  error={problems.region}
                  hint="A CSS selector, when only one part of the page counts: a canvas, a player, an app inside the page."
                  onInput={(next) => setSearch({ region: next })}
                />
              </div>
            </details>
          </Step>
          <Step at={3} title="Put it on your page">
            {sdk.error !== undefined && sdk.data === undefined && <ErrorNote error={sdk.error} onRetry={sdk.refetch} />}
            {sdk.loading && <Skeleton height="240px" radius="var(--radius-md)" />}
            {sdk.data !== undefined && <Paste sdk={sdk.data} choices={choices} />}
          </Step>
        </ol>
        <div class="setup-live">
          <Live client={ready ? client : null} />
          <p class="setup-privacy">
            The snippet reads no inputs and sets no cookies, and stays silent for visitors whose browser asks not to be
            tracked.
          </p>
        </div>
      </div>
    </Page>
  );
}
