#version 330
// Where a vertex is drawn, and what a fragment shall know: its place in the portrait, its light, its place at rest.
in vec3 in_place;
in vec2 in_portrait;
in float in_shade;
in vec3 in_rest;
in float in_material;
out vec2 v_portrait;
out float v_shade;
out vec3 v_rest;
out float v_material;

void main() {
    v_portrait = in_portrait;
    v_shade = in_shade;
    v_rest = in_rest;
    v_material = in_material;
    gl_Position = vec4(in_place, 1.0);
}
