/** Warning levels: colour, shape, number and word stand together; a level is never told by colour alone. */

export type Level = "none" | "blue" | "yellow" | "orange" | "red";
export type ShownLevel = Level | "unknown";
export type Shape = "ring" | "circle" | "triangle" | "diamond" | "octagon" | "square";

export interface LevelStyle {
  rank: number; // 0 none, 1 blue ... 4 red; unknown stands between none and blue when sorting: it is not safe
  shape: Shape;
  solid: string;
  on: string;
  outline: string;
}

export const LEVELS: Record<ShownLevel, LevelStyle> = {
  none: { rank: 0, shape: "ring", solid: "#57606a", on: "#ffffff", outline: "#3d444d" },
  unknown: { rank: 0.5, shape: "square", solid: "#ffffff", on: "#1b1f24", outline: "#1b1f24" },
  blue: { rank: 1, shape: "circle", solid: "#1d4ed8", on: "#ffffff", outline: "#14388f" },
  yellow: { rank: 2, shape: "triangle", solid: "#ffd60a", on: "#1a1a1a", outline: "#5c4700" },
  orange: { rank: 3, shape: "diamond", solid: "#c2410c", on: "#ffffff", outline: "#8a2c07" },
  red: { rank: 4, shape: "octagon", solid: "#b3001b", on: "#ffffff", outline: "#8c0016" },
};

/** Outlines in a 24 x 24 box. */
export const SHAPES: Record<Shape, string> = {
  ring: "M12 5a7 7 0 1 0 0 14a7 7 0 1 0 0-14z",
  circle: "M12 2a10 10 0 1 0 0 20a10 10 0 1 0 0-20z",
  triangle: "M12 2.2L22.8 21.2H1.2z",
  diamond: "M12 1.2L22.8 12L12 22.8L1.2 12z",
  octagon: "M7.9 2h8.2L22 7.9v8.2L16.1 22H7.9L2 16.1V7.9z",
  square: "M5 3h14a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z",
};

/** The sign inside a shape, in the same box. */
export const SIGNS: Record<Shape, string> = {
  ring: "M8.6 12.2l2.3 2.4l4.5-5",
  circle: "M12 11v6M12 7.2v.1",
  triangle: "M12 9.5v5M12 17.9v.1",
  diamond: "M12 7v6M12 16.6v.1",
  octagon: "M12 7v6M12 16.6v.1",
  square: "M9.2 9.3a2.9 2.9 0 1 1 4.3 2.6c-1 .6-1.5 1.1-1.5 2.2M12 17.2v.1",
};

export function rank(level: ShownLevel): number {
  return LEVELS[level].rank;
}

/** CSS custom properties of a level: `--l4` and its companions. */
export function token(level: ShownLevel): string {
  return level === "unknown" ? "l0" : `l${LEVELS[level].rank}`;
}
