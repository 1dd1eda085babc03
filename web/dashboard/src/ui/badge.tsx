import type { ComponentChildren } from "preact";

import "./badge.css";

export type Tone = "neutral" | "ok" | "warn" | "bad" | "accent";

export function Badge({ tone = "neutral", children }: { readonly tone?: Tone; readonly children: ComponentChildren }) {
  return <span class={`badge badge-${tone}`}>{children}</span>;
}

/** Must stand wherever a simulated client is shown: nobody may take made-up visitors for people. */
export function SimulatedBadge() {
  return (
    <span class="badge badge-simulated" title="Made by isotherm simulate: these are no people's visits.">
      Simulated
    </span>
  );
}

/** A coloured dot with its meaning in words for those who do not see the colour. */
export function Dot({ tone, pulse = false, label }: { readonly tone: Tone; readonly pulse?: boolean; readonly label?: string }) {
  return (
    <span class={`dot dot-${tone}${pulse ? " dot-pulse" : ""}`}>
      {label !== undefined && <span class="sr-only">{label}</span>}
    </span>
  );
}
