/** One MapLibre map. Loaded only when the console shows it: the library is larger than all the rest together. */

import "@fontsource/noto-sans/latin-400.css";
import "maplibre-gl/dist/maplibre-gl.css";
import * as maplibregl from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?url";
import type { Schemas } from "../../lib/client";
import { type Base, loadBase } from "./base";
import { addImages } from "./icons";
import { GROUPS, makeStyle, type SourceName } from "./style";
import type { Bounds } from "../../lib/geojson";

export interface ViewOptions {
  container: HTMLElement;
  dark: boolean;
  basemap: Schemas["Basemap"] | null;
  labels: Record<string, string>;
  onStation: (id: string) => void;
  onLocations: (bounds: Bounds | null) => void;
  popup: (layer: string, properties: Record<string, unknown>) => HTMLElement | null;
}

export class MapView {
  readonly map: maplibregl.Map;
  #data = new Map<SourceName, GeoJSON.Feature[]>();
  #hidden = new Set<string>();
  #ready = false;
  #options: ViewOptions;
  #base: Base;

  private constructor(options: ViewOptions, base: Base) {
    this.#options = options;
    this.#base = base;
    maplibregl.setWorkerUrl(new URL(workerUrl, location.href).href);
    this.map = new maplibregl.Map({
      container: options.container,
      style: makeStyle(base, options.dark),
      center: [0, 20],
      zoom: 1,
      attributionControl: false,
      locale: options.labels,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: 0,
      canvasContextAttributes: { preserveDrawingBuffer: true }, // "save as picture" and the tests read the canvas
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
    this.map.addControl(new maplibregl.ScaleControl({ unit: "metric" }), "bottom-right");
    this.map.on("style.load", () => {
      addImages(this.map, this.#options.dark);
      this.#ready = true;
      for (const [name, features] of this.#data) this.#push(name, features);
      this.#applyHidden();
    });
    this.map.on("idle", () => {
      options.container.dataset.mapIdle = "true";
    });
    this.map.on("moveend", () => this.#askLocations());
    this.map.on("click", "stations", (event) => {
      const id = event.features?.[0]?.properties.id as string | undefined;
      if (id !== undefined) options.onStation(id);
    });
    const popup = new maplibregl.Popup({ closeButton: false, maxWidth: "280px" });
    for (const layer of ["losses", "locations", "safe-zones", "cells-fill"]) {
      this.map.on("click", layer, (event) => {
        const top = this.map.queryRenderedFeatures(event.point, { layers: ["stations", "safe-zones", "losses", "locations", "cells-fill"] })[0];
        const found = event.features?.[0];
        if (found === undefined || top?.layer.id !== layer) return;
        const content = options.popup(layer, found.properties);
        if (content !== null) popup.setLngLat(event.lngLat).setDOMContent(content).addTo(this.map);
      });
    }
    for (const layer of ["stations", "losses", "locations", "safe-zones"]) {
      this.map.on("mouseenter", layer, () => {
        this.map.getCanvas().style.cursor = "pointer";
      });
      this.map.on("mouseleave", layer, () => {
        this.map.getCanvas().style.cursor = "";
      });
    }
  }

  static async open(options: ViewOptions): Promise<MapView> {
    // MapLibre draws labels from the page's fonts; asked for before they are there, the fallback face would stay.
    const [base] = await Promise.all([loadBase(options.basemap), document.fonts.load('12px "Noto Sans"').catch(() => [])]);
    return new MapView(options, base);
  }

  setDark(dark: boolean): void {
    if (dark === this.#options.dark) return;
    this.#options = { ...this.#options, dark };
    this.#ready = false;
    this.map.setStyle(makeStyle(this.#base, dark), { diff: false });
  }

  set(name: SourceName, features: GeoJSON.Feature[]): void {
    this.#data.set(name, features);
    if (this.#ready) this.#push(name, features);
  }

  #push(name: SourceName, features: GeoJSON.Feature[]): void {
    delete this.#options.container.dataset.mapIdle;
    (this.map.getSource(name) as maplibregl.GeoJSONSource | undefined)?.setData({ type: "FeatureCollection", features });
  }

  show(group: string, visible: boolean): void {
    if (visible) this.#hidden.delete(group);
    else this.#hidden.add(group);
    if (this.#ready) {
      delete this.#options.container.dataset.mapIdle;
      this.#applyHidden();
      this.map.triggerRepaint(); // so that the map says that it is idle even where nothing was to be hidden
    }
    this.#askLocations();
  }

  #applyHidden(): void {
    for (const [group, layers] of Object.entries(GROUPS)) {
      for (const layer of layers) this.map.setLayoutProperty(layer, "visibility", this.#hidden.has(group) ? "none" : "visible");
    }
  }

  /** Shows the whole box beside what lies over the map's left edge, `left` pixels wide. */
  fit(box: Bounds, animate: boolean, left: number): void {
    this.map.fitBounds(box, { padding: { top: 24, right: 72, bottom: 32, left: left + 48 }, maxZoom: 14, animate });
  }

  /** Moves only where the place is out of sight: a map that jumps by itself loses its reader. */
  reveal(position: number[]): void {
    const at: [number, number] = [position[0] ?? 0, position[1] ?? 0];
    if (!this.map.getBounds().contains(at)) this.map.easeTo({ center: at, duration: 150 });
  }

  #askLocations(): void {
    const wanted = this.map.getZoom() >= 12.5 && !this.#hidden.has("exposure");
    const box = this.map.getBounds();
    this.#options.onLocations(wanted ? [box.getWest(), box.getSouth(), box.getEast(), box.getNorth()] : null);
  }

  close(): void {
    this.map.remove();
  }
}
