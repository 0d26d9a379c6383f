// Finds the cause of a slow call, and the frame rate that is worth sending.

const SLOW_FPS = 15; // below, a call counts as slow
const CAMERA_FPS = 30;
const LEAST_FPS = 8;
const LAGS = 0.75; // results per received picture below which the server does not keep up
const BUSY = 0.6; // utilisation from which the server is the bottleneck

/**
 * Title, text and button for a slow call, or null when it is fast enough.
 *
 * server: its stats. shown: frames per second on the screen. sent: those that this browser sends.
 * limited: whether the browser was set to send fewer. height: lines of the result.
 */
export function slowness({ server, shown, sent, limited, height }) {
  const { fps_out: drawn, fps_in: received, busy = 1, calls = 1 } = server;
  const count = (fps) => `Only ${Math.round(fps)} pictures a second`;
  if (drawn > 0 && drawn < SLOW_FPS && busy > BUSY && (limited || drawn < LAGS * received)) {
    const others =
      calls > 1
        ? `, and ${calls} people share it. Wait until others have left, or`
        : '. Close other programs on it, or';
    return height > 256
      ? {
          title: 'The computer that runs mimicam is too slow',
          text: `${count(drawn)}${others} choose a lower resolution.`,
          smaller: true,
        }
      : {
          title: 'The computer that runs mimicam is too slow',
          text: `${count(drawn)}${others} run mimicam on one with more cores or a graphics card.`,
        };
  }
  if (!limited && sent > 0 && sent < SLOW_FPS) {
    return {
      title: 'Too few camera pictures',
      text:
        `${count(sent)} leave this browser. ` +
        'Many cameras are faster with more light. Closing other programs may help, too.',
    };
  }
  if (shown < SLOW_FPS && (drawn >= SLOW_FPS || (!limited && sent >= SLOW_FPS))) {
    const of = Math.max(drawn, sent);
    return {
      title: 'The connection is slow',
      text:
        `${count(shown)} get through of ${Math.round(of)}. ` +
        'Move nearer to the router, or use a cable.',
    };
  }
  return null;
}

/**
 * Frames per second that are worth sending.
 *
 * A busy server drops the pictures that it cannot draw. Send a little more than it draws, so that
 * free capacity becomes visible. A bad network delivers pictures in bursts, and only the last of
 * each is drawn. The server is not busy then, and all pictures are worth sending.
 */
export function usefulRate({ fps_out: drawn, fps_in: received, busy = 1 }, limit) {
  if (busy > BUSY && drawn > 0 && drawn < SLOW_FPS && drawn < LAGS * received)
    return Math.max(LEAST_FPS, Math.ceil(drawn * 1.3));
  if (!Number.isFinite(limit)) return Infinity;
  let next = limit;
  if (busy <= BUSY) next = Math.ceil(limit * 1.6);
  else if (drawn >= 0.9 * received) next = Math.ceil(limit * 1.2);
  return next >= CAMERA_FPS ? Infinity : next;
}
