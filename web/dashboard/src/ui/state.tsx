/** What stands where data would: not there yet, none, or broken. */

import type { ComponentChildren } from "preact";

import { OfflineError, ProblemError } from "../api/client";
import { Button } from "./button";
import { Icon, type IconName } from "./icons";
import "./state.css";

/** A grey shape of the size of what is to come, so that nothing jumps. Sizes are CSS lengths. */
export function Skeleton({
  width = "100%",
  height = "1em",
  radius,
}: {
  readonly width?: string;
  readonly height?: string;
  readonly radius?: string;
}) {
  return (
    <span
      class="skeleton"
      aria-hidden="true"
      style={{ width, height, ...(radius === undefined ? {} : { borderRadius: radius }) }}
    />
  );
}

/** Says to screen readers that something is on its way. */
export function Loading({ what }: { readonly what: string }) {
  return (
    <p class="sr-only" role="status">
      Loading {what}…
    </p>
  );
}

export function EmptyState({
  title,
  icon,
  children,
  actions,
}: {
  readonly title: string;
  readonly icon?: IconName;
  readonly children?: ComponentChildren;
  readonly actions?: ComponentChildren;
}) {
  return (
    <div class="empty">
      {icon !== undefined && (
        <span class="empty-icon">
          <Icon name={icon} size={22} />
        </span>
      )}
      <h2>{title}</h2>
      {children !== undefined && <div class="empty-text">{children}</div>}
      {actions !== undefined && <div class="empty-actions">{actions}</div>}
    </div>
  );
}

/** What happened, in words for a person. */
export function saysOf(error: Error): { title: string; text: string } {
  if (error instanceof OfflineError) {
    return {
      title: "Isotherm does not answer",
      text: "It may be restarting. This page asks again by itself; if it stays so, start it with isotherm up.",
    };
  }
  if (error instanceof ProblemError) {
    if (error.status === 404) return { title: "There is nothing here", text: sentence(error.detail) };
    if (error.status === 503 || error.status === 429) {
      return { title: "Isotherm is busy", text: `${sentence(error.detail)} This page asks again by itself.` };
    }
    if (error.status >= 500) {
      return { title: "Isotherm made a mistake", text: `${sentence(error.detail)} isotherm logs says more.` };
    }
    return { title: "That question has no answer", text: sentence(error.detail) };
  }
  return { title: "This page made a mistake", text: sentence(error.message) };
}

function sentence(text: string): string {
  const trimmed = text.trim();
  const full = /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return full.charAt(0).toUpperCase() + full.slice(1);
}

/** An error with what to do about it; `compact` fits into a card. */
export function ErrorNote({
  error,
  onRetry,
  compact = false,
}: {
  readonly error: Error;
  readonly onRetry?: () => void;
  readonly compact?: boolean;
}) {
  const { title, text } = saysOf(error);
  return (
    <div class={`note note-bad${compact ? " note-compact" : ""}`} role="alert">
      <Icon name="warning" />
      <div class="note-text">
        <strong>{title}</strong>
        <p>{text}</p>
      </div>
      {onRetry !== undefined && (
        <Button small icon="refresh" onClick={onRetry}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** A calm line across the page about something that is not as it should be. */
export function Note({
  tone = "warn",
  title,
  children,
  actions,
}: {
  readonly tone?: "warn" | "bad" | "ok" | "info";
  readonly title: string;
  readonly children?: ComponentChildren;
  readonly actions?: ComponentChildren;
}) {
  return (
    <div class={`note note-${tone}`} role="status">
      <Icon name={tone === "ok" ? "check" : tone === "info" ? "info" : "warning"} />
      <div class="note-text">
        <strong>{title}</strong>
        {children !== undefined && <p>{children}</p>}
      </div>
      {actions}
    </div>
  );
}
