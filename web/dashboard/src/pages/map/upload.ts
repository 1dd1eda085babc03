/** Sending a screenshot: checked before it leaves, with progress on its way. */

import { OfflineError, ProblemError, address, token } from "../../api/client";

export const MAX_BYTES = 12_000_000;
export const TYPES: readonly string[] = ["image/png", "image/jpeg", "image/webp"];

/** What is wrong with a file before it is sent, in words; null when nothing is. */
export function objection(file: { readonly type: string; readonly size: number; readonly name: string }): string | null {
  if (!TYPES.includes(file.type)) {
    return `“${file.name}” is no PNG, JPEG or WebP image. Take a screenshot of the whole page and save it as one of these.`;
  }
  if (file.size > MAX_BYTES) {
    const size = (file.size / 1e6).toFixed(1);
    return `“${file.name}” has ${size} MB; at most 12 MB are taken. Save it as JPEG or WebP, or scale it down.`;
  }
  if (file.size === 0) return `“${file.name}” is empty.`;
  return null;
}

/** PUT an image behind a screen; `progress` gets the share sent, 0 to 1. Throws ProblemError or OfflineError. */
export function upload(
  client: string,
  screen: string,
  file: Blob,
  progress: (share: number) => void,
  abort: AbortSignal,
): Promise<void> {
  // fetch does not tell how far a body has come.
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    request.open("PUT", address("/v1/background", { client_id: client, screen_id: screen }));
    request.setRequestHeader("content-type", file.type);
    const bearer = token();
    if (bearer !== null) request.setRequestHeader("authorization", `Bearer ${bearer}`);
    request.upload.addEventListener("progress", ({ loaded, total }) => progress(total > 0 ? loaded / total : 0));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) resolve();
      else reject(problem(request.status, request.responseText));
    });
    request.addEventListener("error", () => reject(new OfflineError("Isotherm does not answer.")));
    request.addEventListener("abort", () => reject(new DOMException("given up", "AbortError")));
    abort.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

function problem(status: number, text: string): ProblemError {
  try {
    const body = JSON.parse(text) as { detail?: unknown };
    if (typeof body.detail === "string") return new ProblemError(status, body.detail);
  } catch {
    // No problem object: a proxy in between answered.
  }
  return new ProblemError(status, `The server answered ${status}.`);
}
