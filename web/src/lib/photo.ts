/** A photo small enough for a bad network: at most 1280 pixels a side and about 200 KB, drawn anew, so that nothing but the picture goes. */

const SIDES = [1280, 960, 640] as const;
const QUALITIES = [0.8, 0.6, 0.4] as const;
export const ENOUGH_BYTES = 200 * 1024;

/** Width and height of a picture that is not to be longer than `side` anywhere. */
export function fitted(width: number, height: number, side: number): [number, number] {
  const scale = Math.min(1, side / Math.max(width, height, 1));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** The JPEG of a picture file in base64; null where the browser cannot read it. */
export async function shrink(file: Blob): Promise<string | null> {
  const picture = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  if (picture === null) return null;
  let best: Blob | null = null;
  for (const side of SIDES) {
    const [width, height] = fitted(picture.width, picture.height, side);
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d")?.drawImage(picture, 0, 0, width, height);
    for (const quality of QUALITIES) {
      best = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/jpeg", quality));
      if (best !== null && best.size <= ENOUGH_BYTES) return base64(best);
    }
  }
  return best === null ? null : base64(best);
}

async function base64(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
