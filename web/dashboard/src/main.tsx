// First, so that the order of the layers is known before any part's own file comes.
import "./styles/index.css";
// Next, so that it is asked for while the rest of this file is still read.
import "./ahead";

import { render } from "preact";

import { App } from "./app";
import { startTheme } from "./theme";

startTheme();
const root = document.getElementById("app");
if (root === null) throw new Error("index.html has no #app");
render(<App />, root);
