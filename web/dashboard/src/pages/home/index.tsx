import { Page } from "../../ui";

export function HomePage() {
  return <Page title="Overview">{null}</Page>;
}
