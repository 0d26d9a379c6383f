// Statistics of the call, from the connection and from the server, twice a second.

import { $ } from './dom.js';

const KEEP = 120; // a minute at two a second

/** The counters of getStats that the statistics use. */
function read(report) {
  const out = {};
  report.forEach((stat) => {
    if (stat.type === 'inbound-rtp' && stat.kind === 'video') {
      Object.assign(out, {
        down: stat.bytesReceived,
        decoded: stat.framesDecoded,
        decodeS: stat.totalDecodeTime,
        waitS: stat.jitterBufferDelay,
        emitted: stat.jitterBufferEmittedCount,
        lost: stat.framesDropped || 0,
        width: stat.frameWidth,
        height: stat.frameHeight,
      });
    } else if (stat.type === 'outbound-rtp' && stat.kind === 'video') {
      Object.assign(out, {
        up: stat.bytesSent,
        encoded: stat.framesEncoded,
        sent: stat.framesSent ?? stat.framesEncoded,
        encodeS: stat.totalEncodeTime,
      });
    } else if (
      stat.type === 'candidate-pair' &&
      (stat.nominated || stat.selected) &&
      stat.currentRoundTripTime !== undefined
    ) {
      out.rttS = stat.currentRoundTripTime;
    }
  });
  return out;
}

const ratio = (now, before, top, bottom) =>
  now[bottom] > before[bottom] ? (now[top] - before[top]) / (now[bottom] - before[bottom]) : 0;

export class Stats {
  constructor() {
    this.server = {};
    this.history = [];
    this.biasMs = 0; // measured frame age minus its estimate
    this.now = { fps: 0, sent: 0, ageMs: 0 };
  }

  reset() {
    this.before = undefined;
    this.history = [];
  }

  /** Read the counters and draw the statistics. */
  async update(pc) {
    if (!pc) return;
    const at = performance.now();
    const stats = read(await pc.getStats());
    const before = this.before;
    this.before = { at, ...stats };
    if (!before) return;
    this.now = this.derive(before, { at, ...stats });
    this.history.push(this.now.ageMs);
    if (this.history.length > KEEP) this.history.shift();
    this.draw();
  }

  /** Age = encode + network + server + network + jitter buffer + decode, without the camera. */
  derive(before, stats) {
    const seconds = (stats.at - before.at) / 1000;
    const local =
      1000 *
      (ratio(stats, before, 'encodeS', 'encoded') +
        ratio(stats, before, 'waitS', 'emitted') +
        ratio(stats, before, 'decodeS', 'decoded'));
    const rttMs = (stats.rttS || 0) * 1000;
    return {
      fps: this.now.fps * 0.5 + (0.5 * (stats.decoded - before.decoded)) / seconds || 0,
      ageMs: Math.max(0, local + rttMs + (this.server.age_p50_ms || 0) + this.biasMs),
      age95Ms: Math.max(0, local + rttMs + (this.server.age_p95_ms || 0) + this.biasMs),
      sent: this.now.sent * 0.5 + (0.5 * (stats.sent - before.sent)) / seconds || 0,
      rttMs,
      down: ((stats.down - before.down) * 8) / seconds / 1e6 || 0,
      up: ((stats.up - before.up) * 8) / seconds / 1e6 || 0,
      lost: stats.lost,
      width: stats.width,
      height: stats.height,
    };
  }

  draw() {
    const { now, server } = this;
    const round = (value, digits = 0) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
    $('f-fps').textContent = round(now.fps);
    $('f-age').textContent = round(now.ageMs);
    $('f-age95').textContent = round(now.age95Ms);
    $('f-age-label').textContent = this.biasMs
      ? 'Frame age, measured and tracked'
      : 'Frame age, estimated';
    $('f-drops').textContent = String((server.dropped ?? 0) + (now.lost || 0));
    $('f-droprate').textContent = server.fps_in
      ? `${round(server.fps_in)} in, ${round(server.fps_out)} out`
      : '';
    $('f-rtt').textContent = round(now.rttMs, now.rttMs < 10 ? 1 : 0);
    $('f-down').textContent = round(now.down, 1);
    $('f-up').textContent = round(now.up, 1);
    $('f-sizes').textContent = server.driver_size
      ? `${server.driver_size.join('×')} → ${now.width || 0}×${now.height || 0}`
      : '–';
    $('f-backend').textContent = server.backend || '–';
    $('stats-short').textContent = now.fps ? `${round(now.fps)} fps · ${round(now.ageMs)} ms` : '';
    if ($('stats').open) this.graph($('graph'));
  }

  graph(canvas) {
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext('2d');
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const top = Math.max(100, Math.ceil(Math.max(0, ...this.history) / 50) * 50);
    const y = (ms) => height - 8 - (ms / top) * (height - 22);
    context.font = '11px system-ui, sans-serif';
    for (const ms of [top / 2, top]) {
      context.fillStyle = colour('--line');
      context.fillRect(0, Math.round(y(ms)), width, 1);
      context.fillStyle = colour('--dim');
      context.fillText(`${ms}`, 6, y(ms) - 3);
    }
    if (this.history.length < 2) return;
    const x = (i) => width - ((this.history.length - 1 - i) * width) / (KEEP - 1);
    context.beginPath();
    this.history.forEach((ms, i) => context.lineTo(x(i), y(ms)));
    context.strokeStyle = colour('--accent');
    context.lineWidth = 2;
    context.lineJoin = 'round';
    context.stroke();
    context.lineTo(width, height);
    context.lineTo(x(0), height);
    context.globalAlpha = 0.14;
    context.fillStyle = colour('--accent');
    context.fill();
  }
}
