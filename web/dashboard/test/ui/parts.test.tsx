import { cleanup, fireEvent, render, screen, within } from "@testing-library/preact";
import { afterEach, describe, expect, it, vi } from "vitest";

import { OfflineError, ProblemError } from "../../src/api/client";
import {
  Button,
  CopyButton,
  Count,
  ErrorNote,
  IconButton,
  MenuItem,
  MenuItems,
  MenuLink,
  Popover,
  Segmented,
  SimulatedBadge,
  Slider,
  Switch,
  Table,
  TextField,
} from "../../src/ui";

afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

describe("Button", () => {
  it("is a link when it goes somewhere", () => {
    render(<Button href="/setup">Go</Button>);
    expect(screen.getByRole("link", { name: "Go" }).getAttribute("href")).toBe("/setup");
  });

  it("has a name when it is only an icon", () => {
    const onClick = vi.fn<() => void>();
    render(<IconButton label="Close" icon="close" pressed onClick={onClick} />);
    const button = screen.getByRole("button", { name: "Close", pressed: true });
    fireEvent.click(button);
    expect(onClick).toHaveBeenCalledOnce();
  });
});

describe("fields", () => {
  it("Segmented tells which option was chosen", () => {
    const onChange = vi.fn<(value: "a" | "b") => void>();
    const options = [
      { value: "a", label: "One" },
      { value: "b", label: "Two" },
    ] as const;
    render(<Segmented<"a" | "b"> label="Pick" value="a" options={options} onChange={onChange} />);
    const group = screen.getByRole("group", { name: "Pick" });
    expect((within(group).getByRole("radio", { name: "One" }) as HTMLInputElement).checked).toBe(true);
    fireEvent.click(within(group).getByRole("radio", { name: "Two" }));
    expect(onChange).toHaveBeenCalledWith("b");
  });

  it("Slider tells while it moves and when it rests, and says its value in words", () => {
    const onInput = vi.fn<(value: number) => void>();
    const onCommit = vi.fn<(value: number) => void>();
    render(
      <Slider label="Radius" value={2} min={0} max={6} onInput={onInput} onCommit={onCommit} format={(value) => `${value} px`} />,
    );
    const slider = screen.getByRole("slider", { name: "Radius" }) as HTMLInputElement;
    expect(slider.getAttribute("aria-valuetext")).toBe("2 px");
    fireEvent.input(slider, { target: { value: "4" } });
    expect(onInput).toHaveBeenCalledWith(4);
    expect(onCommit).not.toHaveBeenCalled();
    fireEvent.change(slider);
    expect(onCommit).toHaveBeenCalledWith(4);
  });

  it("Switch is a switch", () => {
    const onChange = vi.fn<(checked: boolean) => void>();
    render(<Switch label="Contours" checked={false} onChange={onChange} />);
    fireEvent.click(screen.getByRole("switch", { name: "Contours" }));
    expect(onChange).toHaveBeenCalledWith(true);
  });

  it("TextField ties its error to the input", () => {
    render(<TextField label="Name" value="" error="Too short." onInput={() => {}} />);
    const input = screen.getByLabelText("Name");
    expect(input.getAttribute("aria-invalid")).toBe("true");
    expect(document.getElementById(input.getAttribute("aria-describedby") ?? "")?.textContent).toBe("Too short.");
  });
});

const focused = (): string | null | undefined => document.activeElement?.textContent;

function press(key: string): void {
  fireEvent.keyDown(document.activeElement as Element, { key });
}

function Clients() {
  return (
    <Popover
      label="Clients"
      kind="menu"
      trigger={({ buttonRef, ...props }) => (
        <button type="button" ref={buttonRef} {...props}>
          Open
        </button>
      )}
    >
      {(close) => (
        <MenuItems>
          <MenuItem onSelect={close}>Alpha</MenuItem>
          <MenuLink href="/c/beta" current>
            Beta
          </MenuLink>
          <MenuItem>Gamma</MenuItem>
        </MenuItems>
      )}
    </Popover>
  );
}

describe("Popover with a menu", () => {
  it("opens on the current item, moves by keys, and gives the focus back", () => {
    render(<Clients />);
    const button = screen.getByRole("button", { name: "Open" });
    expect(button.getAttribute("aria-expanded")).toBe("false");
    fireEvent.click(button);
    expect(button.getAttribute("aria-expanded")).toBe("true");
    expect(focused()).toBe("Beta");
    press("ArrowDown");
    expect(focused()).toBe("Gamma");
    press("ArrowDown");
    expect(focused()).toBe("Alpha");
    press("ArrowUp");
    expect(focused()).toBe("Gamma");
    press("Home");
    expect(focused()).toBe("Alpha");
    press("g");
    expect(focused()).toBe("Gamma");
    press("Escape");
    expect(button.getAttribute("aria-expanded")).toBe("false");
    expect(document.activeElement).toBe(button);
  });

  it("closes when something else is pressed", () => {
    render(<Clients />);
    const button = screen.getByRole("button", { name: "Open" });
    fireEvent.click(button);
    fireEvent.pointerDown(document.body);
    expect(button.getAttribute("aria-expanded")).toBe("false");
    expect(screen.queryByRole("menuitem")).toBeNull();
  });
});

describe("states", () => {
  it.each([
    [new OfflineError("x"), "Isotherm does not answer"],
    [new ProblemError(503, "the store is busy"), "Isotherm is busy"],
    [new ProblemError(500, "oh"), "Isotherm made a mistake"],
    [new ProblemError(422, "those tiles have expired"), "That question has no answer"],
    [new Error("oh"), "This page made a mistake"],
  ])("ErrorNote says what %s is and offers to try again", (error, title) => {
    const onRetry = vi.fn<() => void>();
    render(<ErrorNote error={error} onRetry={onRetry} />);
    expect(screen.getByRole("alert").textContent).toContain(title);
    fireEvent.click(screen.getByRole("button", { name: "Try again" }));
    expect(onRetry).toHaveBeenCalledOnce();
  });

  it("SimulatedBadge says so in a word", () => {
    render(<SimulatedBadge />);
    expect(screen.getByText("Simulated")).toBeTruthy();
  });

  it("Count is short to the eye and whole to a reader", () => {
    render(<Count value={1_234_567} />);
    expect(screen.getByTitle("1,234,567").textContent).toContain("1.2");
  });

  it("Table has a caption, heads and rows", () => {
    const columns = [{ key: "n", head: "Number", numeric: true, cell: (row: number) => row * 2 }];
    render(<Table caption="Twice" columns={columns} rows={[1, 2]} rowKey={String} />);
    const table = screen.getByRole("table", { name: "Twice" });
    expect(within(table).getAllByRole("cell").map((cell) => cell.textContent)).toEqual(["2", "4"]);
  });
});

describe("CopyButton", () => {
  it("puts the text on the clipboard and says so", async () => {
    const writeText = vi.fn<(text: string) => Promise<void>>(async () => {});
    vi.stubGlobal("navigator", { ...navigator, clipboard: { writeText } });
    render(<CopyButton text="the snippet" />);
    fireEvent.click(screen.getByRole("button", { name: "Copy" }));
    await screen.findByRole("button", { name: "Copied" });
    expect(writeText).toHaveBeenCalledWith("the snippet");
  });
});
