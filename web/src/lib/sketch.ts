/** The phone's route sketch: one household's way out as SVG paths, drawn without tiles so that it works offline.
 *
 * Equirectangular about the middle of what is shown: within a few kilometres its error is far below a pixel. North is up;
 * it is never mirrored for right-to-left languages.
 */

import { type AnyGeometry, bounds, lines, positions, type Position, rings } from "./geojson";

export interface SketchPlace {
  x: number;
  y: number;
}

export interface Sketch {
  width: number;
  height: number;
  route: string;
  footprint: string;
  home: SketchPlace | null;
  safeZone: SketchPlace | null;
  /** Whether a place's name stands above it: on the side away from the way. */
  homeNameAbove: boolean;
  safeZoneNameAbove: boolean;
  others: SketchPlace[];
  /** A round length for the scale bar: metres and pixels. */
  scale: { metres: number; pixels: number };
  /** Arrowheads along the way: place and direction in degrees clockwise from the x axis. */
  arrows: { x: number; y: number; degrees: number }[];
}

export interface SketchInput {
  home: Position | null;
  route: AnyGeometry | null;
  footprint: AnyGeometry | null;
  safeZone: Position | null;
  others: Position[];
  width: number;
  height: number;
  margin: number;
}

const METRES_PER_DEGREE = 111_195; // mean, sphere of 6371 km

/** None where there is neither a route nor two places to draw. */
export function sketch(input: SketchInput): Sketch | null {
  const anchor: AnyGeometry[] = [];
  if (input.route) anchor.push(input.route);
  for (const place of [input.home, input.safeZone]) if (place) anchor.push({ type: "Point", coordinates: place });
  const box = bounds(anchor);
  if (box === null || positions(input.route).length + anchor.length < 2) return null;
  const [west, south, east, north] = box;
  const middle = { lon: (west + east) / 2, lat: (south + north) / 2 };
  const squeeze = Math.cos((middle.lat * Math.PI) / 180);
  const spanX = Math.max((east - west) * squeeze, 0.002);
  const spanY = Math.max(north - south, 0.002);
  const perDegree = Math.min((input.width - 2 * input.margin) / spanX, (input.height - 2 * input.margin) / spanY);
  const project = ([lon = 0, lat = 0]: Position): SketchPlace => ({
    x: round(input.width / 2 + (lon - middle.lon) * squeeze * perDegree),
    y: round(input.height / 2 - (lat - middle.lat) * perDegree),
  });
  const inside = (place: SketchPlace): boolean => place.x >= 8 && place.y >= 8 && place.x <= input.width - 8 && place.y <= input.height - 8;
  const path = (line: Position[], close: boolean): string =>
    line.map((position, i) => `${i === 0 ? "M" : "L"}${project(position).x} ${project(position).y}`).join("") + (close ? "Z" : "");
  const routeLines = lines(input.route);
  const metresPerPixel = METRES_PER_DEGREE / perDegree;
  const metres = roundLength(metresPerPixel * (input.width / 3));
  const projected = routeLines.map((line) => line.map(project));
  const first = projected[0] ?? [];
  const last = projected[projected.length - 1] ?? [];
  return {
    width: input.width,
    height: input.height,
    route: routeLines.map((line) => path(line, false)).join(""),
    footprint: rings(input.footprint).map((ring) => path(ring, true)).join(""),
    home: input.home && project(input.home),
    safeZone: input.safeZone && project(input.safeZone),
    homeNameAbove: goesBelow(first[0], first[1]),
    safeZoneNameAbove: goesBelow(last[last.length - 1], last[last.length - 2]),
    others: input.others.map(project).filter(inside),
    scale: { metres, pixels: round(metres / metresPerPixel) },
    arrows: arrows(projected, 90),
  };
}

function goesBelow(place: SketchPlace | undefined, next: SketchPlace | undefined): boolean {
  return place !== undefined && next !== undefined && next.y > place.y;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** The largest of 1, 2, 5 x 10^n that is not above `metres`. */
export function roundLength(metres: number): number {
  const power = 10 ** Math.floor(Math.log10(metres));
  const digit = metres / power >= 5 ? 5 : metres / power >= 2 ? 2 : 1;
  return digit * power;
}

function arrows(projected: SketchPlace[][], every: number): Sketch["arrows"] {
  const found: Sketch["arrows"] = [];
  for (const line of projected) {
    let until = every / 2;
    for (let i = 1; i < line.length; i += 1) {
      const from = line[i - 1] as SketchPlace;
      const to = line[i] as SketchPlace;
      const length = Math.hypot(to.x - from.x, to.y - from.y);
      const degrees = (Math.atan2(to.y - from.y, to.x - from.x) * 180) / Math.PI;
      let walked = 0;
      while (length - walked >= until) {
        walked += until;
        const share = walked / length;
        found.push({ x: round(from.x + (to.x - from.x) * share), y: round(from.y + (to.y - from.y) * share), degrees: round(degrees) });
        until = every;
      }
      until -= length - walked;
    }
  }
  return found;
}
