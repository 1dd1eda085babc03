import { act, cleanup, render, screen } from "@testing-library/preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { OfflineError, offline, ProblemError } from "../src/api/client";
import { forget, invalidate, type QueryOptions, useQuery } from "../src/api/query";

interface Asked {
  readonly key: string;
  readonly abort: AbortSignal;
  readonly resolve: (value: string) => void;
  readonly reject: (error: Error) => void;
}

let asked: Asked[] = [];
let hidden = false;

function ask(key: string, abort: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    asked.push({ key, abort, resolve, reject });
  });
}

function Probe({ name, options }: { readonly name: string; readonly options?: QueryOptions }) {
  const query = useQuery(name, (abort) => ask(name, abort), options);
  return (
    <p data-testid="probe">
      {[query.data ?? "-", query.error?.message ?? "-", query.loading ? "loading" : "", query.stale ? "stale" : ""].join("|")}
    </p>
  );
}

const shown = (): string | null => screen.getByTestId("probe").textContent;
const last = (): Asked => asked.at(-1) as Asked;
const settle = (): Promise<void> => pass(0);

async function answer(value: string): Promise<void> {
  last().resolve(value);
  await settle();
}

async function fail(error: Error): Promise<void> {
  last().reject(error);
  await settle();
}

async function pass(time: number): Promise<void> {
  await act(async () => {
    await vi.advanceTimersByTimeAsync(time);
  });
}

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  hidden = false;
  offline.value = false;
  Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
});

afterEach(() => {
  cleanup();
  forget();
  vi.useRealTimers();
});

describe("useQuery", () => {
  it("loads, answers, and asks again after its pause", async () => {
    render(<Probe name="a" options={{ every: 2000 }} />);
    expect(shown()).toBe("-|-|loading|");
    await answer("one");
    expect(shown()).toBe("one|-||");
    await pass(1999);
    expect(asked).toHaveLength(1);
    await pass(1);
    expect(asked).toHaveLength(2);
    await answer("two");
    expect(shown()).toBe("two|-||");
  });

  it("keeps the last good answer when a later one fails, and tries again", async () => {
    render(<Probe name="b" options={{ every: 2000 }} />);
    await answer("good");
    await pass(2000);
    await fail(new OfflineError("gone"));
    expect(shown()).toBe("good|gone||");
    await pass(2000);
    await answer("back");
    expect(shown()).toBe("back|-||");
  });

  it("does not repeat a question that was wrong", async () => {
    render(<Probe name="c" />);
    await fail(new ProblemError(400, "wrong"));
    expect(shown()).toBe("-|wrong||");
    await pass(60_000);
    expect(asked).toHaveLength(1);
  });

  it("waits longer after each failure, and as long as the server says", async () => {
    render(<Probe name="d" />);
    await fail(new ProblemError(503, "busy"));
    await pass(2000);
    expect(asked).toHaveLength(2);
    await fail(new ProblemError(503, "busy"));
    await pass(2000);
    expect(asked).toHaveLength(2);
    await pass(2000);
    expect(asked).toHaveLength(3);
    await fail(new ProblemError(503, "busy", null, null, 9000));
    await pass(8999);
    expect(asked).toHaveLength(3);
    await pass(1);
    expect(asked).toHaveLength(4);
  });

  it("gives up a question that nobody waits for, and ignores its late answer", async () => {
    const { rerender } = render(<Probe name="e1" options={{ keep: true }} />);
    const first = last();
    rerender(<Probe name="e2" options={{ keep: true }} />);
    await settle();
    expect(first.abort.aborted).toBe(true);
    expect(last().key).toBe("e2");
    await answer("second");
    first.resolve("first");
    await settle();
    expect(shown()).toBe("second|-||");
  });

  it("shows the last answer as stale while the next is on its way, if it is asked to", async () => {
    const { rerender } = render(<Probe name="f1" options={{ keep: true }} />);
    await answer("first");
    rerender(<Probe name="f2" options={{ keep: true }} />);
    expect(shown()).toBe("first|-||stale");
    await settle();
    await answer("second");
    expect(shown()).toBe("second|-||");
    rerender(<Probe name="f3" />);
    expect(shown()).toBe("-|-|loading|");
  });

  it("rests while the page is hidden and catches up when it is seen", async () => {
    render(<Probe name="g" options={{ every: 2000 }} />);
    await answer("one");
    hidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
    await pass(60_000);
    expect(asked).toHaveLength(1);
    hidden = false;
    document.dispatchEvent(new Event("visibilitychange"));
    await settle();
    expect(asked).toHaveLength(2);
  });

  it("asks again at once when the server is back", async () => {
    offline.value = true;
    render(<Probe name="h" />);
    await fail(new OfflineError("gone"));
    await act(() => {
      offline.value = false;
    });
    await settle();
    expect(asked).toHaveLength(2);
  });

  it("asks nothing while it is not enabled", async () => {
    const { rerender } = render(<Probe name="i" options={{ enabled: false }} />);
    await pass(5000);
    expect(asked).toHaveLength(0);
    expect(shown()).toBe("-|-||");
    rerender(<Probe name="i" options={{ enabled: true }} />);
    await settle();
    expect(asked).toHaveLength(1);
  });

  it("asks again when it is told that something changed", async () => {
    render(<Probe name="screens acme" />);
    await answer("one");
    await act(() => invalidate("screens"));
    expect(asked).toHaveLength(2);
    await act(() => invalidate("clients"));
    expect(asked).toHaveLength(2);
  });

  it("shares one question among all who ask it", async () => {
    render(
      <>
        <Probe name="j" />
        <Probe name="j" />
      </>,
    );
    await settle();
    expect(asked).toHaveLength(1);
    await answer("both");
    expect(screen.getAllByTestId("probe").map((each) => each.textContent)).toEqual(["both|-||", "both|-||"]);
  });
});
