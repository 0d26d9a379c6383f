// Measures the frame age: paints a number into the camera picture and reads it in the result.

import { make } from './dom.js';
import { COUNT, paint, Reader } from './timecode.js';

const WARM_MS = 1500;
const MEASURE_MS = 4000;
const percentile = (sorted, share) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

/** Camera pictures with a number on top, as a track of its own. */
class Painter {
  constructor(video) {
    this.video = video;
    this.canvas = make('canvas', { width: video.videoWidth, height: video.videoHeight });
    this.context = this.canvas.getContext('2d', { alpha: false });
    this.painted = new Map();
    this.number = 0;
    this.draw();
    this.stream = this.canvas.captureStream(30);
  }

  get track() {
    return this.stream.getVideoTracks()[0];
  }

  draw = () => {
    if (this.ended) return;
    this.number = (this.number + 1) % COUNT;
    this.context.drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    paint(this.context, this.canvas.width, this.canvas.height, this.number);
    this.painted.set(this.number, performance.now());
    this.next = this.video.requestVideoFrameCallback(this.draw);
  };

  end() {
    this.ended = true;
    this.track.stop();
  }
}

/** Resolves to {p50, p95, count}, milliseconds, or null when nothing could be read. */
export async function measure(link, camera, result) {
  const before = link.track;
  const painter = new Painter(camera);
  const reader = new Reader();
  const ages = [];
  let on = true;
  let from = performance.now() + WARM_MS;
  const see = (now) => {
    if (!on) return;
    const number = reader.read(result);
    const at = painter.painted.get(number);
    if (at !== undefined && now > from) ages.push(performance.now() - at);
    result.requestVideoFrameCallback(see);
  };
  try {
    link.send({ type: 'set', settings: { measure: true } });
    await link.replace(painter.track);
    from = performance.now() + WARM_MS;
    result.requestVideoFrameCallback(see);
    await new Promise((resolve) => {
      setTimeout(resolve, WARM_MS + MEASURE_MS);
    });
  } finally {
    on = false;
    link.send({ type: 'set', settings: { measure: false } });
    await link.replace(before);
    painter.end();
  }
  ages.sort((a, b) => a - b);
  return ages.length < 10
    ? null
    : { p50: percentile(ages, 0.5), p95: percentile(ages, 0.95), count: ages.length };
}
