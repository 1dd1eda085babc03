/** Short messages about something just done; read aloud, gone after some seconds. */

import { signal } from "@preact/signals";

import { IconButton } from "./button";
import { Icon } from "./icons";
import "./toast.css";

interface Message {
  readonly id: number;
  readonly text: string;
  readonly tone: "ok" | "bad";
}

const shown = signal<readonly Message[]>([]);
const SHOWN_MS = 5000;
let last = 0;

function drop(id: number): void {
  shown.value = shown.value.filter((message) => message.id !== id);
}

/** Show a message; errors stay until they are closed. */
export function toast(text: string, tone: "ok" | "bad" = "ok"): void {
  last += 1;
  const message = { id: last, text, tone };
  shown.value = [...shown.value.slice(-2), message];
  if (tone === "ok") setTimeout(() => drop(message.id), SHOWN_MS);
}

/** Where messages appear; once, in the frame. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.value.map((message) => (
        <div key={message.id} class={`toast toast-${message.tone}`}>
          <Icon name={message.tone === "ok" ? "check" : "warning"} size={16} />
          <span>{message.text}</span>
          <IconButton label="Dismiss" icon="close" tip="none" onClick={() => drop(message.id)} />
        </div>
      ))}
    </div>
  );
}
