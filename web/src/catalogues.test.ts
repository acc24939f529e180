/// <reference types="vite/client" />
import { describe, expect, it } from "vitest";

type Catalogue = Record<string, string>;
const files = import.meta.glob<Catalogue>(["./console/catalogue/*.json", "./me/catalogue/*.json"], { eager: true, import: "default" });
const sources = import.meta.glob<string>(["./**/*.svelte", "./**/*.ts", "!./**/*.test.ts"], { eager: true, query: "?raw", import: "default" });
const PLURAL = /\.(zero|one|two|few|many|other)$/;
const base = (key: string): string => key.replace(PLURAL, "");
const names = (text: string): string[] => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1] ?? "").sort();

for (const page of ["console", "me"]) {
  const english = files[`./${page}/catalogue/en.json`] as Catalogue;
  describe(`the texts of ${page}`, () => {
    const others = Object.entries(files).filter(([path]) => path.startsWith(`./${page}/`) && !path.endsWith("/en.json"));

    it("exist in Chinese", () => expect(others.map(([path]) => path)).toContain(`./${page}/catalogue/zh.json`));

    it.each(others)("%s has the same keys, filled, with the same names in them", (_path, catalogue) => {
      expect([...new Set(Object.keys(catalogue).map(base))].sort()).toEqual([...new Set(Object.keys(english).map(base))].sort());
      for (const [key, text] of Object.entries(catalogue)) {
        expect(text.trim(), key).not.toBe("");
        const model = english[key] ?? english[`${base(key)}.other`] ?? english[base(key)] ?? "";
        expect(names(text).filter((name) => name !== "n"), key).toEqual(names(model).filter((name) => name !== "n"));
      }
    });

    it("have every key that the sources ask for, and a plural for every language", () => {
      const used = new Set<string>();
      for (const [path, text] of Object.entries(sources)) {
        if (!path.startsWith(`./${page}/`)) continue;
        for (const found of text.matchAll(/\bt\(\s*"([^"]+)"/g)) used.add(found[1] ?? "");
      }
      expect(used.size).toBeGreaterThan(20);
      for (const [path, catalogue] of [[`${page}/en`, english] as const, ...others]) {
        const missing = [...used].filter((key) => !(key in catalogue) && !(`${key}.other` in catalogue));
        expect(missing, path).toEqual([]);
        for (const key of Object.keys(catalogue)) if (PLURAL.test(key)) expect(`${base(key)}.other` in catalogue, `${path} ${key}`).toBe(true);
      }
    });
  });
}
