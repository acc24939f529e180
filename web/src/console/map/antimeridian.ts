/** Land and lines cut at the 180th meridian, as RFC 7946 (3.1.9) asks of whoever draws on a flat map. Pure.
 *
 * A ring that steps over it (from 179 to -179) is drawn the other way round the world by any flat map: the far east of
 * Asia becomes a band over northern Canada. Here each ring is first laid out without the step, then cut into the worlds
 * [-540, -180], [-180, 180] and [180, 540], and each part moved back.
 */

type Position = number[];
type Ring = Position[];
type Rings = Ring[];

const HALF = 180;
const WORLD = 360;
const WORLDS = [-1, 0, 1];

/** The ring without steps over the meridian; one around a pole is closed along that pole. */
function unstep(ring: Ring): Ring {
  let turns = 0;
  const laid = ring.map((at, i) => {
    const before = ring[i - 1];
    if (before !== undefined) {
      const step = (at[0] ?? 0) - (before[0] ?? 0);
      if (step > HALF) turns -= 1;
      else if (step < -HALF) turns += 1;
    }
    return [(at[0] ?? 0) + turns * WORLD, at[1] ?? 0];
  });
  const first = laid[0];
  const last = laid[laid.length - 1];
  if (turns === 0 || first === undefined || last === undefined) return laid;
  const pole = laid.reduce((sum, at) => sum + (at[1] ?? 0), 0) < 0 ? -90 : 90;
  return [...laid, [last[0] ?? 0, pole], [first[0] ?? 0, pole], first];
}

/** The part of a ring on one side of a meridian (Sutherland & Hodgman 1974); edges along the meridian close it. */
function half(ring: Ring, meridian: number, side: 1 | -1): Ring {
  const inside = (at: Position): boolean => side * ((at[0] ?? 0) - meridian) >= 0;
  const cut: Ring = [];
  ring.forEach((at, i) => {
    const before = ring[i - 1];
    if (before !== undefined && inside(before) !== inside(at)) {
      const share = (meridian - (before[0] ?? 0)) / ((at[0] ?? 0) - (before[0] ?? 0));
      cut.push([meridian, (before[1] ?? 0) + share * ((at[1] ?? 0) - (before[1] ?? 0))]);
    }
    if (inside(at)) cut.push(at);
  });
  const first = cut[0];
  const last = cut[cut.length - 1];
  if (first !== undefined && last !== undefined && (first[0] !== last[0] || first[1] !== last[1])) cut.push(first);
  return cut;
}

/** A ring's parts in the one world of [-180, 180]. */
function parts(ring: Ring): Rings {
  const laid = unstep(ring);
  return WORLDS.flatMap((world): Rings => {
    const west = world * WORLD - HALF;
    const cut = half(half(laid, west, 1), west + WORLD, -1);
    return cut.length < 4 ? [] : [cut.map((at) => [(at[0] ?? 0) - world * WORLD, at[1] ?? 0])];
  });
}

const box = (ring: Ring): [number, number, number, number] => {
  const lon = ring.map((at) => at[0] ?? 0);
  const lat = ring.map((at) => at[1] ?? 0);
  return [Math.min(...lon), Math.min(...lat), Math.max(...lon), Math.max(...lat)];
};

/** A polygon's parts, each hole with the part that it lies in. */
export function cutPolygon(polygon: Rings): Rings[] {
  const [outer, ...holes] = polygon;
  if (outer === undefined) return [];
  const made = parts(outer).map((ring): Rings => [ring]);
  const boxes = made.map((part) => box(part[0] ?? []));
  for (const hole of holes.flatMap(parts)) {
    const [west, south, east, north] = box(hole);
    const at = boxes.findIndex(([w, s, e, n]) => w <= west && s <= south && e >= east && n >= north);
    made[at]?.push(hole);
  }
  return made;
}

/** A line without the step over the meridian: two lines, which end where it stood before and after. */
export function cutLine(line: Ring): Rings {
  const found: Rings = [[]];
  line.forEach((at, i) => {
    const before = line[i - 1];
    if (before !== undefined && Math.abs((at[0] ?? 0) - (before[0] ?? 0)) > HALF) found.push([]);
    found[found.length - 1]?.push(at);
  });
  return found.filter((piece) => piece.length > 1);
}

export function cutLand(land: GeoJSON.Feature | GeoJSON.FeatureCollection): GeoJSON.Feature<GeoJSON.MultiPolygon> {
  const features = land.type === "FeatureCollection" ? land.features : [land];
  const coordinates = features.flatMap(({ geometry }): Rings[] => {
    if (geometry.type === "Polygon") return cutPolygon(geometry.coordinates);
    return geometry.type === "MultiPolygon" ? geometry.coordinates.flatMap(cutPolygon) : [];
  });
  return { type: "Feature", properties: {}, geometry: { type: "MultiPolygon", coordinates } };
}

export function cutLines(lines: GeoJSON.MultiLineString): GeoJSON.MultiLineString {
  return { ...lines, coordinates: lines.coordinates.flatMap(cutLine) };
}
