// Lids and lashes shade the upper part of the eye's opening; the cornea mirrors the key light and a window.
uniform vec3 rest_centre;        // of the left eye; the right one mirrors x
uniform float look_down;

void shade(vec3 camera, vec3 n, vec3 place) {
    float shadow = lit(place);
    float up = (in_position.y - rest_centre.y) / 1.5 + look_down;
    float covered = 1.0 - 0.55 * smoothstep(-0.05, 0.42, up) - 0.15 * smoothstep(-0.1, -0.45, up);
    v_diffuse = lambert(n, mix(0.45, 1.0, shadow), 0.35, 0.35) * covered;
    float wet = 0.8 * highlight(n, key_direction, camera, 220.0) * shadow;
    wet += 0.15 * highlight(n, normalize(vec3(0.15, 0.45, 1.0)), camera, 120.0);
    v_shine = (key_colour + sky_colour) * wet;
}
