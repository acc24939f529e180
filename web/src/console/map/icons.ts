/** Map images drawn at start: shapes from lib/levels.ts, so that the map, the lists and the phone show the same marks. */

import type { Map as MapLibre } from "maplibre-gl";
import { LEVELS, SHAPES, type ShownLevel, SIGNS } from "../../lib/levels";

const RATIO = 2;
const ALL: ShownLevel[] = ["none", "unknown", "blue", "yellow", "orange", "red"];

function canvas(size: number): CanvasRenderingContext2D {
  const element = document.createElement("canvas");
  element.width = element.height = size * RATIO;
  const context = element.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("this browser draws no 2D canvas");
  context.scale(RATIO, RATIO);
  return context;
}

function mark(context: CanvasRenderingContext2D, level: ShownLevel, x: number, y: number, size: number): void {
  const style = LEVELS[level];
  context.save();
  context.translate(x, y);
  context.scale(size / 24, size / 24);
  context.lineJoin = context.lineCap = "round";
  const outline = new Path2D(SHAPES[style.shape]);
  context.strokeStyle = "#ffffff";
  context.lineWidth = 5.5;
  context.stroke(outline);
  context.fillStyle = style.solid;
  context.fill(outline);
  context.strokeStyle = style.outline;
  context.lineWidth = level === "unknown" ? 2.2 : 1.6;
  if (level === "unknown") context.setLineDash([3, 2.6]);
  context.stroke(outline);
  context.setLineDash([]);
  context.strokeStyle = style.on;
  context.lineWidth = 2.4;
  context.stroke(new Path2D(SIGNS[style.shape]));
  context.restore();
}

function add(map: MapLibre, name: string, context: CanvasRenderingContext2D): void {
  const { width, height } = context.canvas;
  if (!map.hasImage(name)) map.addImage(name, context.getImageData(0, 0, width, height), { pixelRatio: RATIO });
}

/** Stripes, crossed for the highest level; `line` and `gap` in pixels. */
function hatch(color: string, gap: number, crossed: boolean, width: number): CanvasRenderingContext2D {
  const context = canvas(gap);
  context.strokeStyle = color;
  context.lineWidth = width;
  const stroke = (turn: 1 | -1): void => {
    context.beginPath();
    for (const shift of [-gap, 0, gap]) {
      context.moveTo(shift, turn === 1 ? gap : 0);
      context.lineTo(shift + gap, turn === 1 ? 0 : gap);
    }
    context.stroke();
  };
  stroke(1);
  if (crossed) stroke(-1);
  return context;
}

export function addImages(map: MapLibre, dark: boolean): void {
  for (const level of ALL) {
    const small = level === "none";
    const plain = canvas(28);
    mark(plain, level, small ? 5 : 3, small ? 5 : 3, small ? 18 : 22);
    add(map, `station-${level}`, plain);
    // A held station: unknown now, with the level it is held at as a badge.
    const held = canvas(40);
    held.strokeStyle = "#6d28d9";
    held.lineWidth = 2.5;
    held.beginPath();
    held.arc(20, 20, 17.5, 0, 2 * Math.PI);
    held.fillStyle = "rgba(255,255,255,0.85)";
    held.fill();
    held.stroke();
    mark(held, "unknown", 9, 10, 21);
    if (level !== "unknown" && level !== "none") mark(held, level, 22, 2, 16);
    add(map, `held-${level}`, held);
    if (level !== "none" && level !== "unknown") {
      add(map, `area-${level}`, hatch(LEVELS[level].outline, level === "blue" ? 14 : 10, level === "red", 1));
    }
  }
  const plain = canvas(16);
  plain.fillStyle = "#57606a";
  plain.strokeStyle = "#ffffff";
  plain.lineWidth = 2;
  plain.beginPath();
  plain.arc(8, 8, 5, 0, 2 * Math.PI);
  plain.fill();
  plain.stroke();
  add(map, "station-plain", plain);
  add(map, "hazard", hatch(dark ? "#7cc4ff" : "#0a5c9e", 8, false, 1.3));

  const house = canvas(28);
  house.fillStyle = "#ffffff";
  house.strokeStyle = "#0b6b3a";
  house.lineJoin = "round";
  house.lineWidth = 2;
  house.beginPath();
  house.roundRect(2, 2, 24, 24, 6);
  house.fillStyle = "#0b6b3a";
  house.fill();
  house.strokeStyle = "#ffffff";
  house.stroke();
  house.fillStyle = "#ffffff";
  house.fill(new Path2D("M14 6l8.5 7.2h-2.3V21h-4.7v-5h-3v5H7.8v-7.8H5.5z"));
  add(map, "safe-zone", house);

  const closed = canvas(16);
  closed.fillStyle = "#ffffff";
  closed.strokeStyle = "#1b1f24";
  closed.lineWidth = 1.5;
  closed.beginPath();
  closed.arc(8, 8, 6.5, 0, 2 * Math.PI);
  closed.fill();
  closed.stroke();
  closed.lineWidth = 2;
  closed.lineCap = "round";
  closed.beginPath();
  closed.moveTo(5.5, 5.5);
  closed.lineTo(10.5, 10.5);
  closed.moveTo(10.5, 5.5);
  closed.lineTo(5.5, 10.5);
  closed.stroke();
  add(map, "closed", closed);
}
