#version 330
// Shared by the fragment shaders: surface colour times the light that the vertices received. Colours are linear.
in vec3 v_diffuse;
in vec3 v_shine;
in vec3 v_rest;
in vec3 v_head;
in vec2 v_uv;
uniform sampler2D noise_map;
uniform vec3 hair_colour;
out vec4 colour;

vec4 develop(vec3 linear, float alpha) {
    vec3 mapped = linear / (1.0 + 0.18 * linear);          // soft shoulder; gamma 2 is a root, not a power
    return vec4(sqrt(clamp(mapped, 0.0, 1.0)), alpha);
}
