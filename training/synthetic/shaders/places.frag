#version 330
in vec2 v_portrait;
in float v_shade;
in vec3 v_rest;
in float v_material;
uniform float part;
layout(location = 0) out vec4 place;
layout(location = 1) out vec4 rest;

void main() {
    place = vec4(v_portrait, part, v_shade);
    rest = vec4(v_rest, v_material);
}
