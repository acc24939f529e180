/** Small geometry helpers: bounding boxes and lines. Coordinates are [lon, lat] in degrees. */

export type Position = number[];
export interface AnyGeometry {
  type: string;
  coordinates: unknown;
}
export type Bounds = [west: number, south: number, east: number, north: number];

/** Every position of a geometry, at whatever depth its type keeps them. */
export function positions(geometry: AnyGeometry | null | undefined): Position[] {
  const found: Position[] = [];
  const walk = (node: unknown): void => {
    if (!Array.isArray(node)) return;
    if (typeof node[0] === "number") found.push(node as Position);
    else for (const child of node) walk(child);
  };
  if (geometry) walk(geometry.coordinates);
  return found;
}

export function bounds(geometries: Iterable<AnyGeometry | null | undefined>): Bounds | null {
  let box: Bounds | null = null;
  for (const geometry of geometries) {
    for (const [lon, lat] of positions(geometry)) {
      if (lon === undefined || lat === undefined) continue;
      box =
        box === null
          ? [lon, lat, lon, lat]
          : [Math.min(box[0], lon), Math.min(box[1], lat), Math.max(box[2], lon), Math.max(box[3], lat)];
    }
  }
  return box;
}

/** The lines of a LineString or MultiLineString. */
export function lines(geometry: AnyGeometry | null | undefined): Position[][] {
  if (!geometry) return [];
  if (geometry.type === "LineString") return [geometry.coordinates as Position[]];
  if (geometry.type === "MultiLineString") return geometry.coordinates as Position[][];
  return [];
}

/** The rings of a Polygon or MultiPolygon. */
export function rings(geometry: AnyGeometry | null | undefined): Position[][] {
  if (!geometry) return [];
  if (geometry.type === "Polygon") return geometry.coordinates as Position[][];
  if (geometry.type === "MultiPolygon") return (geometry.coordinates as Position[][][]).flat();
  return [];
}
