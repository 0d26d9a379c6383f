// A number painted across the top of a picture:
// white, black, twelve bits (lowest first), even parity, black.
// The server copies it from the camera picture to the result. See engine/web/timecode.py.

const CELLS = 16;
const BITS = 12;
const STRIP = 12;
const CONTRAST = 60;
export const COUNT = 1 << BITS;

/** Paint a number onto a canvas. */
export function paint(context, width, height, number) {
  const bits = Array.from({ length: BITS }, (_, i) => (number >> i) & 1);
  const cells = [1, 0, ...bits, bits.reduce((sum, bit) => sum + bit, 0) % 2, 0];
  cells.forEach((on, i) => {
    context.fillStyle = on ? 'rgb(235 235 235)' : 'rgb(20 20 20)';
    const left = Math.round((i * width) / CELLS);
    context.fillRect(
      left,
      0,
      Math.round(((i + 1) * width) / CELLS) - left,
      Math.floor(height / STRIP),
    );
  });
}

/** Reads numbers in a video. Returns null where there is none. */
export class Reader {
  constructor() {
    const canvas = document.createElement('canvas');
    canvas.width = CELLS * 4;
    canvas.height = 4;
    this.context = canvas.getContext('2d', { willReadFrequently: true });
  }

  read(video) {
    const { videoWidth: width, videoHeight: height } = video;
    if (!width) return null;
    this.context.drawImage(
      video,
      0,
      height / STRIP / 4,
      width,
      height / STRIP / 2,
      0,
      0,
      CELLS * 4,
      4,
    );
    const { data } = this.context.getImageData(0, 2, CELLS * 4, 1);
    const level = (cell) => data[(cell * 4 + 2) * 4 + 1];
    if (level(0) - level(1) < CONTRAST) return null;
    const middle = (level(0) + level(1)) / 2;
    let number = 0;
    let ones = 0;
    for (let i = 0; i < BITS; i += 1) {
      const on = level(i + 2) > middle ? 1 : 0;
      number |= on << i;
      ones += on;
    }
    const parity = level(BITS + 2) > middle ? 1 : 0;
    return ones % 2 === parity && level(CELLS - 1) < middle ? number : null;
  }
}
