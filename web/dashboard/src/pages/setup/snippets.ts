/** The texts to paste. */

import type { Sdk } from "../../api/types";

export interface Choices {
  readonly client: string;
  /** Viewport width in CSS px below which the page has another layout; null: one layout. */
  readonly breakpoint: number | null;
  /** Selector of the element that is the screen; empty: the whole document. */
  readonly region: string;
  /** Name of the screen; empty: the page's path. */
  readonly screen: string;
}

/** The same rule as the server's, and a word about what is wrong; undefined when the id is good. */
export function clientIdProblem(client: string): string | undefined {
  if (client === "") return undefined;
  if (!/^[A-Za-z0-9]/.test(client)) return "It starts with a letter or a digit.";
  const strange = /[^A-Za-z0-9._-]/.exec(client)?.[0];
  if (strange !== undefined) {
    return `${strange === " " ? "A space" : `“${strange}”`} cannot be in it: letters, digits, dot, hyphen and underscore can.`;
  }
  if (client.length > 64) return "It has at most 64 characters.";
  if (client.endsWith("-simulated")) return "Names that end in -simulated are for made-up visitors.";
  return undefined;
}

/** The same rule as the server's for a screen's name; undefined when it is good. */
export function screenIdProblem(screen: string): string | undefined {
  if (screen.includes("|")) return "“|” cannot be in it.";
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f-\u009f]/.test(screen)) return "It has no line breaks or other control characters.";
  if (new TextEncoder().encode(screen).length > 256) return "It has at most 256 bytes.";
  return undefined;
}

/** A selector that no browser understands. */
export function regionProblem(region: string): string | undefined {
  if (region === "") return undefined;
  try {
    document.createDocumentFragment().querySelector(region);
    return undefined;
  } catch {
    return "This is not a CSS selector.";
  }
}

function attribute(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;");
}

/** The script tag, an attribute a line. */
export function tagFor(sdk: Sdk, choices: Choices): string {
  const lines = [
    `src="${sdk.collector_url}${sdk.versioned_path}"`,
    `integrity="${sdk.integrity}"`,
    'crossorigin="anonymous"',
    `data-endpoint="${sdk.collector_url}"`,
    `data-client="${attribute(choices.client)}"`,
  ];
  if (choices.screen !== "") lines.push(`data-screen="${attribute(choices.screen)}"`);
  if (choices.region !== "") lines.push(`data-region="${attribute(choices.region)}"`);
  if (choices.breakpoint !== null) lines.push(`data-breakpoints="${choices.breakpoint}"`);
  return `<script async\n${lines.map((line) => `  ${line}`).join("\n")}></script>`;
}

/** The same as a module, for a page that bundles its scripts. */
export function moduleFor(sdk: Sdk, choices: Choices): string {
  const lines = [`endpoint: ${JSON.stringify(sdk.collector_url)},`, `client: ${JSON.stringify(choices.client)},`];
  if (choices.screen !== "") lines.push(`screen: ${JSON.stringify(choices.screen)},`);
  if (choices.region !== "") lines.push(`region: ${JSON.stringify(choices.region)},`);
  if (choices.breakpoint !== null) lines.push(`breakpoints: [${choices.breakpoint}],`);
  return [
    'import { init, track } from "@isotherm/sdk";',
    "",
    "init({",
    ...lines.map((line) => `  ${line}`),
    "});",
    "",
    "// an event of your own, whenever you like",
    'track("signup", { plan: "free" });',
  ].join("\n");
}

/** What a Content-Security-Policy must allow. */
export function policyFor(sdk: Sdk): string {
  return `script-src ${sdk.collector_url};\nconnect-src ${sdk.collector_url};`;
}

/** A request that sends one event, for a POSIX shell. */
export function curlFor(collector: string, client: string, screen = "/"): string {
  return [
    `curl ${collector}/events/batch \\`,
    "  -H 'content-type: application/json' -d '{",
    `  "client_id": "${client}", "screen_id": ${shellSafe(screen)},`,
    `  "events": [{"event_time": "'$(date -u +%FT%TZ)'",`,
    `    "event_type": "click", "x_norm": 0.5, "y_norm": 0.2}]}'`,
  ].join("\n");
}

/** JSON text that may stand inside single quotes of a shell. */
function shellSafe(text: string): string {
  return JSON.stringify(text).replaceAll("'", "\\u0027");
}
