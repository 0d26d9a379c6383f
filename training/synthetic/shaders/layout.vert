#version 330
// Lays the skin's triangles out flat: the face's tile fills two thirds of the atlas, the back of the head the rest.
in vec3 in_rest;
in vec2 in_uv;
in float in_material;
in float in_above;
uniform vec2 texel;
out float v_above;
out float v_grows;
out float v_ahead;
void main() {
    // Hair grows neither on ears nor below the nape.
    float ear = step(6.7, abs(in_rest.x)) * step(in_rest.y, 7.0) * step(-2.0, in_rest.y);
    v_grows = step(-11.0, in_rest.y) * (1.0 - ear);
    v_above = in_above;
    v_ahead = clamp(in_rest.z / length(in_rest - vec3(0.0, 4.5, 0.0)), 0.0, 1.0);
    float back = step(0.5, in_material);
    vec2 place = vec2(mix(in_uv.x * 2.0, 2.0 + in_uv.x, back) / 3.0, in_uv.y);
    // Four shifted copies below the last one carry the colours past the tiles' edges.
    int copy = gl_InstanceID;
    vec2 shift = copy == 4 ? vec2(0.0) : vec2((copy & 1) * 2 - 1, (copy >> 1) * 2 - 1) * 3.0 * texel;
    place += shift;
    gl_Position = vec4(place * 2.0 - 1.0, 0.0, 1.0);
}
