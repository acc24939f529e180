import { createHash } from "node:crypto";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { build, defineConfig, type Plugin } from "vite";

/** Emits /sw.js: one classic script without imports, carrying the names of the files the phone page needs offline. */
function serviceWorker(): Plugin {
  return {
    name: "tocsin-service-worker",
    apply: "build",
    enforce: "post",
    async generateBundle(_options, bundle) {
      const needed = new Set<string>();
      const visit = (file: string): void => {
        const chunk = bundle[file];
        if (needed.has(file) || chunk === undefined) return;
        needed.add(file);
        if (chunk.type !== "chunk") return;
        for (const other of [...chunk.imports, ...chunk.dynamicImports]) visit(other);
        const css = (chunk as { viteMetadata?: { importedCss?: Set<string> } }).viteMetadata?.importedCss ?? [];
        for (const style of css) needed.add(style);
      };
      for (const chunk of Object.values(bundle)) {
        if (chunk.type === "chunk" && chunk.isEntry && chunk.name === "me") visit(chunk.fileName);
      }
      const files = ["/me", "/icon.svg", "/manifest.webmanifest", ...[...needed].sort().map((file) => `/${file}`)];
      const content = Object.values(bundle).map((part) => part.fileName).sort().join("\n");
      const version = createHash("sha256").update(content).digest("hex").slice(0, 12);
      const made = await build({
        configFile: false,
        logLevel: "warn",
        define: { __PRECACHE__: JSON.stringify(files), __VERSION__: JSON.stringify(version) },
        build: { write: false, rollupOptions: { input: "src/me/sw.ts", output: { format: "iife" } } },
      });
      const output = (Array.isArray(made) ? made[0] : made) as { output: { code?: string }[] };
      this.emitFile({ type: "asset", fileName: "sw.js", source: output.output[0]?.code ?? "" });
    },
  };
}

export default defineConfig({
  plugins: [svelte(), serviceWorker()],
  build: {
    outDir: "../api/static",
    emptyOutDir: true,
    target: "es2022",
    chunkSizeWarningLimit: 1600,
    assetsInlineLimit: 0, // no data: URLs for scripts and fonts: the policy of the pages allows them for images only
    modulePreload: { polyfill: false },
    rollupOptions: { input: { console: "index.html", me: "me.html" } },
  },
  server: { proxy: { "/v1": "http://127.0.0.1:8000" } },
  worker: { format: "es" },
  test: { include: ["src/**/*.test.ts"] },
} as import("vitest/config").ViteUserConfig);
