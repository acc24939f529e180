import { mount } from "svelte";
import "../lib/tokens.css";
import "./me.css";
import App from "./App.svelte";

const target = document.getElementById("app");
if (target === null) throw new Error("me.html has no #app");
mount(App, { target });
if ("serviceWorker" in navigator) navigator.serviceWorker.register("/sw.js", { scope: "/me" }).catch(() => undefined);
