import { Page } from "../../ui";

export function SetupPage() {
  return <Page title="Set up">{null}</Page>;
}
