/** The texts to paste. */

/** A request that sends one event: `$(…)` is for a POSIX shell. */
export function curlFor(collector: string, client: string, screen = "/"): string {
  const body = [
    `{"client_id": "${client}", "screen_id": ${shellSafe(screen)},`,
    `  "events": [{"event_time": "'$(date -u +%FT%TZ)'", "event_type": "click",`,
    `              "x_norm": 0.5, "y_norm": 0.2}]}`,
  ].join("\n");
  return `curl ${collector}/events/batch \\\n  -H 'content-type: application/json' -d '${body}'`;
}

/** JSON text that may stand inside single quotes of a shell. */
function shellSafe(text: string): string {
  return JSON.stringify(text).replaceAll("'", "\\u0027");
}
