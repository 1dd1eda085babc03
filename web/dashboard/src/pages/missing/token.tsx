import { useEffect, useRef, useState } from "preact/hooks";

import { needsToken, setToken } from "../../api/client";
import { forget } from "../../api/query";
import { fetchStatus } from "../../api/queries";
import { Button, Page, saysOf, TextField } from "../../ui";
import "./token.css";

/** Asks for the token; shown in place of any page while the server asks for one. */
export function TokenPage() {
  const [value, setValue] = useState("");
  const [wrong, setWrong] = useState<string | undefined>();
  const [busy, setBusy] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);
  const submit = async (): Promise<void> => {
    const given = value.trim();
    if (given === "") {
      setWrong("Paste the token first.");
      return;
    }
    setBusy(true);
    setToken(given);
    try {
      await fetchStatus();
      needsToken.value = false;
      forget();
    } catch (error) {
      setToken(null);
      setWrong(wordsOf(error));
      setBusy(false);
    }
  };
  return (
    <Page title="Token" width="narrow" hideHeading heading="This Isotherm asks for a token">
      <form
        class="token"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h2>This Isotherm asks for a token</h2>
        <p class="token-lead">It keeps what your visitors do to yourself. The token stays in this tab until you close it.</p>
        <TextField
          label="Token"
          secret
          inputRef={field}
          mono
          value={value}
          autocomplete="current-password"
          error={wrong}
          onInput={(next) => {
            setValue(next);
            setWrong(undefined);
          }}
          hint={
            <>
              It was set where Isotherm was started: <code>ISOTHERM_TOKEN</code>, or <code>token</code> in the settings
              file.
            </>
          }
        />
        <Button variant="primary" type="submit" disabled={busy}>
          {busy ? "Checking…" : "Continue"}
        </Button>
      </form>
    </Page>
  );
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return "That did not work.";
  if ("status" in error && error.status === 401) return "That is not the token of this Isotherm.";
  const { title, text } = saysOf(error);
  return `${title}. ${text}`;
}
