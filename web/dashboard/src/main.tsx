// First, so that the order of the layers is known before any part's own file comes.
import "./styles/index.css";

import { render } from "preact";

import { App } from "./app";
import { startTheme } from "./theme";

startTheme();
const root = document.getElementById("app");
if (root === null) throw new Error("index.html has no #app");
render(<App />, root);
